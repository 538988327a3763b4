//! JSON values into columns.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemas::{Field, Unit};

use super::nested::{Entries, Items, Record};
use super::number::Number;
use super::plan::{expected, read_of};
use super::reader::Reader;
use super::unknown::UnknownFields;
use super::variable_decimal::VariableDecimal;
use crate::column::Column;
use crate::decimal::{DecimalRead, decimal_text};
use crate::error::{Fault, invalid, truncated, type_mismatch};
use crate::time::{parse_date, parse_instant, parse_time, parse_wall_clock};
use crate::uuid::parse_uuid;

/// How a field's values are written, and which column takes them.
#[derive(Debug)]
pub(super) struct ValueRead {
    pub(super) read: Read,
    /// The column must not be null.
    pub(super) required: bool,
    pub(super) name: Box<str>,
    /// What is expected, in messages.
    expected: &'static str,
}

/// How values are written.
#[derive(Debug)]
pub(super) enum Read {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Text,
    /// Base64, of so many bytes if that is fixed.
    Bytes(Option<usize>),
    Date,
    /// A whole number of 32 bits into a column of longs.
    IntLong,
    /// The same into a column of doubles.
    IntDouble,
    /// A number in the range of 32 bits into a column of doubles.
    FloatDouble,
    /// One of these names.
    Enum(Box<[String]>),
    /// A UUID, in lower case.
    Uuid,
    Instant(Unit),
    Time(Unit),
    WallClock(Unit),
    /// A number or its digits.
    Decimal(Box<DecimalRead>),
    /// Base64 of a decimal's digits, or a number.
    DecimalBytes(Box<DecimalRead>),
    /// The digits of a decimal of any size: a number, its digits or Base64 of them.
    DecimalText {
        scale: u32,
        base64: bool,
    },
    VariableDecimal(Box<VariableDecimal>),
    Record(Box<Record>),
    Items(Box<Items>),
    Entries(Box<Entries>),
}

impl ValueRead {
    /// How values of the writer's field are written, for a column of the table's, which takes them
    /// by the rules of evolution.
    pub(super) fn new(writer: &Field, table: &Field, required: bool) -> Self {
        Self {
            read: read_of(writer, table),
            required,
            name: table.name.as_str().into(),
            expected: expected(table),
        }
    }

    /// Reads a value into its column; true if a required one is null.
    #[inline]
    pub(super) fn run(
        &mut self,
        reader: &mut Reader<'_>,
        column: &mut Column,
        scratch: &mut String,
    ) -> Result<bool, Fault> {
        match (reader.token()?, &self.read) {
            (b'"', Read::Text) => column.push_text(reader.text(scratch)?)?,
            (b'-' | b'0'..=b'9', _) => self.number(&reader.number()?, column)?,
            (b'n', _) => {
                reader.literal()?;
                column.push_null();
                return Ok(self.required);
            }
            (b'"', Read::Instant(_)) => {
                let text = reader.text(scratch)?;
                match parse_instant(text) {
                    Some(micros) => column.push_long(micros)?,
                    None => return Err(self.no_text(text)),
                }
            }
            (b't' | b'f', Read::Boolean) => {
                let value = reader.token()? == b't';
                reader.literal()?;
                column.push_boolean(value)?;
            }
            (b'"', _) => self.text(reader, column, scratch)?,
            (token, _) => return self.nested(token, reader, column, scratch),
        }
        Ok(false)
    }

    /// Says what becomes of fields that records within lack.
    pub(super) fn set_unknown(&mut self, unknown: UnknownFields) {
        match &mut self.read {
            Read::Record(record) => record.set_unknown(unknown),
            Read::Items(items) => items.set_unknown(unknown),
            Read::Entries(entries) => entries.set_unknown(unknown),
            _ => {}
        }
    }

    fn nested(
        &mut self,
        token: u8,
        reader: &mut Reader<'_>,
        column: &mut Column,
        scratch: &mut String,
    ) -> Result<bool, Fault> {
        match (token, &mut self.read) {
            (b'{', Read::Record(record)) => record.run(reader, column, scratch)?,
            (b'[', Read::Items(items)) => items.run(reader, column, scratch)?,
            (b'{', Read::Entries(entries)) => entries.run(reader, column, scratch)?,
            (b'{', Read::VariableDecimal(parts)) => {
                let text = parts.run(reader, scratch)?;
                match text {
                    Some(text) => column.push_text(&text)?,
                    None => return Err(self.mismatch("another object")),
                }
            }
            _ => {
                // What is not JSON at all is not a matter of types.
                reader.skip()?;
                return Err(self.mismatch(Reader::kind(token)));
            }
        }
        Ok(false)
    }

    #[inline]
    fn number(&self, number: &Number<'_>, column: &mut Column) -> Result<(), Fault> {
        let refused = || self.no_number(number);
        let long = || number.long().ok_or_else(refused);
        match &self.read {
            Read::Long => column.push_long(long()?),
            Read::Double => column.push_double(number.double().ok_or_else(refused)?),
            Read::Instant(unit) | Read::Time(unit) | Read::WallClock(unit) => {
                column.push_long(micros(long()?, *unit).ok_or_else(refused)?)
            }
            Read::Int => column.push_int(i32::try_from(long()?).map_err(|_| refused())?),
            Read::Float => column.push_float(number.float().ok_or_else(refused)?),
            Read::Date => column.push_date(i32::try_from(long()?).map_err(|_| refused())?),
            Read::IntLong => {
                column.push_long(i32::try_from(long()?).map_err(|_| refused())?.into())
            }
            Read::IntDouble => {
                column.push_double(i32::try_from(long()?).map_err(|_| refused())?.into())
            }
            Read::FloatDouble => {
                number.float().ok_or_else(refused)?;
                column.push_double(number.double().ok_or_else(refused)?)
            }
            Read::Decimal(read) | Read::DecimalBytes(read) => {
                column.push_decimal(read.digits_of_text(number.text()).ok_or_else(refused)?)
            }
            Read::DecimalText { .. } if is_decimal(number.text()) => {
                column.push_text(number.text())
            }
            Read::DecimalText { .. } => Err(refused()),
            _ => Err(self.mismatch("a number")),
        }
    }

    /// A text that stands for something else.
    fn text(
        &self,
        reader: &mut Reader<'_>,
        column: &mut Column,
        scratch: &mut String,
    ) -> Result<(), Fault> {
        let text = reader.text(scratch)?;
        let refused = || self.no_text(text);
        let base64 = || STANDARD.decode(text).map_err(|_| refused());
        match &self.read {
            Read::Bytes(size) => {
                let bytes = base64()?;
                if size.is_some_and(|size| size != bytes.len()) {
                    return Err(self.mismatch(format!("{} bytes", bytes.len())));
                }
                column.push_bytes(&bytes)
            }
            Read::Enum(symbols) if symbols.iter().any(|symbol| symbol == text) => {
                column.push_text(text)
            }
            Read::Uuid => column.push_text(&parse_uuid(text).ok_or_else(refused)?),
            Read::Date => column.push_date(parse_date(text).ok_or_else(refused)?),
            Read::Enum(_) => Err(refused()),
            Read::Time(_) => column.push_long(parse_time(text).ok_or_else(refused)?),
            Read::WallClock(_) => column.push_long(parse_wall_clock(text).ok_or_else(refused)?),
            Read::Decimal(read) => {
                column.push_decimal(read.digits_of_text(text).ok_or_else(refused)?)
            }
            Read::DecimalBytes(read) => {
                column.push_decimal(read.digits_of_bytes(&base64()?, &self.name)?)
            }
            Read::DecimalText { base64: false, .. } => {
                if !is_decimal(text) {
                    return Err(refused());
                }
                column.push_text(text)
            }
            Read::DecimalText { scale, .. } => {
                let digits = decimal_text(&base64()?, (*scale).into());
                column.push_text(&digits.ok_or_else(refused)?)
            }
            _ => Err(self.mismatch("a string")),
        }
    }

    #[cold]
    fn no_number(&self, number: &Number<'_>) -> Fault {
        self.mismatch(number.text().chars().take(40).collect::<String>())
    }

    #[cold]
    fn no_text(&self, text: &str) -> Fault {
        let start: String = text.chars().take(40).collect();
        self.mismatch(format!("the string {start:?}"))
    }

    #[cold]
    pub(super) fn mismatch(&self, found: impl Into<String>) -> Fault {
        type_mismatch(&self.name, self.expected, found)
    }
}

/// Reads a text that is one value and nothing else into a column.
pub(crate) fn fill_value(text: &str, field: &Field, column: &mut Column) -> Result<(), Fault> {
    let mut reader = Reader::new(text.as_bytes())?;
    let mut read = ValueRead::new(field, field, !field.nullable);
    if read.run(&mut reader, column, &mut String::new())? {
        return Err(read.mismatch("null"));
    }
    if reader.end().is_err() {
        return Err(truncated(reader.place()));
    }
    Ok(())
}

/// A count of a unit in microseconds, if it is a whole number of them.
#[inline]
fn micros(count: i64, unit: Unit) -> Option<i64> {
    match unit {
        Unit::Micros => Some(count),
        Unit::Millis => count.checked_mul(1000),
        Unit::Nanos => (count % 1000 == 0).then_some(count / 1000),
    }
}

/// Whether a text is the digits of a number, with a sign or a point or neither.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    are_digits(whole) && are_digits(fraction)
}

/// A value that must be there is null.
#[cold]
pub(super) fn null_of(read: &ValueRead) -> Fault {
    read.mismatch("null")
}

/// A field comes twice.
#[cold]
pub(super) fn twice(name: &str) -> Fault {
    invalid(format!("field {name:?} comes twice"))
}
