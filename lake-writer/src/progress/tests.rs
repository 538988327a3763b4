//! Lag, and what is told of tables.

use std::collections::HashMap;

use schemas::TopicPartition;

use super::*;
use crate::error::WriterError;
use crate::offset_ranges::OffsetRanges;
use crate::record_log::Record;
use crate::table_writer::Resume;

const SECOND: i64 = 1000;

fn mark(timestamp_ms: i64) -> i64 {
    let record = Record {
        topic: "t",
        partition: 0,
        offset: 0,
        timestamp_ms,
        key: None,
        value: Some(b"value"),
        headers: None,
    };
    record.mark()
}

fn resume(next_offset: Option<i64>, record_ms: Option<i64>) -> Resume {
    Resume {
        partition: TopicPartition::new("t", 0),
        next_offset,
        last_mark: record_ms.map(mark),
        generation: 0,
        sequences: HashMap::new(),
        dead_lettered: OffsetRanges::default(),
    }
}

fn outcome(next_offset: i64, record_ms: i64) -> Outcome {
    let partition = TopicPartition::new("t", 0);
    Outcome {
        version: Some(3),
        rows: 5,
        committed: vec![(partition.clone(), next_offset)],
        last_marks: vec![(partition, mark(record_ms))],
        ..Outcome::default()
    }
}

#[tokio::test]
async fn lag_is_counted_from_what_is_committed_and_never_too_small() {
    let progress = WriterProgress::default();
    let name: TableName = "a.b".parse().unwrap();
    let table = progress.table(&name);
    let place = TopicPartition::new("t", 0);
    table.opened(&[resume(Some(10), Some(100 * SECOND))]);
    assert_eq!(table.lag(0), None, "the end is not known yet");
    // After a stop of an hour all that is known is how old the last copied record is.
    table.ends(&[(place.clone(), 30)], 3700 * SECOND);
    let lag = table.lag(3700 * SECOND).unwrap();
    assert_eq!((lag.records, lag.millis), (20, 3_600_000));
    progress.add_committed(&name, &outcome(30, 3600 * SECOND), 3701 * SECOND * 1000);
    assert_eq!(table.lag(3800 * SECOND), Some(Lag::default()));
    // Then nothing came for a day, and the first new record is not a day old.
    table.ends(&[(place.clone(), 30)], 90_000 * SECOND);
    table.ends(&[(place, 31)], 90_005 * SECOND);
    let lag = table.lag(90_006 * SECOND).unwrap();
    assert_eq!((lag.records, lag.millis), (1, 6000));
    assert_eq!(
        (table.rows(), table.commits(), table.committed_at_ms()),
        (5, 1, Some(3701 * SECOND))
    );
    progress.revoked();
    assert_eq!((table.lag(0), progress.partitions()), (None, None));
}

#[tokio::test]
async fn a_table_that_never_committed_is_behind_since_that_was_seen() {
    let progress = WriterProgress::default();
    let table = progress.table(&"a.b".parse().unwrap());
    let place = TopicPartition::new("t", 0);
    // Read, and stopped by its first record; then tried again.
    for now_ms in [0, 60 * SECOND] {
        table.opened(&[resume(None, None)]);
        table.starts(&place, 4);
        table.ends(&[(place.clone(), 10)], 100 * SECOND + now_ms);
    }
    let lag = table.lag(400 * SECOND).unwrap();
    assert_eq!((lag.records, lag.millis), (6, 300_000));
    // A try that fails before it is known where to begin.
    table.opened(&[resume(None, None)]);
    assert_eq!(table.lag(400 * SECOND), Some(lag));
}

#[tokio::test]
async fn a_stopped_table_says_why_until_it_goes_on() {
    let progress = WriterProgress::default();
    let table = progress.table(&"a.b".parse().unwrap());
    let topic = "t".to_owned();
    table.stopped(&WriterError::TopicMissing { topic });
    let stopped = table.why_stopped().unwrap();
    assert_eq!(stopped.code, "topic_missing");
    assert!(stopped.error.contains("topic t does not exist"));
    table.goes_on();
    assert_eq!(table.why_stopped(), None);
    // Asked for again it is the same one, and others come after it.
    progress.table(&"a.a".parse().unwrap());
    let names: Vec<String> = progress
        .tables()
        .iter()
        .map(|table| table.name().to_string())
        .collect();
    assert_eq!(names, ["a.b", "a.a"]);
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_beats_is_alive_though_its_loop_waits() {
    let progress = WriterProgress::default();
    progress.turned();
    tokio::time::advance(std::time::Duration::from_secs(100)).await;
    assert_eq!(progress.beat_age_ms(), 100_000);
    progress.beat();
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(
        (progress.beat_age_ms(), progress.turn_age_ms()),
        (1000, 101_000)
    );
}
