//! Changes that were put back from a backup: they come to the same versions again by other entries.

use object_store::ObjectStoreExt;
use schemas::Shape;

use super::changes::read;
use super::periods::{Office, forget_all};
use super::refresh::ROOMY;
use super::*;
use crate::delta_log::{DeltaLog, Put, entry_path};

/// A current table that covers 15 versions of 100 changes each.
async fn covering_fifteen(stand: &Stand) -> (Changes, Maintainer) {
    let mut changes = Changes::create(&stand.lake, Shape::Upsert).await;
    for version in 1..=15 {
        let from = (version - 1) * 100;
        changes.append_some(version as u64, from, 100).await;
    }
    let mut maintainer = stand.maintainer(ByteSize::b(500), ROOMY);
    assert_eq!(refresh(&mut maintainer).await.unwrap().changes_version, 15);
    (changes, maintainer)
}

/// The table of changes is at version 10 again, and comes to version 17: the first of these has more
/// than five versions had before.
async fn put_back(changes: &mut Changes) {
    changes.put_back(10, 1000).await;
    changes.append_some(20, 1000, 600).await;
    for version in 0..6 {
        let from = 1600 + version * 10;
        changes.append_some(21 + version as u64, from, 10).await;
    }
    assert_eq!(changes.version(), 17);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_current_table_is_computed_from_all_of_them() {
    for is_other_process in [false, true] {
        let stand = Stand::new();
        let (mut changes, mut maintainer) = covering_fifteen(&stand).await;
        put_back(&mut changes).await;
        if is_other_process {
            maintainer = stand.maintainer(ByteSize::b(500), ROOMY);
        }
        let done = refresh(&mut maintainer).await.unwrap();
        assert!(done.from_all, "{done:?}");
        assert_eq!(read(&stand.lake, None).await, changes.fold());
        // From there on it is told again by what is new.
        changes.append_some(30, 1700, 10).await;
        assert!(!refresh(&mut maintainer).await.unwrap().from_all);
        assert_eq!(read(&stand.lake, None).await, changes.fold());
    }
}

/// Rounds go on while the writer catches up, and it comes to rest at the version covered.
#[tokio::test(flavor = "multi_thread")]
async fn before_they_have_caught_up_it_is_an_error() {
    let stand = Stand::new();
    let (mut changes, mut maintainer) = covering_fifteen(&stand).await;
    changes.put_back(10, 1000).await;
    for version in 11..=15 {
        let failed = maintainer.round(&[]).await.failed;
        let error = failed.first().unwrap().to_string();
        assert!(error.contains("lakehead rebuild"), "{error}");
        let from = (version - 1) * 100;
        changes.append_some(100 + version as u64, from, 100).await;
    }
    assert!(refresh(&mut maintainer).await.unwrap().from_all);
    assert_eq!(read(&stand.lake, None).await, changes.fold());
}

/// What an earlier program made says no more than a version. It is believed, as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_says_only_a_version_is_gone_on_with() {
    let stand = Stand::new();
    let (mut changes, _) = covering_fifteen(&stand).await;
    let log = DeltaLog::new(stand.lake.table_store(&table().current_path()));
    let mut state = log.load().await.unwrap().unwrap();
    for what in ["changes_commit", "changes_table"] {
        let app_id = format!("lakehead/maintain/shop/stock/current/{what}");
        assert!(state.txns.remove(&app_id).is_some());
    }
    // The same table without them.
    let files = log.files_at(state.version).await.unwrap().unwrap();
    let mut actions: Vec<crate::action::Action> = vec![
        crate::action::Protocol::PLAIN.into(),
        state.metadata.clone().into(),
    ];
    actions.extend(state.txns.into_iter().map(|(app_id, version)| {
        crate::action::Txn {
            app_id,
            version,
            last_updated: None,
        }
        .into()
    }));
    actions.extend(files.into_iter().map(Into::into));
    for version in 0..=state.version {
        log.store().delete(&entry_path(version)).await.unwrap();
    }
    let entry = crate::action::encode(&actions).unwrap();
    log.put(0, entry.into()).await;
    let mut maintainer = stand.maintainer(ByteSize::b(500), ROOMY);
    assert_eq!(refresh(&mut maintainer).await, None);
    changes.append_some(20, 1500, 10).await;
    let done = refresh(&mut maintainer).await.unwrap();
    assert_eq!((done.changes, done.from_all), (10, false));
    assert_eq!(read(&stand.lake, None).await, changes.fold());
    put_back(&mut changes).await;
    assert!(refresh(&mut maintainer).await.unwrap().from_all);
}

/// The log has lost the entry that the table covers: offsets tell what is new.
#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_can_tell_the_entries_after_it_are_not_believed() {
    let stand = Stand::new();
    let (mut changes, mut maintainer) = covering_fifteen(&stand).await;
    // As if they had been put back long ago: version 15 has what is covered, and what is not.
    changes.put_back(14, 1400).await;
    let mut both = some_changes(&mut StdRng::seed_from_u64(15), 1400, 100);
    both.extend(some_changes(&mut StdRng::seed_from_u64(16), 1500, 100));
    changes.append(both).await;
    changes.append_some(17, 1600, 10).await;
    changes.clean_log().await;
    let done = refresh(&mut maintainer).await.unwrap();
    assert_eq!((done.changes, done.from_all), (110, false));
    assert_eq!(read(&stand.lake, None).await, changes.fold());
}

/// It cannot be computed from what is left.
#[tokio::test(flavor = "multi_thread")]
async fn where_changes_have_passed_their_retention_it_is_refused_by_name() {
    let stand = Stand::new();
    let (mut changes, mut maintainer) = covering_fifteen(&stand).await;
    put_back(&mut changes).await;
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(Entropy::from_os()));
    let retention = Retention::new(&stand.lake, &table(), 5, clock, entropy);
    let error = retention.run().await.unwrap_err().to_string();
    assert!(
        error.contains("shop/stock/changes") && error.contains("nothing is removed"),
        "{error}"
    );
    changes.retire("2022-01-10").await;
    let failed = maintainer.round(&[]).await.failed;
    let rebuilt = maintainer.rebuild(&table()).await.unwrap_err();
    for error in [failed.first().unwrap(), &rebuilt] {
        let error = error.to_string();
        assert!(
            error.contains("version 15 of shop/stock/changes")
                && error.contains("both were put back"),
            "{error}"
        );
    }
}

/// Their versions begin anew, so that these do not tell whether the writer has caught up.
#[tokio::test(flavor = "multi_thread")]
async fn changes_that_were_made_again_are_folded_at_once() {
    let stand = Stand::new();
    let (_, mut maintainer) = covering_fifteen(&stand).await;
    let store = stand.lake.table_store(&table().changes_path());
    forget_all(store.as_ref()).await;
    let mut changes = Changes::create(&stand.lake, Shape::Upsert).await;
    changes.append_some(30, 0, 100).await;
    let done = refresh(&mut maintainer).await.unwrap();
    assert_eq!((done.changes_version, done.from_all), (1, true));
    assert_eq!(read(&stand.lake, None).await, changes.fold());
    changes.append_some(31, 100, 10).await;
    assert!(!refresh(&mut maintainer).await.unwrap().from_all);
    assert_eq!(read(&stand.lake, None).await, changes.fold());
}

/// A current table that covers 16 versions, by which all dates have passed their retention, and its log,
/// which is at version 15 of the changes again; and the entry that it lacks.
async fn current_put_back(stand: &Stand) -> (Changes, Maintainer, DeltaLog, bytes::Bytes) {
    let (mut changes, mut maintainer) = covering_fifteen(stand).await;
    changes.append_some(20, 1500, 100).await;
    assert_eq!(refresh(&mut maintainer).await.unwrap().changes_version, 16);
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(Entropy::from_os()));
    let retention = Retention::new(&stand.lake, &table(), 5, clock, entropy);
    assert_eq!(retention.run().await.unwrap().dates.len(), 3);
    let log = DeltaLog::new(stand.lake.table_store(&table().current_path()));
    assert_eq!(log.load().await.unwrap().unwrap().version, 2);
    let entry = log.entry_bytes(2).await.unwrap().unwrap();
    log.store().delete(&entry_path(2)).await.unwrap();
    (changes, maintainer, log, entry)
}

/// Rows that are in no file any more: neither in what it is made of again, nor in what it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_current_table_of_before_changes_left_is_refused_by_name() {
    for is_log_cleaned in [false, true] {
        let stand = Stand::new();
        let (mut changes, mut maintainer, log, entry) = current_put_back(&stand).await;
        match is_log_cleaned {
            true => changes.clean_log().await,
            false => changes.vacuum().await,
        }
        let failed = maintainer.round(&[]).await.failed;
        let rebuilt = maintainer.rebuild(&table()).await.unwrap_err();
        for error in [failed.first().unwrap(), &rebuilt] {
            let error = error.to_string();
            assert!(
                error.contains("shop/stock/current: it covers version 15")
                    && error.contains("a backup that covers at least version 16"),
                "{error}"
            );
        }
        // A backup of after that is as good as ever.
        assert!(matches!(log.put(2, entry).await, Put::Done));
        assert_eq!(refresh(&mut maintainer).await, None);
        assert_eq!(read(&stand.lake, None).await, changes.fold());
    }
}

/// The store has their files until a vacuum, and the log tells which they are.
#[tokio::test(flavor = "multi_thread")]
async fn changes_that_left_lately_are_read_again() {
    let stand = Stand::new();
    let (changes, mut maintainer, ..) = current_put_back(&stand).await;
    let done = refresh(&mut maintainer).await.unwrap();
    assert_eq!((done.changes, done.from_all), (100, false));
    assert_eq!(read(&stand.lake, None).await, changes.fold());
}

#[tokio::test(flavor = "multi_thread")]
async fn periods_that_were_looked_at_are_folded_once_more() {
    let mut office = Office::new("2026-07-01T12:00:00Z", &[PeriodLength::Month]).await;
    for id in 1..=3 {
        office.change(id, "c", id, "2026-06-10T12:00:00Z").await;
    }
    assert_eq!(office.round().await, ["2026-06 r1"]);
    office.changes.put_back(2, 2).await;
    // At version 3 there is nothing new to be seen; what comes after it is of July.
    office.change(4, "c", 4, "2026-06-11T12:00:00Z").await;
    assert_eq!(office.round().await, [""; 0]);
    office.change(5, "c", 5, "2026-07-01T08:00:00Z").await;
    assert_eq!(office.round().await, ["2026-06 r2"]);
    let rows: Vec<i64> = office
        .rows("2026-06", 2)
        .await
        .into_iter()
        .map(|row| row.0)
        .collect();
    assert_eq!(rows, [1, 2, 4]);
    office.change(6, "c", 6, "2026-07-01T08:00:00Z").await;
    assert_eq!(office.round().await, [""; 0]);
}
