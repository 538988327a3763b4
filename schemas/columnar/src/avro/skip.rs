//! Values that are walked over: no column takes them, and they must be valid all the same.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, Name, RecordSchema, UuidSchema};

use super::cursor::Cursor;
use super::names::Names;
use crate::error::{Fault, SchemaMismatch};

/// How deep values may lie in one another.
const DEPTH_MAX: usize = 64;

/// How values are walked over. Types refer to one another by their place in `nodes`, because they
/// may be recursive.
#[derive(Debug, Default)]
pub(crate) struct SkipPlan {
    nodes: Vec<Node>,
    named: HashMap<Name, usize>,
}

/// Where a type is in a plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SkipId(usize);

#[derive(Debug)]
enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Text,
    Bytes,
    Fixed(usize),
    Enum(usize),
    Array { items: usize, empty: bool },
    Map(usize),
    Union(Vec<usize>),
    Record(Vec<usize>),
}

impl SkipPlan {
    /// Adds a type to the plan.
    pub(crate) fn add<'s>(
        &mut self,
        schema: &'s Schema,
        names: &Names<'s>,
    ) -> Result<SkipId, SchemaMismatch> {
        self.node(schema, names, 0).map(SkipId)
    }

    fn node<'s>(
        &mut self,
        schema: &'s Schema,
        names: &Names<'s>,
        depth: usize,
    ) -> Result<usize, SchemaMismatch> {
        if depth > DEPTH_MAX {
            let why = format!("types lie more than {DEPTH_MAX} deep in one another");
            return Err(SchemaMismatch::Shape { why });
        }
        let node = match names.resolve(schema)? {
            Schema::Record(record) => return self.record(record, names, depth),
            Schema::Null => Node::Null,
            Schema::Boolean => Node::Boolean,
            Schema::Int | Schema::Date | Schema::TimeMillis => Node::Int,
            Schema::Float => Node::Fixed(4),
            Schema::Double => Node::Fixed(8),
            Schema::String | Schema::Uuid(UuidSchema::String) => Node::Text,
            Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => Node::Bytes,
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Bytes => Node::Bytes,
                InnerDecimalSchema::Fixed(fixed) => Node::Fixed(fixed.size),
            },
            Schema::Fixed(fixed)
            | Schema::Duration(fixed)
            | Schema::Uuid(UuidSchema::Fixed(fixed)) => Node::Fixed(fixed.size),
            Schema::Enum(schema) => Node::Enum(schema.symbols.len()),
            Schema::Array(array) => {
                let empty = is_empty(&array.items, names, 0);
                let items = self.node(&array.items, names, depth + 1)?;
                Node::Array { items, empty }
            }
            Schema::Map(map) => Node::Map(self.node(&map.types, names, depth + 1)?),
            Schema::Union(union) => {
                let branches = union.variants().iter();
                let branches = branches.map(|branch| self.node(branch, names, depth + 1));
                Node::Union(branches.collect::<Result<_, _>>()?)
            }
            // The rest are instants, which are longs.
            _ => Node::Long,
        };
        Ok(self.push(node))
    }

    /// A record's place is taken before its fields are known: they may refer to it.
    fn record<'s>(
        &mut self,
        record: &'s RecordSchema,
        names: &Names<'s>,
        depth: usize,
    ) -> Result<usize, SchemaMismatch> {
        if let Some(&place) = self.named.get(&record.name) {
            return Ok(place);
        }
        let place = self.push(Node::Record(Vec::new()));
        self.named.insert(record.name.clone(), place);
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            fields.push(self.node(&field.schema, names, depth + 1)?);
        }
        if let Some(node) = self.nodes.get_mut(place) {
            *node = Node::Record(fields);
        }
        Ok(place)
    }

    fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Walks over one value.
    pub(crate) fn run(&self, id: SkipId, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        self.walk(id.0, cursor, 0)
    }

    fn walk(&self, place: usize, cursor: &mut Cursor<'_>, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(cursor.error(format!("values more than {DEPTH_MAX} deep in one another")));
        }
        match self.nodes.get(place).unwrap_or(&Node::Null) {
            Node::Null => Ok(()),
            Node::Boolean => cursor.boolean().map(drop),
            Node::Int => cursor.int().map(drop),
            Node::Long => cursor.long().map(drop),
            Node::Text => cursor.text().map(drop),
            Node::Bytes => cursor.bytes().map(drop),
            Node::Fixed(length) => cursor.fixed(*length).map(drop),
            Node::Enum(symbols) => cursor.index(*symbols, "enum symbol").map(drop),
            Node::Array { items, empty } => self.blocks(cursor, *empty, |cursor| {
                self.walk(*items, cursor, depth + 1)
            }),
            Node::Map(values) => self.blocks(cursor, false, |cursor| {
                cursor.text()?;
                self.walk(*values, cursor, depth + 1)
            }),
            Node::Union(branches) => {
                let branch = cursor.index(branches.len(), "union branch")?;
                self.walk(
                    branches.get(branch).copied().unwrap_or(usize::MAX),
                    cursor,
                    depth + 1,
                )
            }
            Node::Record(fields) => fields
                .iter()
                .try_for_each(|field| self.walk(*field, cursor, depth + 1)),
        }
    }

    /// The blocks of an array or a map. Items that take no bytes are not counted off one by one,
    /// or a record of ten bytes could keep us busy for years.
    fn blocks<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        empty: bool,
        mut item: impl FnMut(&mut Cursor<'a>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        loop {
            let mut count = cursor.long()?;
            if count == 0 {
                return Ok(());
            }
            let mut size = None;
            if count < 0 {
                size = Some(cursor.long()?);
                count = count
                    .checked_neg()
                    .ok_or_else(|| cursor.error("a block too long"))?;
            }
            let start = cursor.at();
            if !empty {
                for _ in 0..count {
                    item(cursor)?;
                }
            }
            if size.is_some_and(|size| usize::try_from(size) != Ok(cursor.at() - start)) {
                return Err(cursor.error("a block of another size than it says"));
            }
        }
    }
}

/// Whether values of this type take no bytes.
fn is_empty<'s>(schema: &'s Schema, names: &Names<'s>, depth: usize) -> bool {
    match names.resolve(schema) {
        Ok(Schema::Null) => true,
        Ok(Schema::Fixed(fixed)) => fixed.size == 0,
        Ok(Schema::Record(record)) if depth < DEPTH_MAX => record
            .fields
            .iter()
            .all(|field| is_empty(&field.schema, names, depth + 1)),
        _ => false,
    }
}
