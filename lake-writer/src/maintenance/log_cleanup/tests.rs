//! What is readable afterwards, by us, by delta-rs and by a writer that was asleep.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;

use super::*;
use crate::commit::{Draft, Refusal, Step, commit};
use crate::delta_log::{DeltaLog, write_checkpoint};
use crate::fault_store::{Fault, FaultStore};
use crate::maintenance::fixture::{DAY, Fixture, PATH, Requests, days};

const VERSIONS: u64 = 24;

/// A table on disk with a version a day, the newest of today, and checkpoints at 10 and 20.
async fn table(directory: &std::path::Path) -> Fixture {
    let lake = LakeStore::open(directory.to_str().unwrap(), &[], true).unwrap();
    let mut table = Fixture::new(lake, 1).await;
    for version in 1..=VERSIONS {
        let partition = i32::try_from(version % 3).unwrap();
        assert_eq!(table.append(&[(partition, 2)], DAY).await, version);
    }
    for version in [10, 20] {
        write_checkpoint(&table.lake, PATH, version).await.unwrap();
    }
    for version in 0..=VERSIONS {
        let path = directory.join(PATH).join(entry_path(version).as_ref());
        let age = days(VERSIONS - version);
        let file = File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }
    table
}

async fn entries(table: &Fixture) -> Vec<u64> {
    let cleanup = table.log_cleanup(&table.lake, days(30));
    cleanup.list().await.unwrap().entries.into_keys().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_entries_go_behind_an_old_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let table = table(directory.path()).await;
    // Version 14 was the newest ten days ago; only the checkpoint before it will do.
    let report = table
        .log_cleanup(&table.lake, days(10))
        .run()
        .await
        .unwrap();
    let expected = LogCleanupReport {
        entries: 10,
        checkpoints: 0,
        oldest_version: Some(10),
    };
    assert_eq!(report, expected);
    assert_eq!(entries(&table).await, (10..=VERSIONS).collect::<Vec<u64>>());
    let report = table.log_cleanup(&table.lake, days(3)).run().await.unwrap();
    assert_eq!((report.entries, report.checkpoints), (10, 1));
    let again = table.log_cleanup(&table.lake, days(3)).run().await.unwrap();
    assert_eq!(again, LogCleanupReport::default());
    // Nothing of the newest version is lost.
    let state = table.log.load().await.unwrap().unwrap();
    assert_eq!((state.version, &state.txns), (VERSIONS, &table.state.txns));
    assert_eq!(table.read_rows().await, table.rows);
    let mut seen = deltalake::DeltaTable::new(table.lake.table_log(PATH));
    seen.load().await.unwrap();
    let snapshot = seen.snapshot().unwrap();
    assert_eq!(snapshot.log_data().iter().count(), VERSIONS as usize);
    let store = seen.log_store();
    let app_id = Fixture::app_id(1);
    let reached = snapshot.transaction_version(store.as_ref(), &app_id);
    assert_eq!(
        reached.await.unwrap(),
        table.state.txns.get(&app_id).copied()
    );
    // The oldest version that was promised can be read.
    let mut oldest = deltalake::DeltaTable::new(table.lake.table_log(PATH));
    oldest.load_version(20).await.unwrap();
    assert_eq!(oldest.snapshot().unwrap().log_data().iter().count(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn young_logs_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let table = table(directory.path()).await;
    for kept in [15, 30] {
        let report = table
            .log_cleanup(&table.lake, days(kept))
            .run()
            .await
            .unwrap();
        assert_eq!(report, LogCleanupReport::default());
    }
    assert_eq!(entries(&table).await.len(), 25);
}

/// Another program sets a property of the table.
async fn set(table: &Fixture, property: &str, value: &str) {
    let mut metadata = table.state.metadata.clone();
    metadata
        .configuration
        .insert(property.to_owned(), value.to_owned());
    let entry = serde_json::json!({ "metaData": metadata }).to_string();
    table.log.put(VERSIONS + 1, entry.into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_asks_for_longer_than_the_setting_gets_it() {
    for (property, value, deleted) in [
        (VERSIONS_KEPT, "interval 1 day", 20),
        (VERSIONS_KEPT, "interval 10 days", 10),
        (VERSIONS_KEPT, "interval 30 days", 0),
        (CLEANUP_ENABLED, "false", 0),
        (CLEANUP_ENABLED, "true", 20),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let table = table(directory.path()).await;
        set(&table, property, value).await;
        let cleanup = table.log_cleanup(&table.lake, days(3));
        let report = cleanup.run().await.unwrap();
        assert_eq!(report.entries, deleted, "{property} {value}");
        let left = entries(&table).await;
        assert_eq!(left, (deleted..=VERSIONS + 1).collect::<Vec<u64>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_not_known_what_the_table_asks_for_nothing_goes() {
    for property in [VERSIONS_KEPT, CLEANUP_ENABLED] {
        let directory = tempfile::tempdir().unwrap();
        let table = table(directory.path()).await;
        set(&table, property, "1 month").await;
        let cleanup = table.log_cleanup(&table.lake, days(3));
        let error = cleanup.run().await.unwrap_err().to_string();
        assert!(
            error.contains(PATH) && error.contains(property) && error.contains("1 month"),
            "{error}"
        );
        assert_eq!(entries(&table).await.len(), 26);
    }
}

/// What another one has deleted since the log was listed is no damage; what is missing in the log is.
#[tokio::test(flavor = "multi_thread")]
async fn two_clean_ups_at_once_do_not_take_each_other_for_damage() {
    let directory = tempfile::tempdir().unwrap();
    let table = table(directory.path()).await;
    let cleanup = table.log_cleanup(&table.lake, days(10));
    let listed = cleanup.list().await.unwrap();
    assert!(cleanup.verify(&listed, 10).await.unwrap());
    // It has read the first entry before that went, too.
    table.log.store().delete(&entry_path(1)).await.unwrap();
    assert!(!cleanup.verify(&listed, 10).await.unwrap());
    let listed = cleanup.list().await.unwrap();
    let damaged = cleanup.verify(&listed, 10).await.unwrap_err();
    assert!(damaged.to_string().contains("damaged"), "{damaged}");
    // The checkpoint that it began with went, too.
    let listed = cleanup.list().await.unwrap();
    assert!(cleanup.verify(&listed, 20).await.unwrap());
    let store = table.log.store();
    store.delete(&checkpoint_path(10)).await.unwrap();
    assert!(!cleanup.verify(&listed, 20).await.unwrap());
}

/// A writer that knows an old version goes on as if nothing were: it is told what moved meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_was_asleep_finds_the_end_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = table(directory.path()).await;
    let asleep = table.log.inventory_from(None, 5).await.unwrap().unwrap();
    table.log_cleanup(&table.lake, days(3)).run().await.unwrap();
    let newest = std::mem::replace(&mut table.state, asleep.state);
    let app_id = Fixture::app_id(2);
    let draft = |from: Option<i64>, to| Draft {
        layout: newest.metadata.clone(),
        steps: vec![Step {
            app_id: app_id.clone(),
            from,
            to,
        }],
        further: Vec::new(),
        files: Vec::new(),
        rework: None,
    };
    // What it read from there is read already.
    let from = table.state.txns.get(&app_id).copied();
    let refused = table.commit(&draft(from, 1000)).await;
    assert!(matches!(refused, Err(Refusal::Fenced(_))), "{refused:?}");
    assert_eq!(table.state.version, VERSIONS);
    let from = newest.txns.get(&app_id).copied();
    assert_eq!(table.commit(&draft(from, 1000)).await, Ok(VERSIONS + 1));
    assert_eq!(table.log.load().await.unwrap().unwrap().txns[&app_id], 1000);
}

/// The store was out of a writer's reach for longer than the log keeps its entries: nothing may be
/// put into the hole that they left, where no reader would ever see it.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_commits_into_the_past() {
    let directory = tempfile::tempdir().unwrap();
    let table = table(directory.path()).await;
    let tries = Arc::new(AtomicUsize::new(0));
    let is_away = Arc::new(AtomicBool::new(true));
    let (tried, away) = (Arc::clone(&tries), Arc::clone(&is_away));
    let store = FaultStore::new(Arc::clone(table.log.store()), move |_| {
        tried.fetch_add(1, Ordering::SeqCst);
        match away.load(Ordering::SeqCst) {
            true => Fault::FailBefore,
            false => Fault::None,
        }
    });
    let log = DeltaLog::new(Arc::new(store));
    let mut state = table
        .log
        .inventory_from(None, 5)
        .await
        .unwrap()
        .unwrap()
        .state;
    let app_id = Fixture::app_id(2);
    let draft = Draft {
        layout: state.metadata.clone(),
        steps: vec![Step {
            from: state.txns.get(&app_id).copied(),
            app_id,
            to: 1000,
        }],
        further: Vec::new(),
        files: Vec::new(),
        rework: None,
    };
    let (clock, entropy) = (Arc::clone(&table.clock), Arc::clone(&table.entropy));
    let waits =
        tokio::spawn(
            async move { commit(&log, &mut state, &draft, clock.as_ref(), &entropy).await },
        );
    while tries.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    table.log_cleanup(&table.lake, days(3)).run().await.unwrap();
    is_away.store(false, Ordering::SeqCst);
    let refused = waits.await.unwrap();
    assert!(matches!(refused, Err(Refusal::Fenced(_))), "{refused:?}");
    assert_eq!(entries(&table).await, (20..=VERSIONS).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_says_something_else_stops_it() {
    let directory = tempfile::tempdir().unwrap();
    let table = table(directory.path()).await;
    // An entry that tells of progress the checkpoint does not have.
    let path = directory.path().join(PATH).join(entry_path(15).as_ref());
    let mut entry = std::fs::read_to_string(&path).unwrap();
    entry.push_str("{\"txn\":{\"appId\":\"p/s.e/9\",\"version\":7}}\n");
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::write(&path, entry).unwrap();
    File::options()
        .append(true)
        .open(&path)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    let error = table
        .log_cleanup(&table.lake, days(3))
        .run()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("progress (txn)"), "{error}");
    assert_eq!(entries(&table).await.len(), 25);
}

/// A feature may ask that entries stay (Delta's checkpointProtection does).
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_protocol_that_is_not_known_stops_it() {
    let directory = tempfile::tempdir().unwrap();
    let table = table(directory.path()).await;
    let entry = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["checkpointProtection"]}}"#;
    table.log.put(VERSIONS + 1, entry.into()).await;
    let cleanup = table.log_cleanup(&table.lake, days(3));
    let error = cleanup.run().await.unwrap_err().to_string();
    assert!(error.contains("checkpointProtection"), "{error}");
    assert_eq!(entries(&table).await.len(), 26);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_to_a_checkpoint_that_would_go_stops_it() {
    let directory = tempfile::tempdir().unwrap();
    let table = table(directory.path()).await;
    let hint = Path::from("_delta_log/_last_checkpoint");
    let stale = r#"{"version":10,"size":1}"#;
    table.log.store().put(&hint, stale.into()).await.unwrap();
    let error = table
        .log_cleanup(&table.lake, days(3))
        .run()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("_last_checkpoint"), "{error}");
    assert_eq!(entries(&table).await.len(), 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_request_it_leaves_a_log_that_can_be_read() {
    let mut killed = 0;
    for requests in (0..).step_by(3) {
        let directory = tempfile::tempdir().unwrap();
        let table = table(directory.path()).await;
        let allowed = Requests::new(requests);
        let cleanup = table.log_cleanup(&table.hanging(&allowed), days(3));
        let done = tokio::select! {
            run = cleanup.run() => run.is_ok(),
            () = allowed.hung() => false,
        };
        let state = table.log.load().await.unwrap().unwrap();
        assert_eq!(state.txns, table.state.txns, "after {requests}");
        assert_eq!(table.read_rows().await, table.rows, "after {requests}");
        let left = entries(&table).await;
        assert!(left.is_sorted() && left.ends_with(&[23, 24]));
        assert_eq!(
            left.len() as u64,
            VERSIONS + 1 - left[0],
            "a hole in {left:?}"
        );
        // The next one finishes what it began.
        let again = table.log_cleanup(&table.lake, days(3)).run().await;
        assert!(again.is_ok(), "after {requests}: {again:?}");
        assert_eq!(entries(&table).await, (20..=VERSIONS).collect::<Vec<u64>>());
        if done {
            break;
        }
        killed += 1;
    }
    assert!(killed > 5, "{killed}");
}
