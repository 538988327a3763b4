//! Why a relay stopped.

use schemas::RegistryError;

use crate::{EncodeError, OutboxError};

/// What the relay cannot go on past. It waits for Kafka and the registry instead of failing.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The service's database.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// Most of the outbox cannot be published, so the fault is not the rows'.
    #[error(
        "{rows} outbox rows are parked, more than {rows_max}; the first is {first}: \
         look at its `why` in the table of parked rows, put the rows, the contract or the relay's \
         entities right, and set `retry` on the rows, or raise parked_rows_max"
    )]
    ParkedTooMany {
        /// Rows that are parked.
        rows: u64,
        /// The limit.
        rows_max: u32,
        /// The first one's sequence.
        first: i64,
    },
    /// Settings or rights.
    #[error("kafka refuses the relay: {0}; check the kafka settings")]
    KafkaRefused(String),
    /// The registry does not take the entity's schema.
    #[error("the schemas of {entity} cannot be registered: {source}")]
    Registry {
        /// The entity.
        entity: String,
        /// The registry's words.
        source: RegistryError,
    },
    /// An entity's contract has fields that have no encoding.
    #[error("the contract of {entity} cannot be encoded: {source}")]
    Contract {
        /// The entity.
        entity: String,
        /// The field and what is wrong with it.
        source: EncodeError,
    },
    /// The position belongs to another cluster.
    #[error(
        "this outbox was published up to {confirmed} to kafka cluster {known:?}, but the brokers \
         are of cluster {found:?}; use the brokers of the first, or a new database"
    )]
    ClusterChanged {
        /// The cluster of earlier runs.
        known: String,
        /// The cluster that answers now.
        found: String,
        /// The confirmed sequence.
        confirmed: i64,
    },
    /// The database may have gone back in time.
    #[error(
        "this outbox was published up to {confirmed} from the server {known} (system identifier, \
         timeline) and is on {found} now: after a restored backup or a promoted standby, sequences \
         that were published may be drawn again, and the lake would drop their events as repeats. \
         If no commit was lost, UPDATE lakehead.outbox_relay SET server = NULL; else give the \
         database a new identity besides, UPDATE lakehead.outbox_source SET source = source || \
         '/restored', and know that events since the backup may be in the lake twice"
    )]
    ServerChanged {
        /// The server of earlier runs.
        known: String,
        /// The server that answers now.
        found: String,
        /// The confirmed sequence.
        confirmed: i64,
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
