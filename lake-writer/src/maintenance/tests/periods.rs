//! Period snapshots against an independent fold by the owner's time.

use std::collections::BTreeMap;
use std::sync::Mutex;

use chrono::DateTime;
use object_store::ObjectStoreExt;
use schemas::Shape;

use super::changes::{Row, read_at};
use super::*;
use crate::clock::Clock;
use crate::delta_log::{DeltaLog, entry_path};

/// A clock that stands until it is set.
#[derive(Debug)]
pub(super) struct Hands(Mutex<i64>);

impl Clock for Hands {
    fn now_us(&self) -> i64 {
        *self.0.lock().unwrap()
    }
}

pub(super) fn us(time: &str) -> i64 {
    DateTime::parse_from_rfc3339(time)
        .unwrap()
        .timestamp_micros()
}

/// A lake, its clock, and a maintainer that keeps periods in Stockholm's time.
pub(super) struct Office {
    pub(super) stand: Stand,
    pub(super) clock: Arc<Hands>,
    pub(super) changes: Changes,
    pub(super) maintainer: Maintainer,
    offset: i64,
}

impl Office {
    pub(super) async fn new(now: &str, periods: &[PeriodLength]) -> Self {
        let stand = Stand::new();
        let clock = Arc::new(Hands(Mutex::new(us(now))));
        let changes = Changes::create(&stand.lake, Shape::Upsert).await;
        let maintainer = maintainer(&stand, &clock, periods);
        Self {
            stand,
            clock,
            changes,
            maintainer,
            offset: 0,
        }
    }

    pub(super) fn set(&self, now: &str) {
        *self.clock.0.lock().unwrap() = us(now);
    }

    pub(super) async fn change(&mut self, id: i64, op: &'static str, n: i64, time: &str) {
        let change = Change {
            offset: self.offset,
            id,
            op,
            n: Some(n),
            region: "north".to_owned(),
            ..Change::default()
        };
        self.offset += 1;
        self.changes.append(vec![change.at(us(time))]).await;
    }

    /// One round; what was made, as `period r<n>`.
    pub(super) async fn round(&mut self) -> Vec<String> {
        let round = self.maintainer.round(&[]).await;
        assert!(
            round.failed.is_empty() && round.overtaken.is_empty(),
            "{round:?}"
        );
        let made = round.snapshots.iter();
        made.map(|made| format!("{} r{}", made.period, made.revision))
            .collect()
    }

    pub(super) async fn rows(&self, period: &str, revision: i64) -> Vec<Row> {
        let path = table().period_path(period, revision);
        let rows = read_at(&self.stand.lake, &path, None).await;
        rows.into_iter().map(|(row, _)| row).collect()
    }
}

pub(super) fn maintainer(
    stand: &Stand,
    clock: &Arc<Hands>,
    periods: &[PeriodLength],
) -> Maintainer {
    let settings = MaintenanceSettings {
        periods: periods.to_vec(),
        time_zone: "Europe/Stockholm".to_owned(),
        period_delay: std::time::Duration::from_secs(3600),
        bucket_bytes: ByteSize::kib(1),
        ..derived_only()
    };
    let (clock, entropy): (Arc<dyn Clock>, _) =
        (Arc::clone(clock) as _, Arc::new(Entropy::from_os()));
    Maintainer::new(stand.lake.clone(), clock, entropy, settings)
}

pub(super) fn row(id: i64, n: i64) -> Row {
    (id, "north".to_owned(), Some(n), None)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_is_kept_when_it_is_over_and_the_delay_too() {
    let lengths = [
        PeriodLength::Month,
        PeriodLength::Quarter,
        PeriodLength::Year,
    ];
    let mut office = Office::new("2026-12-15T12:00:00Z", &lengths).await;
    office.change(1, "c", 1, "2026-12-10T12:00:00Z").await;
    office.change(2, "c", 2, "2026-12-10T12:00:00Z").await;
    assert_eq!(
        office.round().await,
        [""; 0],
        "nothing was there when November ended"
    );
    // The last minute of the year in Stockholm, and the first one.
    office.change(1, "u", 10, "2026-12-31T22:59:59Z").await;
    office.change(2, "d", 0, "2026-12-31T23:00:00Z").await;
    office.set("2026-12-31T23:59:59Z");
    assert_eq!(office.round().await, [""; 0], "the delay is not over");
    office.set("2027-01-01T00:00:00Z");
    assert_eq!(
        office.round().await,
        ["2026-12 r1", "2026-q4 r1", "2026 r1"]
    );
    for period in ["2026-12", "2026-q4", "2026"] {
        assert_eq!(
            office.rows(period, 1).await,
            [row(1, 10), row(2, 2)],
            "{period}"
        );
    }
    assert_eq!(office.round().await, [""; 0], "once");
    assert_eq!(
        read(&office).await,
        [row(1, 10)],
        "the current table goes on"
    );
    // A writer that was down: months that went by are made up for.
    office.set("2027-04-01T00:00:00Z");
    assert_eq!(
        office.round().await,
        ["2027-01 r1", "2027-02 r1", "2027-03 r1", "2027-q1 r1"]
    );
    assert_eq!(office.rows("2027-03", 1).await, [row(1, 10)]);
}

async fn read(office: &Office) -> Vec<Row> {
    let rows = super::changes::read(&office.stand.lake, None).await;
    rows.into_iter().map(|(row, _)| row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_change_makes_a_revision_and_both_stay() {
    let mut office = Office::new("2026-07-01T12:00:00Z", &[PeriodLength::Month]).await;
    office.change(1, "c", 1, "2026-05-10T12:00:00Z").await;
    office.change(2, "c", 2, "2026-06-10T12:00:00Z").await;
    assert_eq!(office.round().await, ["2026-06 r1"]);
    let first = office.rows("2026-06", 1).await;
    office.change(3, "c", 3, "2026-06-30T12:00:00Z").await;
    assert_eq!(office.round().await, ["2026-06 r2"]);
    assert_eq!(
        office.rows("2026-06", 2).await,
        [row(1, 1), row(2, 2), row(3, 3)]
    );
    assert_eq!(office.rows("2026-06", 1).await, first);
    // Its own time is in June, but its key has gone on in July before it: it is of July.
    office.change(1, "u", 7, "2026-07-01T08:00:00Z").await;
    office.change(1, "u", 8, "2026-06-20T08:00:00Z").await;
    assert_eq!(office.round().await, [""; 0]);
    assert_eq!(read(&office).await[0], row(1, 8));
    // What is not over yet is not there, and what was never asked for neither.
    office.set("2026-08-01T12:00:00Z");
    assert_eq!(office.round().await, ["2026-07 r1"]);
    assert_eq!(
        office.rows("2026-07", 1).await,
        [row(1, 8), row(2, 2), row(3, 3)]
    );
    // Another process finds what was noted.
    office.maintainer = maintainer(&office.stand, &office.clock, &[PeriodLength::Month]);
    assert_eq!(office.round().await, [""; 0]);
    office.change(2, "d", 0, "2026-06-11T08:00:00Z").await;
    assert_eq!(office.round().await, ["2026-06 r3", "2026-07 r2"]);
    assert_eq!(office.rows("2026-07", 2).await, [row(1, 8), row(3, 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_late_for_a_period_without_rows_is_seen_by_another_process() {
    let mut office = Office::new("2026-07-01T12:00:00Z", &[PeriodLength::Month]).await;
    office.change(1, "c", 1, "2026-07-01T08:00:00Z").await;
    assert_eq!(office.round().await, [""; 0], "June had no rows");
    office.set("2026-08-01T12:00:00Z");
    assert_eq!(office.round().await, ["2026-07 r1"]);
    let store = office.stand.lake.table_store(lake_store::PERIODS_PATH);
    let register = DeltaLog::new(store);
    assert_eq!(register.files(|_| true).await.unwrap().len(), 1, "no row");
    office.maintainer = maintainer(&office.stand, &office.clock, &[PeriodLength::Month]);
    assert_eq!(office.round().await, [""; 0]);
    office.change(2, "c", 2, "2026-06-10T12:00:00Z").await;
    office.maintainer = maintainer(&office.stand, &office.clock, &[PeriodLength::Month]);
    assert_eq!(office.round().await, ["2026-06 r1", "2026-07 r2"]);
    assert_eq!(office.rows("2026-06", 1).await, [row(2, 2)]);
    assert_eq!(office.round().await, [""; 0]);
}

/// The changes' log is cleaned by time: what seldom changes is noted before its entries go.
#[tokio::test(flavor = "multi_thread")]
async fn how_far_was_looked_is_noted_once_a_day_and_by_every_process() {
    let mut office = Office::new("2026-07-01T12:00:00Z", &[PeriodLength::Month]).await;
    office.change(1, "c", 1, "2026-06-10T12:00:00Z").await;
    assert_eq!(office.round().await, ["2026-06 r1"]);
    let store = office.stand.lake.table_store(lake_store::PERIODS_PATH);
    let register = DeltaLog::new(store);
    let noted = async || {
        let state = register.load().await.unwrap().unwrap();
        let name = format!("lakehead/periods/{TABLE}/2026-06/changes_version");
        u64::try_from(state.txns[&name]).unwrap()
    };
    office.change(2, "c", 2, "2026-07-01T08:00:00Z").await;
    assert_eq!(office.round().await, [""; 0]);
    let first = office.changes.version();
    assert_eq!(noted().await, first);
    office.change(3, "c", 3, "2026-07-01T09:00:00Z").await;
    assert_eq!(office.round().await, [""; 0]);
    assert_eq!(noted().await, first, "it is the same day");
    office.set("2026-07-02T12:00:00Z");
    assert_eq!(office.round().await, [""; 0]);
    assert_eq!(noted().await, office.changes.version());
    // What is gone is folded once, and that is noted, too.
    office.change(4, "c", 4, "2026-07-01T10:00:00Z").await;
    office.changes.clean_log().await;
    office.maintainer = maintainer(&office.stand, &office.clock, &[PeriodLength::Month]);
    assert_eq!(office.round().await, [""; 0]);
    assert_eq!(noted().await, office.changes.version());
}

/// A writer that was held up lands a change that is before those of the generation after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_an_earlier_generation_is_late_whatever_its_time() {
    let mut office = Office::new("2026-07-01T12:00:00Z", &[PeriodLength::Month]).await;
    office.change(1, "c", 1, "2026-06-10T12:00:00Z").await;
    assert_eq!(office.round().await, ["2026-06 r1"]);
    let change = |generation, offset, n| Change {
        generation,
        offset,
        id: 1,
        op: "u",
        n: Some(n),
        region: "north".to_owned(),
        ..Change::default()
    };
    let newer = change(1, 0, 2).at(us("2026-06-20T12:00:00Z"));
    office.changes.flush(vec![newer], &[(0, 1)]).await;
    assert_eq!(office.round().await, ["2026-06 r2"]);
    let held_up = change(0, 1, 3).at(us("2026-07-01T08:00:00Z"));
    office.changes.append(vec![held_up]).await;
    assert_eq!(office.round().await, ["2026-06 r3"]);
    assert_eq!(office.rows("2026-06", 3).await, [row(1, 1)]);
    assert_eq!(office.round().await, [""; 0]);
}

/// An earlier program registers a revision and leaves the version of the changes as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_not_told_of_the_revision_is_not_believed() {
    let mut office = Office::new("2026-07-01T12:00:00Z", &[PeriodLength::Month]).await;
    office.change(1, "c", 1, "2026-06-10T12:00:00Z").await;
    assert_eq!(office.round().await, ["2026-06 r1"]);
    office.change(2, "c", 2, "2026-06-11T12:00:00Z").await;
    let newest = i64::try_from(office.changes.version()).unwrap();
    let store = office.stand.lake.table_store(lake_store::PERIODS_PATH);
    let log = DeltaLog::new(store);
    let tell = async |revision: i64| {
        let mut state = log.load().await.unwrap().unwrap();
        let of = |what: &str| (format!("lakehead/periods/{TABLE}/2026-06/{what}"), revision);
        let draft = crate::commit::Draft {
            layout: state.metadata.clone(),
            steps: Vec::new(),
            further: vec![of("changes_version_of"), (of("changes_version").0, newest)],
            files: Vec::new(),
            rework: None,
        };
        let (clock, entropy) = (crate::SystemClock, Entropy::from_os());
        let done = crate::commit::commit(&log, &mut state, &draft, &clock, &entropy);
        done.await.unwrap();
    };
    tell(1).await;
    office.maintainer = maintainer(&office.stand, &office.clock, &[PeriodLength::Month]);
    assert_eq!(office.round().await, [""; 0], "somebody looked");
    tell(0).await;
    office.maintainer = maintainer(&office.stand, &office.clock, &[PeriodLength::Month]);
    assert_eq!(office.round().await, ["2026-06 r2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_one_version_and_is_listed() {
    let mut office = Office::new("2026-07-01T12:00:00Z", &[PeriodLength::Month]).await;
    office.change(1, "c", 1, "2026-06-10T12:00:00Z").await;
    office.round().await;
    office.change(2, "c", 2, "2026-06-11T12:00:00Z").await;
    office.round().await;
    let log = |path: &str| DeltaLog::new(office.stand.lake.table_store(path));
    let state = log("shop/stock/periods/2026-06/r1")
        .load()
        .await
        .unwrap()
        .unwrap();
    assert_eq!((state.version, state.txns.get("p/t/0")), (0, Some(&1)));
    let listed = super::changes::scanned(&office.stand.lake, lake_store::PERIODS_PATH, None).await;
    let mut found = BTreeMap::new();
    for batch in listed {
        use arrow::array::AsArray;
        let text = |name: &str| {
            let column = batch.column_by_name(name).unwrap();
            arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8).unwrap()
        };
        for row in 0..batch.num_rows() {
            let value = |name: &str| text(name).as_string::<i32>().value(row).to_owned();
            found.insert(
                value("path"),
                (
                    value("table"),
                    value("period"),
                    value("revision"),
                    value("rows"),
                ),
            );
        }
    }
    let row = |revision: &str, rows: &str| {
        let [table, period] = ["shop.stock", "2026-06"].map(str::to_owned);
        (table, period, revision.to_owned(), rows.to_owned())
    };
    assert_eq!(
        found,
        BTreeMap::from([
            ("shop/stock/periods/2026-06/r1".to_owned(), row("1", "1")),
            ("shop/stock/periods/2026-06/r2".to_owned(), row("2", "2")),
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_and_not_registered_is_registered() {
    let mut office = Office::new("2026-07-01T12:00:00Z", &[PeriodLength::Month]).await;
    office.change(1, "c", 1, "2026-06-10T12:00:00Z").await;
    assert_eq!(office.round().await, ["2026-06 r1"]);
    // As if it had been killed before it was registered.
    let store = office.stand.lake.table_store(lake_store::PERIODS_PATH);
    forget_all(store.as_ref()).await;
    office.maintainer = maintainer(&office.stand, &office.clock, &[PeriodLength::Month]);
    assert_eq!(office.round().await, ["2026-06 r1"]);
    forget_all(store.as_ref()).await;
    office.change(2, "c", 2, "2026-06-11T12:00:00Z").await;
    office.maintainer = maintainer(&office.stand, &office.clock, &[PeriodLength::Month]);
    assert_eq!(office.round().await, ["2026-06 r1", "2026-06 r2"]);
    assert_eq!(office.rows("2026-06", 2).await, [row(1, 1), row(2, 2)]);
}

pub(super) async fn forget_all(store: &dyn object_store::ObjectStore) {
    use futures::TryStreamExt;
    let all: Vec<_> = store.list(None).try_collect().await.unwrap();
    for object in all {
        store.delete(&object.location).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_at_once_one_makes_it() {
    let mut office = Office::new("2026-07-01T12:00:00Z", &[PeriodLength::Month]).await;
    for id in 0..20 {
        office.change(id, "c", id, "2026-06-10T12:00:00Z").await;
    }
    let mut other = maintainer(&office.stand, &office.clock, &[PeriodLength::Month]);
    let (one, two) = tokio::join!(office.maintainer.round(&[]), other.round(&[]));
    assert!(
        one.failed.is_empty() && two.failed.is_empty(),
        "{one:?} {two:?}"
    );
    assert_eq!(office.round().await, [""; 0]);
    assert_eq!(office.rows("2026-06", 1).await.len(), 20);
    let path = table().period_path("2026-06", 2);
    assert!(!office.stand.lake.has_log(&path).await.unwrap());
}

/// Somebody made the snapshot of what there was, a change came late, and this process saw it before
/// it knew of the snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_change_that_was_seen_before_the_snapshot_makes_a_revision() {
    let mut office = Office::new("2026-06-30T12:00:00Z", &[PeriodLength::Month]).await;
    office.change(1, "c", 1, "2026-05-10T12:00:00Z").await;
    assert_eq!(office.round().await, ["2026-05 r1"]);
    office.change(1, "u", 2, "2026-06-10T12:00:00Z").await;
    assert_eq!(office.round().await, [""; 0], "it has noted May for today");
    let store = office.stand.lake.table_store(lake_store::PERIODS_PATH);
    let register = DeltaLog::new(Arc::clone(&store));
    let before = register.load().await.unwrap().unwrap().version;
    // Its clock is ahead.
    let ahead = Arc::new(Hands(Mutex::new(us("2026-07-01T12:00:00Z"))));
    let mut other = maintainer(&office.stand, &ahead, &[PeriodLength::Month]);
    let made = other.round(&[]).await.snapshots;
    assert_eq!(made.len(), 1);
    let newest = register.load().await.unwrap().unwrap().version;
    let mut registered = Vec::new();
    for version in before + 1..=newest {
        let entry = crate::delta_log::entry_path(version);
        let bytes = store.get(&entry).await.unwrap().bytes().await.unwrap();
        store.delete(&entry).await.unwrap();
        registered.push((entry, bytes));
    }
    office.change(1, "u", 3, "2026-06-20T12:00:00Z").await;
    assert_eq!(
        office.round().await,
        [""; 0],
        "June is not over, and nobody knows of a snapshot"
    );
    for (entry, bytes) in registered {
        store.put(&entry, bytes.into()).await.unwrap();
    }
    assert_eq!(office.round().await, ["2026-06 r2"]);
    assert_eq!(office.rows("2026-06", 2).await, [row(1, 3)]);
    assert_eq!(office.round().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_is_equal_or_a_revision_and_earlier_periods_can_be_asked_for() {
    let mut office = Office::new("2026-07-01T12:00:00Z", &[PeriodLength::Month]).await;
    office.change(1, "c", 1, "2025-11-10T12:00:00Z").await;
    office.change(1, "u", 2, "2026-06-10T12:00:00Z").await;
    assert_eq!(office.round().await, ["2026-06 r1"]);
    let mut rebuild = async |period: &str| {
        let made = office
            .maintainer
            .rebuild_period(&table(), period.parse().unwrap())
            .await;
        made.map(|made| made.len())
            .map_err(|error| error.to_string())
    };
    assert_eq!(rebuild("2026-06").await, Ok(0));
    assert_eq!(rebuild("2025").await, Ok(1));
    assert_eq!(rebuild("2025").await, Ok(0));
    let error = rebuild("2026-07").await.unwrap_err();
    assert!(error.contains("2026-07 is not over"), "{error}");
    assert_eq!(office.rows("2025", 1).await, [row(1, 1)]);

    // One that somebody deleted, or some of its files, is made again as the next revision.
    let lake = office.stand.lake.clone();
    let store = |revision| lake.table_store(&table().period_path("2025", revision));
    let (first, second) = (store(1), store(2));
    let files = DeltaLog::new(Arc::clone(&first)).files(|_| true).await;
    let file = files.unwrap().remove(0).path;
    first.delete(&file.as_str().into()).await.unwrap();
    let mut rebuild = async || {
        let period = "2025".parse().unwrap();
        let made = office.maintainer.rebuild_period(&table(), period).await;
        made.unwrap().len()
    };
    assert_eq!((rebuild().await, rebuild().await), (1, 0));
    second.delete(&entry_path(0)).await.unwrap();
    assert_eq!((rebuild().await, rebuild().await), (1, 0));
}

/// Random owners' clocks, late and disordered, in so little memory that keys are folded in parts.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_the_fold_up_to_its_moment() {
    for seed in 0..8 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut office = Office::new("2026-07-01T12:00:00Z", &[PeriodLength::Month]).await;
        office.maintainer = {
            let settings = MaintenanceSettings {
                periods: vec![PeriodLength::Month],
                memory_bytes_max: ByteSize::kib([16, 64][rng.random_range(0..2)]),
                bucket_bytes: ByteSize::b(600),
                ..MaintenanceSettings::default()
            };
            let (clock, entropy): (Arc<dyn Clock>, _) =
                (Arc::clone(&office.clock) as _, Arc::new(Entropy::from_os()));
            Maintainer::new(office.stand.lake.clone(), clock, entropy, settings)
        };
        let until = us("2026-07-01T00:00:00Z");
        for flush in 0..4 {
            let mut changes = some_changes(&mut rng, flush * 100, 100);
            for change in &mut changes {
                let time_us = until + rng.random_range(-4..2) * 7 * 3_600_000_000 + change.offset;
                *change = change.clone().at(time_us);
            }
            office.changes.append(changes).await;
            office.round().await;
            let known = (1..=flush + 1).rev();
            let mut newest = None;
            for revision in known {
                let path = table().period_path("2026-06", revision);
                if office.stand.lake.has_log(&path).await.unwrap() {
                    newest = Some(read_at(&office.stand.lake, &path, None).await);
                    break;
                }
            }
            let found = newest.unwrap_or_default();
            assert_eq!(
                found,
                office.changes.fold_until(until),
                "seed {seed}, flush {flush}"
            );
        }
    }
}
