//! An entity's row: every field of the writer's into its column.

use apache_avro::schema::RecordSchema;

use super::cursor::Cursor;
use super::field::FieldStep;
use super::names::Names;
use crate::entity::Entity;
use crate::error::{Fault, SchemaMismatch};
use crate::schema::ChangeSchema;

/// The fields of a writer's record, in the order of its bytes.
#[derive(Debug)]
pub(crate) struct RowPlan {
    steps: Vec<FieldStep>,
}

impl RowPlan {
    /// Every field of the writer's has a column, and every required column a field.
    pub(crate) fn compile<'s>(
        record: &'s RecordSchema,
        names: &Names<'s>,
        schema: &ChangeSchema,
    ) -> Result<Self, SchemaMismatch> {
        let mut steps = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let unknown = || SchemaMismatch::UnknownField {
                field: field.name.clone(),
                writer: super::describe(&field.schema),
            };
            let position = schema.position(&field.name).ok_or_else(unknown)?;
            let plan = schema.columns().get(position).ok_or_else(unknown)?;
            steps.push(FieldStep::compile(&field.schema, names, plan, position)?);
        }
        for (position, plan) in schema.columns().iter().enumerate() {
            if !plan.nullable && !steps.iter().any(|step| step.column == position) {
                return Err(SchemaMismatch::MissingField {
                    field: plan.name.clone(),
                });
            }
        }
        Ok(Self { steps })
    }

    /// Reads a record into the open row.
    #[inline]
    pub(crate) fn run(&self, cursor: &mut Cursor<'_>, entity: &mut Entity) -> Result<(), Fault> {
        let mut nulls = 0;
        for step in &self.steps {
            if let Some(column) = entity.columns.get_mut(step.column) {
                nulls += usize::from(!step.run(cursor, column)?);
            }
        }
        entity.note(self.steps.len(), nulls);
        Ok(())
    }

    /// Reads a body that is one record and nothing else into the open row.
    pub(crate) fn run_whole(&self, body: &[u8], entity: &mut Entity) -> Result<(), Fault> {
        let mut cursor = Cursor::new(body);
        self.run(&mut cursor, entity)?;
        cursor.end()
    }
}
