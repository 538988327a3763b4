//! Why a relay stopped.

use schemas::RegistryError;

use crate::{EncodeError, OutboxError};

/// What the relay cannot go on past. It waits for Kafka and the registry instead of failing.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The service's database.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// A row that cannot become a record. Rows before it are published; none after it is.
    #[error(
        "outbox row {sequence} (event {event_id}, entity {entity}) cannot be published: {source}; \
         nothing after it is published until the row or the contract is put right"
    )]
    Row {
        /// The row's sequence.
        sequence: i64,
        /// The event's id.
        event_id: String,
        /// The row's entity.
        entity: String,
        /// The field and what is wrong with it.
        source: EncodeError,
    },
    /// The brokers will never take this record.
    #[error(
        "outbox row {sequence} is refused by kafka: {why}; raise the topic's max.message.bytes or \
         put the row right: nothing after it is published until then"
    )]
    RecordRefused {
        /// The row's sequence.
        sequence: i64,
        /// The broker's or the client's words.
        why: String,
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
    /// The partitions of keys are no longer where they were.
    #[error(
        "topic {topic:?} had {known} partitions and now has {found}: a key's events would change \
         partition and lose their order; publish to a new topic instead"
    )]
    PartitionsChanged {
        /// The topic.
        topic: String,
        /// The count of earlier runs.
        known: i32,
        /// The count now.
        found: i32,
    },
}
