//! One field of a row: how it is read and which column takes it.

use apache_avro::Schema;
use apache_avro::schema::UuidSchema;
use schemas::FieldType;

use super::cursor::Cursor;
use super::names::{Names, Nulls, describe, without_null};
use crate::column::Column;
use crate::error::{Fault, SchemaMismatch, invalid};
use crate::schema::{ColumnPlan, type_name};

/// How a field's bytes are read.
#[derive(Debug)]
pub(crate) enum Read {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Text,
    Bytes,
    Fixed(usize),
    Enum(Vec<String>),
    Date,
    Millis,
    Micros,
}

/// One field of a row.
#[derive(Debug)]
pub(crate) struct FieldStep {
    pub(crate) column: usize,
    nulls: Nulls,
    read: Read,
}

impl FieldStep {
    /// How the writer's type fills the table's column `column`.
    pub(crate) fn compile<'s>(
        writer: &'s Schema,
        names: &Names<'s>,
        plan: &ColumnPlan,
        column: usize,
    ) -> Result<Self, SchemaMismatch> {
        let (nulls, inner) = without_null(writer);
        let read = read_of(names.resolve(inner)?, plan.field_type);
        let read = read.ok_or_else(|| SchemaMismatch::FieldType {
            field: plan.name.clone(),
            writer: describe(writer),
            table: type_name(plan.field_type),
        })?;
        Ok(Self {
            column,
            nulls,
            read,
        })
    }

    /// Reads the field into its column; false if it is null.
    #[inline]
    pub(crate) fn run(&self, cursor: &mut Cursor<'_>, column: &mut Column) -> Result<bool, Fault> {
        if self.nulls != Nulls::Never && is_null(self.nulls, cursor)? {
            column.push_null();
            return Ok(false);
        }
        self.value(cursor, column)?;
        Ok(true)
    }

    #[inline]
    fn value(&self, cursor: &mut Cursor<'_>, column: &mut Column) -> Result<(), Fault> {
        match &self.read {
            Read::Long | Read::Micros => column.push_long(cursor.long()?),
            Read::Text => column.push_text(cursor.text()?),
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
        }
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

/// How the writer's type is read into a column of this type, if it can be exactly.
fn read_of(writer: &Schema, table: FieldType) -> Option<Read> {
    Some(match (writer, table) {
        (Schema::Boolean, FieldType::Boolean) => Read::Boolean,
        (Schema::Int, FieldType::Long) => Read::Int,
        (Schema::Long, FieldType::Long) => Read::Long,
        (Schema::Float, FieldType::Double) => Read::Float,
        (Schema::Double, FieldType::Double) => Read::Double,
        (Schema::String | Schema::Uuid(UuidSchema::String), FieldType::String) => Read::Text,
        (Schema::Enum(schema), FieldType::String) => Read::Enum(schema.symbols.clone()),
        (Schema::Bytes, FieldType::Bytes) => Read::Bytes,
        (Schema::Fixed(schema), FieldType::Bytes) => Read::Fixed(schema.size),
        (Schema::Date, FieldType::Date) => Read::Date,
        (Schema::TimestampMillis, FieldType::Timestamp) => Read::Millis,
        (Schema::TimestampMicros, FieldType::Timestamp) => Read::Micros,
        _ => return None,
    })
}
