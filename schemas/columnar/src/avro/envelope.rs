//! Debezium's envelope in Avro.

use std::borrow::Cow;

use schemas::avro::{AvroSchema, Kind, NodeId, Nulls, RecordField};

use super::cursor::Cursor;
use super::field::is_null;
use super::row::RowPlan;
use super::skip::{SkipId, SkipPlan};
use crate::entity::Entity;
use crate::error::{Fault, SchemaMismatch};
use crate::schema::ChangeSchema;
use crate::source::SourceField;
use crate::walk::{Letter, Walk};

/// The fields of a writer's envelope, in the order of its bytes.
#[derive(Debug)]
pub(crate) struct EnvelopePlan {
    steps: Vec<Step>,
    skips: SkipPlan,
    row: RowPlan,
}

#[derive(Debug)]
enum Step {
    /// The row before: its place is remembered.
    Before(Nulls, SkipId),
    After(Nulls),
    Op(Nulls, Option<Vec<Letter>>),
    Source(Nulls, Vec<SourceStep>),
    Skip(SkipId),
}

#[derive(Debug)]
enum SourceStep {
    Text(Nulls, SourceField),
    Int(Nulls, SourceField),
    Long(Nulls, SourceField),
    Skip(SkipId),
}

impl EnvelopePlan {
    pub(crate) fn compile(
        writer: &AvroSchema,
        envelope: &[RecordField],
        schema: &ChangeSchema,
    ) -> Result<Self, SchemaMismatch> {
        let missing = |field: &str| SchemaMismatch::Shape {
            why: format!("shape debezium needs a field {field:?} in the envelope"),
        };
        let field = |name: &str| envelope.iter().find(|field| field.name == name);
        let image = |field: &RecordField| {
            let record = writer.record(field.node);
            record.ok_or_else(|| SchemaMismatch::Shape {
                why: format!("expected a record, found {}", writer.describe(field.node)),
            })
        };
        let (_, after, _) = image(field("after").ok_or_else(|| missing("after"))?)?;
        field("op").ok_or_else(|| missing("op"))?;
        if let Some(before) = field("before") {
            let (_, before, _) = image(before)?;
            if before != after {
                let why = "before and after are of different types".to_owned();
                return Err(SchemaMismatch::Shape { why });
            }
        }
        let row = RowPlan::compile(writer, after, schema)?;
        let mut skips = SkipPlan::default();
        let steps = envelope
            .iter()
            .map(|field| Step::compile(&field.name, field.node, writer, &mut skips))
            .collect::<Result<_, _>>()?;
        Ok(Self { steps, skips, row })
    }

    /// The plan of the rows before and after.
    pub(crate) fn row(&self) -> &RowPlan {
        &self.row
    }

    /// Walks over an envelope; the row after goes into the open row.
    pub(crate) fn walk<'a>(
        &self,
        body: &'a [u8],
        schema: &ChangeSchema,
        entity: &mut Entity,
    ) -> Result<Walk<'a>, Fault> {
        let mut cursor = Cursor::new(body);
        let mut walk = Walk::default();
        for step in &self.steps {
            self.run(step, &mut cursor, &mut walk, schema, entity)?;
        }
        cursor.end()?;
        Ok(walk)
    }

    fn run<'a>(
        &self,
        step: &Step,
        cursor: &mut Cursor<'a>,
        walk: &mut Walk<'a>,
        schema: &ChangeSchema,
        entity: &mut Entity,
    ) -> Result<(), Fault> {
        match step {
            Step::Before(nulls, id) => {
                if !is_null(*nulls, cursor)? {
                    let start = cursor.at();
                    self.skips.run(*id, cursor)?;
                    walk.before = Some(cursor.since(start));
                }
            }
            Step::After(nulls) => {
                if !is_null(*nulls, cursor)? {
                    self.row.run(cursor, schema, entity)?;
                    walk.after = true;
                }
            }
            Step::Op(nulls, symbols) => {
                if !is_null(*nulls, cursor)? {
                    walk.letter = Some(letter(symbols.as_deref(), cursor)?);
                }
            }
            Step::Source(nulls, steps) => {
                if !is_null(*nulls, cursor)? {
                    walk.source.present = true;
                    for step in steps {
                        self.source(step, cursor, walk)?;
                    }
                }
            }
            Step::Skip(id) => self.skips.run(*id, cursor)?,
        }
        Ok(())
    }

    fn source<'a>(
        &self,
        step: &SourceStep,
        cursor: &mut Cursor<'a>,
        walk: &mut Walk<'a>,
    ) -> Result<(), Fault> {
        match step {
            SourceStep::Skip(id) => return self.skips.run(*id, cursor),
            SourceStep::Text(nulls, field) if !is_null(*nulls, cursor)? => {
                walk.source.set_text(*field, Cow::Borrowed(cursor.text()?));
            }
            SourceStep::Long(nulls, field) if !is_null(*nulls, cursor)? => {
                walk.source.set_long(*field, cursor.long()?);
            }
            SourceStep::Int(nulls, field) if !is_null(*nulls, cursor)? => {
                walk.source.set_long(*field, cursor.int()?.into());
            }
            _ => {}
        }
        Ok(())
    }
}

fn letter(symbols: Option<&[Letter]>, cursor: &mut Cursor<'_>) -> Result<Letter, Fault> {
    let Some(symbols) = symbols else {
        return cursor.text().map(Letter::of);
    };
    let index = cursor.index(symbols.len(), "enum symbol")?;
    symbols
        .get(index)
        .cloned()
        .ok_or_else(|| cursor.error("an unknown enum symbol"))
}

impl Step {
    fn compile(
        name: &str,
        id: NodeId,
        writer: &AvroSchema,
        skips: &mut SkipPlan,
    ) -> Result<Self, SchemaMismatch> {
        let (nulls, inner) = writer.without_null(id);
        Ok(match (name, &writer.node(inner).kind) {
            ("before", _) => Self::Before(nulls, skips.add(writer, inner)?),
            ("after", _) => Self::After(nulls),
            ("op", Kind::String) => Self::Op(nulls, None),
            ("op", Kind::Enum { symbols, .. }) => {
                let letters = symbols.iter().map(|symbol| Letter::of(symbol));
                Self::Op(nulls, Some(letters.collect()))
            }
            ("op", _) => {
                let why = format!("op must be a string, found {}", writer.describe(inner));
                return Err(SchemaMismatch::Shape { why });
            }
            ("source", Kind::Record { fields, .. }) => {
                let steps = fields.iter();
                let steps =
                    steps.map(|field| SourceStep::compile(&field.name, field.node, writer, skips));
                Self::Source(nulls, steps.collect::<Result<_, _>>()?)
            }
            _ => Self::Skip(skips.add(writer, id)?),
        })
    }
}

impl SourceStep {
    /// A field that we know by name and type is kept, all else is walked over.
    fn compile(
        name: &str,
        id: NodeId,
        writer: &AvroSchema,
        skips: &mut SkipPlan,
    ) -> Result<Self, SchemaMismatch> {
        let (nulls, inner) = writer.without_null(id);
        let field = SourceField::named(name);
        Ok(match (field, &writer.node(inner).kind) {
            (Some(field), Kind::String) => Self::Text(nulls, field),
            (Some(field), Kind::Int) => Self::Int(nulls, field),
            (Some(field), Kind::Long) => Self::Long(nulls, field),
            _ => Self::Skip(skips.add(writer, id)?),
        })
    }
}
