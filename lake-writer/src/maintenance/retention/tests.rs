//! What leaves, and what the current table keeps from leaving.

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use lake_store::{FORMAT_PROPERTY, FORMAT_VERSION, KEY_PROPERTY, SHAPE_PROPERTY};
use schemas::TopicPartition;

use super::*;
use crate::action::{self, Action, Protocol, Remove, Txn};
use crate::app_id::{self, AppIds};
use crate::delta_log::{DeltaLog, Put, TableState, write_checkpoint};
use crate::layout;
use crate::maintenance::VacuumSettings;
use crate::maintenance::fixture::{self, DAY, Fixture, PATH, TOPIC as OF_TOPIC};
use crate::maintenance::new_changes::DAY_US;

const CURRENT: &str = "s/e/current";

/// The table of a keyed entity whose dates are 3, 2 and 1 days before today.
async fn table() -> (Fixture, i32) {
    table_with(Fixture::in_memory(), &[(SHAPE_PROPERTY, "upsert")]).await
}

/// The same with other properties than those of facts.
async fn table_with(lake: LakeStore, properties: &[(&str, &str)]) -> (Fixture, i32) {
    let mut table = Fixture::new(lake, 1).await;
    set(&mut table, properties).await;
    let today = i32::try_from(table.clock.now_us() / DAY_US).unwrap();
    for age in [3, 2, 1] {
        table.append(&[(0, 4)], today - age).await;
        table.append(&[(0, 2), (1, 4)], today - age).await;
    }
    (table, today)
}

/// Sets properties of the table, as another program might.
async fn set(table: &mut Fixture, properties: &[(&str, &str)]) {
    fixture::set_properties(&table.lake, PATH, properties).await;
    table.state = table.log.load().await.unwrap().unwrap();
}

/// A current table that has taken in the partitions up to here.
async fn covered(table: &Fixture, reached: &[(i32, i64)]) {
    let mut txns = vec![Txn {
        app_id: app_id::changes_version(CURRENT),
        version: i64::try_from(table.state.version).unwrap(),
        last_updated: None,
    }];
    txns.extend(reached.iter().map(|(partition, next_offset)| Txn {
        app_id: Fixture::app_id(*partition),
        version: *next_offset,
        last_updated: None,
    }));
    let txns = txns.into_iter().map(Action::from);
    to_current(table, txns.collect()).await;
}

/// Puts the next version of the current table, which is made if there is none.
async fn to_current(table: &Fixture, actions: Vec<Action>) {
    let log = DeltaLog::new(table.lake.table_store(CURRENT));
    let known = log.load().await.unwrap();
    let mut all: Vec<Action> = Vec::new();
    if known.is_none() {
        let (contract, shape) = layout::contract_of_table(&table.state.metadata).unwrap();
        let layout = CurrentLayout::of(contract, shape).unwrap();
        let metadata = layout.metadata(2, uuid::Uuid::nil(), 0).unwrap();
        all.extend([Action::from(Protocol::PLAIN), Action::from(metadata)]);
    }
    all.extend(actions);
    let entry = action::encode(&all).unwrap();
    let version = known.map_or(0, |state| state.version + 1);
    assert!(matches!(log.put(version, entry.into()).await, Put::Done));
}

/// A file of the current table's first bucket.
fn bucket(path: &str) -> Add {
    Add {
        path: path.to_owned(),
        partition_values: [("_bucket".to_owned(), Some("0".to_owned()))].into(),
        size: 1,
        modification_time: 0,
        data_change: true,
        stats: None,
    }
}

fn date(day: i32) -> NaiveDate {
    NaiveDate::default() + chrono::TimeDelta::days(day.into())
}

fn dates(days: &[i32]) -> Vec<String> {
    days.iter().map(|day| date(*day).to_string()).collect()
}

#[tokio::test]
async fn dates_leave_as_far_as_the_current_table_has_their_rows() {
    let (table, today) = table().await;
    let txns = table.state.txns.clone();
    // Each date has 6 rows of partition 0 and 4 of partition 1.
    covered(&table, &[(0, 12), (1, 7)]).await;
    let report = table.retention(&table.lake, 1).run().await.unwrap();
    assert_eq!(report.dates, dates(&[today - 3]));
    assert_eq!(report.waiting, dates(&[today - 2]));
    assert_eq!(report.files, 2);
    let rows = table.read_rows().await;
    assert_eq!(rows.len(), 20);
    assert!(rows.keys().all(|(partition, offset)| match partition {
        0 => *offset >= 6,
        _ => *offset >= 4,
    }));
    assert!(report.why_waiting.unwrap().contains("all of their rows"));
    // Readers are told that rows are gone, writers go on where they were.
    let state = table.log.load().await.unwrap().unwrap();
    let since = &state.metadata.configuration[CHANGES_SINCE_PROPERTY];
    assert_eq!(*since, date(today - 2).to_string());
    let relied_on = &state.metadata.configuration[CHANGES_RETIRED_AT_PROPERTY];
    assert_eq!(*relied_on, table.state.version.to_string());
    let entry = table.log.entry(state.version).await.unwrap().unwrap();
    let removes: Vec<_> = entry
        .iter()
        .filter_map(|action| action.remove.as_ref())
        .collect();
    assert!(removes.len() == 2 && removes.iter().all(|file| file.data_change));
    assert!(
        txns.iter()
            .all(|(app_id, version)| state.txns.get(app_id) == Some(version))
    );
    covered(&table, &[(1, 8)]).await;
    let report = table.retention(&table.lake, 1).run().await.unwrap();
    assert_eq!(
        (report.dates, report.waiting),
        (dates(&[today - 2]), Vec::new())
    );
    let state = table.log.load().await.unwrap().unwrap();
    let since = &state.metadata.configuration[CHANGES_SINCE_PROPERTY];
    assert_eq!(*since, date(today - 1).to_string());
    // The last date is within the retention.
    assert_eq!(
        table.retention(&table.lake, 1).run().await.unwrap(),
        RetentionReport::default()
    );
}

#[tokio::test]
async fn without_a_current_table_it_is_refused_by_name() {
    let (table, _) = table().await;
    let error = table
        .retention(&table.lake, 1)
        .run()
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(PATH) && error.contains(CURRENT), "{error}");
    assert_eq!(table.read_rows().await, table.rows);
    // As long as nothing is old enough, nothing is asked.
    assert_eq!(
        table.retention(&table.lake, 5).run().await.unwrap(),
        RetentionReport::default()
    );
    let error = table.retention(&table.lake, 0).run().await.unwrap_err();
    assert!(matches!(error, MaintenanceError::Setting(_)), "{error}");
}

#[tokio::test]
async fn compacted_dates_leave_too_and_a_compaction_in_between_makes_it_yield() {
    let (table, _) = table().await;
    covered(&table, &[(0, 100), (1, 100)]).await;
    table.compaction(&table.lake).run().await.unwrap();
    let report = table.retention(&table.lake, 2).run().await.unwrap();
    assert_eq!((report.dates.len(), report.files), (1, 1));
    let lake = table.courteous();
    let (one, other) = (table.retention(&lake, 1), table.retention(&lake, 1));
    let (one, other) = tokio::join!(one.run(), other.run());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.files + other.files, 1);
    assert!(one.yielded.is_some() || other.yielded.is_some());
    assert_eq!(table.read_rows().await.len(), 10);
}

#[test]
fn a_generation_that_is_not_covered_keeps_its_rows() {
    let schema = layout::system_metadata(&places(), uuid::Uuid::nil(), 0).unwrap();
    let state = |txns: &[(String, i64)]| TableState {
        version: 0,
        protocol: crate::action::Protocol::PLAIN,
        metadata: schema.clone(),
        txns: txns.iter().cloned().collect(),
    };
    let generation = AppIds::new("p").generation(&TopicPartition::new(OF_TOPIC, 0));
    let covered = state(&[(Fixture::app_id(0), 5), (generation, 1)]);
    let covered = Covered::by(&covered, CURRENT);
    let file = |generation: i32, offset: i64| {
        let columns: [(&str, ArrayRef); 3] = [
            (PARTITION, Arc::new(Int32Array::from(vec![0]))),
            (OFFSET, Arc::new(Int64Array::from(vec![offset]))),
            (GENERATION, Arc::new(Int32Array::from(vec![generation]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = crate::data_file::encode(uuid::Uuid::nil(), Some(DAY), &[batch]).unwrap();
        file.to_bytes()
    };
    let cases = [(0, 900, true), (1, 4, true), (1, 5, false), (2, 0, false)];
    for (generation, offset, expected) in cases {
        let found = reaches_all(&covered, file(generation, offset)).unwrap();
        assert_eq!(found, expected, "{generation} {offset}");
    }
    let nothing = Covered::by(&state(&[]), CURRENT);
    assert!(!reaches_all(&nothing, file(0, 0)).unwrap());
}

#[tokio::test]
async fn nothing_leaves_a_table_whose_offsets_began_anew() {
    let (table, today) = table().await;
    covered(&table, &[(0, 100), (1, 100)]).await;
    let partition = TopicPartition::new(OF_TOPIC, 0);
    let txn = Txn {
        app_id: AppIds::new("p").generation(&partition),
        version: 1,
        last_updated: None,
    };
    let state = table.log.load().await.unwrap().unwrap();
    let entry = action::encode(&[txn.into()]).unwrap();
    let put = table.log.put(state.version + 1, entry.into()).await;
    assert!(matches!(put, Put::Done));
    let report = table.retention(&table.lake, 1).run().await.unwrap();
    assert!(report.dates.is_empty());
    assert_eq!(report.waiting, dates(&[today - 3, today - 2]));
    assert!(report.why_waiting.unwrap().contains("began anew"));
}

#[test]
fn the_latest_version_that_was_relied_on_stays_told() {
    let once = with_gone(&BTreeMap::new(), date(5), Some(9));
    assert_eq!(once[CHANGES_RETIRED_AT_PROPERTY], "9");
    let again = with_gone(&once, date(6), Some(7));
    assert_eq!(again[CHANGES_RETIRED_AT_PROPERTY], "9");
    let later = with_gone(&again, date(7), Some(12));
    assert_eq!(later[CHANGES_RETIRED_AT_PROPERTY], "12");
    let by_age = with_gone(&BTreeMap::new(), date(5), None);
    assert!(!by_age.contains_key(CHANGES_RETIRED_AT_PROPERTY));
}

/// They lead to no state that would keep their rows.
#[tokio::test]
async fn facts_and_changes_without_a_key_leave_by_their_age_alone() {
    let facts = [(SHAPE_PROPERTY, "append")];
    let keyless = [(SHAPE_PROPERTY, "upsert"), (KEY_PROPERTY, "[]")];
    for properties in [&facts[..], &keyless[..]] {
        let (table, today) = table_with(Fixture::in_memory(), properties).await;
        let report = table.retention(&table.lake, 1).run().await.unwrap();
        let gone = dates(&[today - 3, today - 2]);
        assert_eq!((report.dates, report.why_waiting), (gone, None));
        let state = table.log.load().await.unwrap().unwrap();
        let properties = state.metadata.configuration;
        assert_eq!(
            properties[CHANGES_SINCE_PROPERTY],
            date(today - 1).to_string()
        );
        assert!(!properties.contains_key(CHANGES_RETIRED_AT_PROPERTY));
        assert_eq!(table.read_rows().await.len(), 10);
    }
}

#[tokio::test]
async fn a_current_table_that_covers_nothing_yet_is_waited_for() {
    let (table, today) = table().await;
    to_current(&table, Vec::new()).await;
    let report = table.retention(&table.lake, 1).run().await.unwrap();
    assert_eq!(report.waiting, dates(&[today - 3, today - 2]));
    assert!(report.why_waiting.unwrap().contains("covers no changes"));
    assert_eq!(table.read_rows().await, table.rows);
}

#[tokio::test]
async fn nothing_leaves_while_the_current_table_is_not_whole() {
    let (table, today) = table().await;
    let refused = async || {
        let refused = table.retention(&table.lake, 1).run().await;
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(PATH) && error.contains(CURRENT), "{error}");
        assert_eq!(table.read_rows().await, table.rows);
        error
    };
    to_current(&table, vec![bucket("one").into()]).await;
    covered(&table, &[(0, 100), (1, 100)]).await;
    let error = refused().await;
    assert!(error.contains("one is not there"), "{error}");
    let store = table.lake.table_store(CURRENT);
    store.put(&Path::from("one"), "rows".into()).await.unwrap();
    let error = refused().await;
    assert!(error.contains("one has 4 bytes, and 1 by"), "{error}");
    for path in ["one", "two"] {
        store.put(&Path::from(path), "r".into()).await.unwrap();
    }
    // Another program's file.
    to_current(&table, vec![bucket("two").into()]).await;
    let error = refused().await;
    assert!(error.contains("two is not the one file"), "{error}");
    let remove = Remove {
        path: "two".to_owned(),
        ..Remove::default()
    };
    to_current(&table, vec![remove.into()]).await;
    // What the last refresh left was more.
    let left = |number| Txn {
        app_id: app_id::files(CURRENT),
        version: number,
        last_updated: None,
    };
    to_current(&table, vec![left(5).into()]).await;
    let error = refused().await;
    assert!(error.contains("the last refresh left"), "{error}");
    let number = app_id::number_of(b"one");
    to_current(&table, vec![left(number).into()]).await;
    let report = table.retention(&table.lake, 1).run().await.unwrap();
    assert_eq!(report.dates, dates(&[today - 3, today - 2]));
}

/// What another version of the program says of a table is not known here.
#[tokio::test(flavor = "multi_thread")]
async fn all_care_leaves_a_table_of_another_format_alone() {
    let directory = tempfile::tempdir().unwrap();
    let lake = LakeStore::open(directory.path().to_str().unwrap(), &[], true).unwrap();
    let (mut table, _) = table_with(lake, &[(SHAPE_PROPERTY, "upsert")]).await;
    covered(&table, &[(0, 100), (1, 100)]).await;
    write_checkpoint(&table.lake, PATH, 5).await.unwrap();
    set(&mut table, &[(FORMAT_PROPERTY, "2")]).await;
    // The log is old enough to be cleaned up.
    table.clock.advance(fixture::days(40));
    let settings = VacuumSettings::default();
    let refused = [
        table.vacuum(&table.lake, settings).run().await.err(),
        table.compaction(&table.lake).run().await.err(),
        table.retention(&table.lake, 1).run().await.err(),
        table
            .log_cleanup(&table.lake, fixture::days(3))
            .run()
            .await
            .err(),
    ];
    for error in refused {
        let error = error.unwrap().to_string();
        assert!(
            error.contains(PATH) && error.contains("format is 2"),
            "{error}"
        );
    }
    // Of the current table it is as bad.
    set(&mut table, &[(FORMAT_PROPERTY, FORMAT_VERSION)]).await;
    let log = DeltaLog::new(table.lake.table_store(CURRENT));
    let mut metadata = log.load().await.unwrap().unwrap().metadata;
    let properties = &mut metadata.configuration;
    properties.insert(FORMAT_PROPERTY.to_owned(), "2".to_owned());
    to_current(&table, vec![metadata.into()]).await;
    let error = table.retention(&table.lake, 1).run().await.unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains(CURRENT) && error.contains("format is 2"),
        "{error}"
    );
    assert_eq!(table.read_rows().await, table.rows);
}
