//! One change, as a service writes it to its outbox.

use schemas::{Op, TableName};
use serde::Serialize;
use uuid::Uuid;

/// A change of one row of an entity.
///
/// Images and key are JSON objects whose members are the fields of the entity's contract. Whole
/// numbers, decimals, booleans and texts are themselves; a `timestamp-micros` is a whole number of
/// microseconds since 1970-01-01 UTC (`timestamp-millis`: milliseconds), a `date` a whole number
/// of days, bytes are base64. A member that is left out is null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeEvent {
    /// Unique among all events; kept when the event is published again.
    pub event_id: Uuid,
    /// The entity that changed.
    pub table: TableName,
    /// What happened to the row.
    pub op: Op,
    /// When the owner committed the change by its own clock, in microseconds since 1970-01-01 UTC.
    pub event_time_us: i64,
    /// The key fields, a JSON object.
    pub key: String,
    /// The row before the change, a JSON object.
    pub before: Option<String>,
    /// The row after the change, a JSON object.
    pub after: Option<String>,
}

impl ChangeEvent {
    /// A row was inserted.
    pub fn create(
        table: &TableName,
        event_time_us: i64,
        key: &impl Serialize,
        after: &impl Serialize,
    ) -> Result<Self, serde_json::Error> {
        let after = serde_json::to_string(after)?;
        Self::new(table, Op::Create, event_time_us, key, None, Some(after))
    }

    /// A row was updated; its key stays the same (a changed key is a delete and a create).
    pub fn update(
        table: &TableName,
        event_time_us: i64,
        key: &impl Serialize,
        before: &impl Serialize,
        after: &impl Serialize,
    ) -> Result<Self, serde_json::Error> {
        let before = serde_json::to_string(before)?;
        let after = serde_json::to_string(after)?;
        Self::new(
            table,
            Op::Update,
            event_time_us,
            key,
            Some(before),
            Some(after),
        )
    }

    /// A row was deleted.
    pub fn delete(
        table: &TableName,
        event_time_us: i64,
        key: &impl Serialize,
        before: &impl Serialize,
    ) -> Result<Self, serde_json::Error> {
        let before = serde_json::to_string(before)?;
        Self::new(table, Op::Delete, event_time_us, key, Some(before), None)
    }

    fn new(
        table: &TableName,
        op: Op,
        event_time_us: i64,
        key: &impl Serialize,
        before: Option<String>,
        after: Option<String>,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self {
            // Version 7 rises with time, so the outbox's index on it grows at its end.
            event_id: Uuid::now_v7(),
            table: table.clone(),
            op,
            event_time_us,
            key: serde_json::to_string(key)?,
            before,
            after,
        })
    }
}
