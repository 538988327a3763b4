//! The crate as the lake-writer uses it, held against apache-avro and serde_json.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod agreement;
mod canonical;
mod deletes;
mod entity;
mod envelopes;
mod fuzz;
mod hostile;
mod hostile_schemas;
mod inferred;
mod json_grammar;
mod keys;
mod kind;
mod lineage;
mod mismatch;
mod poison;
mod resolution;
mod table;
mod type_rows;
mod typed;
mod types;
mod unknown;
