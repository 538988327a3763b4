//! Avro's JSON form of schemas.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{AvroSchema, Kind, Node, NodeId, RecordField};
use crate::ContractError;

/// Reads a schema; names are full, references are resolved.
pub(super) fn parse(json: &Value) -> Result<AvroSchema, ContractError> {
    let mut parser = Parser::default();
    let root = parser.parse(json, "")?;
    Ok(AvroSchema {
        nodes: parser.nodes,
        root,
    })
}

#[derive(Default)]
struct Parser {
    nodes: Vec<Node>,
    named: HashMap<String, NodeId>,
}

/// Avro's own words, which are no attributes.
const TYPE_WORDS: [&str; 8] = [
    "type",
    "name",
    "namespace",
    "fields",
    "items",
    "values",
    "symbols",
    "size",
];
const FIELD_WORDS: [&str; 4] = ["name", "type", "aliases", "default"];

impl Parser {
    fn parse(&mut self, json: &Value, namespace: &str) -> Result<NodeId, ContractError> {
        match json {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(object) => match object.get("type") {
                Some(Value::String(word)) => self.object(word, object, namespace),
                Some(inner) => self.parse(inner, namespace),
                None => Err(broken("a type lacks its attribute \"type\"")),
            },
            other => Err(broken(format!("{other} is not a type"))),
        }
    }

    fn push(&mut self, kind: Kind, attributes: Map<String, Value>) -> NodeId {
        self.nodes.push(Node { kind, attributes });
        NodeId(self.nodes.len() - 1)
    }

    /// A primitive type, or one that was defined before.
    fn named(&mut self, name: &str, namespace: &str) -> Result<NodeId, ContractError> {
        if let Some(kind) = primitive(name) {
            return Ok(self.push(kind, Map::new()));
        }
        let full = full_name(name, None, namespace);
        let found = self.named.get(&full).or_else(|| self.named.get(name));
        found
            .copied()
            .ok_or_else(|| broken(format!("type {name:?} is not defined")))
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Result<NodeId, ContractError> {
        let mut ids = Vec::with_capacity(branches.len());
        let mut seen = HashSet::new();
        for branch in branches {
            let id = self.parse(branch, namespace)?;
            let name = match &self.nodes.get(id.0).map(|node| &node.kind) {
                Some(Kind::Union(_)) => return Err(broken("a union directly in a union")),
                Some(
                    Kind::Record { name, .. } | Kind::Enum { name, .. } | Kind::Fixed { name, .. },
                ) => name.clone(),
                Some(kind) => kind.name().to_owned(),
                None => String::new(),
            };
            if !seen.insert(name.clone()) {
                return Err(broken(format!("a union has type {name:?} twice")));
            }
            ids.push(id);
        }
        if ids.is_empty() {
            return Err(broken("a union of no types"));
        }
        Ok(self.push(Kind::Union(ids), Map::new()))
    }

    fn object(
        &mut self,
        word: &str,
        object: &Map<String, Value>,
        namespace: &str,
    ) -> Result<NodeId, ContractError> {
        let attributes = || without(object, &TYPE_WORDS);
        let part = |name: &str| {
            let part = object.get(name);
            part.ok_or_else(|| broken(format!("a type {word:?} lacks its attribute {name:?}")))
        };
        match word {
            "record" | "error" => self.record(object, namespace),
            "enum" => {
                let symbols = part("symbols")?.as_array().map(|symbols| texts(symbols));
                let symbols = symbols.ok_or_else(|| broken("an enum's symbols are no array"))?;
                let mut seen = HashSet::new();
                if let Some(twice) = symbols.iter().find(|symbol| !seen.insert(symbol.as_str())) {
                    return Err(broken(format!("an enum has the symbol {twice:?} twice")));
                }
                let name = name_of(object, namespace)?;
                let kind = Kind::Enum {
                    name: name.clone(),
                    symbols,
                };
                let id = self.push(kind, attributes());
                self.define(name, id)
            }
            "fixed" => {
                let size = part("size")?.as_u64();
                let size = size.and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or_else(|| broken("a fixed's size is no whole number"))?;
                let name = name_of(object, namespace)?;
                let kind = Kind::Fixed {
                    name: name.clone(),
                    size,
                };
                let id = self.push(kind, attributes());
                self.define(name, id)
            }
            "array" => {
                let items = self.parse(part("items")?, namespace)?;
                Ok(self.push(Kind::Array(items), attributes()))
            }
            "map" => {
                let values = self.parse(part("values")?, namespace)?;
                Ok(self.push(Kind::Map(values), attributes()))
            }
            word => match primitive(word) {
                Some(kind) => Ok(self.push(kind, attributes())),
                None => self.named(word, namespace),
            },
        }
    }

    /// A record's place is taken before its fields are known: they may refer to it.
    fn record(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
    ) -> Result<NodeId, ContractError> {
        let name = name_of(object, namespace)?;
        let inside = name.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let kind = Kind::Record {
            name: name.clone(),
            fields: Vec::new(),
        };
        let id = self.push(kind, without(object, &TYPE_WORDS));
        self.define(name.clone(), id)?;
        let fields = object.get("fields").and_then(Value::as_array);
        let fields = fields.ok_or_else(|| broken(format!("record {name:?} lacks its fields")))?;
        let mut seen = HashSet::new();
        let mut parsed = Vec::with_capacity(fields.len());
        for field in fields {
            let field = self.field(field, &name, inside)?;
            if !seen.insert(field.name.clone()) {
                let field = field.name;
                return Err(broken(format!(
                    "record {name:?} has the field {field:?} twice"
                )));
            }
            parsed.push(field);
        }
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.kind = Kind::Record {
                name,
                fields: parsed,
            };
        }
        Ok(id)
    }

    fn field(
        &mut self,
        json: &Value,
        record: &str,
        namespace: &str,
    ) -> Result<RecordField, ContractError> {
        let lacks = |what: &str| broken(format!("a field of record {record:?} lacks its {what}"));
        let object = json.as_object().ok_or_else(|| lacks("attributes"))?;
        let name = object.get("name").and_then(Value::as_str);
        let field_type = object.get("type").ok_or_else(|| lacks("type"))?;
        let aliases = object.get("aliases").and_then(Value::as_array);
        Ok(RecordField {
            name: name.ok_or_else(|| lacks("name"))?.to_owned(),
            node: self.parse(field_type, namespace)?,
            aliases: aliases.map(|aliases| texts(aliases)).unwrap_or_default(),
            default: object.get("default").cloned(),
            attributes: without(object, &FIELD_WORDS),
        })
    }

    fn define(&mut self, name: String, id: NodeId) -> Result<NodeId, ContractError> {
        if self.named.insert(name.clone(), id).is_some() {
            return Err(broken(format!("type {name:?} is defined twice")));
        }
        Ok(id)
    }
}

pub(super) fn primitive(name: &str) -> Option<Kind> {
    Some(match name {
        "null" => Kind::Null,
        "boolean" => Kind::Boolean,
        "int" => Kind::Int,
        "long" => Kind::Long,
        "float" => Kind::Float,
        "double" => Kind::Double,
        "bytes" => Kind::Bytes,
        "string" => Kind::String,
        _ => return None,
    })
}

fn name_of(object: &Map<String, Value>, namespace: &str) -> Result<String, ContractError> {
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    let name = text("name").filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| broken("a record, enum or fixed lacks its name"))?;
    Ok(full_name(name, text("namespace"), namespace))
}

/// A name with a dot is full; others are of the namespace that is given or encloses them.
fn full_name(name: &str, given: Option<&str>, enclosing: &str) -> String {
    let namespace = given.unwrap_or(enclosing);
    if name.contains('.') || namespace.is_empty() {
        return name.to_owned();
    }
    format!("{namespace}.{name}")
}

fn without(object: &Map<String, Value>, words: &[&str]) -> Map<String, Value> {
    let rest = object.iter();
    let rest = rest.filter(|(name, _)| !words.contains(&name.as_str()));
    rest.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn texts(values: &[Value]) -> Vec<String> {
    let texts = values.iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

pub(super) fn broken(why: impl Into<String>) -> ContractError {
    ContractError::Avro(why.into())
}

#[cfg(test)]
mod tests;
