//! How values of a writer's field are written, for a column of the table's.

use schemas::{Field, FieldType, Meaning, Unit};

use super::nested::{Entries, Items, Record};
use super::value::Read;
use super::variable_decimal::VariableDecimal;
use crate::decimal::DecimalRead;

/// What is expected, in messages.
pub(super) fn expected(table: &Field) -> &'static str {
    match table.meaning {
        Meaning::Time(_) if !table.as_written() => "time",
        Meaning::WallClock(_) if !table.as_written() => "local timestamp",
        Meaning::Enum => "a symbol of the enum",
        Meaning::UuidBytes => "uuid",
        Meaning::Int if table.field_type == FieldType::Long => "int",
        Meaning::Float if table.field_type == FieldType::Double => "float",
        _ => table.field_type.name(),
    }
}

/// How the values are written.
pub(super) fn read_of(writer: &Field, table: &Field) -> Read {
    match (&table.field_type, writer.meaning) {
        (FieldType::Boolean, _) => Read::Boolean,
        (FieldType::Int, _) => Read::Int,
        (FieldType::Float, _) => Read::Float,
        (FieldType::Double, Meaning::Int) => Read::IntDouble,
        (FieldType::Double, Meaning::Float) => Read::FloatDouble,
        (FieldType::Double, _) => Read::Double,
        (FieldType::Long, Meaning::Date | Meaning::Int) => Read::IntLong,
        (FieldType::Long, Meaning::Time(unit)) if !table.as_written() => Read::Time(unit),
        (FieldType::Long, Meaning::WallClock(unit)) if !table.as_written() => Read::WallClock(unit),
        (FieldType::Long, _) => Read::Long,
        (FieldType::Date, _) => Read::Date,
        (FieldType::Timestamp, Meaning::WallClock(unit)) => Read::WallClock(unit),
        (FieldType::Timestamp, Meaning::Instant(unit)) => Read::Instant(unit),
        (FieldType::Timestamp, _) => Read::Instant(Unit::Micros),
        (FieldType::Decimal { precision, scale }, meaning) => decimal(*precision, *scale, meaning),
        (FieldType::String, Meaning::Decimal { scale, connect, .. }) => Read::DecimalText {
            scale,
            base64: connect,
        },
        (FieldType::String, Meaning::VariableDecimal) => {
            Read::VariableDecimal(Box::new(VariableDecimal::new()))
        }
        (FieldType::String, Meaning::BigDecimal) => Read::DecimalText {
            scale: 0,
            base64: false,
        },
        (FieldType::String, Meaning::Enum) => Read::Enum(writer.symbols().into()),
        (FieldType::String, Meaning::UuidBytes) => Read::Uuid,
        (FieldType::String, _) => Read::Text,
        (FieldType::Bytes, Meaning::Fixed(size)) => Read::Bytes(Some(size)),
        (FieldType::Bytes, _) => Read::Bytes(None),
        (FieldType::Record(_), _) => Read::Record(Box::new(Record::new(writer, table))),
        (FieldType::Array(items), _) => Read::Items(Box::new(Items::new(writer, items))),
        (FieldType::Map(values), _) => Read::Entries(Box::new(Entries::new(writer, values))),
    }
}

fn decimal(precision: u8, scale: u8, meaning: Meaning) -> Read {
    let (own, connect) = match meaning {
        Meaning::Decimal { scale, connect, .. } => (scale, connect),
        _ => (scale.into(), false),
    };
    match DecimalRead::new(precision, scale, own) {
        Some(read) if connect => Read::DecimalBytes(Box::new(read)),
        Some(read) => Read::Decimal(Box::new(read)),
        // Evolution rules it out: a column of fewer digits after the point.
        None => Read::Boolean,
    }
}
