//! Records, arrays, maps and unions within a row.

use schemas::avro::{AvroSchema, Kind, NodeId};
use schemas::{Field, FieldType, Meaning, matching};

use super::cursor::Cursor;
use super::field::{FieldStep, Read};
use super::skip::block;
use crate::column::Column;
use crate::default::Filler;
use crate::error::{Fault, SchemaMismatch, type_mismatch};

/// How many columns a record may fill that its bytes say nothing of: an item of an array may take
/// one byte, or none, and a table's record may have thousands of columns that its writer lacks.
const UNSAID_MAX: usize = 1 << 24;

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
    unsaid: usize,
}

/// The entries of a map.
#[derive(Debug)]
pub(super) struct Entries {
    step: FieldStep,
    unsaid: usize,
}

/// A union of several types: for each branch the column that takes it, none for null.
#[derive(Debug)]
pub(super) struct Union {
    branches: Vec<Option<FieldStep>>,
    name: Box<str>,
    required: bool,
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

/// How many columns of a value its bytes say nothing of.
fn unsaid(step: &FieldStep) -> usize {
    match &step.read {
        Read::Record(record) => {
            let inside: usize = record.steps.iter().map(unsaid).sum();
            inside + record.missing.len() + usize::from(record.steps.is_empty())
        }
        Read::Branch(_, inside) => 1 + unsaid(inside),
        Read::Union(union) => {
            let inside = union.branches.iter().flatten().map(unsaid);
            inside.max().unwrap_or_default() + union.branches.len()
        }
        Read::Fixed(0) => 1,
        _ => 0,
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
        let unsaid = unsaid(&step);
        Ok(Self { step, unsaid })
    }

    pub(super) fn run(&self, cursor: &mut Cursor<'_>, column: &mut Column) -> Result<(), Fault> {
        let items = column.items()?;
        let mut budget = UNSAID_MAX;
        while let Some(block) = block(cursor)? {
            spend(&mut budget, self.unsaid, block.count, cursor)?;
            for _ in 0..block.count {
                if self.step.run(cursor, items)? {
                    return Err(null_of(&self.step));
                }
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
        let unsaid = unsaid(&step);
        Ok(Self { step, unsaid })
    }

    pub(super) fn run(&self, cursor: &mut Cursor<'_>, column: &mut Column) -> Result<(), Fault> {
        let (keys, values) = column.entries()?;
        let mut budget = UNSAID_MAX;
        while let Some(block) = block(cursor)? {
            spend(&mut budget, self.unsaid, block.count, cursor)?;
            for _ in 0..block.count {
                keys.push_text(cursor.text()?)?;
                if self.step.run(cursor, values)? {
                    return Err(null_of(&self.step));
                }
            }
            block.end(cursor)?;
        }
        column.close_nested()
    }
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

/// Takes what `count` items leave unsaid from the budget.
fn spend(
    budget: &mut usize,
    unsaid: usize,
    count: usize,
    cursor: &Cursor<'_>,
) -> Result<(), Fault> {
    let spent = unsaid.checked_mul(count);
    let left = spent.and_then(|spent| budget.checked_sub(spent));
    *budget = left.ok_or_else(|| {
        cursor.error(format!(
            "{count} items that say nothing of {unsaid} columns each"
        ))
    })?;
    Ok(())
}

#[cold]
fn null_of(step: &FieldStep) -> Fault {
    type_mismatch(&step.name, "a value", "null")
}

fn no_record(schema: &AvroSchema, id: NodeId) -> SchemaMismatch {
    SchemaMismatch::Shape {
        why: format!("no plan for {}", schema.describe(id)),
    }
}
