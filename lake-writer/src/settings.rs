//! The writer's sections of the configuration file.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

mod kafka;
mod start;
mod topic;

pub use kafka::{Assignment, KafkaSettings};
pub use start::Start;
pub use topic::{Format, OnIncompatible, TopicSettings, UnknownFields};

/// `[writer]`: when to commit and how much to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WriterSettings {
    /// Names this road in the lake; first part of every `txn` application id. Two pipelines that
    /// write to one table would each land every record.
    pub pipeline: String,
    /// Rows of a table that are committed together at the latest.
    pub flush_rows_max: usize,
    /// Buffered bytes of a table that are committed together at the latest.
    pub flush_bytes_max: ByteSize,
    /// Longest time a record waits in a buffer.
    #[serde(with = "humantime_serde")]
    pub flush_age_max: Duration,
    /// Bytes buffered over all tables, above which partitions are paused.
    pub buffer_bytes_max: ByteSize,
    /// Largest record, key and value, that is read; a larger one is a dead letter.
    pub record_bytes_max: ByteSize,
    /// Versions of a table between two Delta checkpoints.
    pub checkpoint_interval: u64,
}

impl Default for WriterSettings {
    fn default() -> Self {
        Self {
            pipeline: "lakehead".to_owned(),
            flush_rows_max: 1_000_000,
            flush_bytes_max: ByteSize::mib(64),
            flush_age_max: Duration::from_secs(10),
            buffer_bytes_max: ByteSize::mib(128),
            record_bytes_max: ByteSize::mib(4),
            checkpoint_interval: 100,
        }
    }
}

impl WriterSettings {
    /// Adds what is wrong to `problems`, each with its place in the file.
    pub fn validate(&self, problems: &mut Vec<String>) {
        if self.pipeline.is_empty() || self.pipeline.contains('/') {
            problems.push("writer.pipeline must be a name without a slash".to_owned());
        }
        if self.flush_rows_max == 0 {
            problems.push("writer.flush_rows_max must be at least 1".to_owned());
        }
        if self.flush_age_max.is_zero() {
            problems.push("writer.flush_age_max must be above 0".to_owned());
        }
        if self.checkpoint_interval == 0 {
            problems.push("writer.checkpoint_interval must be at least 1".to_owned());
        }
        if self.flush_bytes_max > self.buffer_bytes_max {
            problems.push("writer.flush_bytes_max is above writer.buffer_bytes_max".to_owned());
        }
        if self.record_bytes_max > self.buffer_bytes_max {
            problems.push("writer.record_bytes_max is above writer.buffer_bytes_max".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told_at_once() {
        let mut problems = Vec::new();
        let writer = WriterSettings {
            flush_rows_max: 0,
            pipeline: "a/b".to_owned(),
            ..WriterSettings::default()
        };
        writer.validate(&mut problems);
        assert_eq!(problems.len(), 2, "{problems:#?}");
    }
}
