//! Reading one record with the decoder that its schema asks for.

use std::sync::Arc;

use columnar::{ChangeBuffer, ChangeSchema, DecodeError, Decoded, KeyBody, KeyDecoder, RecordMeta};
use schemas::{Shape, TopicPartition};

use super::{Lane, Verdict, Wait, WriterSchema, mismatch};
use crate::dead_letter::Reason;
use crate::error::WriterError;
use crate::record_log::Record;
use crate::schema_cache::SchemaCache;
use crate::settings::Format;

impl Lane {
    /// Reads one record into the partition's buffer, which is made at the first row.
    pub(crate) fn read(
        &mut self,
        record: &Record<'_>,
        meta: RecordMeta<'_>,
        rows: &mut Option<ChangeBuffer>,
        schemas: &mut SchemaCache,
    ) -> Result<Verdict, WriterError> {
        match (record.value, self.route.format) {
            (None, _) if self.shape == Shape::Debezium => Ok(Verdict::Passed),
            // A tombstone has no schema of its own: any decoder of the table reads its key.
            (None, _) => self.read_tombstone(record, &meta, rows, schemas),
            (Some(value), Format::Json) => self.read_json(record, value, &meta, rows, schemas),
            (Some(value), _) => self.read_avro(record, value, meta, rows, schemas),
        }
    }

    /// Looks at a record that comes after one that waits, so that a run of unknown schemas costs
    /// one wait and not one each.
    pub(crate) fn look_ahead(&mut self, record: &Record<'_>, schemas: &mut SchemaCache) {
        let Some(value) = record.value else { return };
        match WriterSchema::unframe(self.route.format, value) {
            _ if self.route.format == Format::Json => self.sample(value, record.key),
            Some((WriterSchema::Id(id), _)) => schemas.ask_ahead(id),
            _ => {}
        }
    }

    fn read_avro(
        &mut self,
        record: &Record<'_>,
        value: &[u8],
        mut meta: RecordMeta<'_>,
        rows: &mut Option<ChangeBuffer>,
        schemas: &mut SchemaCache,
    ) -> Result<Verdict, WriterError> {
        let Some((writer, body)) = WriterSchema::unframe(self.route.format, value) else {
            return Ok(Verdict::Dead(None, not_framed("value", self.route.format)));
        };
        meta.schema_id = writer.id();
        if self.values.get_mut(writer).is_none()
            && let Some(verdict) = self.learn(writer, record, schemas)?
        {
            return Ok(verdict);
        }
        let Some(schema) = &self.schema else {
            return Err(self.no_contract());
        };
        let decoder = match self.values.get_mut(writer) {
            Some(Ok(decoder)) => decoder,
            Some(Err(reason)) => return Ok(Verdict::Dead(meta.schema_id, reason.clone())),
            None => return Ok(Verdict::Waits(Wait::Contract)),
        };
        let buffer = open(rows, schema, &self.topic, record);
        match decoder.decode(&meta, Some(body), None, buffer) {
            Ok(Decoded::Row) => Ok(Verdict::Row),
            Ok(Decoded::Passed) => Ok(Verdict::Passed),
            Ok(Decoded::KeyNeeded) => {
                self.read_with_key(record, Some((writer, body)), &meta, rows, schemas)
            }
            Err(error) => Ok(unreadable(&meta, &error)),
        }
    }

    fn read_json(
        &mut self,
        record: &Record<'_>,
        value: &[u8],
        meta: &RecordMeta<'_>,
        rows: &mut Option<ChangeBuffer>,
        schemas: &mut SchemaCache,
    ) -> Result<Verdict, WriterError> {
        if self.plain.is_none()
            && let Some(verdict) = self.learn_json(record, value)?
        {
            return Ok(verdict);
        }
        let (Some(schema), Some(plain)) = (&self.schema, &mut self.plain) else {
            return Err(self.no_contract());
        };
        let buffer = open(rows, schema, &self.topic, record);
        match plain.values.decode(meta, Some(value), None, buffer) {
            Ok(Decoded::Row) => Ok(Verdict::Row),
            Ok(Decoded::Passed) => Ok(Verdict::Passed),
            Ok(Decoded::KeyNeeded) => self.read_with_key(record, None, meta, rows, schemas),
            Err(DecodeError::Schema(why)) => self.follow_json(record, value, &why),
            Err(why @ DecodeError::UnknownField { .. }) => self.infer_more(record, value, &why),
            Err(error) => Ok(unreadable(meta, &error)),
        }
    }

    fn read_tombstone(
        &mut self,
        record: &Record<'_>,
        meta: &RecordMeta<'_>,
        rows: &mut Option<ChangeBuffer>,
        schemas: &mut SchemaCache,
    ) -> Result<Verdict, WriterError> {
        if self.shape == Shape::Append {
            let text = "a null value is no fact; shape append has no deletes";
            return Ok(Verdict::Dead(None, Reason::new("invalid", text)));
        }
        if self.schema.is_none() {
            // Nothing has landed yet, so there is nothing that this could delete.
            return Ok(Verdict::Passed);
        }
        self.read_with_key(record, None, meta, rows, schemas)
    }

    /// Reads a delete whose columns are only in the record's key. `written`: schema and body of an
    /// Avro value.
    fn read_with_key(
        &mut self,
        record: &Record<'_>,
        written: Option<(WriterSchema, &[u8])>,
        meta: &RecordMeta<'_>,
        rows: &mut Option<ChangeBuffer>,
        schemas: &mut SchemaCache,
    ) -> Result<Verdict, WriterError> {
        let dead = |reason| Ok(Verdict::Dead(meta.schema_id, reason));
        let (Some(schema), Some(plain)) = (&self.schema, &mut self.plain) else {
            return Err(self.no_contract());
        };
        let Some(key) = record.key else {
            let text = "the change has neither a row nor a record key";
            return dead(Reason::new("missing_key", text));
        };
        let (keys, body) = match &mut plain.keys {
            Some(keys) => (keys, key),
            None => {
                let Some((writer, body)) = WriterSchema::unframe(self.route.format, key) else {
                    return dead(not_framed("key", self.route.format));
                };
                if self.keys.get_mut(writer).is_none() {
                    let Some(answer) = self.writers.find(writer, schemas) else {
                        return Ok(waits(writer));
                    };
                    let decoder = answer.and_then(|writer| {
                        KeyDecoder::of_writer(&writer, schema).map_err(|error| mismatch(&error))
                    });
                    self.keys.insert(writer, decoder);
                }
                match self.keys.get_mut(writer) {
                    Some(keys) => (keys, body),
                    None => return Ok(waits(writer)),
                }
            }
        };
        let decoder = match keys {
            Ok(decoder) => decoder,
            Err(reason) => return dead(reason.clone()),
        };
        let key = KeyBody { decoder, body };
        let known = written.and_then(|(writer, body)| Some((self.values.get_mut(writer)?, body)));
        let (decoder, body) = match known {
            Some((Ok(decoder), body)) => (decoder, Some(body)),
            _ => (&mut plain.values, record.value),
        };
        let buffer = open(rows, schema, &self.topic, record);
        Ok(match decoder.decode(meta, body, Some(key), buffer) {
            Ok(Decoded::Row) => Verdict::Row,
            Ok(Decoded::Passed) => Verdict::Passed,
            Ok(Decoded::KeyNeeded) => {
                let reason = Reason::new("missing_key", "the record's key lacks key columns");
                Verdict::Dead(meta.schema_id, reason)
            }
            Err(error) => unreadable(meta, &error),
        })
    }
}

/// The partition's buffer, made at its first row.
fn open<'b>(
    rows: &'b mut Option<ChangeBuffer>,
    schema: &Arc<ChangeSchema>,
    topic: &Arc<str>,
    record: &Record<'_>,
) -> &'b mut ChangeBuffer {
    // A record that waited for this contract has left an empty one with the columns of before.
    rows.take_if(|rows| rows.rows() == 0 && !Arc::ptr_eq(rows.schema(), schema));
    rows.get_or_insert_with(|| {
        let partition = TopicPartition::new(Arc::clone(topic), record.partition);
        ChangeBuffer::new(Arc::clone(schema), partition)
    })
}

/// A schema of the configuration is there at once, so what waits is one of the registry.
pub(super) fn waits(writer: WriterSchema) -> Verdict {
    Verdict::Waits(writer.id().map_or(Wait::Contract, Wait::Schema))
}

fn unreadable(meta: &RecordMeta<'_>, error: &DecodeError) -> Verdict {
    Verdict::Dead(meta.schema_id, Reason::new(error.code(), error.to_string()))
}

fn not_framed(part: &str, format: Format) -> Reason {
    let frame = match format {
        Format::AvroSingleObject => "Avro single-object encoding (bytes C3 01, fingerprint, Avro)",
        Format::Avro | Format::Json => "the Confluent wire format (byte 0, 4-byte schema id, Avro)",
    };
    Reason::new("not_framed", format!("the {part} is not in {frame}"))
}
