//! An entity's row in JSON: every field that the table has into its column.

use schemas::Field;

use super::fields::{FieldNames, for_each_field};
use super::nested::{names_of, pairs};
use super::reader::Reader;
use super::value::{ValueRead, twice};
use crate::entity::Entity;
use crate::error::Fault;
use crate::schema::ChangeSchema;

/// The fields of an entity's rows.
#[derive(Debug)]
pub(crate) struct JsonRow {
    names: FieldNames<usize>,
    values: Vec<ValueRead>,
}

impl JsonRow {
    /// Rows as the contract itself says.
    pub(crate) fn new(schema: &ChangeSchema) -> Self {
        Self::of(schema.contract().fields(), schema)
    }

    /// Rows of a writer's fields.
    pub(crate) fn of(writer: &[Field], schema: &ChangeSchema) -> Self {
        let table = schema.contract().fields();
        let pairs = pairs(writer, table).zip(schema.columns());
        Self {
            names: names_of(writer, table),
            values: pairs
                .map(|((writer, table), plan)| ValueRead::new(writer, table, plan.required))
                .collect(),
        }
    }

    /// The key's fields only.
    pub(crate) fn of_key(schema: &ChangeSchema) -> Self {
        let mut row = Self::new(schema);
        row.names.retain(|place| schema.key().contains(&place));
        row
    }

    /// Reads an object into the open row. Unknown fields are passed over.
    #[inline]
    pub(crate) fn run(
        &mut self,
        reader: &mut Reader<'_>,
        entity: &mut Entity,
        scratch: &mut String,
    ) -> Result<(), Fault> {
        let Self { names, values } = self;
        for_each_field(
            reader,
            names,
            scratch,
            |reader, position, scratch| match position {
                Some(position) => fill(values, position, reader, entity, scratch),
                None => reader.skip(),
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
