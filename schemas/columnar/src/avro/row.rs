//! An entity's row: every field of the writer's into its column.

use schemas::avro::{AvroSchema, NodeId};
use schemas::{Changes, Contract, Evolution, Field, FieldType, Meaning, matching};

use super::cursor::Cursor;
use super::field::FieldStep;
use crate::entity::Entity;
use crate::error::{Fault, SchemaMismatch};
use crate::schema::ChangeSchema;

/// The fields of a writer's record, in the order of its bytes.
#[derive(Debug)]
pub(crate) struct RowPlan {
    steps: Vec<FieldStep>,
    /// Columns that the writer does not know.
    missing: Vec<usize>,
}

impl RowPlan {
    /// Every field of the writer's has a column, and every required column a field or a default.
    pub(crate) fn compile(
        writer: &AvroSchema,
        record: NodeId,
        schema: &ChangeSchema,
    ) -> Result<Self, SchemaMismatch> {
        let own = Contract::of_record(writer, record, Some(schema.contract()));
        let own = own.map_err(|error| SchemaMismatch::Incompatible {
            why: error.to_string(),
        })?;
        let (_, _, fields) = writer.record(record).ok_or_else(|| SchemaMismatch::Shape {
            why: format!("expected a record, found {}", writer.describe(record)),
        })?;
        let told = |name: &str| {
            let field = fields.iter().find(|field| field.name == name);
            field.map(|field| writer.describe(field.node))
        };
        check(&own, schema, told)?;
        let names: Vec<_> = own
            .fields()
            .iter()
            .map(|field| (field.name.as_str(), field.aliases.as_slice()))
            .collect();
        let places = matching(schema.contract().fields(), &names);
        let places = places.map_err(|why| SchemaMismatch::Incompatible { why })?;
        let mut steps = Vec::with_capacity(fields.len());
        for (field, place) in fields.iter().zip(&places) {
            let known = place.and_then(|place| Some((place, schema.columns().get(place)?)));
            let (place, plan) = known.ok_or_else(|| SchemaMismatch::UnknownField {
                field: field.name.clone(),
                writer: writer.describe(field.node),
            })?;
            let (id, table) = (field.node, &plan.field);
            steps.push(FieldStep::compile(writer, id, table, place, plan.required)?);
        }
        let columns = 0..schema.columns().len();
        let missing = columns.filter(|place| !places.contains(&Some(*place)));
        Ok(Self {
            missing: missing.collect(),
            steps,
        })
    }

    /// Reads a record into the open row.
    #[inline]
    pub(crate) fn run(
        &self,
        cursor: &mut Cursor<'_>,
        schema: &ChangeSchema,
        entity: &mut Entity,
    ) -> Result<(), Fault> {
        let mut nulls = 0;
        for step in &self.steps {
            if let Some(column) = entity.columns.get_mut(step.column) {
                nulls += usize::from(step.run(cursor, column)?);
            }
        }
        for place in &self.missing {
            if let (Some(column), Some(plan)) =
                (entity.columns.get_mut(*place), schema.columns().get(*place))
            {
                plan.default.fill(column)?;
            }
        }
        entity.note(self.steps.len() + self.missing.len(), nulls);
        Ok(())
    }

    /// Reads a body that is one record and nothing else into the open row.
    pub(crate) fn run_whole(
        &self,
        body: &[u8],
        schema: &ChangeSchema,
        entity: &mut Entity,
    ) -> Result<(), Fault> {
        let mut cursor = Cursor::new(body);
        self.run(&mut cursor, schema, entity)?;
        cursor.end()
    }
}

/// The table must hold the writer's contract as it is: what evolution has yet to do is refused.
/// `told` names the type of a field of the writer's.
pub(crate) fn check(
    writer: &Contract,
    schema: &ChangeSchema,
    told: impl Fn(&str) -> Option<String>,
) -> Result<(), SchemaMismatch> {
    let table = schema.contract();
    let changes = match table.evolve(writer) {
        Ok(Evolution::Same) => return Ok(()),
        Ok(Evolution::Changes(changes)) => changes,
        Err(refused) => {
            let missing = table
                .fields()
                .iter()
                .find(|field| field.name == refused.field);
            return Err(match missing {
                Some(field) if told(&field.name).is_none() => SchemaMismatch::MissingField {
                    field: refused.field,
                },
                Some(field) => SchemaMismatch::FieldType {
                    writer: told(&field.name).unwrap_or(refused.writer.1),
                    field: refused.field,
                    table: field.field_type.name(),
                },
                None => SchemaMismatch::Incompatible {
                    why: refused.to_string(),
                },
            });
        }
    };
    if let Some(field) = changes.added.first() {
        return Err(SchemaMismatch::UnknownField {
            field: field.clone(),
            writer: told(field).unwrap_or_else(|| "a field within".to_owned()),
        });
    }
    if let Some(widened) = changes.widened.first() {
        let why = format!(
            "column {:?} must be widened from {} to {}",
            widened.column, widened.from, widened.to
        );
        return Err(SchemaMismatch::Behind { why });
    }
    if let Some(field) = changes
        .retyped
        .iter()
        .find(|field| becomes_long(field, &changes))
    {
        let why = format!("the contract must say long for field {field:?}");
        return Err(SchemaMismatch::Behind { why });
    }
    // A field of the writer's that may be null is looked at value by value.
    let gone = |field: &&String| {
        let names = writer.fields().iter();
        let known = table.fields().iter().find(|own| &own.name == *field);
        known.is_some_and(|own| {
            !names
                .clone()
                .any(|other| own.is_known_as(&other.name) || other.is_known_as(&own.name))
        })
    };
    match changes.relaxed.iter().find(gone) {
        Some(field) => Err(SchemaMismatch::MissingField {
            field: field.clone(),
        }),
        None => Ok(()),
    }
}

/// Whether longs come where the contract says int: were they let in, doubles could come after.
fn becomes_long(path: &str, changes: &Changes) -> bool {
    let mut fields: &[Field] = changes.contract.fields();
    let mut found = None;
    for name in path.split('.') {
        found = fields.iter().find(|field| field.name == name);
        fields = match found.map(|field| &field.field_type) {
            Some(FieldType::Record(inside)) => inside,
            Some(FieldType::Array(inside) | FieldType::Map(inside)) => std::slice::from_ref(inside),
            _ => &[],
        };
    }
    found
        .is_some_and(|field| field.meaning == Meaning::Plain && field.field_type == FieldType::Long)
}
