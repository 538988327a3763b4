//! Unions of several types within a row.

use schemas::avro::{AvroSchema, Kind, NodeId};
use schemas::{Field, FieldType, Meaning};

use super::cursor::Cursor;
use super::field::{FieldStep, Read};
use super::nested::no_record;
use crate::column::Column;
use crate::error::{Fault, SchemaMismatch, type_mismatch};

/// A union of several types: for each branch the column that takes it, none for null.
#[derive(Debug)]
pub(super) struct Union {
    branches: Vec<Option<FieldStep>>,
    name: Box<str>,
    required: bool,
}

impl Union {
    /// A union, or a single type that is one of the table's branches.
    pub(super) fn compile(
        schema: &AvroSchema,
        id: NodeId,
        table: &Field,
    ) -> Result<Read, SchemaMismatch> {
        let FieldType::Record(columns) = &table.field_type else {
            return Err(no_record(schema, id));
        };
        let step = |branch: NodeId| {
            let name = schema.branch_name(branch).unwrap_or_default();
            let place = columns.iter().position(|column| column.name == name);
            let known = place.and_then(|place| Some((place, columns.get(place)?)));
            let (place, column) = known.ok_or_else(|| SchemaMismatch::UnknownField {
                field: format!("{}.{name}", table.name),
                writer: schema.describe(branch),
            })?;
            FieldStep::compile(schema, branch, column, place, false)
        };
        if Meaning::of(schema, id) != Ok(Meaning::Union) {
            let step = step(id)?;
            return Ok(Read::Branch(step.column, Box::new(step)));
        }
        let Kind::Union(branches) = &schema.node(id).kind else {
            return Err(no_record(schema, id));
        };
        let branches = branches.iter().map(|branch| {
            let is_null = matches!(schema.node(*branch).kind, Kind::Null);
            (!is_null).then(|| step(*branch)).transpose()
        });
        Ok(Read::Union(Box::new(Self {
            branches: branches.collect::<Result<_, _>>()?,
            name: table.name.as_str().into(),
            required: !table.nullable,
        })))
    }

    pub(super) fn run(&self, cursor: &mut Cursor<'_>, column: &mut Column) -> Result<(), Fault> {
        let index = cursor.index(self.branches.len(), "union branch")?;
        match self.branches.get(index) {
            Some(Some(step)) => branch(step.column, step, cursor, column),
            _ if self.required => Err(type_mismatch(&self.name, "a value", "null")),
            _ => {
                column.push_null();
                Ok(())
            }
        }
    }
}

/// Reads one branch of a union; the others are null.
pub(super) fn branch(
    place: usize,
    step: &FieldStep,
    cursor: &mut Cursor<'_>,
    column: &mut Column,
) -> Result<(), Fault> {
    for (other, column) in column.record()?.iter_mut().enumerate() {
        if other == place {
            step.run(cursor, column)?;
        } else {
            column.push_null();
        }
    }
    column.close_nested()
}
