//! Change events as Arrow columns: record bytes (Avro or JSON) go straight into column buffers,
//! with no tree of values in between, and come out as record batches of a table of changes.
//!
//! This is the hot path of the lake-writer. It knows neither Kafka nor the lake and does no I/O.
//!
//! - [`ChangeSchema`]: the columns of a table of changes, from the entity's contract.
//! - [`ChangeBuffer`]: rows of one topic partition under construction.
//! - [`ChangeDecoder`]: appends the row of one record, or leaves the buffer exactly as it was, so
//!   that a bad record never costs its neighbours. Decoders of several writer's schemas append to
//!   one buffer, so mixed schema ids never force a flush.
//! - [`contract_of`]: the contract that a writer's Avro schemas imply.
//!
//! What is exact and what is not: numbers, texts and times arrive as they were written or the
//! record is refused, with one exception that the contract asks for by its type: a time text with
//! more than six digits of a second is cut to microseconds.

mod avro;
mod buffer;
mod column;
mod contract;
mod decoder;
mod entity;
mod error;
mod json;
mod key;
mod lineage;
mod record;
mod schema;
mod source;
mod time;
mod walk;

pub use buffer::ChangeBuffer;
pub use contract::contract_of;
pub use decoder::ChangeDecoder;
pub use error::{DecodeError, SchemaMismatch};
pub use key::KeyDecoder;
pub use record::{Decoded, KeyBody, RecordMeta};
pub use schema::ChangeSchema;
