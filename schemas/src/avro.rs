//! Avro schemas with everything that was written in them.
//!
//! The decoders need what general Avro libraries drop: attributes of primitive types (Debezium's
//! and Connect's `connect.name`), aliases and defaults. So a schema is kept here as a table of its
//! types, which refer to one another by place; a recursive schema is a cycle of places.

mod canonical;
mod connect;
mod parse;
mod standalone;

use std::str::FromStr;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::ContractError;

pub(crate) use standalone::define_once;

/// A writer's schema, or a contract's.
#[derive(Clone, Debug)]
pub struct AvroSchema {
    nodes: Vec<Node>,
    root: NodeId,
}

/// The place of a type in its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(usize);

/// A type, and the attributes that are not part of Avro's own grammar.
#[derive(Clone, Debug)]
pub struct Node {
    /// What the type is.
    pub kind: Kind,
    /// `logicalType`, `connect.name`, `doc` and all else that was written with it.
    pub attributes: Map<String, Value>,
}

/// What a type is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// No value.
    Null,
    /// One byte, 0 or 1.
    Boolean,
    /// A number of 32 bits.
    Int,
    /// A number of 64 bits.
    Long,
    /// A floating-point number of 32 bits.
    Float,
    /// A floating-point number of 64 bits.
    Double,
    /// Bytes of any length.
    Bytes,
    /// UTF-8 text.
    String,
    /// Bytes of one length.
    Fixed {
        /// Its full name.
        name: String,
        /// How many bytes.
        size: usize,
    },
    /// One of several names.
    Enum {
        /// Its full name.
        name: String,
        /// The names, in the order of their numbers.
        symbols: Vec<String>,
    },
    /// Items of one type.
    Array(NodeId),
    /// Values of one type by text.
    Map(NodeId),
    /// A value of one of several types.
    Union(Vec<NodeId>),
    /// Named fields in order.
    Record {
        /// Its full name.
        name: String,
        /// The fields in the order of their bytes.
        fields: Vec<RecordField>,
    },
}

/// A field of a record.
#[derive(Clone, Debug)]
pub struct RecordField {
    /// Its name.
    pub name: String,
    /// Its type.
    pub node: NodeId,
    /// Names that it had, or has elsewhere.
    pub aliases: Vec<String>,
    /// Its default, in Avro's JSON encoding.
    pub default: Option<Value>,
    /// All else that was written with it.
    pub attributes: Map<String, Value>,
}

impl AvroSchema {
    /// Reads Kafka Connect's own form of a schema: the `schema` beside the `payload` of JSON
    /// records (`{"type": "struct", "fields": […]}`).
    pub fn from_connect(schema: &Value) -> Result<Self, ContractError> {
        connect::parse(schema)
    }

    /// Reads a schema in Avro's JSON.
    pub fn from_json(schema: &Value) -> Result<Self, ContractError> {
        parse::parse(schema)
    }

    /// The schema's outermost type.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// A type of this schema. (A place of another schema answers any type of this one, or null.)
    pub fn node(&self, id: NodeId) -> &Node {
        static NULL: LazyLock<Node> = LazyLock::new(|| Node {
            kind: Kind::Null,
            attributes: Map::new(),
        });
        self.nodes.get(id.0).unwrap_or(&NULL)
    }

    /// The record that a type is, or may be besides null: how its null is written, and its place.
    pub fn record(&self, id: NodeId) -> Option<(Nulls, NodeId, &[RecordField])> {
        let (nulls, inner) = self.without_null(id);
        match &self.node(inner).kind {
            Kind::Record { fields, .. } => Some((nulls, inner, fields)),
            _ => None,
        }
    }

    /// A union of null and one other type is that type, nullable; other types are as they are.
    pub fn without_null(&self, id: NodeId) -> (Nulls, NodeId) {
        let Kind::Union(branches) = &self.node(id).kind else {
            return (Nulls::Never, id);
        };
        let is_null = |id: &NodeId| matches!(self.node(*id).kind, Kind::Null);
        match branches[..] {
            [null, other] if is_null(&null) => (Nulls::First, other),
            [other, null] if is_null(&null) => (Nulls::Second, other),
            [only] => (Nulls::Single, only),
            _ => (Nulls::Never, id),
        }
    }

    /// What Avro's JSON encoding calls a branch of a union, without its namespace; `None` for null.
    pub fn branch_name(&self, id: NodeId) -> Option<&str> {
        match &self.node(id).kind {
            Kind::Null => None,
            Kind::Record { name, .. } | Kind::Enum { name, .. } | Kind::Fixed { name, .. } => Some(
                name.rsplit_once('.')
                    .map_or(name.as_str(), |(_, name)| name),
            ),
            kind => Some(kind.name()),
        }
    }

    /// What a type is called in messages.
    pub fn describe(&self, id: NodeId) -> String {
        let node = self.node(id);
        let name = match &node.kind {
            Kind::Union(branches) => {
                let branches: Vec<String> = branches.iter().map(|id| self.describe(*id)).collect();
                return format!("[{}]", branches.join(", "));
            }
            Kind::Array(items) => return format!("array of {}", self.short(*items)),
            Kind::Map(values) => return format!("map of {}", self.short(*values)),
            kind => kind.name(),
        };
        match node.logical() {
            Some(logical) => format!("{logical} ({name})"),
            None => name.to_owned(),
        }
    }

    /// The name of a type without what is inside, which may be itself.
    fn short(&self, id: NodeId) -> &'static str {
        self.node(id).kind.name()
    }
}

impl FromStr for AvroSchema {
    type Err = ContractError;

    fn from_str(text: &str) -> Result<Self, ContractError> {
        let broken = |error: serde_json::Error| ContractError::Avro(error.to_string());
        // A primitive type may be written as its bare name.
        match serde_json::from_str(text) {
            Ok(json) => parse::parse(&json),
            Err(_) if text.bytes().all(|byte| byte.is_ascii_alphabetic()) && !text.is_empty() => {
                parse::parse(&Value::from(text))
            }
            Err(error) => Err(broken(error)),
        }
    }
}

/// How a value may be null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nulls {
    /// It is no union.
    Never,
    /// A union of one type: a branch index is on the wire.
    Single,
    /// A union whose first branch is null.
    First,
    /// A union whose second branch is null.
    Second,
}

impl Node {
    /// An attribute that is a text.
    pub fn text(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute)?.as_str()
    }

    /// What the type's values mean beyond what they are: Debezium's or Connect's name for it, else
    /// Avro's logical type.
    pub fn logical(&self) -> Option<&str> {
        let connect = self.text("connect.name").filter(|name| is_semantic(name));
        connect.or_else(|| self.text("logicalType"))
    }
}

/// Names of records (`server.schema.table.Value`) are no semantic types.
fn is_semantic(name: &str) -> bool {
    name.starts_with("io.debezium.time.")
        || name.starts_with("io.debezium.data.")
        || name.starts_with("org.apache.kafka.connect.data.")
}

impl Kind {
    /// Avro's word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::String => "string",
            Self::Fixed { .. } => "fixed",
            Self::Enum { .. } => "enum",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Union(_) => "union",
            Self::Record { .. } => "record",
        }
    }
}
