//! The named types of a writer's schema.

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, RecordSchema, ResolvedSchema, SchemaKind};

use crate::error::SchemaMismatch;

/// The named types of one schema, by full name.
#[derive(Debug)]
pub(crate) struct Names<'s> {
    names: NamesRef<'s>,
}

impl<'s> Names<'s> {
    pub(crate) fn of(schema: &'s Schema) -> Result<Self, SchemaMismatch> {
        let resolved = ResolvedSchema::new(schema).map_err(|error| SchemaMismatch::Shape {
            why: error.to_string(),
        })?;
        Ok(Self {
            names: resolved.get_names().clone(),
        })
    }

    /// The schema itself, or the one that it refers to.
    pub(crate) fn resolve(&self, schema: &'s Schema) -> Result<&'s Schema, SchemaMismatch> {
        let Schema::Ref { name } = schema else {
            return Ok(schema);
        };
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| SchemaMismatch::Shape {
                why: format!("type {name} is not defined in it"),
            })
    }

    /// The record that the schema is, refers to, or may be besides null.
    pub(crate) fn record(
        &self,
        schema: &'s Schema,
    ) -> Result<(Nulls, &'s RecordSchema), SchemaMismatch> {
        let (nulls, inner) = without_null(schema);
        match self.resolve(inner)? {
            Schema::Record(record) => Ok((nulls, record)),
            other => Err(SchemaMismatch::Shape {
                why: format!("expected a record, found {}", describe(other)),
            }),
        }
    }
}

/// How a value may be null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nulls {
    /// It is no union.
    Never,
    /// A union of one type: a branch index is on the wire.
    Single,
    /// A union whose first branch is null.
    First,
    /// A union whose second branch is null.
    Second,
}

/// A union of null and one other type is that type, nullable; other unions are left whole.
pub(crate) fn without_null(schema: &Schema) -> (Nulls, &Schema) {
    let Schema::Union(union) = schema else {
        return (Nulls::Never, schema);
    };
    match union.variants() {
        [Schema::Null, other] => (Nulls::First, other),
        [other, Schema::Null] => (Nulls::Second, other),
        [only] => (Nulls::Single, only),
        _ => (Nulls::Never, schema),
    }
}

/// What an Avro type is called in messages.
pub(crate) fn describe(schema: &Schema) -> String {
    match schema {
        Schema::Union(union) => {
            let branches: Vec<String> = union.variants().iter().map(describe).collect();
            format!("[{}]", branches.join(", "))
        }
        Schema::Ref { name } => name.to_string(),
        other => format!("{:?}", SchemaKind::from(other)).to_lowercase(),
    }
}
