//! Decoders: a record's bytes to one row of a buffer.

mod format;

use apache_avro::Schema;
use schemas::avro::Nulls;
use schemas::{AvroSchema, Op, Shape};

use self::format::Format;
use crate::avro::{EnvelopePlan, RowPlan};
use crate::buffer::ChangeBuffer;
use crate::error::{DecodeError, Fault, SchemaMismatch, invalid, other_table};
use crate::json::{JsonDecoder, UnknownFields, is_null_text};
use crate::record::{Decoded, KeyBody, RecordMeta};
use crate::schema::ChangeSchema;
use crate::source::SourceFields;
use crate::time::is_event_time;
use crate::walk::{Letter, Walk};

/// Appends records of one writer's schema (Avro) or of any (JSON) to buffers of one table.
#[derive(Debug)]
pub struct ChangeDecoder {
    shape: Shape,
    fingerprint: u64,
    format: Format,
}

impl ChangeDecoder {
    /// A decoder of Avro bodies under this writer's schema: each of the writer's fields goes into
    /// its column by name or alias, promoted where the table holds more; columns that the writer
    /// does not know get the contract's default, else null.
    ///
    /// # Errors
    /// What of the writer's schema a table of `schema` does not hold, or not yet
    /// ([`schemas::Contract::evolve`] tells what to do about it).
    pub fn of_writer(
        writer: &AvroSchema,
        shape: Shape,
        schema: &ChangeSchema,
    ) -> Result<Self, SchemaMismatch> {
        let root = writer.root();
        let Some((Nulls::Never, record, fields)) = writer.record(root) else {
            let why = format!("expected a record, found {}", writer.describe(root));
            return Err(SchemaMismatch::Shape { why });
        };
        let format = match shape {
            Shape::Debezium => {
                Format::Envelope(Box::new(EnvelopePlan::compile(writer, fields, schema)?))
            }
            Shape::Upsert | Shape::Append => Format::Row(RowPlan::compile(writer, record, schema)?),
        };
        Ok(Self {
            shape,
            fingerprint: schema.fingerprint(),
            format,
        })
    }

    /// Like [`Self::of_writer`], of a schema that has lost the attributes of its primitive types:
    /// what Debezium and Kafka Connect call them is not seen.
    pub fn avro(
        writer: &Schema,
        shape: Shape,
        schema: &ChangeSchema,
    ) -> Result<Self, SchemaMismatch> {
        Self::of_writer(&with_attributes(writer)?, shape, schema)
    }

    /// A decoder of JSON bodies. Of a record without a schema the contract says what its values
    /// mean; a field that the table has may come once, under its name or an alias, and one that it
    /// lacks must be null.
    ///
    /// What a column takes, besides `null`:
    /// - int, long: a number that is whole and fits, as `3`, `3.0` or `3e2`;
    /// - double, float: a number, to the nearest one, which must be finite and in range;
    /// - boolean and string: the same in JSON; enum: one of its symbols;
    /// - bytes: Base64 with padding, as Debezium writes them;
    /// - decimal: a number or its text, which the column must hold exactly; Base64 of the digits
    ///   where the contract says Kafka Connect's decimal;
    /// - date: `"YYYY-MM-DD"`, or days since 1970-01-01;
    /// - timestamp: RFC 3339 with its offset, or a number since 1970 in the contract's unit; a
    ///   local timestamp's text has no offset;
    /// - time: `"HH:MM:SS"` with up to six digits of a second more, or a number in the contract's
    ///   unit;
    /// - record and map: an object; array: an array; union of several types: an object with the
    ///   type's name, as in Avro's JSON encoding.
    ///
    /// Nothing finer than a microsecond is cut: it is refused.
    ///
    /// Shape `debezium` takes the envelope as it is or in `{"schema": …, "payload": …}`, its parts
    /// in any order; the other shapes take a row so wrapped, unless the table has a column of either
    /// name. A schema that comes with the record, Kafka Connect's, says what its values mean, and each of its fields
    /// must be in the table ([`DecodeError::Schema`]).
    pub fn json(shape: Shape, schema: &ChangeSchema) -> Self {
        Self::json_with(shape, schema, UnknownFields::Refuse)
    }

    /// Like [`Self::json`]; `unknown` says what becomes of rows with fields that the table lacks.
    pub fn json_with(shape: Shape, schema: &ChangeSchema, unknown: UnknownFields) -> Self {
        let format = Format::Json(Box::new(JsonDecoder::new(shape, schema, unknown)));
        Self {
            shape,
            fingerprint: schema.fingerprint(),
            format,
        }
    }

    /// Appends exactly one row, or leaves the buffer exactly as it was: after an error, and when
    /// there is no row in the record or its key is needed first.
    ///
    /// `body` is the record's value (after the frame for Avro), `None` for a null value. The
    /// decoder and the buffer must be of the same [`ChangeSchema`].
    pub fn decode(
        &mut self,
        meta: &RecordMeta<'_>,
        body: Option<&[u8]>,
        key: Option<KeyBody<'_>>,
        buffer: &mut ChangeBuffer,
    ) -> Result<Decoded, DecodeError> {
        if self.fingerprint != buffer.schema().fingerprint() {
            return Err(*other_table());
        }
        let decoded = self.row(meta, body, key, buffer);
        if !matches!(decoded, Ok(Decoded::Row)) {
            buffer.clear_row();
        }
        decoded.map_err(|fault| *fault)
    }

    fn row(
        &mut self,
        meta: &RecordMeta<'_>,
        body: Option<&[u8]>,
        key: Option<KeyBody<'_>>,
        buffer: &mut ChangeBuffer,
    ) -> Result<Decoded, Fault> {
        let is_json = matches!(self.format, Format::Json(_));
        let body = body.filter(|body| !(is_json && is_null_text(body)));
        let op = match (self.shape, body) {
            (Shape::Debezium, Some(body)) => return self.change(meta, body, key, buffer),
            (Shape::Debezium, None) => return Ok(Decoded::Passed),
            (Shape::Upsert, None) => {
                return self.delete(meta, &Walk::default(), key, buffer);
            }
            (Shape::Append, None) => {
                return Err(invalid("a null value says nothing in shape append"));
            }
            (Shape::Upsert, Some(_)) => Op::Update,
            (Shape::Append, Some(_)) => Op::Create,
        };
        let (schema, entity) = buffer.parts();
        let is_row = self
            .format
            .image(body.unwrap_or_default(), schema, entity)?;
        if !is_row {
            // A null value in its wrapper.
            return self.row(meta, None, key, buffer);
        }
        entity.close_image(schema)?;
        close(meta, op, &SourceFields::default(), buffer)
    }

    /// A change in Debezium's envelope.
    fn change(
        &mut self,
        meta: &RecordMeta<'_>,
        body: &[u8],
        key: Option<KeyBody<'_>>,
        buffer: &mut ChangeBuffer,
    ) -> Result<Decoded, Fault> {
        let (schema, entity) = buffer.parts();
        let walk = self.format.walk(body, schema, entity)?;
        let op = match &walk.letter {
            _ if walk.empty => return Ok(Decoded::Passed),
            Some(Letter::Message) => return Ok(Decoded::Passed),
            Some(Letter::Change(Op::Delete)) => return self.delete(meta, &walk, key, buffer),
            Some(Letter::Change(op)) => *op,
            letter => return Err(no_change(letter.as_ref())),
        };
        if !walk.after {
            return Err(invalid(format!(
                "an event with op {:?} has no row after",
                op.letter()
            )));
        }
        entity.close_image(schema)?;
        close(meta, op, &walk.source, buffer)
    }

    /// A delete: the row before, as far as it is known, and the key for certain.
    fn delete(
        &mut self,
        meta: &RecordMeta<'_>,
        walk: &Walk<'_>,
        key: Option<KeyBody<'_>>,
        buffer: &mut ChangeBuffer,
    ) -> Result<Decoded, Fault> {
        let (schema, entity) = buffer.parts();
        entity.clear_row();
        if let Some(before) = walk.before {
            self.format.before(before, schema, entity)?;
        } else if schema.key().is_empty() {
            return Err(invalid(
                "a delete without the row before, and the table has no key",
            ));
        }
        if entity.missing_key(schema).is_some() {
            let Some(key) = key else {
                return Ok(Decoded::KeyNeeded);
            };
            entity.clear_key(schema);
            let in_key = |fault: Fault| Box::new(DecodeError::InKey(fault));
            key.decoder.run(key.body, schema, entity).map_err(in_key)?;
        }
        entity.close_delete();
        entity.missing_key(schema).map_or(Ok(()), Err)?;
        close(meta, Op::Delete, &walk.source, buffer)
    }
}

/// The schema as it reads its own text.
pub(crate) fn with_attributes(schema: &Schema) -> Result<AvroSchema, SchemaMismatch> {
    let broken = |why: String| SchemaMismatch::Shape { why };
    let json = serde_json::to_value(schema).map_err(|error| broken(error.to_string()))?;
    AvroSchema::from_json(&json).map_err(|error| broken(error.to_string()))
}

/// Completes the open row with its lineage.
fn close(
    meta: &RecordMeta<'_>,
    op: Op,
    source: &SourceFields<'_>,
    buffer: &mut ChangeBuffer,
) -> Result<Decoded, Fault> {
    let event_time_us = source.event_time_us()?.or(meta.event_time_us);
    let event_time_us = event_time_us.unwrap_or(meta.record_time_us);
    if !is_event_time(event_time_us) {
        return Err(invalid(format!(
            "the event time, {event_time_us} microseconds since 1970, is not in the years 1 to 9999"
        )));
    }
    buffer.close_row(op, event_time_us, meta, source)?;
    Ok(Decoded::Row)
}

#[cold]
fn no_change(letter: Option<&Letter>) -> Fault {
    invalid(match letter {
        None => "no op: the value is not a Debezium envelope".to_owned(),
        Some(Letter::Truncate) => {
            "op \"t\": the owner truncated its table, which cannot be told as rows; \
             delete the rows at the owner, or set skipped.operations=t at the connector"
                .to_owned()
        }
        Some(Letter::Other(letter)) => format!("op {letter:?} is not one of c, u, d, r"),
        Some(Letter::Change(_) | Letter::Message) => {
            "the envelope says no change of a row".to_owned()
        }
    })
}
