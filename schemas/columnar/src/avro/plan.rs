//! How a writer's types are read.

use schemas::avro::{AvroSchema, Kind, NodeId};
use schemas::{Field, FieldType, Meaning, Unit};

use super::field::Read;
use super::nested::{Entries, Items, Record};
use super::union::Union;
use crate::decimal::DecimalRead;
use crate::error::SchemaMismatch;

/// How the writer's type is read into a column of the table's field, which takes it by the rules of
/// evolution; nothing if it does not.
pub(super) fn read_of(
    schema: &AvroSchema,
    id: NodeId,
    table: &Field,
) -> Result<Option<Read>, SchemaMismatch> {
    let Ok(meaning) = Meaning::of(schema, id) else {
        return Ok(None);
    };
    let kind = &schema.node(id).kind;
    if table.meaning == Meaning::Union {
        return Union::compile(schema, id, table).map(Some);
    }
    Ok(Some(match (&table.field_type, kind) {
        (FieldType::Record(_), Kind::Record { .. }) => {
            Read::Record(Box::new(Record::compile(schema, id, table)?))
        }
        (FieldType::Array(items), Kind::Array(_)) => {
            Read::Items(Box::new(Items::compile(schema, id, items)?))
        }
        (FieldType::Map(values), Kind::Map(_)) => {
            Read::Entries(Box::new(Entries::compile(schema, id, values)?))
        }
        _ => return Ok(single(kind, meaning, table)),
    }))
}

/// How a single value is read.
fn single(kind: &Kind, meaning: Meaning, table: &Field) -> Option<Read> {
    let size = match kind {
        Kind::Fixed { size, .. } => Some(*size),
        _ => None,
    };
    Some(match (&table.field_type, meaning, kind) {
        (FieldType::Boolean, _, Kind::Boolean) => Read::Boolean,
        (FieldType::Int, Meaning::Int, _) => Read::Int32,
        (FieldType::Float, Meaning::Float, _) => Read::Float32,
        (FieldType::Double, Meaning::Int, _) => Read::IntDouble,
        (FieldType::Double, Meaning::Float, _) => Read::Float,
        (FieldType::Double, _, Kind::Double) => Read::Double,
        (FieldType::Date, Meaning::Date, _) => Read::Date,
        (FieldType::Timestamp, Meaning::InstantText, _) => Read::Instant,
        (FieldType::Timestamp, Meaning::Instant(unit) | Meaning::WallClock(unit), kind)
        | (FieldType::Long, Meaning::Time(unit) | Meaning::WallClock(unit), kind)
            if !table.as_written() =>
        {
            counted(unit, kind)
        }
        (FieldType::Long, _, Kind::Int) => Read::Int,
        (FieldType::Long, _, Kind::Long) => Read::Long,
        (FieldType::Decimal { precision, scale }, Meaning::Decimal { scale: own, .. }, _) => {
            Read::Decimal(size, Box::new(DecimalRead::new(*precision, *scale, own)?))
        }
        (FieldType::String, Meaning::Decimal { scale, .. }, _) => {
            Read::DecimalText(size, scale.into())
        }
        (FieldType::String, Meaning::VariableDecimal, _) => Read::VariableDecimal,
        (FieldType::String, Meaning::BigDecimal, _) => Read::BigDecimal,
        (FieldType::String, Meaning::UuidBytes, _) => Read::Uuid,
        (FieldType::String, _, Kind::String) => Read::Text,
        (FieldType::String, _, Kind::Enum { symbols, .. }) => Read::Enum(symbols.as_slice().into()),
        (FieldType::Bytes, _, Kind::Bytes) => Read::Bytes,
        (FieldType::Bytes, _, Kind::Fixed { size, .. }) => Read::Fixed(*size),
        (FieldType::Record(_), Meaning::Duration, _) => Read::Duration,
        _ => return None,
    })
}

/// A count of this unit as microseconds.
fn counted(unit: Unit, kind: &Kind) -> Read {
    match (unit, kind) {
        (Unit::Millis, Kind::Int) => Read::MillisInt,
        (Unit::Millis, _) => Read::Millis,
        (Unit::Micros, Kind::Int) => Read::Int,
        (Unit::Micros, _) => Read::Long,
        (Unit::Nanos, _) => Read::Nanos,
    }
}
