//! What a refresh reads and writes, and what it refuses.

use std::collections::BTreeMap;

use object_store::ObjectStoreExt;
use schemas::Shape;

use super::changes::read;
use super::*;
use crate::action::{self, Action, Add, Remove};
use crate::commit::{Draft, Rework, commit};
use crate::delta_log::{DeltaLog, TableState};
use crate::maintenance::fixture::set_properties;

pub(super) const ROOMY: ByteSize = ByteSize::mib(64);

async fn current(stand: &Stand) -> (DeltaLog, TableState, BTreeMap<String, String>) {
    let log = DeltaLog::new(stand.lake.table_store(&table().current_path()));
    let state = log.load().await.unwrap().unwrap();
    let files = log.files_at(state.version).await.unwrap().unwrap();
    let bucket = |file: &Add| file.partition_values["_bucket"].clone().unwrap();
    let files = files
        .into_iter()
        .map(|file| (bucket(&file), file.path))
        .collect();
    (log, state, files)
}

/// A table of 60 keys in 16 buckets.
pub(super) async fn begun(stand: &Stand) -> (Changes, Maintainer) {
    let mut changes = Changes::create(&stand.lake, Shape::Debezium).await;
    changes.append_some(1, 0, 600).await;
    let mut maintainer = stand.maintainer(ByteSize::b(100), ROOMY);
    let done = refresh(&mut maintainer).await.unwrap();
    assert!(done.from_all && done.buckets >= 4, "{done:?}");
    (changes, maintainer)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_buckets_that_changed_are_written() {
    let stand = Stand::new();
    let (mut changes, mut maintainer) = begun(&stand).await;
    let (_, _, before) = current(&stand).await;
    assert_eq!(refresh(&mut maintainer).await, None, "nothing is new");
    changes.append_some(2, 600, 1).await;
    let done = refresh(&mut maintainer).await.unwrap();
    assert_eq!(
        (done.changes, done.buckets_written, done.from_all),
        (1, 1, false)
    );
    let (_, _, after) = current(&stand).await;
    let same = after
        .iter()
        .filter(|(bucket, path)| before.get(*bucket) == Some(path))
        .count();
    assert!(same + 1 >= before.len(), "{before:?} {after:?}");
    assert_eq!(read(&stand.lake, None).await, changes.fold());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commit_says_what_it_covers() {
    let stand = Stand::new();
    let (mut changes, mut maintainer) = begun(&stand).await;
    let said = |state: &TableState, what: &str| state.txns.get(what).copied();
    let (_, state, _) = current(&stand).await;
    assert_eq!(said(&state, "p/t/0"), Some(600));
    let version = "lakehead/maintain/shop/stock/current/changes_version";
    assert_eq!(said(&state, version), Some(changes.version() as i64));
    assert_eq!(
        said(&state, "lakehead/maintain/shop/stock/current"),
        Some(1)
    );
    // Files that are only written anew are no news.
    changes.compact().await;
    assert_eq!(refresh(&mut maintainer).await, None);
    // Progress without rows is.
    changes.flush(Vec::new(), &[(0, 1)]).await;
    let done = refresh(&mut maintainer).await.unwrap();
    assert_eq!((done.changes, done.buckets_written), (0, 0));
    let (_, state, _) = current(&stand).await;
    assert_eq!(said(&state, "p/t/0/generation"), Some(1));
    assert_eq!(
        said(&state, "lakehead/maintain/shop/stock/current"),
        Some(2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_lie_in_the_order_of_their_keys_in_their_bucket() {
    let stand = Stand::new();
    let (mut changes, mut maintainer) = begun(&stand).await;
    changes.append_some(3, 600, 40).await;
    refresh(&mut maintainer).await.unwrap();
    let (log, state, files) = current(&stand).await;
    let buckets: u32 = state.metadata.configuration["lakehead.buckets"]
        .parse()
        .unwrap();
    for (bucket, path) in files {
        let bytes = log
            .store()
            .get(&path.into())
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        let file = row_file::RowFile::open(bytes).unwrap();
        let (layout, _) = current_layout::CurrentLayout::of_table(&state.metadata).unwrap();
        let codec = key::KeyCodec::new(layout.key(), layout.rows()).unwrap();
        let mut before: Vec<u8> = Vec::new();
        for batch in file.all(layout.rows()) {
            let (keys, hashes) = codec.hashed(&batch.unwrap()).unwrap();
            for (key, hash) in keys.iter().zip(hashes) {
                assert!(before.as_slice() < key.as_ref());
                assert_eq!(lake_store::bucket_of(hash, buckets).to_string(), bucket);
                before = key.as_ref().to_vec();
            }
        }
        assert!(!before.is_empty(), "an empty bucket has no file");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cleaned_log_does_not_tell_is_told_by_offsets() {
    let stand = Stand::new();
    let (mut changes, mut maintainer) = begun(&stand).await;
    changes.append_some(6, 600, 20).await;
    changes.append_some(7, 620, 20).await;
    changes.compact().await;
    changes.clean_log().await;
    let done = refresh(&mut maintainer).await.unwrap();
    assert_eq!((done.changes, done.from_all), (40, false));
    assert_eq!(read(&stand.lake, None).await, changes.fold());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_is_read_in_its_newer_form() {
    let stand = Stand::new();
    let (mut changes, mut maintainer) = begun(&stand).await;
    changes.append_some(8, 600, 20).await;
    changes.compact().await;
    changes.vacuum().await;
    let done = refresh(&mut maintainer).await.unwrap();
    assert!(done.from_all, "{done:?}");
    assert_eq!(read(&stand.lake, None).await, changes.fold());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wider_column_is_wider_in_every_bucket() {
    let stand = Stand::new();
    let (mut changes, mut maintainer) = begun(&stand).await;
    changes.grow(Stage::Noted).await;
    let done = refresh(&mut maintainer).await.unwrap();
    assert_eq!(
        done.buckets_written, 0,
        "a new column is null in what is there"
    );
    changes.grow(Stage::Widened).await;
    changes.append_some(9, 600, 1).await;
    let done = refresh(&mut maintainer).await.unwrap();
    assert_eq!(
        (done.buckets_written, done.from_all),
        (done.buckets as usize, false)
    );
    assert_eq!(read(&stand.lake, None).await, changes.fold());
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_have_no_current_table() {
    let stand = Stand::new();
    let mut changes = Changes::create(&stand.lake, Shape::Append).await;
    changes.append_some(1, 0, 10).await;
    let mut maintainer = stand.maintainer(ROOMY, ROOMY);
    assert_eq!(refresh(&mut maintainer).await, None);
    assert!(!stand.lake.has_log(&table().current_path()).await.unwrap());
    let error = maintainer.rebuild(&table()).await.unwrap_err();
    assert!(
        matches!(error, MaintenanceError::NotDerived { .. }),
        "{error}"
    );
}

/// Commits to the current table as another program might.
pub(super) async fn meddle(stand: &Stand, change: impl FnOnce(&mut Draft, &TableState)) {
    let (log, mut state, _) = current(stand).await;
    let mut draft = Draft {
        layout: state.metadata.clone(),
        steps: Vec::new(),
        further: Vec::new(),
        files: Vec::new(),
        rework: None,
    };
    change(&mut draft, &state);
    let entropy = Entropy::from_os();
    commit(&log, &mut state, &draft, &SystemClock, &entropy)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_into_it_is_named_and_a_rebuild_mends_it() {
    let stand = Stand::new();
    let (mut changes, mut maintainer) = begun(&stand).await;
    let (_, _, files) = current(&stand).await;
    let (bucket, path) = files.first_key_value().unwrap();
    let twice = Add {
        path: format!("{path}.copy"),
        partition_values: [("_bucket".to_owned(), Some(bucket.clone()))].into(),
        size: 1,
        modification_time: chrono::Utc::now().timestamp_millis(),
        data_change: true,
        stats: None,
    };
    meddle(&stand, |draft, _| draft.files.push(twice)).await;
    changes.append_some(2, 600, 1).await;
    let round = maintainer.round(&[]).await;
    let [error] = &round.failed[..] else {
        panic!("{round:?}");
    };
    let error = error.to_string();
    assert!(
        error.contains("shop/stock/current") && error.contains("lakehead rebuild"),
        "{error}"
    );
    maintainer.rebuild(&table()).await.unwrap();
    assert_eq!(read(&stand.lake, None).await, changes.fold());
}

/// It leaves one file a bucket, or none, so that the table looks like one that was refreshed.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_others_deleted_are_missed_and_a_rebuild_mends_it() {
    let stand = Stand::new();
    let (mut changes, mut maintainer) = begun(&stand).await;
    let (_, _, mut files) = current(&stand).await;
    assert!(files.len() > 1);
    let (_, gone) = files.pop_first().unwrap();
    meddle(&stand, |draft, state| {
        draft.rework = Some(Rework {
            operation: "DELETE",
            metadata: state.metadata.clone(),
            removed: vec![Remove {
                path: gone,
                deletion_timestamp: Some(chrono::Utc::now().timestamp_millis()),
                data_change: true,
                ..Remove::default()
            }],
            after: None,
        });
    })
    .await;
    for from in [600, 601] {
        changes.append_some(2, from, 1).await;
        let round = maintainer.round(&[]).await;
        let [error] = &round.failed[..] else {
            panic!("{round:?}");
        };
        let error = error.to_string();
        assert!(
            error.contains("the last refresh left") && error.contains("lakehead rebuild"),
            "{error}"
        );
    }
    maintainer.rebuild(&table()).await.unwrap();
    assert_eq!(read(&stand.lake, None).await, changes.fold());
    changes.append_some(3, 700, 20).await;
    refresh(&mut maintainer).await;
    assert_eq!(read(&stand.lake, None).await, changes.fold());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_another_format_is_refused_by_name_until_it_is_rebuilt() {
    let stand = Stand::new();
    let (mut changes, mut maintainer) = begun(&stand).await;
    set_format(&stand, "0").await;
    changes.append_some(2, 600, 5).await;
    let round = maintainer.round(&[]).await;
    assert!(
        round.failed[0].to_string().contains("format is 0"),
        "{round:?}"
    );
    maintainer.rebuild(&table()).await.unwrap();
    assert_eq!(read(&stand.lake, None).await, changes.fold());
}

async fn set_format(stand: &Stand, format: &str) {
    let path = table().current_path();
    set_properties(&stand.lake, &path, &[("lakehead.format", format)]).await;
}

/// What a later version of the program says in it is not known here.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_a_later_format_is_not_rebuilt() {
    let stand = Stand::new();
    let (mut changes, mut maintainer) = begun(&stand).await;
    set_format(&stand, "2").await;
    let (_, before, _) = current(&stand).await;
    changes.append_some(2, 600, 5).await;
    let failed = maintainer.round(&[]).await.failed;
    let rebuilt = maintainer.rebuild(&table()).await.unwrap_err();
    for error in [failed.first().unwrap(), &rebuilt] {
        let error = error.to_string();
        assert!(
            error.contains("shop/stock/current") && error.contains("format is 2"),
            "{error}"
        );
    }
    let (_, after, _) = current(&stand).await;
    assert_eq!(
        (after.version, after.metadata),
        (before.version, before.metadata)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_were_replaced_by_others_are_refused() {
    let stand = Stand::new();
    begun(&stand).await;
    let version = "lakehead/maintain/shop/stock/current/changes_version";
    meddle(&stand, |draft, _| {
        draft.further.push((version.to_owned(), 99))
    })
    .await;
    let round = stand.maintainer(ROOMY, ROOMY).round(&[]).await;
    assert!(
        round.failed[0].to_string().contains("lakehead rebuild"),
        "{round:?}"
    );
}

/// The history of a table says what was done to it.
#[tokio::test(flavor = "multi_thread")]
async fn the_history_names_refreshes() {
    let stand = Stand::new();
    let (mut changes, mut maintainer) = begun(&stand).await;
    changes.append_some(2, 600, 5).await;
    refresh(&mut maintainer).await.unwrap();
    let (log, state, _) = current(&stand).await;
    let actions: Vec<Action> = log.entry(state.version).await.unwrap().unwrap();
    let info = actions
        .iter()
        .find_map(|action| action.commit_info.as_ref())
        .unwrap();
    assert_eq!(info["operation"], "REFRESH");
    assert!(actions.iter().all(|action| action.meta_data.is_none()));
    let encoded = action::encode(&actions).unwrap();
    assert!(!encoded.is_empty());
}
