//! Why a capture stopped.

use schemas::RegistryError;

use crate::Lsn;

/// What a capture cannot go on past. It waits for Postgres, Kafka and the registry instead of failing.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The settings.
    #[error("the capture's settings: {0}")]
    Settings(String),
    /// Postgres does not let us in, or says no.
    #[error("postgres {server}: {why}")]
    Postgres {
        /// Host, port and database.
        server: String,
        /// Its words, and what to do.
        why: String,
    },
    /// A table cannot be captured as it is.
    #[error("table {table} cannot be captured: {why}")]
    Table {
        /// `schema.name`.
        table: String,
        /// What is missing, and the statement that mends it.
        why: String,
    },
    /// The publication does not give what is needed.
    #[error("publication {publication:?}: {why}")]
    Publication {
        /// Its name.
        publication: String,
        /// What is wrong, and the statement that mends it.
        why: String,
    },
    /// The slot is not where it was left, or not there.
    #[error("replication slot {slot:?}: {why}")]
    Slot {
        /// Its name.
        slot: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Another database system, or another history of it.
    #[error("postgres {server} is not the database that was captured: {why}")]
    OtherSystem {
        /// Host, port and database.
        server: String,
        /// What differs, and what to do.
        why: String,
    },
    /// The capture's own directory.
    #[error("directory {path}: {why}")]
    Directory {
        /// The file or directory.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A value that its column's type in the topic does not hold exactly.
    #[error(
        "table {table}, column {column:?}, {row}, at LSN {lsn}: {why}; add the column to text_columns \
         of the table to publish it as Postgres' own text. Nothing after it is published until then"
    )]
    Value {
        /// `schema.name`.
        table: String,
        /// The column.
        column: String,
        /// The row's key.
        row: String,
        /// Where the change is.
        lsn: Lsn,
        /// The value, and what it cannot be.
        why: String,
    },
    /// A value that an update left as it was, and that is in no log.
    #[error(
        "table {table}, column {column:?}, {row}, at LSN {lsn}: an update left the value as it was, and \
         Postgres did not log it, since the table's replica identity was not FULL then. It is not \
         published as something else. Set REPLICA IDENTITY FULL, then copy the table again: start once \
         with it left out of the configuration"
    )]
    Unlogged {
        /// `schema.name`.
        table: String,
        /// The column.
        column: String,
        /// The row's key.
        row: String,
        /// Where the change is.
        lsn: Lsn,
    },
    /// A change that no change event says.
    #[error(
        "table {table} was truncated at LSN {lsn}, and the lake would keep its rows; set on_truncate = \
         \"ignore\" to go on without"
    )]
    Truncated {
        /// `schema.name`.
        table: String,
        /// Where the truncation is.
        lsn: Lsn,
    },
    /// Postgres sent what its protocol does not allow.
    #[error("at LSN {lsn}: {why}; is a proxy between us and Postgres?")]
    Protocol {
        /// Where in the log.
        lsn: Lsn,
        /// What is wrong.
        why: String,
    },
    /// The brokers will never take this record.
    #[error(
        "a record of topic {topic:?} (transaction committed at LSN {lsn}) is refused by kafka: {why}; \
         raise the topic's max.message.bytes: nothing after it is published until then"
    )]
    RecordRefused {
        /// The topic.
        topic: String,
        /// The transaction's commit.
        lsn: Lsn,
        /// The broker's or the client's words.
        why: String,
    },
    /// Settings or rights.
    #[error("kafka refuses the capture: {0}; check the kafka settings")]
    KafkaRefused(String),
    /// The registry does not take a schema.
    #[error(
        "the schemas of {topic} cannot be registered: {source}; the column that changed cannot be read \
         as its readers have it"
    )]
    Registry {
        /// The topic.
        topic: String,
        /// The registry's words.
        source: RegistryError,
    },
    /// The records before are in another cluster.
    #[error(
        "this slot was published to kafka cluster {known:?}, but the brokers are of cluster {found:?}; \
         use the brokers of the first, or another slot and directory"
    )]
    ClusterChanged {
        /// The cluster of earlier runs.
        known: String,
        /// The cluster that answers now.
        found: String,
    },
    /// The partitions of keys are no longer where they were.
    #[error(
        "topic {topic:?} had {known} partitions and now {found} are known: a key's events would change \
         partition and lose their order; publish to a new topic instead"
    )]
    PartitionsChanged {
        /// The topic.
        topic: String,
        /// The count of earlier runs.
        known: i32,
        /// The count now, or as many as a record was found to be in one of.
        found: i32,
    },
}
