//! An entity's row in JSON: every field that the table has into its column.

use schemas::Field;

use super::fields::{FieldNames, for_each_field};
use super::nested::{names_of, pairs};
use super::reader::Reader;
use super::unknown::UnknownFields;
use super::value::{ValueRead, twice};
use crate::entity::Entity;
use crate::error::Fault;
use crate::schema::ChangeSchema;

/// The fields of an entity's rows.
#[derive(Debug)]
pub(crate) struct JsonRow {
    names: FieldNames<usize>,
    values: Vec<ValueRead>,
    unknown: UnknownFields,
}

impl JsonRow {
    /// Rows as the contract itself says.
    pub(crate) fn new(schema: &ChangeSchema, unknown: UnknownFields) -> Self {
        Self::of(schema.contract().fields(), schema, unknown)
    }

    /// Rows of a writer's fields.
    pub(crate) fn of(writer: &[Field], schema: &ChangeSchema, unknown: UnknownFields) -> Self {
        let table = schema.contract().fields();
        let pairs = pairs(writer, table).zip(schema.columns());
        let values = pairs.map(|((writer, table), plan)| {
            let mut value = ValueRead::new(writer, table, plan.required);
            value.set_unknown(unknown);
            value
        });
        Self {
            names: names_of(writer, table),
            values: values.collect(),
            unknown,
        }
    }

    /// The key's fields only; what else is in a key is in the row too.
    pub(crate) fn of_key(schema: &ChangeSchema) -> Self {
        let mut row = Self::new(schema, UnknownFields::Ignore);
        row.names.retain(|place| schema.key().contains(&place));
        row
    }

    /// Reads an object into the open row.
    #[inline]
    pub(crate) fn run(
        &mut self,
        reader: &mut Reader<'_>,
        entity: &mut Entity,
        scratch: &mut String,
    ) -> Result<(), Fault> {
        let Self {
            names,
            values,
            unknown,
        } = self;
        for_each_field(
            reader,
            names,
            scratch,
            |reader, position, scratch| match position {
                Some(position) => fill(values, position, reader, entity, scratch),
                None => unknown.pass(reader, ""),
            },
        )
    }

    /// Reads a value into the open row's column at `position`.
    pub(crate) fn fill(
        &mut self,
        position: usize,
        reader: &mut Reader<'_>,
        entity: &mut Entity,
        scratch: &mut String,
    ) -> Result<(), Fault> {
        fill(&mut self.values, position, reader, entity, scratch)
    }
}

/// Reads a value into the open row's column at `position`, which must not have one yet.
#[inline]
fn fill(
    values: &mut [ValueRead],
    position: usize,
    reader: &mut Reader<'_>,
    entity: &mut Entity,
    scratch: &mut String,
) -> Result<(), Fault> {
    let row = entity.rows;
    let (Some(value), Some(column)) = (values.get_mut(position), entity.columns.get_mut(position))
    else {
        return reader.skip();
    };
    if column.len() > row {
        return Err(twice(&value.name));
    }
    let null = value.run(reader, column, scratch)?;
    entity.note(1, usize::from(null));
    Ok(())
}
