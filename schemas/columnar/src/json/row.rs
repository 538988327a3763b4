//! An entity's row in JSON: every field that the table has into its column.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemas::FieldType;

use super::fields::{FieldNames, for_each_field};
use super::number::Number;
use super::reader::Reader;
use crate::column::Column;
use crate::entity::Entity;
use crate::error::{Fault, invalid, type_mismatch};
use crate::schema::{ChangeSchema, ColumnPlan, type_name};
use crate::time::{parse_date, parse_instant};

/// The fields of an entity's rows.
#[derive(Debug)]
pub(crate) struct JsonRow {
    names: FieldNames<usize>,
}

impl JsonRow {
    /// The table's columns that are `wanted`, by position.
    pub(crate) fn new(schema: &ChangeSchema, wanted: impl Fn(usize) -> bool) -> Self {
        let columns = schema.columns().iter().enumerate();
        let columns = columns.filter(|(position, _)| wanted(*position));
        Self {
            names: FieldNames::new(columns.map(|(place, plan)| (plan.name.as_str(), place))),
        }
    }

    /// Reads an object into the open row. Unknown fields are passed over.
    #[inline]
    pub(crate) fn run(
        &mut self,
        reader: &mut Reader<'_>,
        schema: &ChangeSchema,
        entity: &mut Entity,
        scratch: &mut String,
    ) -> Result<(), Fault> {
        for_each_field(
            reader,
            &mut self.names,
            scratch,
            |reader, position, scratch| {
                let Some(position) = position else {
                    return reader.skip();
                };
                fill(reader, position, schema, entity, scratch)
            },
        )
    }
}

/// Reads a value into the open row's column at `position`, which must not have one yet.
#[inline]
pub(crate) fn fill(
    reader: &mut Reader<'_>,
    position: usize,
    schema: &ChangeSchema,
    entity: &mut Entity,
    scratch: &mut String,
) -> Result<(), Fault> {
    let row = entity.rows;
    let (Some(plan), Some(column)) = (
        schema.columns().get(position),
        entity.columns.get_mut(position),
    ) else {
        return reader.skip();
    };
    if column.len() > row {
        return Err(invalid(format!("field {:?} comes twice", plan.name)));
    }
    match (reader.token()?, plan.field_type) {
        (b'n', _) => {
            reader.literal()?;
            column.push_null();
            entity.note(1, 1);
            return Ok(());
        }
        (b'"', FieldType::String) => column.push_text(reader.text(scratch)?)?,
        (b'"', FieldType::Timestamp | FieldType::Date | FieldType::Bytes) => {
            fill_from_text(reader.text(scratch)?, plan, column)?;
        }
        (b'-' | b'0'..=b'9', _) => fill_from_number(&reader.number()?, plan, column)?,
        (b't' | b'f', FieldType::Boolean) => {
            let value = reader.token()? == b't';
            reader.literal()?;
            column.push_boolean(value)?;
        }
        (token, _) => {
            // What is not JSON at all is not a matter of types.
            reader.skip()?;
            return Err(mismatch(plan, Reader::kind(token)));
        }
    }
    entity.note(1, 0);
    Ok(())
}

#[inline]
fn fill_from_number(
    number: &Number<'_>,
    plan: &ColumnPlan,
    column: &mut Column,
) -> Result<(), Fault> {
    let refused = || mismatch(plan, number.text().chars().take(40).collect::<String>());
    match plan.field_type {
        FieldType::Long => column.push_long(number.long().ok_or_else(refused)?),
        FieldType::Double => column.push_double(number.double().ok_or_else(refused)?),
        FieldType::Timestamp => {
            let scale = if plan.json_millis { 1000 } else { 1 };
            let micros = number.long().and_then(|value| value.checked_mul(scale));
            column.push_long(micros.ok_or_else(refused)?)
        }
        FieldType::Date => {
            let days = number.long().and_then(|days| i32::try_from(days).ok());
            column.push_date(days.ok_or_else(refused)?)
        }
        FieldType::Boolean | FieldType::String | FieldType::Bytes => {
            Err(mismatch(plan, "a number"))
        }
    }
}

/// Instants are RFC 3339, dates `YYYY-MM-DD`, bytes Base64 (as Debezium writes them).
#[inline]
fn fill_from_text(text: &str, plan: &ColumnPlan, column: &mut Column) -> Result<(), Fault> {
    let refused = || {
        let start: String = text.chars().take(40).collect();
        mismatch(plan, format!("the string {start:?}"))
    };
    match plan.field_type {
        FieldType::Timestamp => column.push_long(parse_instant(text).ok_or_else(refused)?),
        FieldType::Date => column.push_date(parse_date(text).ok_or_else(refused)?),
        _ => column.push_bytes(&STANDARD.decode(text).map_err(|_| refused())?),
    }
}

#[cold]
fn mismatch(plan: &ColumnPlan, found: impl Into<String>) -> Fault {
    type_mismatch(&plan.name, type_name(plan.field_type), found)
}
