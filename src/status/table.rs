//! The status of one table as text.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::util::pretty::pretty_format_batches;
use lake_writer::{Gap, PartitionStand, RefusedTopic, Stand};
use serde::Serialize;

use crate::failure::Failure;
use crate::http::{Report, Stopped};

/// What is told of a table.
#[derive(Debug, Serialize)]
pub(super) struct TableStatus {
    table: String,
    topic: String,
    state: String,
    version: Option<u64>,
    committed_at_ms: Option<i64>,
    last_commit_age_seconds: Option<f64>,
    lag_records: Option<u64>,
    lag_seconds: Option<f64>,
    dead_letters: i64,
    partitions: Vec<PartitionStatus>,
    /// What is missing, each in a sentence.
    gaps: Vec<String>,
    /// The error that the running writer tells.
    writer_error: Option<String>,
}

#[derive(Debug, Serialize)]
struct PartitionStatus {
    partition: i32,
    next_offset: Option<i64>,
    first_offset: Option<i64>,
    end_offset: Option<i64>,
    lag_records: Option<u64>,
}

impl TableStatus {
    pub(super) fn of(
        stand: &Stand,
        gaps: &[Gap],
        told: Option<&Stopped>,
        dead_letters: i64,
        now_ms: i64,
    ) -> Self {
        let age = stand.committed_at_ms.map(|at| now_ms.saturating_sub(at));
        Self {
            table: stand.feed.table.to_string(),
            topic: stand.feed.topic.to_string(),
            state: state_of(stand, gaps, told),
            version: stand.version,
            committed_at_ms: stand.committed_at_ms,
            last_commit_age_seconds: age.map(|age| age as f64 / 1000.0),
            lag_records: stand.lag_records(),
            lag_seconds: stand.lag_ms(now_ms).map(|lag| lag as f64 / 1000.0),
            dead_letters,
            partitions: stand.partitions.iter().map(PartitionStatus::of).collect(),
            gaps: gaps.iter().map(ToString::to_string).collect(),
            writer_error: told.map(|stopped| stopped.error.clone()),
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.writer_error.is_some()
            || !self.gaps.is_empty()
            || matches!(&*self.state, TOPIC_MISSING | TOPIC_FORBIDDEN)
    }
}

const TOPIC_MISSING: &str = "topic_missing";
const TOPIC_FORBIDDEN: &str = "topic_forbidden";

/// The writer's own word goes first; it knows of errors that the lake and Kafka do not show.
fn state_of(stand: &Stand, gaps: &[Gap], told: Option<&Stopped>) -> String {
    if let Some(stopped) = told {
        return stopped.code.clone();
    }
    if stand.topic_forbidden {
        return TOPIC_FORBIDDEN.to_owned();
    }
    let now = stand.partitions_now.filter(|_| stand.kafka_error.is_none());
    match (now, gaps.first(), stand.version) {
        (None, ..) => "kafka cannot be reached".to_owned(),
        (Some(0), ..) => TOPIC_MISSING.to_owned(),
        (_, Some(gap), _) => gap.reason.code().to_owned(),
        (_, None, None) => "no table yet".to_owned(),
        (_, None, Some(_)) => "ok".to_owned(),
    }
}

impl PartitionStatus {
    fn of(stand: &PartitionStand) -> Self {
        Self {
            partition: stand.partition,
            next_offset: stand.next_offset,
            first_offset: stand.kept.map(|(first, _)| first),
            end_offset: stand.kept.map(|(_, end)| end),
            lag_records: stand.lag_records(),
        }
    }
}

/// All tables as a box, and below it what is wrong with which.
pub(super) fn boxed(tables: &[TableStatus], refused: &[RefusedTopic]) -> Result<String, Failure> {
    let text = |get: &dyn Fn(&TableStatus) -> Option<String>| -> ArrayRef {
        Arc::new(tables.iter().map(get).collect::<StringArray>())
    };
    let count = |get: &dyn Fn(&TableStatus) -> Option<u64>| -> ArrayRef {
        Arc::new(tables.iter().map(get).collect::<UInt64Array>())
    };
    let letters: Int64Array = tables
        .iter()
        .map(|table| Some(table.dead_letters))
        .collect();
    let columns: [(&str, ArrayRef); 9] = [
        ("table", text(&|table| Some(table.table.clone()))),
        ("topic", text(&|table| Some(table.topic.clone()))),
        ("state", text(&|table| Some(table.state.clone()))),
        ("version", count(&|table| table.version)),
        (
            "partitions",
            count(&|table| Some(table.partitions.len() as u64)),
        ),
        ("lag records", count(&|table| table.lag_records)),
        ("lag", text(&|table| table.lag_seconds.map(span))),
        (
            "last commit",
            text(&|table| Some(format!("{} ago", span(table.last_commit_age_seconds?)))),
        ),
        ("dead letters", Arc::new(letters)),
    ];
    let batch = RecordBatch::try_from_iter(columns).map_err(Failure::failed)?;
    let boxed = pretty_format_batches(&[batch]).map_err(Failure::failed)?;
    let mut text = format!("{boxed}\n");
    for table in tables {
        for gap in &table.gaps {
            text.push_str(&format!("{}: {gap}\n", table.table));
        }
        if let Some(error) = &table.writer_error {
            text.push_str(&format!("{}: the writer says: {error}\n", table.table));
        }
    }
    for RefusedTopic { error, .. } in refused {
        text.push_str(&format!("not read: {error}\n"));
    }
    Ok(text)
}

/// All tables as JSON, with what the writer says of itself.
pub(super) fn json(
    tables: &[TableStatus],
    refused: &[RefusedTopic],
    report: Option<&Report>,
) -> Result<String, Failure> {
    let told = refused.iter().map(|RefusedTopic { topic, error }| {
        serde_json::json!({"topic": topic, "code": error.code(), "error": error.to_string()})
    });
    let refused: Vec<_> = told.collect();
    let whole = serde_json::json!({"tables": tables, "refused": refused, "writer": report});
    let text = serde_json::to_string_pretty(&whole).map_err(Failure::failed)?;
    Ok(text + "\n")
}

/// A span of time, to be read: its two largest units.
fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        let spans = [0.25, 61.0, 7_322.0, 200_000.0].map(span);
        assert_eq!(spans, ["0.2 s", "1 min 1 s", "2 h 2 min", "2 d 7 h"]);
    }
}
