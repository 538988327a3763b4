//! Debezium's envelope in JSON, and plain rows.

use schemas::Shape;

use super::fields::{FieldNames, for_each_field};
use super::parts::{Part, Parts, of_kind};
use super::reader::Reader;
use super::unknown::UnknownFields;
use crate::entity::Entity;
use crate::error::{Fault, invalid};
use crate::schema::ChangeSchema;
use crate::walk::Walk;

/// Reads JSON bodies of one table.
#[derive(Debug)]
pub(crate) struct JsonDecoder {
    shape: Shape,
    /// The value's own fields: an envelope, or the wrapper around one.
    outer: FieldNames<Part>,
    /// The fields of an envelope in a wrapper.
    inner: FieldNames<Part>,
    parts: Parts,
    /// A row may be in a wrapper: the table has no columns of its fields' names.
    may_wrap: bool,
    scratch: String,
}

impl JsonDecoder {
    pub(crate) fn new(shape: Shape, schema: &ChangeSchema, unknown: UnknownFields) -> Self {
        let is_column = |name: &str| {
            let mut fields = schema.contract().fields().iter();
            fields.any(|field| field.is_known_as(name))
        };
        Self {
            shape,
            outer: FieldNames::new(Part::ALL),
            inner: FieldNames::new(Part::ALL.into_iter().take(4)),
            parts: Parts::new(schema, unknown),
            may_wrap: !is_column("schema") && !is_column("payload"),
            scratch: String::new(),
        }
    }

    /// Reads a text that is one row and nothing else into the open row; false if it is a null row
    /// in its wrapper.
    pub(crate) fn image(
        &mut self,
        body: &[u8],
        schema: &ChangeSchema,
        entity: &mut Entity,
    ) -> Result<bool, Fault> {
        let mut reader = Reader::new(body)?;
        self.parts.is_typed = false;
        let is_row = if self.may_wrap && is_wrapped(reader.text) {
            self.wrapped(&mut reader, schema, entity)?
        } else {
            self.parts
                .plain
                .run(&mut reader, entity, &mut self.scratch)?;
            true
        };
        reader.end()?;
        Ok(is_row)
    }

    /// Reads the row before, of the envelope that was walked over last.
    pub(crate) fn before(&mut self, body: &[u8], entity: &mut Entity) -> Result<(), Fault> {
        let mut reader = Reader::new(body)?;
        let row = self.parts.row()?;
        row.run(&mut reader, entity, &mut self.scratch)?;
        reader.end()
    }

    /// Reads a row in the wrapper that has its schema.
    fn wrapped(
        &mut self,
        reader: &mut Reader<'_>,
        schema: &ChangeSchema,
        entity: &mut Entity,
    ) -> Result<bool, Fault> {
        let Self {
            outer,
            parts,
            scratch,
            shape,
            ..
        } = self;
        parts.seen = 0;
        // The payload waits for its schema.
        let mut payload = None;
        for_each_field(reader, outer, scratch, |reader, part, _| match part {
            Some(Part::Schema) => {
                parts.once(Part::Schema)?;
                parts.is_typed = parts.typed.take(reader, *shape, schema)?;
                Ok(())
            }
            Some(Part::Payload) => {
                parts.once(Part::Payload)?;
                let is_null = reader.token()? == b'n';
                payload = Some((reader.place(), is_null));
                reader.skip()
            }
            _ => reader.skip(),
        })?;
        let Some((place, is_null)) = payload else {
            return Err(invalid("a schema without a payload"));
        };
        if is_null {
            return Ok(false);
        }
        let end = reader.place();
        reader.go(place);
        of_kind(reader, b'{', "payload")?;
        parts.row()?.run(reader, entity, scratch)?;
        reader.go(end);
        Ok(true)
    }

    /// Walks over an envelope, whose parts may come in any order; the row after goes into the open
    /// row.
    pub(crate) fn walk<'a>(
        &mut self,
        body: &'a [u8],
        schema: &ChangeSchema,
        entity: &mut Entity,
    ) -> Result<Walk<'a>, Fault> {
        let Self {
            shape,
            outer,
            inner,
            parts,
            scratch,
            ..
        } = self;
        let mut reader = Reader::new(body)?;
        let mut walk = Walk::default();
        (parts.seen, parts.is_typed) = (0, false);
        // A payload that comes before its schema waits for it.
        let mut waiting = None;
        for_each_field(
            &mut reader,
            outer,
            scratch,
            |reader, part, scratch| match part {
                None => reader.skip(),
                Some(Part::Schema) => {
                    parts.once(Part::Schema)?;
                    reader.token()?;
                    parts.is_typed = parts.typed.take(reader, *shape, schema)?;
                    Ok(())
                }
                Some(Part::Payload) if parts.seen & Part::Schema.bit() == 0 => {
                    parts.once(Part::Payload)?;
                    reader.token()?;
                    waiting = Some(reader.place());
                    reader.skip()
                }
                Some(Part::Payload) => {
                    parts.once(Part::Payload)?;
                    parts.payload(inner, reader, &mut walk, entity, scratch)
                }
                Some(part) => parts.read(part, reader, &mut walk, entity, scratch),
            },
        )?;
        reader.end()?;
        if let Some(payload) = waiting {
            reader.go(payload);
            parts.payload(inner, &mut reader, &mut walk, entity, scratch)?;
        }
        Ok(walk)
    }
}

/// Whether a text is an object whose first field is `schema` or `payload`.
fn is_wrapped(text: &str) -> bool {
    let inside = text.trim_start().strip_prefix('{').map(str::trim_start);
    let first = |name: &str| inside.is_some_and(|inside| inside.starts_with(name));
    first("\"schema\"") || first("\"payload\"")
}
