//! A row as Avro bytes: the way a capture publishes it.

use super::RowWriter;
use super::json::{NotCanonical, big_endian};
use super::time::instant_of_text;
use crate::avro::Nulls;
use crate::evolution::inner_type;
use crate::{Contract, Field, FieldType, Meaning, Unit};

/// How a contract's rows are written canonically from their Avro bytes. Made once for an entity.
///
/// It knows single values, arrays of them, and unions with null: what columns of databases are
/// published as.
#[derive(Debug)]
pub struct AvroRow {
    /// In the order of the bytes.
    fields: Vec<FieldPlan>,
    /// Their places in the order of their names.
    by_name: Vec<usize>,
}

#[derive(Debug)]
struct FieldPlan {
    name: String,
    nulls: Nulls,
    value: Value,
}

/// How one value is read and written.
#[derive(Debug)]
enum Value {
    Boolean,
    Whole,
    /// A count on some clock, as a number of microseconds.
    Count(Unit),
    Instant(Unit),
    InstantText,
    Float,
    Double,
    Decimal {
        scale: i32,
    },
    Text,
    Binary,
    Date,
    Array(Box<FieldPlan>),
}

impl AvroRow {
    /// The rows of a contract.
    ///
    /// # Errors
    /// A field's type is none of those that are known here.
    pub fn new(contract: &Contract) -> Result<Self, NotCanonical> {
        let fields = contract.fields().iter().map(FieldPlan::of);
        let fields = fields.collect::<Result<Vec<_>, _>>()?;
        let mut by_name: Vec<usize> = (0..fields.len()).collect();
        by_name.sort_by_key(|place| fields.get(*place).map(|field| field.name.as_bytes()));
        Ok(Self { fields, by_name })
    }

    /// The canonical bytes of the row that `avro` begins with; `writer` is cleared first.
    ///
    /// # Errors
    /// The bytes are no such row, or hold an instant that the lake does not.
    pub fn row<'w>(
        &self,
        mut avro: &[u8],
        writer: &'w mut RowWriter,
    ) -> Result<&'w [u8], NotCanonical> {
        writer.clear();
        // The values first, as they come; then the row, in the order of names.
        let mut values = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let start = writer.len();
            let is_there = field.put(&mut avro, writer);
            let is_there = is_there.map_err(|error| error.within(&field.name))?;
            values.push(is_there.then(|| start..writer.len()));
        }
        let start = writer.len();
        writer.begin_record();
        for place in &self.by_name {
            if let (Some(field), Some(Some(value))) = (self.fields.get(*place), values.get(*place))
            {
                writer.field(&field.name);
                writer.again(value.clone());
            }
        }
        writer.end_record();
        Ok(writer.bytes().get(start..).unwrap_or_default())
    }

    /// The hash of one row.
    ///
    /// # Errors
    /// As of [`Self::row`].
    pub fn hash(&self, avro: &[u8], writer: &mut RowWriter) -> Result<u128, NotCanonical> {
        self.row(avro, writer).map(super::hash)
    }
}

impl FieldPlan {
    fn of(field: &Field) -> Result<Self, NotCanonical> {
        let nulls = match &field.json["type"] {
            serde_json::Value::Array(branches) => match &branches[..] {
                [null, _] if null == "null" => Nulls::First,
                [_, null] if null == "null" => Nulls::Second,
                _ => Nulls::Single,
            },
            _ => Nulls::Never,
        };
        Ok(Self {
            name: field.name.clone(),
            nulls,
            value: Value::of(field).map_err(|error| error.within(&field.name))?,
        })
    }

    /// Writes the value; false, and nothing written, if it is null.
    fn put(&self, avro: &mut &[u8], out: &mut RowWriter) -> Result<bool, NotCanonical> {
        let null = match self.nulls {
            Nulls::Never => None,
            Nulls::Single => Some(-1),
            Nulls::First => Some(0),
            Nulls::Second => Some(1),
        };
        if let Some(null) = null
            && long(avro)? == null
        {
            return Ok(false);
        }
        self.value.put(avro, out)?;
        Ok(true)
    }
}

impl Value {
    fn of(field: &Field) -> Result<Self, NotCanonical> {
        let avro = inner_type(&field.json);
        let written = avro.as_str().or_else(|| avro["type"].as_str());
        let whole = matches!(written, Some("int" | "long"));
        Ok(match (written, &field.field_type, field.meaning) {
            (Some("boolean"), FieldType::Boolean, _) => Self::Boolean,
            (_, FieldType::Int | FieldType::Long, _) if whole && field.as_written() => Self::Whole,
            (_, FieldType::Long, Meaning::Time(unit) | Meaning::WallClock(unit)) if whole => {
                Self::Count(unit)
            }
            (_, FieldType::Int | FieldType::Long, _) if whole => Self::Whole,
            (_, FieldType::Timestamp, Meaning::Instant(unit) | Meaning::WallClock(unit))
                if whole =>
            {
                Self::Instant(unit)
            }
            (Some("int"), FieldType::Date, _) => Self::Date,
            (Some("float"), FieldType::Float | FieldType::Double, _) => Self::Float,
            (Some("double"), FieldType::Double, Meaning::Plain) => Self::Double,
            (Some("bytes"), FieldType::Decimal { .. }, Meaning::Decimal { scale, .. }) => {
                Self::Decimal {
                    scale: i32::try_from(scale).unwrap_or(i32::MAX),
                }
            }
            (Some("bytes"), FieldType::Bytes, _) => Self::Binary,
            (Some("string"), FieldType::Timestamp, Meaning::InstantText) => Self::InstantText,
            (Some("string"), FieldType::String, _) => Self::Text,
            (Some("array"), FieldType::Array(items), _) => {
                Self::Array(Box::new(FieldPlan::of(items)?))
            }
            (_, field_type, _) => {
                return Err(NotCanonical::new(format!(
                    "{field_type} is not written canonically from its Avro bytes"
                )));
            }
        })
    }

    fn put(&self, avro: &mut &[u8], out: &mut RowWriter) -> Result<(), NotCanonical> {
        let micros = |unit: &Unit, count| {
            let micros = unit.micros(count);
            micros.ok_or_else(|| NotCanonical::new("no time in whole microseconds"))
        };
        match self {
            Self::Boolean => out.boolean(take::<1>(avro)? != [0]),
            Self::Whole => out.whole(long(avro)?),
            Self::Count(unit) => out.whole(micros(unit, long(avro)?)?),
            Self::Instant(unit) => out.timestamp(micros(unit, long(avro)?)?),
            Self::InstantText => {
                let instant = instant_of_text(text(avro)?);
                out.timestamp(
                    instant.ok_or_else(|| NotCanonical::new("no instant of the lake's"))?,
                );
            }
            Self::Float => out.double(f32::from_le_bytes(take(avro)?).into()),
            Self::Double => out.double(f64::from_le_bytes(take(avro)?)),
            Self::Decimal { scale } => {
                let digits = big_endian(sized(avro)?);
                out.decimal(
                    digits.ok_or_else(|| NotCanonical::new("too many digits"))?,
                    *scale,
                );
            }
            Self::Text => out.text(text(avro)?),
            Self::Binary => out.binary(sized(avro)?),
            Self::Date => {
                let days = i32::try_from(long(avro)?);
                out.date(days.map_err(|_| NotCanonical::new("no day"))?);
            }
            Self::Array(items) => put_array(items, avro, out)?,
        }
        Ok(())
    }
}

/// Blocks of items, the last one of none; a count below zero is followed by the block's bytes.
fn put_array(items: &FieldPlan, avro: &mut &[u8], out: &mut RowWriter) -> Result<(), NotCanonical> {
    out.begin_array();
    loop {
        let count = long(avro)?;
        if count == 0 {
            break;
        }
        if count < 0 {
            long(avro)?;
        }
        for _ in 0..count.unsigned_abs() {
            if avro.is_empty() {
                return Err(cut());
            }
            if !items.put(avro, out)? {
                out.null();
            }
        }
    }
    out.end_array();
    Ok(())
}

fn cut() -> NotCanonical {
    NotCanonical::new("the bytes of the row are no row of the contract")
}

fn long(avro: &mut &[u8]) -> Result<i64, NotCanonical> {
    let mut zigzag = 0_u64;
    for shift in (0..64).step_by(7) {
        let [byte] = take::<1>(avro)?;
        zigzag |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
        }
    }
    Err(cut())
}

fn take<const N: usize>(avro: &mut &[u8]) -> Result<[u8; N], NotCanonical> {
    let (taken, rest) = avro.split_first_chunk().ok_or_else(cut)?;
    *avro = rest;
    Ok(*taken)
}

fn sized<'a>(avro: &mut &'a [u8]) -> Result<&'a [u8], NotCanonical> {
    let length = usize::try_from(long(avro)?).map_err(|_| cut())?;
    let (taken, rest) = avro.split_at_checked(length).ok_or_else(cut)?;
    *avro = rest;
    Ok(taken)
}

fn text<'a>(avro: &mut &'a [u8]) -> Result<&'a str, NotCanonical> {
    std::str::from_utf8(sized(avro)?).map_err(|_| NotCanonical::new("no UTF-8"))
}
