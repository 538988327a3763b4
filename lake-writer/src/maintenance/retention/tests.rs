//! What leaves, and what the current table keeps from leaving.

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use schemas::TopicPartition;

use super::*;
use crate::action::{self, Action, Txn};
use crate::app_id::AppIds;
use crate::delta_log::{Put, TableState};
use crate::layout;
use crate::maintenance::fixture::{DAY, Fixture, PATH, TOPIC as OF_TOPIC};
use crate::maintenance::new_changes::DAY_US;

/// A table whose dates are 3, 2 and 1 days before today.
async fn table() -> (Fixture, i32) {
    let mut table = Fixture::new(Fixture::in_memory(), 1).await;
    let today = i32::try_from(table.clock.now_us() / DAY_US).unwrap();
    for age in [3, 2, 1] {
        table.append(&[(0, 4)], today - age).await;
        table.append(&[(0, 2), (1, 4)], today - age).await;
    }
    (table, today)
}

/// A current table that has taken in the partitions up to here.
async fn covered(table: &Fixture, reached: &[(i32, i64)]) {
    let log = DeltaLog::new(table.lake.table_store("s/e/current"));
    let version = log
        .load()
        .await
        .unwrap()
        .map_or(0, |state| state.version + 1);
    let mut actions: Vec<Action> = Vec::new();
    if version == 0 {
        actions.push(crate::action::Protocol::PLAIN.into());
        actions.push(table.state.metadata.clone().into());
    }
    for (partition, next_offset) in reached {
        let txn = Txn {
            app_id: Fixture::app_id(*partition),
            version: *next_offset,
            last_updated: None,
        };
        actions.push(txn.into());
    }
    let entry = action::encode(&actions).unwrap();
    assert!(matches!(log.put(version, entry.into()).await, Put::Done));
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
    // Readers are told that rows are gone, writers go on where they were.
    let state = table.log.load().await.unwrap().unwrap();
    let since = &state.metadata.configuration[CHANGES_SINCE_PROPERTY];
    assert_eq!(*since, date(today - 2).to_string());
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
    assert!(
        error.contains(PATH) && error.contains("s/e/current"),
        "{error}"
    );
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
    let covered = Covered::by(&covered, "s/e/current");
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
    let nothing = Covered::by(&state(&[]), "s/e/current");
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
}
