//! Names of the record headers that Lakehead writes and reads.
//!
//! `ce_*` is the CloudEvents 1.0 Kafka binding in binary mode.

/// The event's id, unique per source.
pub const EVENT_ID: &str = "ce_id";
/// Who published the event: the service's database, a URI reference.
pub const SOURCE: &str = "ce_source";
/// What kind of event it is, for example `flights.flight.change`.
pub const TYPE: &str = "ce_type";
/// When the owner committed the change, RFC 3339.
pub const TIME: &str = "ce_time";
/// The version of CloudEvents.
pub const SPEC_VERSION: &str = "ce_specversion";
/// The event's place in its source ([`crate::Sequence`]): strictly rising within a source and topic
/// partition, and the same when the event is published again. The lake-writer drops what is not above the
/// last one it committed.
pub const SEQUENCE: &str = "lakehead_sequence";
