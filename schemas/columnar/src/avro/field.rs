//! One field of a row: how it is read and which column takes it.

use schemas::Field;
use schemas::avro::{AvroSchema, NodeId, Nulls};

use super::cursor::Cursor;
use super::nested::{Entries, Items, Record};
use super::plan::read_of;
use super::union::{Union, branch};
use crate::column::Column;
use crate::decimal::{DecimalRead, decimal_text};
use crate::error::{Fault, SchemaMismatch, invalid, type_mismatch};
use crate::time::parse_instant;
use crate::uuid::uuid_text;

/// How a field's bytes are read.
#[derive(Debug)]
pub(super) enum Read {
    Boolean,
    /// An int into a column of longs.
    Int,
    /// An int into a column of ints.
    Int32,
    /// An int into a column of doubles.
    IntDouble,
    Long,
    /// A float into a column of doubles.
    Float,
    /// A float into a column of floats.
    Float32,
    Double,
    Text,
    Bytes,
    Fixed(usize),
    Enum(Box<[String]>),
    Date,
    /// Milliseconds into microseconds.
    Millis,
    MillisInt,
    Nanos,
    Instant,
    Uuid,
    Decimal(Size, Box<DecimalRead>),
    DecimalText(Size, i64),
    VariableDecimal,
    BigDecimal,
    Duration,
    Record(Box<Record>),
    Items(Box<Items>),
    Entries(Box<Entries>),
    Union(Box<Union>),
    /// One branch of the table's union: the writer writes no other.
    Branch(usize, Box<FieldStep>),
}

/// How long a decimal's bytes are, if that is not written before them.
pub(super) type Size = Option<usize>;

/// One field of a row or of a record within.
#[derive(Debug)]
pub(crate) struct FieldStep {
    pub(crate) column: usize,
    nulls: Nulls,
    /// The column must not be null.
    pub(super) required: bool,
    pub(super) read: Read,
    pub(super) name: Box<str>,
}

impl FieldStep {
    /// How the writer's type fills the table's column `column`, which takes it.
    pub(super) fn compile(
        schema: &AvroSchema,
        id: NodeId,
        table: &Field,
        column: usize,
        required: bool,
    ) -> Result<Self, SchemaMismatch> {
        let (nulls, inner) = schema.without_null(id);
        let read = read_of(schema, inner, table)?;
        let read = read.ok_or_else(|| SchemaMismatch::FieldType {
            field: table.name.clone(),
            writer: schema.describe(id),
            table: table.field_type.name(),
        })?;
        Ok(Self {
            column,
            nulls,
            required,
            read,
            name: table.name.as_str().into(),
        })
    }

    /// Reads the field into its column; true if a required one is null.
    #[inline]
    pub(crate) fn run(&self, cursor: &mut Cursor<'_>, column: &mut Column) -> Result<bool, Fault> {
        if self.nulls != Nulls::Never && is_null(self.nulls, cursor)? {
            column.push_null();
            return Ok(self.required);
        }
        self.value(cursor, column)?;
        Ok(false)
    }

    #[inline]
    fn value(&self, cursor: &mut Cursor<'_>, column: &mut Column) -> Result<(), Fault> {
        match &self.read {
            Read::Long => column.push_long(cursor.long()?),
            Read::Text => column.push_utf8(cursor.text_bytes()?),
            Read::Double => column.push_double(cursor.double()?),
            Read::Int => column.push_long(cursor.int()?.into()),
            Read::Float => column.push_double(cursor.float()?.into()),
            Read::Boolean => column.push_boolean(cursor.boolean()?),
            Read::Bytes => column.push_bytes(cursor.bytes()?),
            Read::Fixed(length) => column.push_bytes(cursor.fixed(*length)?),
            Read::Enum(symbols) => {
                let index = cursor.index(symbols.len(), "enum symbol")?;
                column.push_text(symbols.get(index).map_or("", String::as_str))
            }
            Read::Date => column.push_date(cursor.int()?),
            Read::Millis => {
                let micros = cursor.long()?.checked_mul(1000);
                column.push_long(micros.ok_or_else(|| invalid("a timestamp is out of range"))?)
            }
            _ => self.rare(cursor, column),
        }
    }

    fn rare(&self, cursor: &mut Cursor<'_>, column: &mut Column) -> Result<(), Fault> {
        match &self.read {
            Read::Int32 => column.push_int(cursor.int()?),
            Read::IntDouble => column.push_double(cursor.int()?.into()),
            Read::Float32 => column.push_float(cursor.float()?),
            Read::MillisInt => column.push_long(i64::from(cursor.int()?) * 1000),
            Read::Nanos => {
                let nanos = cursor.long()?;
                if nanos % 1000 != 0 {
                    return Err(self.finer(nanos));
                }
                column.push_long(nanos / 1000)
            }
            Read::Instant => {
                let text = cursor.text()?;
                let micros = parse_instant(text);
                column.push_long(micros.ok_or_else(|| self.no_instant(text))?)
            }
            Read::Uuid => {
                let text = uuid_text(cursor.fixed(16)?);
                column.push_text(&text.unwrap_or_default())
            }
            Read::Decimal(size, read) => {
                let digits = read.digits_of_bytes(sized(*size, cursor)?, &self.name)?;
                column.push_decimal(digits)
            }
            Read::DecimalText(size, scale) => {
                let bytes = sized(*size, cursor)?;
                self.push_digits(bytes, *scale, column)
            }
            Read::VariableDecimal => {
                let scale = cursor.int()?;
                self.push_digits(cursor.bytes()?, scale.into(), column)
            }
            Read::BigDecimal => {
                let mut inside = Cursor::new(cursor.bytes()?);
                let bytes = inside.bytes()?;
                let scale = inside.long()?;
                inside.end()?;
                self.push_digits(bytes, scale, column)
            }
            Read::Duration => duration(cursor, column),
            Read::Record(record) => record.run(cursor, column),
            Read::Items(items) => items.run(cursor, column),
            Read::Entries(entries) => entries.run(cursor, column),
            Read::Union(union) => union.run(cursor, column),
            Read::Branch(place, step) => branch(*place, step, cursor, column),
            _ => Err(invalid("a field has no plan; please report this")),
        }
    }

    fn push_digits(&self, bytes: &[u8], scale: i64, column: &mut Column) -> Result<(), Fault> {
        let text = decimal_text(bytes, scale);
        let text = text.ok_or_else(|| {
            type_mismatch(&self.name, "decimal", "a number of thousands of digits")
        })?;
        column.push_text(&text)
    }

    #[cold]
    fn finer(&self, nanos: i64) -> Fault {
        type_mismatch(
            &self.name,
            "microseconds",
            format!("{nanos} nanoseconds, which are not whole microseconds"),
        )
    }

    #[cold]
    fn no_instant(&self, text: &str) -> Fault {
        let start: String = text.chars().take(40).collect();
        type_mismatch(&self.name, "timestamp", format!("the string {start:?}"))
    }
}

/// Reads the branch index of a union with one type besides null.
#[inline]
pub(crate) fn is_null(nulls: Nulls, cursor: &mut Cursor<'_>) -> Result<bool, Fault> {
    match nulls {
        Nulls::Never => Ok(false),
        Nulls::Single => cursor.index(1, "union branch").map(|_| false),
        Nulls::First => cursor.index(2, "union branch").map(|branch| branch == 0),
        Nulls::Second => cursor.index(2, "union branch").map(|branch| branch == 1),
    }
}

fn sized<'a>(size: Size, cursor: &mut Cursor<'a>) -> Result<&'a [u8], Fault> {
    match size {
        Some(size) => cursor.fixed(size),
        None => cursor.bytes(),
    }
}

/// Three numbers of 4 bytes, little endian.
fn duration(cursor: &mut Cursor<'_>, column: &mut Column) -> Result<(), Fault> {
    for part in column.record()? {
        let bytes = cursor.fixed(4)?.first_chunk().copied().unwrap_or_default();
        part.push_long(u32::from_le_bytes(bytes).into())?;
    }
    column.close_nested()
}
