//! Debezium's envelope in Avro.

use std::borrow::Cow;

use apache_avro::Schema;
use apache_avro::schema::RecordSchema;

use super::cursor::Cursor;
use super::field::is_null;
use super::names::{Names, Nulls, describe, without_null};
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
    pub(crate) fn compile<'s>(
        envelope: &'s RecordSchema,
        names: &Names<'s>,
        schema: &ChangeSchema,
    ) -> Result<Self, SchemaMismatch> {
        let missing = |field: &str| SchemaMismatch::Shape {
            why: format!("shape debezium needs a field {field:?} in the envelope"),
        };
        let field = |name: &str| envelope.fields.iter().find(|field| field.name == name);
        let (_, after) = names.record(&field("after").ok_or_else(|| missing("after"))?.schema)?;
        field("op").ok_or_else(|| missing("op"))?;
        if let Some(before) = field("before") {
            let (_, before) = names.record(&before.schema)?;
            if before.name != after.name {
                let why = "before and after are of different types".to_owned();
                return Err(SchemaMismatch::Shape { why });
            }
        }
        let row = RowPlan::compile(after, names, schema)?;
        let mut skips = SkipPlan::default();
        let steps = envelope
            .fields
            .iter()
            .map(|field| Step::compile(&field.name, &field.schema, names, &mut skips))
            .collect::<Result<_, _>>()?;
        Ok(Self { steps, skips, row })
    }

    /// The plan of the rows before and after.
    pub(crate) fn row(&self) -> &RowPlan {
        &self.row
    }

    /// Walks over an envelope; the row after goes into the open row.
    pub(crate) fn walk<'a>(&self, body: &'a [u8], entity: &mut Entity) -> Result<Walk<'a>, Fault> {
        let mut cursor = Cursor::new(body);
        let mut walk = Walk::default();
        for step in &self.steps {
            self.run(step, &mut cursor, &mut walk, entity)?;
        }
        cursor.end()?;
        Ok(walk)
    }

    fn run<'a>(
        &self,
        step: &Step,
        cursor: &mut Cursor<'a>,
        walk: &mut Walk<'a>,
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
                    self.row.run(cursor, entity)?;
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
    fn compile<'s>(
        name: &str,
        schema: &'s Schema,
        names: &Names<'s>,
        skips: &mut SkipPlan,
    ) -> Result<Self, SchemaMismatch> {
        let (nulls, inner) = without_null(schema);
        let resolved = names.resolve(inner)?;
        Ok(match (name, resolved) {
            ("before", _) => Self::Before(nulls, skips.add(inner, names)?),
            ("after", _) => Self::After(nulls),
            ("op", Schema::String) => Self::Op(nulls, None),
            ("op", Schema::Enum(letters)) => {
                let letters = letters.symbols.iter().map(|symbol| Letter::of(symbol));
                Self::Op(nulls, Some(letters.collect()))
            }
            ("op", other) => {
                let why = format!("op must be a string, found {}", describe(other));
                return Err(SchemaMismatch::Shape { why });
            }
            ("source", Schema::Record(source)) => {
                let steps = source.fields.iter();
                let steps = steps
                    .map(|field| SourceStep::compile(&field.name, &field.schema, names, skips));
                Self::Source(nulls, steps.collect::<Result<_, _>>()?)
            }
            _ => Self::Skip(skips.add(schema, names)?),
        })
    }
}

impl SourceStep {
    /// A field that we know by name and type is kept, all else is walked over.
    fn compile<'s>(
        name: &str,
        schema: &'s Schema,
        names: &Names<'s>,
        skips: &mut SkipPlan,
    ) -> Result<Self, SchemaMismatch> {
        let (nulls, inner) = without_null(schema);
        let field = SourceField::named(name);
        Ok(match (field, names.resolve(inner)?) {
            (Some(field), Schema::String) => Self::Text(nulls, field),
            (Some(field), Schema::Int) => Self::Int(nulls, field),
            (Some(field), Schema::Long | Schema::TimestampMillis | Schema::TimestampMicros) => {
                Self::Long(nulls, field)
            }
            _ => Self::Skip(skips.add(schema, names)?),
        })
    }
}
