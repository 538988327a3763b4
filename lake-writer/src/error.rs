//! Why the lake-writer stops.

use lake_store::LakeStoreError;
use schemas::{TableName, TopicPartition};

/// An error that ends the lake-writer. What can be waited out (a registry, broker or store that is
/// down) is waited out and logged; what is wrong with one record becomes a dead letter.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// The settings cannot work.
    #[error("{0}")]
    Settings(String),
    /// Kafka refused the client for good.
    #[error("kafka: {0}")]
    Kafka(String),
    /// Kafka no longer holds, or does not yet hold, the offset that the table is to go on from.
    #[error(
        "{partition}: the table is to go on at offset {next_offset}, but kafka answers: {why}; \
         nothing was skipped. Check whether retention passed the offset or the topic was made again"
    )]
    OffsetOutOfRange {
        /// The topic partition.
        partition: TopicPartition,
        /// The offset that should be read next.
        next_offset: i64,
        /// What Kafka said.
        why: String,
    },
    /// The lake's store cannot be opened.
    #[error(transparent)]
    Store(#[from] LakeStoreError),
    /// A table's log is not what we can go on from.
    #[error("table {table}: {why}")]
    Table {
        /// The table.
        table: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// A table's key is not known.
    #[error(
        "table {table}: shape {shape} needs a key; set key = [...] for the topic, or lakehead.key in \
         its contract"
    )]
    KeyUnknown {
        /// The table.
        table: TableName,
        /// The topic's shape.
        shape: schemas::Shape,
    },
    /// A part of the writer ended without saying why: a bug.
    #[error("internal error: {0}")]
    Internal(String),
}
