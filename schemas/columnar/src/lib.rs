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
//! - [`contract_of_writer`], [`contract_of_json`]: the contract that a writer's schema implies;
//!   [`infer`], [`infer_more`]: the contract that JSON records without a schema suggest.
//! - [`CanonicalRows`]: rows as they are hashed when two sides are compared.
//! - [`adapt`]: rows of an older version of a table in the columns of a newer one.
//!
//! Numbers, texts and times arrive as they were written, or the record is refused. What becomes of
//! each type is told in schemas/docs/types.md.

mod adapt;
mod avro;
mod budget;
mod buffer;
mod canonical;
mod column;
mod contract;
mod decimal;
mod decoder;
mod default;
mod entity;
mod error;
mod infer;
mod json;
mod key;
mod lineage;
mod record;
mod schema;
mod source;
mod time;
mod uuid;
mod walk;

pub use adapt::adapt;
pub use buffer::ChangeBuffer;
pub use canonical::CanonicalRows;
pub use contract::{contract_of, contract_of_json, contract_of_writer, key_of_json};
pub use decoder::ChangeDecoder;
pub use error::{DecodeError, SchemaMismatch};
pub use infer::{InferError, infer, infer_more};
pub use json::UnknownFields;
pub use key::KeyDecoder;
pub use record::{Decoded, KeyBody, RecordMeta};
pub use schema::ChangeSchema;
