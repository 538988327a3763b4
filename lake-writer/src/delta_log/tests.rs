//! The log against stores that behave like the real ones, and delta-rs as a second reader.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::FutureExt;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use tokio::time::Instant;

use super::*;
use crate::action::{CommitInfo, Remove, Txn};
use crate::fault_store::FaultStore;

fn metadata() -> Metadata {
    let schema =
        r#"{"type":"struct","fields":[{"name":"n","type":"long","nullable":true,"metadata":{}}]}"#;
    Metadata {
        id: "00000000-0000-4000-8000-000000000000".to_owned(),
        format: crate::action::FileFormat::default(),
        schema_string: schema.to_owned(),
        partition_columns: Vec::new(),
        configuration: [("lakehead.format".to_owned(), "1".to_owned())].into(),
        created_time: Some(0),
    }
}

fn txn(app_id: &str, version: i64) -> Action {
    Txn {
        app_id: app_id.to_owned(),
        version,
        last_updated: None,
    }
    .into()
}

fn file(path: &str) -> Add {
    Add {
        path: path.to_owned(),
        partition_values: BTreeMap::new(),
        size: 1,
        modification_time: 0,
        data_change: true,
        stats: None,
    }
}

/// The removal of a file just now: a checkpoint forgets those of long ago.
fn removal(path: &str) -> Action {
    Remove::of(file(path), chrono::Utc::now().timestamp_millis(), true).into()
}

impl DeltaLog {
    /// Where the files were that left the table, as far back as its log tells.
    pub(crate) async fn left(&self) -> BTreeSet<String> {
        let mut left = BTreeSet::new();
        let each = |remove: Remove| {
            left.insert(remove.path);
        };
        let found = self.inventory_and_removals(each).await.unwrap().unwrap();
        left.retain(|path| !found.files.contains_key(path));
        left
    }
}

async fn put(log: &DeltaLog, version: u64, actions: &[Action]) {
    let entry = action::encode(actions).unwrap();
    assert!(matches!(log.put(version, entry.into()).await, Put::Done));
}

#[tokio::test]
async fn an_empty_place_has_no_table() {
    let log = DeltaLog::new(Arc::new(InMemory::new()));
    assert!(log.load().await.unwrap().is_none());
}

#[tokio::test]
async fn the_newest_txn_of_each_application_counts() {
    let log = DeltaLog::new(Arc::new(InMemory::new()));
    put(
        &log,
        0,
        &[Protocol::PLAIN.into(), metadata().into(), txn("a", 1)],
    )
    .await;
    put(&log, 1, &[txn("b", 5)]).await;
    put(&log, 2, &[txn("a", 3)]).await;
    let state = log.load().await.unwrap().unwrap();
    assert_eq!(state.version, 2);
    assert_eq!(
        state.txns,
        HashMap::from([("a".to_owned(), 3), ("b".to_owned(), 5)])
    );
}

/// Whoever took it for the log's end would pass over what comes after it.
#[tokio::test]
async fn an_entry_that_is_missing_is_not_the_end() {
    let log = DeltaLog::new(Arc::new(InMemory::new()));
    put(&log, 0, &[Protocol::PLAIN.into(), metadata().into()]).await;
    for version in 1..=4 {
        put(&log, version, &[txn("a", 3)]).await;
    }
    log.store().delete(&entry_path(3)).await.unwrap();
    for error in [
        log.load().await.unwrap_err(),
        log.inventory().await.unwrap_err(),
        log.files(|_| true).await.unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(error.contains("003.json"), "{error}");
        assert!(error.contains("missing, though version 4"), "{error}");
    }
    // What a backup of before has is all there is.
    log.store().delete(&entry_path(4)).await.unwrap();
    assert_eq!(log.load().await.unwrap().unwrap().version, 2);
}

/// Whoever took it for a commit without actions would pass over its rows.
#[tokio::test]
async fn an_entry_of_nothing_is_damaged() {
    for (damaged, left) in [(1, ""), (3, ""), (3, "\n")] {
        let log = DeltaLog::new(Arc::new(InMemory::new()));
        put(&log, 0, &[Protocol::PLAIN.into(), metadata().into()]).await;
        let mut state = log.load().await.unwrap().unwrap();
        for version in 1..=3 {
            put(&log, version, &[txn("a", 3)]).await;
        }
        let path = entry_path(damaged);
        log.store().put(&path, left.into()).await.unwrap();
        for error in [
            log.load().await.unwrap_err(),
            log.inventory().await.unwrap_err(),
            log.files(|_| true).await.unwrap_err(),
            log.files_at(3).await.unwrap_err(),
            log.entry(damaged).await.unwrap_err(),
            log.entry_bytes(damaged).await.unwrap_err(),
            log.catch_up(&mut state, |_, _| ()).await.unwrap_err(),
        ] {
            assert!(matches!(error, DeltaLogError::Corrupt { .. }), "{error}");
            let error = error.to_string();
            let told = format!("{path}: it is empty");
            assert!(error.contains(&told), "{error}");
        }
    }
}

#[tokio::test]
async fn a_version_is_created_once() {
    let log = DeltaLog::new(Arc::new(InMemory::new()));
    put(&log, 0, &[Protocol::PLAIN.into(), metadata().into()]).await;
    assert!(matches!(
        log.put(0, Bytes::from_static(b"{}")).await,
        Put::Exists
    ));
    assert_eq!(log.load().await.unwrap().unwrap().metadata, metadata());
}

#[tokio::test]
async fn a_table_that_is_made_while_it_is_looked_for_is_found() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let maker = DeltaLog::new(Arc::clone(&inner));
    let made = move |missed: &Path| {
        if *missed == entry_path(0) {
            let actions = [Protocol::PLAIN.into(), metadata().into()];
            put(&maker, 0, &actions).now_or_never().unwrap();
        }
    };
    let log = DeltaLog::new(Arc::new(FaultStore::after_misses(inner, made)));
    assert_eq!(log.load().await.unwrap().unwrap().version, 0);
}

#[tokio::test]
async fn a_log_without_a_beginning_is_corrupt() {
    let log = DeltaLog::new(Arc::new(InMemory::new()));
    put(&log, 3, &[txn("a", 1)]).await;
    let error = log.load().await.unwrap_err().to_string();
    assert!(error.contains("begins with neither"), "{error}");
}

#[tokio::test]
async fn a_log_without_a_table_is_corrupt() {
    let log = DeltaLog::new(Arc::new(InMemory::new()));
    put(&log, 0, &[txn("a", 1)]).await;
    assert!(matches!(
        log.load().await,
        Err(DeltaLogError::Corrupt { .. })
    ));
}

/// The same state must come out of a checkpoint as out of the entries, and delta-rs must see the
/// same table in both.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_says_what_the_entries_said() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake_store::LakeStore::open(directory.path().to_str().unwrap(), &[], true).unwrap();
    let path = "s/e/changes";
    let log = DeltaLog::new(lake.table_store(path));
    let info = CommitInfo {
        txn_id: Some("x".to_owned()),
        ..CommitInfo::default()
    };
    put(
        &log,
        0,
        &[
            info.try_into().unwrap(),
            Protocol::PLAIN.into(),
            metadata().into(),
            txn("p/t/0", 1),
        ],
    )
    .await;
    for version in 1..=4 {
        put(
            &log,
            version,
            &[txn("p/t/0", 10 * version as i64), txn("p/t/1", 7)],
        )
        .await;
    }
    let before = log.load().await.unwrap().unwrap();
    write_checkpoint(&lake, path, 3).await.unwrap();
    // Without the entries the checkpoint stands for, only it can tell.
    for version in 0..=3 {
        log.store().delete(&entry_path(version)).await.unwrap();
    }
    let after = log.load().await.unwrap().unwrap();
    assert_eq!(after.txns, before.txns);
    assert_eq!(after.protocol, before.protocol);
    assert_eq!(after.metadata, before.metadata);
    let mut table = deltalake::DeltaTable::new(lake.table_log(path));
    table.load().await.unwrap();
    let store = table.log_store();
    let seen = table
        .snapshot()
        .unwrap()
        .transaction_version(store.as_ref(), "p/t/0")
        .await
        .unwrap();
    assert_eq!(seen, Some(40));
}

/// Told by the entries, and by a checkpoint alone.
#[tokio::test(flavor = "multi_thread")]
async fn an_inventory_does_not_hold_what_left_and_tells_of_it_who_asks() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake_store::LakeStore::open(directory.path().to_str().unwrap(), &[], true).unwrap();
    let path = "s/e/changes";
    let log = DeltaLog::new(lake.table_store(path));
    let made = [Protocol::PLAIN.into(), metadata().into(), txn("a", 1)];
    put(&log, 0, &made).await;
    let added = ["gone", "back", "there"].map(|path| Action::from(file(path)));
    put(&log, 1, &added).await;
    put(&log, 2, &[removal("gone"), removal("back")]).await;
    put(&log, 3, &[file("back").into(), txn("a", 2)]).await;
    for by_checkpoint in [false, true] {
        if by_checkpoint {
            write_checkpoint(&lake, path, 3).await.unwrap();
            for version in 0..3 {
                log.store().delete(&entry_path(version)).await.unwrap();
            }
        }
        let found = log.inventory().await.unwrap().unwrap();
        let files: Vec<&str> = found.files.keys().map(String::as_str).collect();
        assert_eq!((found.state.version, found.state.txns["a"]), (3, 2));
        assert_eq!(files, ["back", "there"], "by checkpoint: {by_checkpoint}");
        assert!(!format!("{found:?}").contains("gone"));
        let left = log.left().await;
        assert_eq!(left, BTreeSet::from(["gone".to_owned()]));
    }
}

/// Another program gave a file another deletion vector: its path leaves and comes in one version.
#[tokio::test]
async fn what_leaves_and_comes_in_one_version_is_there() {
    let log = DeltaLog::new(Arc::new(InMemory::new()));
    put(&log, 0, &[Protocol::PLAIN.into(), metadata().into()]).await;
    put(&log, 1, &[file("a").into(), file("b").into()]).await;
    let both = [file("a").into(), removal("a"), removal("b")];
    put(&log, 2, &both).await;
    let found = log.inventory().await.unwrap().unwrap();
    assert_eq!(found.files.into_keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(log.left().await, BTreeSet::from(["b".to_owned()]));
}

/// The versions that are found in a log of so many up to a version, and how often one waits for the
/// store.
async fn found(versions: u64, to: u64) -> (Vec<u64>, u128) {
    let inner = Arc::new(InMemory::new());
    let plain = DeltaLog::new(Arc::clone(&inner) as Arc<dyn ObjectStore>);
    for version in 0..versions {
        put(&plain, version, &[txn("a", version as i64)]).await;
    }
    let far = ThrottleConfig {
        wait_get_per_call: Duration::from_millis(20),
        ..ThrottleConfig::default()
    };
    let log = DeltaLog::new(Arc::new(ThrottledStore::new(inner, far)));
    let begun = Instant::now();
    let found: Vec<_> = log.entries(0..=to).try_collect().await.unwrap();
    let versions = found.into_iter().map(|(version, _)| version).collect();
    (versions, begun.elapsed().as_millis() / 20)
}

#[tokio::test(start_paused = true)]
async fn many_entries_are_not_asked_for_one_by_one() {
    // Nothing is new.
    assert_eq!(found(0, u64::MAX).await, (vec![], 1));
    // One, two and four; 93 by eight, and what is not there.
    let all = (0..100).collect::<Vec<u64>>();
    assert_eq!(found(100, u64::MAX).await, (all.clone(), 3 + 12));
    assert_eq!(found(100, 9).await, (all[..10].to_vec(), 4));
    assert_eq!(found(5, 99).await, (all[..5].to_vec(), 3));
    assert_eq!(found(1, 0).await, (vec![0], 1));
}
