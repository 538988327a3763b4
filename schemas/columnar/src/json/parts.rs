//! The parts of an envelope in JSON.

use super::fields::{FieldNames, for_each_field};
use super::reader::Reader;
use super::row::JsonRow;
use super::typed::TypedRows;
use super::unknown::UnknownFields;
use crate::entity::Entity;
use crate::error::{Fault, invalid, type_mismatch};
use crate::schema::ChangeSchema;
use crate::source::{SourceField, SourceFields};
use crate::walk::{Letter, Walk};

/// Reads the parts of an envelope.
#[derive(Debug)]
pub(super) struct Parts {
    source: FieldNames<SourceField>,
    /// Rows as the contract says.
    pub(super) plain: JsonRow,
    /// Rows as the schemas say that come with them.
    pub(super) typed: TypedRows,
    /// Whether the open record came with a schema.
    pub(super) is_typed: bool,
    /// Those that the open envelope had already, as bits.
    pub(super) seen: u8,
}

/// A field of an envelope, or of the wrapper that Debezium puts around it with its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Before,
    After,
    Source,
    Op,
    Payload,
    Schema,
}

impl Part {
    pub(super) const ALL: [(&'static str, Self); 6] = [
        ("before", Self::Before),
        ("after", Self::After),
        ("source", Self::Source),
        ("op", Self::Op),
        ("schema", Self::Schema),
        ("payload", Self::Payload),
    ];

    pub(super) fn bit(self) -> u8 {
        match self {
            Self::Before => 1,
            Self::After => 2,
            Self::Source => 4,
            Self::Op => 8,
            Self::Payload => 16,
            Self::Schema => 32,
        }
    }
}

impl Parts {
    pub(super) fn new(schema: &ChangeSchema, unknown: UnknownFields) -> Self {
        Self {
            source: FieldNames::new(SourceField::ALL),
            plain: JsonRow::new(schema, unknown),
            typed: TypedRows::new(unknown),
            is_typed: false,
            seen: 0,
        }
    }

    /// The rows of the open record.
    pub(super) fn row(&mut self) -> Result<&mut JsonRow, Fault> {
        if self.is_typed {
            return self.typed.row();
        }
        Ok(&mut self.plain)
    }

    pub(super) fn once(&mut self, part: Part) -> Result<(), Fault> {
        if self.seen & part.bit() != 0 {
            let name = Part::ALL.iter().find(|(_, one)| one.bit() == part.bit());
            let name = name.map_or("", |(name, _)| name);
            return Err(invalid(format!("the envelope's {name:?} comes twice")));
        }
        self.seen |= part.bit();
        Ok(())
    }

    /// Reads an envelope in its wrapper.
    pub(super) fn payload<'a>(
        &mut self,
        inner: &mut FieldNames<Part>,
        reader: &mut Reader<'a>,
        walk: &mut Walk<'a>,
        entity: &mut Entity,
        scratch: &mut String,
    ) -> Result<(), Fault> {
        if reader.take_null()? {
            walk.empty = true;
            return Ok(());
        }
        for_each_field(reader, inner, scratch, |reader, part, scratch| match part {
            None => reader.skip(),
            Some(part) => self.read(part, reader, walk, entity, scratch),
        })
    }

    pub(super) fn read<'a>(
        &mut self,
        part: Part,
        reader: &mut Reader<'a>,
        walk: &mut Walk<'a>,
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
                self.row()?.run(reader, entity, scratch)?;
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
            Part::Payload | Part::Schema => reader.skip()?,
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
pub(super) fn of_kind(reader: &mut Reader<'_>, start: u8, field: &str) -> Result<(), Fault> {
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
