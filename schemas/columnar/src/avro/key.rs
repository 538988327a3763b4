//! Record keys in Avro.

use schemas::Field;
use schemas::avro::{AvroSchema, NodeId, Nulls};

use super::cursor::Cursor;
use super::field::FieldStep;
use super::skip::{SkipId, SkipPlan};
use crate::entity::Entity;
use crate::error::{Fault, SchemaMismatch};
use crate::schema::ChangeSchema;

/// The fields of a key's schema: those of the table's key go into its columns, others are walked
/// over.
#[derive(Debug)]
pub(crate) struct AvroKey {
    steps: Vec<Step>,
    skips: SkipPlan,
}

#[derive(Debug)]
enum Step {
    Column(FieldStep),
    Skip(SkipId),
}

impl AvroKey {
    /// The key is a record that has every key field, or the one key field's value itself.
    pub(crate) fn compile(
        writer: &AvroSchema,
        schema: &ChangeSchema,
    ) -> Result<Self, SchemaMismatch> {
        let mut plan = Self {
            steps: Vec::new(),
            skips: SkipPlan::default(),
        };
        if let Some((Nulls::Never, _, fields)) = writer.record(writer.root()) {
            for field in fields {
                let columns = schema.contract().fields().iter();
                let position = columns.clone().position(|own| {
                    own.is_known_as(&field.name) || field.aliases.contains(&own.name)
                });
                let position = position.filter(|position| schema.key().contains(position));
                plan.add(writer, field.node, position, schema)?;
            }
        } else if let [position] = schema.key() {
            plan.add(writer, writer.root(), Some(*position), schema)?;
        }
        for &position in schema.key() {
            let is_read =
                |step: &Step| matches!(step, Step::Column(step) if step.column == position);
            if !plan.steps.iter().any(is_read) {
                let field = schema.columns().get(position).map(|plan| plan.name.clone());
                return Err(SchemaMismatch::MissingField {
                    field: field.unwrap_or_default(),
                });
            }
        }
        Ok(plan)
    }

    fn add(
        &mut self,
        writer: &AvroSchema,
        id: NodeId,
        position: Option<usize>,
        schema: &ChangeSchema,
    ) -> Result<(), SchemaMismatch> {
        let column =
            position.and_then(|position| Some((position, schema.columns().get(position)?)));
        self.steps.push(match column {
            Some((position, plan)) => {
                let own = Field::of_type(writer, id, &plan.name, Some(&plan.field));
                if !own.is_ok_and(|own| plan.field.takes(&own)) {
                    return Err(SchemaMismatch::FieldType {
                        field: plan.name.clone(),
                        writer: writer.describe(id),
                        table: plan.field.field_type.name(),
                    });
                }
                Step::Column(FieldStep::compile(
                    writer,
                    id,
                    &plan.field,
                    position,
                    false,
                )?)
            }
            None => Step::Skip(self.skips.add(writer, id)?),
        });
        Ok(())
    }

    /// Reads a key into the open row.
    pub(crate) fn run(&self, body: &[u8], entity: &mut Entity) -> Result<(), Fault> {
        let mut cursor = Cursor::new(body);
        for step in &self.steps {
            match step {
                Step::Skip(id) => self.skips.run(*id, &mut cursor)?,
                Step::Column(step) => {
                    if let Some(column) = entity.columns.get_mut(step.column) {
                        step.run(&mut cursor, column)?;
                    }
                }
            }
        }
        cursor.end()
    }
}
