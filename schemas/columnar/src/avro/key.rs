//! Record keys in Avro.

use apache_avro::Schema;

use super::cursor::Cursor;
use super::field::FieldStep;
use super::names::Names;
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
    pub(crate) fn compile(writer: &Schema, schema: &ChangeSchema) -> Result<Self, SchemaMismatch> {
        let names = Names::of(writer)?;
        let mut plan = Self {
            steps: Vec::new(),
            skips: SkipPlan::default(),
        };
        if let Ok((super::names::Nulls::Never, record)) = names.record(writer) {
            for field in &record.fields {
                let position = schema.position(&field.name);
                let position = position.filter(|position| schema.key().contains(position));
                plan.add(&field.schema, &names, position, schema)?;
            }
        } else if let [position] = schema.key() {
            plan.add(writer, &names, Some(*position), schema)?;
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

    fn add<'s>(
        &mut self,
        writer: &'s Schema,
        names: &Names<'s>,
        position: Option<usize>,
        schema: &ChangeSchema,
    ) -> Result<(), SchemaMismatch> {
        let column =
            position.and_then(|position| Some((position, schema.columns().get(position)?)));
        self.steps.push(match column {
            Some((position, plan)) => {
                Step::Column(FieldStep::compile(writer, names, plan, position)?)
            }
            None => Step::Skip(self.skips.add(writer, names)?),
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
