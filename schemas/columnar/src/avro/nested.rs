//! Records, arrays, maps and unions within a row.

use schemas::avro::{AvroSchema, Kind, NodeId};
use schemas::{Field, FieldType, matching};

use super::cursor::Cursor;
use super::field::FieldStep;
use super::skip::block;
use crate::budget::width;
use crate::column::Column;
use crate::default::Filler;
use crate::error::{Fault, SchemaMismatch, type_mismatch};

/// A record within a row.
#[derive(Debug)]
pub(super) struct Record {
    steps: Vec<FieldStep>,
    /// Fields that the writer does not know.
    missing: Vec<(usize, Filler)>,
}

/// The items of an array.
#[derive(Debug)]
pub(super) struct Items {
    step: FieldStep,
    /// How many columns an item fills.
    width: usize,
}

/// The entries of a map.
#[derive(Debug)]
pub(super) struct Entries {
    step: FieldStep,
    /// How many columns an item fills.
    width: usize,
}

impl Record {
    pub(super) fn compile(
        schema: &AvroSchema,
        id: NodeId,
        table: &Field,
    ) -> Result<Self, SchemaMismatch> {
        let (Kind::Record { fields, .. }, FieldType::Record(columns)) =
            (&schema.node(id).kind, &table.field_type)
        else {
            return Err(no_record(schema, id));
        };
        let names: Vec<_> = fields
            .iter()
            .map(|field| (field.name.as_str(), field.aliases.as_slice()))
            .collect();
        let places = matching(columns, &names).map_err(|why| SchemaMismatch::Behind { why })?;
        let mut steps = Vec::with_capacity(fields.len());
        for (field, place) in fields.iter().zip(&places) {
            let known = place.and_then(|place| Some((place, columns.get(place)?)));
            let (place, column) = known.ok_or_else(|| SchemaMismatch::UnknownField {
                field: format!("{}.{}", table.name, field.name),
                writer: schema.describe(field.node),
            })?;
            steps.push(FieldStep::compile(
                schema,
                field.node,
                column,
                place,
                !column.nullable,
            )?);
        }
        let missing = columns.iter().enumerate();
        let missing = missing.filter(|(place, _)| !places.contains(&Some(*place)));
        let missing = missing.map(|(place, column)| {
            let filler = Filler::new(column);
            if column.nullable || filler.is_value() {
                return Ok((place, filler));
            }
            let field = format!("{}.{}", table.name, column.name);
            Err(SchemaMismatch::MissingField { field })
        });
        Ok(Self {
            missing: missing.collect::<Result<_, _>>()?,
            steps,
        })
    }

    pub(super) fn run(&self, cursor: &mut Cursor<'_>, column: &mut Column) -> Result<(), Fault> {
        let columns = column.record()?;
        for step in &self.steps {
            if let Some(column) = columns.get_mut(step.column)
                && step.run(cursor, column)?
            {
                return Err(null_of(step));
            }
        }
        for (place, filler) in &self.missing {
            if let Some(column) = columns.get_mut(*place) {
                filler.fill(column)?;
            }
        }
        column.close_nested()
    }
}

impl Items {
    pub(super) fn compile(
        schema: &AvroSchema,
        id: NodeId,
        items: &Field,
    ) -> Result<Self, SchemaMismatch> {
        let Kind::Array(own) = &schema.node(id).kind else {
            return Err(no_record(schema, id));
        };
        let step = FieldStep::compile(schema, *own, items, 0, !items.nullable)?;
        let width = width(items);
        Ok(Self { step, width })
    }

    pub(super) fn run(&self, cursor: &mut Cursor<'_>, column: &mut Column) -> Result<(), Fault> {
        let items = column.items()?;
        while let Some(block) = block(cursor)? {
            for _ in 0..block.count {
                let start = cursor.at();
                if self.step.run(cursor, items)? {
                    return Err(null_of(&self.step));
                }
                cursor.spend(self.width, start)?;
            }
            block.end(cursor)?;
        }
        column.close_nested()
    }
}

impl Entries {
    pub(super) fn compile(
        schema: &AvroSchema,
        id: NodeId,
        values: &Field,
    ) -> Result<Self, SchemaMismatch> {
        let Kind::Map(own) = &schema.node(id).kind else {
            return Err(no_record(schema, id));
        };
        let step = FieldStep::compile(schema, *own, values, 0, !values.nullable)?;
        let width = width(values);
        Ok(Self { step, width })
    }

    pub(super) fn run(&self, cursor: &mut Cursor<'_>, column: &mut Column) -> Result<(), Fault> {
        let (keys, values) = column.entries()?;
        while let Some(block) = block(cursor)? {
            for _ in 0..block.count {
                let start = cursor.at();
                keys.push_text(cursor.text()?)?;
                if self.step.run(cursor, values)? {
                    return Err(null_of(&self.step));
                }
                cursor.spend(self.width, start)?;
            }
            block.end(cursor)?;
        }
        column.close_nested()
    }
}

#[cold]
fn null_of(step: &FieldStep) -> Fault {
    type_mismatch(&step.name, "a value", "null")
}

pub(super) fn no_record(schema: &AvroSchema, id: NodeId) -> SchemaMismatch {
    SchemaMismatch::Shape {
        why: format!("no plan for {}", schema.describe(id)),
    }
}
