//! What a change event is: names, shapes, headers, contracts and how they evolve, the wire formats
//! and the client of the schema registry.
//!
//! Every other crate speaks these words. Nothing here knows Arrow, Kafka clients or the lake; a
//! service that publishes change events compiles this crate and little more.
//!
//! Where to read next: [`Contract`] (what an entity looks like), [`Meaning`] (what the types of
//! Avro, Debezium and Kafka Connect stand for), [`Evolution`] (what a writer's schema does to a
//! table), [`Envelope`] (what is on the wire), [`wire`] (how bytes name their schema), [`canonical`]
//! (what a row is hashed as).

pub mod avro;
pub mod canonical;
mod contract;
mod envelope;
mod evolution;
mod field;
pub mod header;
mod key_format;
mod meaning;
mod name;
mod registry;
mod sequence;
pub mod source;
mod transaction;
mod watermark;
pub mod wire;

pub use avro::AvroSchema;
pub use contract::{Contract, ContractError};
pub use envelope::{Envelope, Op, Shape, UnknownShape};
pub use evolution::{Changes, Evolution, Incompatible, Side, Widening, matching};
pub use field::{Ask, Field, FieldType};
pub use key_format::{KeyFormat, UnknownKeyFormat};
pub use meaning::{Meaning, Unit};
pub use name::{NameError, TableName, TopicPartition};
pub use registry::{
    Credentials, HttpRegistry, RegistryAccess, RegistryError, SchemaId, SchemaRegistry,
};
pub use sequence::{NotASequence, Sequence};
pub use transaction::TransactionEvent;
pub use watermark::{Counted, PartitionEnd, WATERMARKS_TOPIC, Watermark};
