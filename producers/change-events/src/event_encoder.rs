//! Outbox rows to Kafka records.

use std::sync::Arc;

use apache_avro::Schema;
use schemas::{Envelope, Op, SchemaId, TableName, wire};

use crate::record_encoder::{put_long, put_text};
use crate::{EncodeError, OutboxRow, Record, RecordEncoder, timestamp};

/// Connector name in the envelope's `source`.
const CONNECTOR: &str = "lakehead";

/// Encodes the outbox rows of one entity: Avro bodies of [`Envelope`]'s schemas in Confluent's wire
/// format. Everything but the row's own values is encoded once, here.
#[derive(Debug)]
pub struct EventEncoder {
    key: RecordEncoder,
    row: RecordEncoder,
    key_id: SchemaId,
    value_id: SchemaId,
    topic: Arc<str>,
    source: Arc<str>,
    event_type: Arc<str>,
    /// The envelope's source before its times: version, connector, name.
    source_head: Vec<u8>,
    /// The envelope's source after its times and before the row's place: db, table.
    source_tail: Vec<u8>,
}

impl EventEncoder {
    /// An encoder of `table`'s events; the ids are those of the envelope's schemas in the registry.
    pub fn new(
        table: &TableName,
        topic: &str,
        source: &str,
        envelope: &Envelope,
        key_id: SchemaId,
        value_id: SchemaId,
    ) -> Result<Self, EncodeError> {
        let key = RecordEncoder::new(&parsed(&envelope.key_schema)?)?;
        let row = RecordEncoder::new(&row_schema(&parsed(&envelope.value_schema)?)?)?;
        let mut source_head = Vec::new();
        for text in [env!("CARGO_PKG_VERSION"), CONNECTOR, table.service()] {
            put_text(text, &mut source_head);
        }
        let mut source_tail = Vec::new();
        for text in [table.service(), table.entity()] {
            put_text(text, &mut source_tail);
        }
        Ok(Self {
            key,
            row,
            key_id,
            value_id,
            topic: topic.into(),
            source: source.into(),
            event_type: format!("{table}.change").into(),
            source_head,
            source_tail,
        })
    }

    /// The record of one outbox row; `published_ms` is the relay's clock, milliseconds since 1970.
    pub fn encode(&mut self, event: &OutboxRow, published_ms: i64) -> Result<Record, EncodeError> {
        let op = event.op().ok_or_else(|| {
            EncodeError::new(
                Some("op"),
                format!("{:?} is not one of c, u, d, r", event.op),
            )
        })?;
        check_images(event, op)?;
        let time = timestamp::rfc3339(event.event_time_us)
            .ok_or_else(|| EncodeError::new(Some("event_time_us"), "is not a time"))?;
        let mut key = Vec::with_capacity(64);
        wire::frame(self.key_id, &mut key);
        self.put_key(&event.key, &mut key)?;
        let mut value = Vec::with_capacity(512);
        wire::frame(self.value_id, &mut value);
        self.put_image(event.before.as_deref(), &mut value)?;
        self.put_image(event.after.as_deref(), &mut value)?;
        self.put_source(event, &mut value);
        put_text(&event.op, &mut value);
        value.push(2);
        put_long(published_ms, &mut value);
        put_transaction(event, &mut value);
        Ok(Record {
            number: event.place,
            sequence: event.place.into(),
            topic: Arc::clone(&self.topic),
            source: Arc::clone(&self.source),
            event_type: match &event.event_type {
                Some(name) => name.as_str().into(),
                None => Arc::clone(&self.event_type),
            },
            event_id: event.event_id.clone(),
            time,
            key,
            value,
        })
    }

    /// What tells the row's key from others: the encoded key without its schema's id.
    pub(crate) fn key_id(&mut self, event: &OutboxRow) -> Option<Vec<u8>> {
        let mut key = Vec::new();
        self.put_key(&event.key, &mut key).ok()?;
        Some(key)
    }

    /// A key of one field may be that field alone, as Debezium's `aggregateid` is.
    fn put_key(&mut self, key: &str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self.key.only_field() {
            Some(field) if !key.starts_with('{') => self.key.encode(&field.object(key), out),
            _ => self.key.encode(key, out),
        }
    }

    fn put_image(&mut self, json: Option<&str>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match json {
            None => out.push(0),
            Some(json) => {
                out.push(2);
                self.row.encode(json, out)?;
            }
        }
        Ok(())
    }

    fn put_source(&self, event: &OutboxRow, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.source_head);
        put_long(event.event_time_us.div_euclid(1000), out);
        put_long(event.event_time_us, out);
        out.extend_from_slice(&self.source_tail);
        out.push(2);
        put_text(&event.sequence.to_string(), out);
        match &event.transaction {
            Some(place) => {
                out.push(2);
                put_text(&place.id, out);
            }
            None => out.push(0),
        }
    }
}

fn put_transaction(event: &OutboxRow, out: &mut Vec<u8>) {
    match &event.transaction {
        Some(place) => {
            out.push(2);
            put_text(&place.id, out);
            put_long(place.total_order, out);
            put_long(place.entity_order, out);
        }
        None => out.push(0),
    }
}

/// A row that forgot its image is told; of a delete, the key says enough.
fn check_images(event: &OutboxRow, op: Op) -> Result<(), EncodeError> {
    let missing = match op {
        Op::Create | Op::Update | Op::Read if event.after.is_none() => "after",
        _ => return Ok(()),
    };
    let why = format!("the image is missing from an event with op {}", event.op);
    Err(EncodeError::new(Some(missing), why))
}

fn parsed(schema: &str) -> Result<Schema, EncodeError> {
    Schema::parse_str(schema).map_err(|error| EncodeError::new(None, error.to_string()))
}

/// The schema of the envelope's images.
fn row_schema(envelope: &Schema) -> Result<Schema, EncodeError> {
    if let Schema::Record(record) = envelope
        && let Some(before) = record.fields.iter().find(|field| field.name == "before")
        && let Schema::Union(union) = &before.schema
        && let [Schema::Null, row] = union.variants()
    {
        return Ok(row.clone());
    }
    Err(EncodeError::new(Some("before"), "the envelope has no row"))
}

#[cfg(test)]
mod tests;
