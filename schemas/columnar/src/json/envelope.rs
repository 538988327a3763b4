//! Debezium's envelope in JSON, and plain rows.

use super::fields::{FieldNames, for_each_field};
use super::reader::Reader;
use super::row::JsonRow;
use crate::entity::Entity;
use crate::error::{Fault, invalid, type_mismatch};
use crate::schema::ChangeSchema;
use crate::source::{SourceField, SourceFields};
use crate::walk::{Letter, Walk};

/// Reads JSON bodies of one table.
#[derive(Debug)]
pub(crate) struct JsonDecoder {
    /// The value's own fields: an envelope, or the wrapper around one.
    outer: FieldNames<Part>,
    /// The fields of an envelope in a wrapper.
    inner: FieldNames<Part>,
    parts: Parts,
    scratch: String,
}

/// Reads the parts of an envelope.
#[derive(Debug)]
struct Parts {
    source: FieldNames<SourceField>,
    row: JsonRow,
    /// Those that the open envelope had already, as bits.
    seen: u8,
}

/// A field of an envelope, or of the wrapper that Debezium puts around it with its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Before,
    After,
    Source,
    Op,
    Payload,
}

impl Part {
    const ALL: [(&'static str, Self); 5] = [
        ("before", Self::Before),
        ("after", Self::After),
        ("source", Self::Source),
        ("op", Self::Op),
        ("payload", Self::Payload),
    ];

    fn bit(self) -> u8 {
        match self {
            Self::Before => 1,
            Self::After => 2,
            Self::Source => 4,
            Self::Op => 8,
            Self::Payload => 16,
        }
    }
}

impl JsonDecoder {
    pub(crate) fn new(schema: &ChangeSchema) -> Self {
        Self {
            outer: FieldNames::new(Part::ALL),
            inner: FieldNames::new(Part::ALL.into_iter().take(4)),
            parts: Parts {
                source: FieldNames::new(SourceField::ALL),
                row: JsonRow::new(schema, |_| true),
                seen: 0,
            },
            scratch: String::new(),
        }
    }

    /// Reads a text that is one row and nothing else into the open row.
    pub(crate) fn image(
        &mut self,
        body: &[u8],
        schema: &ChangeSchema,
        entity: &mut Entity,
    ) -> Result<(), Fault> {
        let mut reader = Reader::new(body)?;
        self.parts
            .row
            .run(&mut reader, schema, entity, &mut self.scratch)?;
        reader.end()
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
            outer,
            inner,
            parts,
            scratch,
        } = self;
        let mut reader = Reader::new(body)?;
        let mut walk = Walk::default();
        parts.seen = 0;
        for_each_field(
            &mut reader,
            outer,
            scratch,
            |reader, part, scratch| match part {
                None => reader.skip(),
                Some(Part::Payload) => {
                    parts.once(Part::Payload)?;
                    if reader.take_null()? {
                        walk.empty = true;
                        return Ok(());
                    }
                    for_each_field(reader, inner, scratch, |reader, part, scratch| match part {
                        None => reader.skip(),
                        Some(part) => parts.read(part, reader, &mut walk, schema, entity, scratch),
                    })
                }
                Some(part) => parts.read(part, reader, &mut walk, schema, entity, scratch),
            },
        )?;
        reader.end()?;
        Ok(walk)
    }
}

impl Parts {
    fn once(&mut self, part: Part) -> Result<(), Fault> {
        if self.seen & part.bit() != 0 {
            let name = Part::ALL.iter().find(|(_, one)| one.bit() == part.bit());
            let name = name.map_or("", |(name, _)| name);
            return Err(invalid(format!("the envelope's {name:?} comes twice")));
        }
        self.seen |= part.bit();
        Ok(())
    }

    fn read<'a>(
        &mut self,
        part: Part,
        reader: &mut Reader<'a>,
        walk: &mut Walk<'a>,
        schema: &ChangeSchema,
        entity: &mut Entity,
        scratch: &mut String,
    ) -> Result<(), Fault> {
        self.once(part)?;
        if reader.take_null()? {
            return Ok(());
        }
        match part {
            Part::Before => {
                of_kind(reader, b'{', "before")?;
                let start = reader.place();
                reader.skip()?;
                walk.before = Some(reader.since(start)?.as_bytes());
            }
            Part::After => {
                of_kind(reader, b'{', "after")?;
                self.row.run(reader, schema, entity, scratch)?;
                walk.after = true;
            }
            Part::Source => {
                of_kind(reader, b'{', "source")?;
                walk.source.present = true;
                for_each_field(
                    reader,
                    &mut self.source,
                    scratch,
                    |reader, field, _| match field {
                        Some(field) => source_field(reader, field, &mut walk.source),
                        None => reader.skip(),
                    },
                )?;
            }
            Part::Op => {
                of_kind(reader, b'"', "op")?;
                walk.letter = Some(Letter::of(reader.text(scratch)?));
            }
            Part::Payload => reader.skip()?,
        }
        Ok(())
    }
}

/// A field of the source; one of another type than we know says nothing to us.
fn source_field<'a>(
    reader: &mut Reader<'a>,
    field: SourceField,
    source: &mut SourceFields<'a>,
) -> Result<(), Fault> {
    match reader.token()? {
        b'"' => source.set_text(field, reader.text_or_copy()?),
        b'-' | b'0'..=b'9' => {
            if let Some(value) = reader.number()?.long() {
                source.set_long(field, value);
            }
        }
        _ => reader.skip()?,
    }
    Ok(())
}

/// The next value must start with this byte.
fn of_kind(reader: &mut Reader<'_>, start: u8, field: &str) -> Result<(), Fault> {
    let token = reader.token()?;
    if token == start {
        return Ok(());
    }
    reader.skip()?;
    let expected = if start == b'{' {
        "an object"
    } else {
        "a string"
    };
    Err(type_mismatch(field, expected, Reader::kind(token)))
}
