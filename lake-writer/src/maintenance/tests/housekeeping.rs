//! A maintainer's rounds: files and logs are kept few, and the current table stays what it is.

use arrow::util::pretty::pretty_format_batches;
use lake_store::{PERIODS_PATH, STARTS_PATH};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use schemas::{Shape, TopicPartition};

use super::changes::{read, read_at, scanned};
use super::*;
use crate::clock::Clock;
use crate::delta_log::DeltaLog;
use crate::maintenance::register::Register;
use crate::starts::{Begun, Starts};

/// The machine's time, so many days on.
#[derive(Debug)]
pub(super) struct Later(pub(super) i64);

impl Clock for Later {
    fn now_us(&self) -> i64 {
        SystemClock.now_us() + self.0 * 86_400_000_000
    }
}

fn later(stand: &Stand, days: i64, settings: MaintenanceSettings) -> Maintainer {
    let entropy = Arc::new(Entropy::from_os());
    Maintainer::new(stand.lake.clone(), Arc::new(Later(days)), entropy, settings)
}

/// One round of which nothing fails.
async fn round(maintainer: &mut Maintainer) -> Round {
    let round = maintainer.round(&[]).await;
    assert!(round.failed.is_empty(), "{:?}", round.failed);
    assert!(round.overtaken.is_empty(), "{:?}", round.overtaken);
    round
}

/// A table of three dates with 12 files, and a current table of it that was refreshed often.
async fn begun(stand: &Stand) -> Changes {
    let mut changes = Changes::create(&stand.lake, Shape::Debezium).await;
    let mut maintainer = stand.maintainer(ByteSize::b(500), ByteSize::mib(64));
    let mut rng = StdRng::seed_from_u64(1);
    for part in 0..4 {
        changes
            .append(some_changes(&mut rng, part * 100, 100))
            .await;
        round(&mut maintainer).await;
    }
    assert_eq!(changes.file_count().await, 12);
    changes
}

async fn assert_whole(stand: &Stand, changes: &Changes) {
    assert_eq!(read(&stand.lake, None).await, changes.fold());
    let found = read_at(&stand.lake, &table().changes_path(), None).await;
    let mut places: Vec<_> = found.into_iter().map(|(_, place)| place).collect();
    places.sort_unstable();
    assert_eq!(places, changes.places());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_compacts_and_what_was_replaced_goes_when_its_time_has_come() {
    let stand = Stand::new();
    let mut changes = begun(&stand).await;
    let mut maintainer = stand.maintained(eager());
    let done = round(&mut maintainer).await.housekept;
    let [done] = &done[..] else {
        panic!("{done:?}");
    };
    assert_eq!(done.path, "shop/stock/changes");
    let files = (done.compaction.files_removed, done.compaction.files_added);
    assert_eq!((files, done.vacuum.files), ((12, 3), 0));
    assert_eq!(changes.file_count().await, 3);
    assert_whole(&stand, &changes).await;
    assert!(round(&mut maintainer).await.housekept.is_empty());
    // Eight days later: the small files go, and the buckets that the current table had before.
    let done = round(&mut later(&stand, 8, eager())).await.housekept;
    let deleted: Vec<_> = done
        .iter()
        .map(|done| (done.path.as_str(), done.vacuum.files))
        .collect();
    assert_eq!(deleted[0], ("shop/stock/changes", 12));
    assert!(
        deleted[1].0 == "shop/stock/current" && deleted[1].1 > 0,
        "{deleted:?}"
    );
    assert_whole(&stand, &changes).await;
    let more = some_changes(&mut StdRng::seed_from_u64(2), 400, 50);
    changes.append(more).await;
    round(&mut maintainer).await;
    assert_whole(&stand, &changes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_touched_that_is_switched_off_or_not_due() {
    let stand = Stand::new();
    let mut changes = begun(&stand).await;
    let mut off = later(&stand, 40, derived_only());
    assert!(round(&mut off).await.housekept.is_empty());
    assert_eq!(changes.file_count().await, 12);
    // By the default, a table's turn comes once in an hour.
    let mut hourly = stand.maintained(MaintenanceSettings {
        housekeeping_interval: Duration::from_secs(3600),
        ..eager()
    });
    assert_eq!(round(&mut hourly).await.housekept.len(), 1);
    for part in 4..8 {
        let more = some_changes(&mut StdRng::seed_from_u64(2), part * 100, 50);
        changes.append(more).await;
    }
    let next = round(&mut hourly).await;
    assert!(
        next.refreshed.len() == 1 && next.housekept.is_empty(),
        "{next:?}"
    );
    assert_whole(&stand, &changes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_goes_behind_a_checkpoint_and_the_refresh_goes_on() {
    let stand = Stand::new();
    let mut changes = begun(&stand).await;
    let path = table().changes_path();
    let newest = changes.version();
    crate::delta_log::write_checkpoint(&stand.lake, &path, newest)
        .await
        .unwrap();
    let more = some_changes(&mut StdRng::seed_from_u64(2), 400, 50);
    changes.append(more).await;
    let mut settings = eager();
    settings.compaction.enabled = false;
    let done = round(&mut later(&stand, 31, settings)).await;
    let done = done
        .housekept
        .iter()
        .find(|done| done.path == path)
        .unwrap();
    assert_eq!(done.log_cleanup.entries, newest);
    assert_eq!(done.log_cleanup.oldest_version, Some(newest));
    let log = DeltaLog::new(stand.lake.table_store(&path));
    assert!(log.entry(newest - 1).await.unwrap().is_none());
    assert_whole(&stand, &changes).await;
    let mut maintainer = stand.housekeeper(ByteSize::b(500), ByteSize::mib(64));
    maintainer.rebuild(&table()).await.unwrap();
    assert_whole(&stand, &changes).await;
}

/// Dates leave as far as the current table has them. What it has stays: for refreshes, for a
/// rebuild, and for a key whose delete is gone while an earlier change of it is not.
#[tokio::test(flavor = "multi_thread")]
async fn changes_past_their_retention_leave_and_their_rows_stay() {
    let stand = Stand::new();
    let mut changes = Changes::create(&stand.lake, Shape::Debezium).await;
    let today = i32::try_from(SystemClock.now_us() / 86_400_000_000).unwrap();
    let mut rng = StdRng::seed_from_u64(3);
    let mut aged = |from: i64, count: i64, ages: std::ops::Range<i32>| {
        let mut some = some_changes(&mut rng, from, count);
        for change in &mut some {
            change.day = today - rng.random_range(ages.clone());
        }
        some
    };
    let mut first = aged(0, 300, 3..9);
    // Its owner's clock went back between the two.
    let odd = |offset: i64, op: &'static str, age: i32| Change {
        offset,
        id: 77,
        region: "north".to_owned(),
        op,
        day: today - age,
        ..Change::default()
    };
    first.extend([odd(300, "c", 0), odd(301, "d", 8)]);
    changes.append(first).await;
    let settings = MaintenanceSettings {
        retention_days: [(table(), 5)].into(),
        bucket_bytes: ByteSize::b(500),
        ..eager()
    };
    let mut maintainer = stand.maintained(settings);
    let done = round(&mut maintainer).await.housekept;
    assert_eq!(done[0].retention.dates.len(), 3, "{done:?}");
    assert!(done[0].retention.waiting.is_empty());
    let since = changes.property(lake_store::CHANGES_SINCE_PROPERTY).await;
    let oldest = chrono::NaiveDate::default() + chrono::TimeDelta::days((today - 5).into());
    assert_eq!(since, Some(oldest.to_string()));
    let kept = read_at(&stand.lake, &table().changes_path(), None).await;
    assert!(kept.len() < 250, "{}", kept.len());
    assert_eq!(read(&stand.lake, None).await, changes.fold());
    let rebuilt = maintainer.rebuild(&table()).await.unwrap();
    assert!(rebuilt.from_all, "{rebuilt:?}");
    assert_eq!(read(&stand.lake, None).await, changes.fold());
    changes.append(aged(400, 50, 0..9)).await;
    round(&mut maintainer).await;
    assert_eq!(read(&stand.lake, None).await, changes.fold());
    maintainer.rebuild(&table()).await.unwrap();
    assert_eq!(read(&stand.lake, None).await, changes.fold());
}

/// A current table that was moved away cannot be made again from what is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_current_table_whose_changes_are_gone_is_not_made_anew() {
    let stand = Stand::new();
    let mut changes = begun(&stand).await;
    changes.retire("2022-01-10").await;
    let store = stand.lake.table_store(&table().current_path());
    super::periods::forget_all(store.as_ref()).await;
    let mut maintainer = stand.maintained(derived_only());
    let failed = maintainer.round(&[]).await.failed;
    let error = failed.first().unwrap().to_string();
    assert!(
        error.contains("2022-01-10") && error.contains("restore"),
        "{error}"
    );
}

/// Whoever made it was killed before the hint. One round writes that, and the next finds nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_without_its_hint_gets_it() {
    let stand = Stand::new();
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(Entropy::from_os()));
    let mut starts = Starts::new(&stand.lake, "p", clock, entropy);
    for number in 0..100 {
        let begun = Begun {
            table: table(),
            partition: TopicPartition::new("t", number),
            first_offset: 0,
        };
        starts.keep(&[begun]).await.unwrap();
    }
    let store = stand.lake.table_store(STARTS_PATH);
    let place = Path::from("_delta_log/_last_checkpoint");
    let mut maintainer = stand.maintained(eager());
    round(&mut maintainer).await;
    let told = async || {
        let hint = store.get(&place).await.unwrap().bytes().await.unwrap();
        let hint: serde_json::Value = serde_json::from_slice(&hint).unwrap();
        ["version", "size", "sizeInBytes"].map(|name| hint[name].as_u64())
    };
    let before = told().await;
    assert_eq!(before[0], Some(100));
    store.delete(&place).await.unwrap();
    round(&mut maintainer).await;
    assert_eq!(told().await, before);
    let written = store.head(&place).await.unwrap().last_modified;
    round(&mut maintainer).await;
    assert_eq!(
        store.head(&place).await.unwrap().last_modified,
        written,
        "written once"
    );
}

/// A revision of one period's snapshot.
fn revision(revision: i64) -> Snapshot {
    Snapshot {
        table: table(),
        period: "2026-06".parse().unwrap(),
        revision,
        until_us: 7,
        time_zone: "UTC".to_owned(),
        changes_version: revision.unsigned_abs(),
        changes_commit: Some(revision),
        rows: 3,
        made_at_us: revision,
        fingerprint: revision,
    }
}

/// The rows of the register as delta-rs reads them, in no order.
async fn registered(stand: &Stand) -> Vec<String> {
    let rows = scanned(&stand.lake, PERIODS_PATH, None).await;
    let shown = pretty_format_batches(&rows).unwrap().to_string();
    let mut rows: Vec<String> = shown.lines().map(str::to_owned).collect();
    rows.sort();
    rows
}

/// A registration leaves a file of one row. The compaction of these is the version at which the register
/// would have made a checkpoint, so the table's turn makes it.
#[tokio::test(flavor = "multi_thread")]
async fn registrations_become_few_files_and_the_register_goes_on() {
    let stand = Stand::new();
    let means = Means {
        lake: stand.lake.clone(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(Entropy::from_os()),
        settings: Arc::new(eager()),
        room: Arc::default(),
    };
    let mut register = Register::new(&stand.lake);
    for number in 1..100 {
        register.add(&revision(number), &means).await.unwrap();
    }
    let (before, known) = (
        registered(&stand).await,
        register.of(&table()).await.unwrap(),
    );
    let mut maintainer = stand.maintained(eager());
    let done = round(&mut maintainer).await.housekept;
    let [done] = &done[..] else {
        panic!("{done:?}");
    };
    assert_eq!(done.path, PERIODS_PATH);
    let files = (done.compaction.files_removed, done.compaction.files_added);
    assert_eq!((files, done.compaction.rows), ((99, 1), 99));
    assert_eq!(registered(&stand).await, before);
    let log = DeltaLog::new(stand.lake.table_store(PERIODS_PATH));
    let checkpoint = log.hint().await.unwrap().map(|(version, _)| version);
    assert_eq!(checkpoint, Some(100));
    assert!(round(&mut maintainer).await.housekept.is_empty());
    register.forget();
    let found = register.of(&table()).await.unwrap();
    assert_eq!(found.made, known.made);
    register.add(&revision(100), &means).await.unwrap();
    let mut anew = Register::new(&stand.lake);
    let found = anew.of(&table()).await.unwrap();
    let revisions: Vec<i64> = found.made.values().map(|made| made.revision).collect();
    assert_eq!(revisions, [100]);
    assert_eq!(log.files(|_| true).await.unwrap().len(), 2);
    assert_eq!(registered(&stand).await.len(), before.len() + 1);
}
