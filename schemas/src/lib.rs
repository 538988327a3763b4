//! What a change event is: names, shapes, headers, contracts, the Confluent wire format and the
//! client of the schema registry.
//!
//! Every other crate speaks these words. Nothing here knows Arrow, Kafka clients or the lake; a
//! service that publishes change events compiles this crate and little more.
//!
//! Where to read next: [`Contract`] (what an entity looks like), [`Envelope`] (what is on the
//! wire), [`wire`] (how bytes name their schema).

mod contract;
mod envelope;
pub mod header;
mod name;
mod registry;
pub mod wire;

pub use contract::{Contract, ContractError, Field, FieldType};
pub use envelope::{Envelope, Op, Shape, UnknownShape};
pub use name::{NameError, TableName, TopicPartition};
pub use registry::{
    Credentials, HttpRegistry, RegistryAccess, RegistryError, SchemaId, SchemaRegistry,
};
