//! Values that are walked over: no column takes them, and they must be valid all the same.

use std::collections::HashMap;

use schemas::avro::{AvroSchema, Kind, NodeId};

use super::cursor::Cursor;
use crate::error::{Fault, SchemaMismatch};

/// How deep values may lie in one another.
const DEPTH_MAX: usize = 64;

/// How values are walked over. Types refer to one another by their place in `nodes`, because they
/// may be recursive.
#[derive(Debug, Default)]
pub(crate) struct SkipPlan {
    nodes: Vec<Node>,
    known: HashMap<NodeId, usize>,
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
    Array {
        items: usize,
        empty: bool,
    },
    Map(usize),
    Union(Vec<usize>),
    /// Its fields that take bytes.
    Record(Vec<usize>),
    /// A record whose fields are being added.
    Open,
}

impl SkipPlan {
    /// Adds a type to the plan.
    pub(crate) fn add(
        &mut self,
        schema: &AvroSchema,
        id: NodeId,
    ) -> Result<SkipId, SchemaMismatch> {
        self.node(schema, id, 0).map(SkipId)
    }

    fn node(
        &mut self,
        schema: &AvroSchema,
        id: NodeId,
        depth: usize,
    ) -> Result<usize, SchemaMismatch> {
        if depth > DEPTH_MAX {
            let why = format!("types lie more than {DEPTH_MAX} deep in one another");
            return Err(SchemaMismatch::Shape { why });
        }
        if let Some(&place) = self.known.get(&id) {
            return Ok(place);
        }
        let node = match &schema.node(id).kind {
            Kind::Record { .. } => return self.record(schema, id, depth),
            Kind::Null => Node::Null,
            Kind::Boolean => Node::Boolean,
            Kind::Int => Node::Int,
            Kind::Long => Node::Long,
            Kind::Float => Node::Fixed(4),
            Kind::Double => Node::Fixed(8),
            Kind::String => Node::Text,
            Kind::Bytes => Node::Bytes,
            Kind::Fixed { size: 0, .. } => Node::Null,
            Kind::Fixed { size, .. } => Node::Fixed(*size),
            Kind::Enum { symbols, .. } => Node::Enum(symbols.len()),
            Kind::Array(items) => {
                let items = self.node(schema, *items, depth + 1)?;
                Node::Array {
                    empty: self.is_empty(items),
                    items,
                }
            }
            Kind::Map(values) => Node::Map(self.node(schema, *values, depth + 1)?),
            Kind::Union(branches) => {
                let branches = branches.iter();
                let branches = branches.map(|branch| self.node(schema, *branch, depth + 1));
                Node::Union(branches.collect::<Result<_, _>>()?)
            }
        };
        Ok(self.push(node))
    }

    /// A record's place is taken before its fields are known: they may refer to it. Fields that
    /// take no bytes are left out: records of nothing in one another, each twice in the next, would
    /// keep us busy for years.
    fn record(
        &mut self,
        schema: &AvroSchema,
        id: NodeId,
        depth: usize,
    ) -> Result<usize, SchemaMismatch> {
        let place = self.push(Node::Open);
        self.known.insert(id, place);
        let (_, _, own) = schema
            .record(id)
            .unwrap_or((schemas::avro::Nulls::Never, id, &[]));
        let mut fields = Vec::with_capacity(own.len());
        for field in own {
            let field = self.node(schema, field.node, depth + 1)?;
            if !self.is_empty(field) {
                fields.push(field);
            }
        }
        if let Some(node) = self.nodes.get_mut(place) {
            *node = match fields.is_empty() {
                true => Node::Null,
                false => Node::Record(fields),
            };
        }
        Ok(place)
    }

    /// Whether values of this type take no bytes.
    fn is_empty(&self, place: usize) -> bool {
        matches!(self.nodes.get(place), None | Some(Node::Null))
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
            Node::Null | Node::Open => Ok(()),
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
        while let Some(block) = block(cursor)? {
            if !empty {
                for _ in 0..block.count {
                    item(cursor)?;
                }
            }
            block.end(cursor)?;
        }
        Ok(())
    }
}

/// A block of an array or a map.
pub(super) struct Block {
    /// How many items it says it has: many more than there are bytes, if it lies.
    pub(super) count: usize,
    size: Option<i64>,
    start: usize,
}

/// The start of the next block; nothing at the end of the array or map.
pub(super) fn block(cursor: &mut Cursor<'_>) -> Result<Option<Block>, Fault> {
    let mut count = cursor.long()?;
    if count == 0 {
        return Ok(None);
    }
    let mut size = None;
    if count < 0 {
        size = Some(cursor.long()?);
        count = count
            .checked_neg()
            .ok_or_else(|| cursor.error("a block too long"))?;
    }
    Ok(Some(Block {
        count: usize::try_from(count).map_err(|_| cursor.error("a block too long"))?,
        size,
        start: cursor.at(),
    }))
}

impl Block {
    /// After its items: the block must have the size that it says.
    pub(super) fn end(&self, cursor: &Cursor<'_>) -> Result<(), Fault> {
        let bytes = cursor.at() - self.start;
        if self
            .size
            .is_some_and(|size| usize::try_from(size) != Ok(bytes))
        {
            return Err(cursor.error("a block of another size than it says"));
        }
        Ok(())
    }
}
