//! Period snapshots against an independent fold by the owner's time.

use std::collections::BTreeMap;
use std::sync::Mutex;

use chrono::DateTime;
use object_store::ObjectStoreExt;
use schemas::Shape;

use super::changes::{Row, read_at};
use super::*;
use crate::action;
use crate::clock::Clock;
use crate::delta_log::{DeltaLog, Put, entry_path};
use crate::layout;
use crate::maintenance::fixture::set_properties;
use crate::{Meter, MeteredStore};

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

    /// One whose writer goes by its clock, and where nothing is made while changes have come for so many
    /// minutes.
    pub(super) async fn patient(now: &str, periods: &[PeriodLength], minutes: u64) -> Self {
        let mut office = Self::new(now, periods).await;
        let clock = Arc::clone(&office.clock) as Arc<dyn Clock>;
        office.changes = office.changes.by(clock);
        office.begin_again(patient(periods, minutes));
        office
    }

    pub(super) fn set(&self, now: &str) {
        *self.clock.0.lock().unwrap() = us(now);
    }

    /// So many minutes go by.
    pub(super) fn pass(&self, minutes: i64) {
        *self.clock.0.lock().unwrap() += minutes * 60_000_000;
    }

    /// Another process takes over.
    fn begin_again(&mut self, settings: MaintenanceSettings) {
        self.maintainer = kept_by(&self.stand, &self.clock, settings);
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
        made(&round)
    }

    /// One round of which something fails; what it says.
    async fn failure(&mut self) -> String {
        let round = self.maintainer.round(&[]).await;
        assert!(!round.failed.is_empty(), "{round:?}");
        let failed = round.failed.iter().map(ToString::to_string);
        failed.collect::<Vec<_>>().join("\n")
    }

    /// The log of a table that is no snapshot, where one would be.
    async fn odd(&self, period: &str, revision: i64) -> DeltaLog {
        let path = table().period_path(period, revision);
        let log = DeltaLog::new(self.stand.lake.table_store(&path));
        let schema = lake_store::periods_schema();
        let metadata = layout::system_metadata(&schema, uuid::Uuid::nil(), 0).unwrap();
        log.put(0, action::creation(metadata, 0).unwrap()).await;
        log
    }

    /// The log of the register.
    fn register(&self) -> DeltaLog {
        DeltaLog::new(self.stand.lake.table_store(lake_store::PERIODS_PATH))
    }

    pub(super) async fn rows(&self, period: &str, revision: i64) -> Vec<Row> {
        let path = table().period_path(period, revision);
        let rows = read_at(&self.stand.lake, &path, None).await;
        rows.into_iter().map(|(row, _)| row).collect()
    }
}

/// What a round made, as `period r<n>`.
fn made(round: &Round) -> Vec<String> {
    let made = round.snapshots.iter();
    made.map(|made| format!("{} r{}", made.period, made.revision))
        .collect()
}

/// Settings by which late changes are not waited for.
fn settings(periods: &[PeriodLength]) -> MaintenanceSettings {
    MaintenanceSettings {
        periods: periods.to_vec(),
        time_zone: "Europe/Stockholm".to_owned(),
        period_delay: Duration::from_secs(3600),
        late_changes_quiet_age: Duration::ZERO,
        bucket_bytes: ByteSize::kib(1),
        ..derived_only()
    }
}

/// Settings by which they are: for so many minutes after the last one, and for a day after the first.
fn patient(periods: &[PeriodLength], minutes: u64) -> MaintenanceSettings {
    MaintenanceSettings {
        late_changes_quiet_age: Duration::from_secs(60 * minutes),
        ..settings(periods)
    }
}

pub(super) fn maintainer(
    stand: &Stand,
    clock: &Arc<Hands>,
    periods: &[PeriodLength],
) -> Maintainer {
    kept_by(stand, clock, settings(periods))
}

fn kept_by(stand: &Stand, clock: &Arc<Hands>, settings: MaintenanceSettings) -> Maintainer {
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

/// As a `delete` of delta-rs does, which leaves the files for a vacuum.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_another_program_wrote_to_is_not_equal_to_what_is_computed() {
    let mut office = Office::new("2026-07-01T12:00:00Z", &[PeriodLength::Month]).await;
    office.change(1, "c", 1, "2026-06-10T12:00:00Z").await;
    assert_eq!(office.round().await, ["2026-06 r1"]);
    let path = table().period_path("2026-06", 1);
    let log = DeltaLog::new(office.stand.lake.table_store(&path));
    let file = log.files(|_| true).await.unwrap().remove(0);
    let removal = action::Remove::of(file, 0, true);
    let entry = action::encode(&[removal.into()]).unwrap();
    assert!(matches!(log.put(1, entry.into()).await, Put::Done));
    assert_eq!(office.round().await, [""; 0], "a round does not look");
    let june = "2026-06".parse().unwrap();
    for made in [1, 0] {
        let rebuilt = office.maintainer.rebuild_period(&table(), june).await;
        assert_eq!(rebuilt.unwrap().len(), made);
    }
    assert_eq!(office.rows("2026-06", 2).await, [row(1, 1)]);
    assert_eq!(log.load().await.unwrap().unwrap().version, 1, "both stay");
}

/// It is neither taken for equal nor registered, and nothing is uploaded beside it.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_another_format_is_refused_by_name() {
    let mut office = Office::new("2026-07-01T12:00:00Z", &[PeriodLength::Month]).await;
    office.change(1, "c", 1, "2026-06-10T12:00:00Z").await;
    assert_eq!(office.round().await, ["2026-06 r1"]);
    let lake = office.stand.lake.clone();
    let store = lake.table_store(&table().period_path("2026-06", 1));
    let entry = entry_path(0);
    let bytes = store.get(&entry).await.unwrap().bytes().await.unwrap();
    let ours = String::from_utf8(bytes.to_vec()).unwrap();
    let other = ours.replace(r#""lakehead.format":"1""#, r#""lakehead.format":"9""#);
    assert_ne!(other, ours);
    store.put(&entry, other.into()).await.unwrap();
    let told = "shop/stock/periods/2026-06/r1: its format is 9";
    let june = "2026-06".parse().unwrap();
    let rebuilt = office.maintainer.rebuild_period(&table(), june).await;
    let error = rebuilt.unwrap_err().to_string();
    assert!(error.contains(told), "{error}");
    let second = lake.table_url(&table().period_path("2026-06", 2));
    assert!(!second.to_file_path().unwrap().exists());
    forget_all(office.register().store().as_ref()).await;
    office.begin_again(settings(&[PeriodLength::Month]));
    let error = office.failure().await;
    assert!(error.contains(told), "{error}");
    store.put(&entry, ours.into()).await.unwrap();
    assert_eq!(office.round().await, ["2026-06 r1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_of_a_period_without_rows_makes_no_snapshot() {
    let mut office = Office::new("2026-07-01T12:00:00Z", &[PeriodLength::Month]).await;
    office.change(1, "c", 1, "2026-06-10T12:00:00Z").await;
    assert_eq!(office.round().await, ["2026-06 r1"]);
    for (period, is_there) in [("2024", false), ("2026-06", true)] {
        let period = period.parse().unwrap();
        let rebuilt = office.maintainer.rebuild_period(&table(), period).await;
        assert!(rebuilt.unwrap().is_empty(), "{period}");
        let found = Snapshot::is_any_there(&office.stand.lake, &table(), period).await;
        assert_eq!(found.unwrap(), is_there, "{period}");
    }
}

/// A topic of months of history takes its time to be copied.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_while_changes_of_before_the_end_are_coming() {
    let lengths = [PeriodLength::Month, PeriodLength::Quarter];
    let mut office = Office::patient("2026-07-01T12:00:00Z", &lengths, 10).await;
    for id in 1..=5 {
        office.change(id, "c", id, "2026-06-10T12:00:00Z").await;
        for _ in 0..3 {
            assert_eq!(office.round().await, [""; 0], "the last one came just now");
            office.pass(3);
        }
        if id == 3 {
            office.begin_again(patient(&lengths, 10));
        }
    }
    assert_eq!(office.round().await, [""; 0], "nine minutes ago");
    office.pass(1);
    assert_eq!(office.round().await, ["2026-06 r1", "2026-q2 r1"]);
    assert_eq!(office.rows("2026-06", 1).await.len(), 5);
    // What comes late is waited with, whoever looks next; what is of July has nothing to do with it.
    office.change(6, "c", 6, "2026-06-11T12:00:00Z").await;
    assert_eq!(office.round().await, [""; 0]);
    office.pass(9);
    office.change(7, "c", 7, "2026-07-01T11:00:00Z").await;
    for _ in 0..2 {
        office.begin_again(patient(&lengths, 10));
        assert_eq!(office.round().await, [""; 0]);
    }
    office.pass(1);
    office.begin_again(patient(&lengths, 10));
    assert_eq!(office.round().await, ["2026-06 r2", "2026-q2 r2"]);
    assert_eq!(office.rows("2026-06", 2).await.len(), 6);
    assert_eq!(office.round().await, [""; 0], "once");
}

/// Late changes that never cease, 50 minutes apart, where it is waited for an hour. One process looks at
/// them, or each look is another one's.
#[tokio::test(flavor = "multi_thread")]
async fn a_trickle_of_late_changes_makes_a_revision_a_day() {
    let months = [PeriodLength::Month];
    for is_other_process in [false, true] {
        let mut office = Office::patient("2026-07-01T12:00:00Z", &months, 60).await;
        let mut all = Vec::new();
        for number in 0..=70 {
            office
                .change(number, "c", number, "2026-06-10T12:00:00Z")
                .await;
            if is_other_process {
                office.begin_again(patient(&months, 60));
            }
            let made = office.round().await.into_iter();
            all.extend(made.map(|made| (number, made)));
            office.pass(50);
        }
        // 29 times 50 minutes are a little more than a day. The next day begins with the change after it.
        let expected = [(29, "2026-06 r1"), (59, "2026-06 r2")];
        let expected = expected.map(|(number, made)| (number, made.to_owned()));
        assert_eq!(all, expected, "other process: {is_other_process}");
        assert_eq!(office.rows("2026-06", 2).await.len(), 60);
    }
}

/// Its changes begin with version 0 again.
#[tokio::test(flavor = "multi_thread")]
async fn changes_that_were_made_again_are_looked_at_before_they_have_caught_up() {
    let mut office = Office::new("2026-07-01T12:00:00Z", &[PeriodLength::Month]).await;
    for id in 1..=3 {
        office.change(id, "c", id, "2026-06-10T12:00:00Z").await;
    }
    assert_eq!(office.round().await, ["2026-06 r1"]);
    let store = office.stand.lake.table_store(&table().changes_path());
    forget_all(store.as_ref()).await;
    office.changes = Changes::create(&office.stand.lake, Shape::Upsert).await;
    office.change(4, "c", 4, "2026-06-11T12:00:00Z").await;
    // The current table is refused until it is computed anew.
    let round = office.maintainer.round(&[]).await;
    assert_eq!(made(&round), ["2026-06 r2"]);
    assert_eq!(office.rows("2026-06", 2).await, [row(4, 4)]);
    let round = office.maintainer.round(&[]).await;
    assert_eq!(made(&round), [""; 0]);
    office.change(5, "c", 5, "2026-06-11T12:00:00Z").await;
    let round = office.maintainer.round(&[]).await;
    assert_eq!(made(&round), ["2026-06 r3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_without_rows_ends_by_the_time_zone_of_its_first_snapshot() {
    let months = [PeriodLength::Month];
    let mut office = Office::new("2026-07-01T12:00:00Z", &months).await;
    // It is July in Stockholm, and June by UTC.
    office.change(1, "c", 1, "2026-06-30T22:30:00Z").await;
    assert_eq!(office.round().await, [""; 0], "June has no rows");
    let zone = |name: &str| MaintenanceSettings {
        time_zone: name.to_owned(),
        ..settings(&months)
    };
    office.begin_again(zone("Asia/Tokyo"));
    assert_eq!(office.round().await, [""; 0]);
    let state = office.register().load().await.unwrap().unwrap();
    let until = format!("lakehead/periods/{TABLE}/2026-06/until");
    assert_eq!(state.txns[&until], us("2026-06-30T15:00:00Z"));
    office.begin_again(zone("UTC"));
    let round = office.maintainer.round(&[]).await;
    let [snapshot] = &round.snapshots[..] else {
        panic!("{round:?}");
    };
    assert_eq!(snapshot.time_zone, "UTC");
    assert_eq!(snapshot.until_us, us("2026-07-01T00:00:00Z"));
    assert_eq!(office.rows("2026-06", 1).await, [row(1, 1)]);
    assert_eq!(office.round().await, [""; 0]);
}

/// Who made it was killed before it was registered, and then the time zone was changed.
#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_snapshot_that_is_found_ends_when_that_does() {
    let months = [PeriodLength::Month];
    let mut office = Office::new("2026-06-15T12:00:00Z", &months).await;
    office.change(1, "c", 1, "2026-05-10T12:00:00Z").await;
    assert_eq!(office.round().await, ["2026-05 r1"]);
    let register = office.register();
    let before = register.load().await.unwrap().unwrap().version;
    office.set("2026-07-01T12:00:00Z");
    office.change(2, "c", 2, "2026-06-10T12:00:00Z").await;
    assert_eq!(office.round().await, ["2026-06 r1"]);
    let newest = register.load().await.unwrap().unwrap().version;
    for version in before + 1..=newest {
        let entry = entry_path(version);
        register.store().delete(&entry).await.unwrap();
    }
    office.change(3, "c", 3, "2026-06-20T12:00:00Z").await;
    // It is July in Stockholm, and June in New York.
    office.change(4, "c", 4, "2026-07-01T01:00:00Z").await;
    office.begin_again(MaintenanceSettings {
        time_zone: "America/New_York".to_owned(),
        ..settings(&months)
    });
    assert_eq!(office.round().await, ["2026-06 r1", "2026-06 r2"]);
    assert_eq!(
        office.rows("2026-06", 2).await,
        [row(1, 1), row(2, 2), row(3, 3)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_register_that_was_moved_away_is_made_again_of_all_snapshots() {
    let months = [PeriodLength::Month];
    let mut office = Office::new("2026-07-01T12:00:00Z", &months).await;
    office.change(1, "c", 1, "2026-05-10T12:00:00Z").await;
    assert_eq!(office.round().await, ["2026-06 r1"]);
    let may = "2026-05".parse().unwrap();
    let rebuilt = office.maintainer.rebuild_period(&table(), may).await;
    assert_eq!(rebuilt.unwrap().len(), 1);
    office.change(2, "c", 2, "2026-05-11T12:00:00Z").await;
    assert_eq!(office.round().await, ["2026-05 r2", "2026-06 r2"]);
    office.set("2026-08-01T12:00:00Z");
    assert_eq!(office.round().await, ["2026-07 r1"]);
    let all = [
        "2026-05 r1",
        "2026-05 r2",
        "2026-06 r1",
        "2026-06 r2",
        "2026-07 r1",
    ];
    for is_other_process in [true, false] {
        forget_all(office.register().store().as_ref()).await;
        if is_other_process {
            office.begin_again(settings(&months));
        }
        assert_eq!(office.round().await, all);
        assert_eq!(office.round().await, [""; 0]);
        let path = lake_store::PERIODS_PATH;
        let listed = super::changes::scanned(&office.stand.lake, path, None).await;
        let rows: usize = listed.iter().map(|batch| batch.num_rows()).sum();
        assert_eq!(rows, all.len());
    }
    office.change(3, "c", 3, "2026-05-12T12:00:00Z").await;
    assert_eq!(
        office.round().await,
        ["2026-05 r3", "2026-06 r3", "2026-07 r2"]
    );
}

/// It is told in every round, and not forgotten when later ones have been made, whoever comes next.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_one_period_costs_no_other_one() {
    let lengths = [PeriodLength::Month, PeriodLength::Quarter];
    let mut office = Office::new("2026-07-01T12:00:00Z", &lengths).await;
    let odd = office.odd("2026-06", 1).await;
    let told = "2026-06/r1 is there and is no period snapshot";
    office.change(1, "c", 1, "2026-06-10T12:00:00Z").await;
    let error = office.failure().await;
    assert!(error.contains(told), "{error}");
    assert_eq!(office.rows("2026-q2", 1).await, [row(1, 1)]);
    office.change(2, "c", 2, "2026-06-11T12:00:00Z").await;
    let error = office.failure().await;
    assert!(error.contains(told), "{error}");
    assert_eq!(office.rows("2026-q2", 2).await, [row(1, 1), row(2, 2)]);
    office.set("2026-08-01T12:00:00Z");
    office.begin_again(settings(&lengths));
    let error = office.failure().await;
    assert!(error.contains(told), "{error}");
    assert_eq!(office.rows("2026-07", 1).await, [row(1, 1), row(2, 2)]);
    forget_all(odd.store().as_ref()).await;
    office.begin_again(settings(&lengths));
    assert_eq!(office.round().await, ["2026-06 r1"]);
    assert_eq!(office.rows("2026-06", 1).await, [row(1, 1), row(2, 2)]);
    assert_eq!(office.round().await, [""; 0]);
}

/// What lies behind such a revision is not read again in each round.
#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_cannot_be_made_is_tried_again_from_where_it_was() {
    let lengths = [PeriodLength::Month];
    let mut office = Office::new("2026-07-01T12:00:00Z", &lengths).await;
    office.change(1, "c", 1, "2026-06-10T12:00:00Z").await;
    assert_eq!(office.round().await, ["2026-06 r1"]);
    let odd = office.odd("2026-06", 2).await;
    let meter = Arc::new(Meter::default());
    let counted = Arc::clone(&meter);
    let lake = office.stand.lake.clone();
    office.stand.lake = lake.map_store(|store| Arc::new(MeteredStore::new(store, counted)));
    office.begin_again(settings(&lengths));
    for id in 2..100 {
        office.change(id, "c", 1, "2026-06-11T12:00:00Z").await;
    }
    let mut requests = Vec::new();
    for _ in 0..3 {
        let before = meter.requests();
        let error = office.failure().await;
        assert!(error.contains("2026-06/r2 is there"), "{error}");
        requests.push(meter.requests() - before);
    }
    assert!(requests[1] + 90 < requests[0], "{requests:?}");
    assert_eq!(requests[2], requests[1]);
    forget_all(odd.store().as_ref()).await;
    assert_eq!(office.round().await, ["2026-06 r2"]);
    assert_eq!(office.rows("2026-06", 2).await.len(), 99);
    assert_eq!(office.round().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_register_of_another_format_is_refused_by_name() {
    let mut office = Office::new("2026-07-01T12:00:00Z", &[PeriodLength::Month]).await;
    office.change(1, "c", 1, "2026-06-10T12:00:00Z").await;
    assert_eq!(office.round().await, ["2026-06 r1"]);
    let (lake, register) = (&office.stand.lake, lake_store::PERIODS_PATH);
    set_properties(lake, register, &[(lake_store::FORMAT_PROPERTY, "9")]).await;
    office.change(2, "c", 2, "2026-06-11T12:00:00Z").await;
    let error = office.failure().await;
    assert!(
        error.contains("_system/periods: its format is 9"),
        "{error}"
    );
    let second = table().period_path("2026-06", 2);
    assert!(!office.stand.lake.has_log(&second).await.unwrap());
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
                late_changes_quiet_age: Duration::ZERO,
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
