//! Why the lake-writer stops.

use lake_store::LakeStoreError;
use schemas::{SchemaId, TableName, TopicPartition};

/// An error that ends the lake-writer, or its work on one table. What can be waited out (a registry, broker or store that is
/// down) is waited out and logged; what is wrong with one record becomes a dead letter.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// The settings cannot work.
    #[error("{0}")]
    Settings(String),
    /// Kafka refused the client for good.
    #[error("kafka: {0}")]
    Kafka(String),
    /// Topics that are to be copied up to their end do not exist.
    #[error("kafka has no topic {}; create it, or correct [[topic]] name", .0.join(", "))]
    TopicsMissing(
        /// The topics.
        Vec<String>,
    ),
    /// Kafka and this client do not let each other in.
    #[error(
        "kafka and this client refuse each other: {why}; check security.protocol, sasl.* and ssl.* \
         under [kafka.properties], and that the listener at kafka.bootstrap_servers is of that kind"
    )]
    KafkaRefused {
        /// librdkafka's words.
        why: String,
    },
    /// Kafka no longer holds, or does not yet hold, the offset that the table is to go on from.
    #[error(
        "{partition}: the table is to go on at offset {next_offset}, but kafka answers: {why}; \
         nothing was skipped. Retention passed the offset, or the topic was made again: \
         `lakehead resume --accept-gap` records the gap and goes on"
    )]
    OffsetOutOfRange {
        /// The topic partition.
        partition: TopicPartition,
        /// The offset that should be read next.
        next_offset: i64,
        /// What Kafka said.
        why: String,
    },
    /// The record before the next one is not the one that was copied.
    #[error(
        "{partition}: the record at offset {offset} is not the one that was copied: the topic was \
         deleted and made again; nothing more was read. \
         `lakehead resume --accept-gap` reads the topic from its start and records the gap"
    )]
    TopicReplaced {
        /// The topic partition.
        partition: TopicPartition,
        /// The offset of the record.
        offset: i64,
    },
    /// A topic has other partitions than when its table was begun.
    #[error(
        "topic {topic} has {now} partitions, the table was written from {before}: changes of one \
         key may lie in two of them, in no order; nothing more was read. \
         `lakehead resume --accept-gap` takes the partitions as they are"
    )]
    PartitionsChanged {
        /// The topic.
        topic: String,
        /// How many it had.
        before: i64,
        /// How many it has.
        now: i32,
    },
    /// A topic is of another cluster than its table was written from.
    #[error(
        "topic {topic} is of another cluster than was copied: this one calls itself {id:?}; nothing \
         more was read. Look at kafka.bootstrap_servers first; if they are right, `lakehead resume \
         --accept-gap` goes on with this cluster's topic and records the gap"
    )]
    ClusterChanged {
        /// The topic.
        topic: String,
        /// The cluster's id.
        id: String,
    },
    /// A topic is not there.
    #[error(
        "topic {topic} does not exist; what was copied of it stays in the table, which goes on when \
         the topic is there: an earlier one that comes back, by itself; a new one of that name, after \
         `lakehead resume --accept-gap`"
    )]
    TopicMissing {
        /// The topic.
        topic: String,
    },
    /// Kafka does not let us see or read a topic.
    #[error(
        "topic {topic}: kafka does not let this client {operation} it; grant READ and DESCRIBE on the \
         topic to its user (`kafka-acls.sh --add --allow-principal … --operation Read --operation \
         Describe --topic {topic}`); nothing was skipped, the table then goes on by itself"
    )]
    TopicForbidden {
        /// The topic.
        topic: String,
        /// `see` or `read`.
        operation: &'static str,
    },
    /// A partition's events name more sources than can be remembered.
    #[error(
        "{partition}: the event at offset {offset} is of one source too many; ce_source names an \
         owner, it must not change with its process or its events"
    )]
    TooManySources {
        /// The topic partition.
        partition: TopicPartition,
        /// The offset of the event.
        offset: i64,
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
    /// The table is written from another topic, or by another pipeline.
    #[error(
        "table {table} is written from {theirs}, and a table has one topic; give {ours} a table of its \
         own: `table` under [[topic]]"
    )]
    TableTaken {
        /// The table.
        table: String,
        /// The topic that was to be copied, and this writer's pipeline.
        ours: String,
        /// The topic that the table has, and the pipeline that copies it.
        theirs: String,
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
    /// Nothing says what the rows of a topic look like.
    #[error(
        "table {table}: {topic}/{partition} has JSON without a schema at offset {offset}, and the topic \
         has neither a contract nor infer = true; nothing was read. Set one of them for the topic, or \
         let its producer write the schema (Kafka Connect: value.converter.schemas.enable = true)"
    )]
    ContractUnknown {
        /// The table.
        table: TableName,
        /// The topic.
        topic: String,
        /// The partition's number.
        partition: i32,
        /// The record's offset.
        offset: i64,
    },
    /// The registry does not let us ask for a schema that a record needs.
    #[error(
        "{partition}: the record at offset {offset} needs schema {id}, and {why}; nothing was skipped"
    )]
    RegistryRefused {
        /// The topic partition.
        partition: TopicPartition,
        /// The record's offset.
        offset: i64,
        /// The schema.
        id: SchemaId,
        /// The registry, its words and what to do.
        why: String,
    },
    /// All that could be copied is copied, but some tables are stopped.
    #[error("{} stopped, everything else is committed: {}", tables(.0.len()), .0.join("; "))]
    TablesStopped(
        /// Each table with its reason.
        Vec<String>,
    ),
    /// The last commits took longer than a stop may.
    #[error(
        "the last commits were not over within {0:?}, the store is slow or down; nothing is lost, \
         the records are read again at the next start"
    )]
    StopTimeout(std::time::Duration),
    /// A record's schema cannot be followed, and the configuration says to stop then.
    #[error(
        "table {table} cannot follow {topic}/{partition} from offset {offset} on: {why}; nothing more \
         was read. Make the owner's schema compatible again, or set on_incompatible = \
         \"dead-letter\" for the topic"
    )]
    Incompatible {
        /// The table.
        table: TableName,
        /// The topic.
        topic: String,
        /// The partition's number.
        partition: i32,
        /// The record's offset.
        offset: i64,
        /// The schema, the field, both types and the way on.
        why: String,
    },
    /// A part of the writer ended without saying why: a bug.
    #[error("internal error: {0}")]
    Internal(String),
}

fn tables(count: usize) -> String {
    match count {
        1 => "1 table is".to_owned(),
        _ => format!("{count} tables are"),
    }
}

impl WriterError {
    /// Whether it says something of one table only, so that all others go on.
    pub(crate) fn is_of_one_table(&self) -> bool {
        matches!(
            self,
            Self::Table { .. }
                | Self::KeyUnknown { .. }
                | Self::TableTaken { .. }
                | Self::ContractUnknown { .. }
                | Self::OffsetOutOfRange { .. }
                | Self::TopicReplaced { .. }
                | Self::PartitionsChanged { .. }
                | Self::ClusterChanged { .. }
                | Self::TooManySources { .. }
                | Self::TopicMissing { .. }
                | Self::TopicForbidden { .. }
                | Self::Incompatible { .. }
                | Self::RegistryRefused { .. }
        )
    }

    /// A stable word for the error, to be shown, counted and looked up in the runbook.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Settings(_) => "settings",
            Self::Kafka(_) => "kafka",
            Self::TopicsMissing(_) => "topics_missing",
            Self::KafkaRefused { .. } => "kafka_refused",
            Self::OffsetOutOfRange { .. } => "offset_out_of_range",
            Self::TopicReplaced { .. } => "topic_replaced",
            Self::PartitionsChanged { .. } => "partitions_changed",
            Self::ClusterChanged { .. } => "cluster_changed",
            Self::TopicMissing { .. } => "topic_missing",
            Self::TopicForbidden { .. } => "topic_forbidden",
            Self::TooManySources { .. } => "too_many_sources",
            Self::Store(_) => "store",
            Self::Table { .. } => "table",
            Self::KeyUnknown { .. } => "key_unknown",
            Self::TableTaken { .. } => "table_taken",
            Self::ContractUnknown { .. } => "contract_unknown",
            Self::Incompatible { .. } => "incompatible",
            Self::RegistryRefused { .. } => "registry_refused",
            Self::TablesStopped(_) => "tables_stopped",
            Self::StopTimeout(_) => "stop_timeout",
            Self::Internal(_) => "internal",
        }
    }
}
