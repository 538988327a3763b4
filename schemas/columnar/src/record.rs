//! What goes into decoding a record, and what comes out.

use schemas::SchemaId;

use crate::KeyDecoder;

/// What is known of a record besides its value. Times are microseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordMeta<'a> {
    /// The record's offset in its topic partition.
    pub offset: i64,
    /// The time that the log gives the record.
    pub record_time_us: i64,
    /// When the lake-writer took the record in.
    pub ingest_time_us: i64,
    /// The writer's schema, where the record names one.
    pub schema_id: Option<SchemaId>,
    /// The event's id (header `ce_id`).
    pub event_id: Option<&'a str>,
    /// Who published it (header `ce_source`); takes precedence over the envelope's `source.name`.
    pub source: Option<&'a str>,
    /// Its place in its source, or its transaction's (first number of the header `lakehead_sequence`).
    pub sequence: Option<i64>,
    /// When the owner committed it (header `ce_time`), unless the envelope says so itself.
    pub event_time_us: Option<i64>,
}

/// A record's key, offered for deletes.
#[derive(Debug)]
pub struct KeyBody<'a> {
    /// The decoder of the key's schema.
    pub decoder: &'a mut KeyDecoder,
    /// The key's bytes (after the frame for Avro).
    pub body: &'a [u8],
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// One row was appended.
    Row,
    /// The record says nothing of a row: the tombstone after a delete, or a logical message, in
    /// shape `debezium`. The buffer is as it was.
    Passed,
    /// A delete whose value does not hold its key, and no key was given: call again with it. The
    /// buffer is as it was.
    KeyNeeded,
}
