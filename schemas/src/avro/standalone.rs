//! A type's schema as JSON that stands alone.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{AvroSchema, Kind, NodeId, RecordField};

/// Types deeper than this are never asked for: contracts refuse them.
const DEPTH_MAX: usize = 64;

impl AvroSchema {
    /// The type as JSON, every named type written out wherever it is used. The type must not be
    /// recursive.
    pub(crate) fn standalone(&self, id: NodeId) -> Value {
        self.expanded(id, 0)
    }

    /// The field as JSON, like [`Self::standalone`].
    pub(crate) fn standalone_field(&self, field: &RecordField) -> Value {
        self.expanded_field(field, 0)
    }

    fn expanded_field(&self, field: &RecordField, depth: usize) -> Value {
        let mut object = field.attributes.clone();
        object.insert("name".to_owned(), json!(field.name));
        object.insert("type".to_owned(), self.expanded(field.node, depth));
        if !field.aliases.is_empty() {
            object.insert("aliases".to_owned(), json!(field.aliases));
        }
        if let Some(default) = &field.default {
            object.insert("default".to_owned(), default.clone());
        }
        Value::Object(object)
    }

    fn expanded(&self, id: NodeId, depth: usize) -> Value {
        if depth > DEPTH_MAX {
            return json!("null");
        }
        let node = self.node(id);
        let mut object: Map<String, Value> = node.attributes.clone();
        let mut set = |name: &str, value: Value| {
            object.insert(name.to_owned(), value);
        };
        match &node.kind {
            Kind::Union(branches) => {
                let branches = branches.iter().map(|id| self.expanded(*id, depth + 1));
                return branches.collect();
            }
            Kind::Array(items) => set("items", self.expanded(*items, depth + 1)),
            Kind::Map(values) => set("values", self.expanded(*values, depth + 1)),
            Kind::Fixed { name, size } => {
                set("name", json!(name));
                set("size", json!(size));
            }
            Kind::Enum { name, symbols } => {
                set("name", json!(name));
                set("symbols", json!(symbols));
            }
            Kind::Record { name, fields } => {
                let fields = fields
                    .iter()
                    .map(|field| self.expanded_field(field, depth + 1));
                let fields: Vec<Value> = fields.collect();
                set("name", json!(name));
                set("fields", json!(fields));
            }
            _ if object.is_empty() => return json!(node.kind.name()),
            _ => {}
        }
        object.insert("type".to_owned(), json!(node.kind.name()));
        Value::Object(object)
    }
}

/// Makes JSON in which named types are written out wherever they are used a schema that Avro
/// takes: the same type again becomes a reference, another type of a known name gets a new name.
pub(crate) fn define_once(json: &mut Value) {
    let mut defined = HashMap::new();
    visit(json, &mut defined);
}

fn visit(json: &mut Value, defined: &mut HashMap<String, Value>) {
    match json {
        Value::Array(branches) => {
            for branch in branches {
                visit(branch, defined);
            }
        }
        Value::Object(object) => {
            let is_named = matches!(
                object.get("type").and_then(Value::as_str),
                Some("record" | "enum" | "fixed")
            );
            if is_named && let Some(reference) = define(object, defined) {
                *json = Value::String(reference);
                return;
            }
            for part in ["type", "items", "values"] {
                if let Some(inner) = object.get_mut(part) {
                    visit(inner, defined);
                }
            }
            if let Some(Value::Array(fields)) = object.get_mut("fields") {
                for field in fields {
                    visit(field, defined);
                }
            }
        }
        _ => {}
    }
}

/// The name to refer to, if the type is defined already.
fn define(object: &mut Map<String, Value>, defined: &mut HashMap<String, Value>) -> Option<String> {
    let base = object.get("name")?.as_str()?.to_owned();
    let definition = Value::Object(object.clone());
    let mut name = base.clone();
    for number in 2.. {
        match defined.get(&name) {
            Some(known) if *known == definition => return Some(name),
            Some(_) => name = format!("{base}_{number}"),
            None => break,
        }
    }
    object.insert("name".to_owned(), json!(name));
    defined.insert(name, definition);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_written_out_and_defined_once() {
        let text = r#"{"type":"record","name":"n.R","lakehead.key":["a"],"fields":[
            {"name":"a","type":{"type":"enum","name":"E","symbols":["A"]},"default":"A","pii":true},
            {"name":"b","type":["null","E"],"aliases":["c"]},
            {"name":"d","type":{"type":"int","logicalType":"date"}}]}"#;
        let schema: AvroSchema = text.parse().unwrap();
        let mut json = schema.standalone(schema.root());
        assert_eq!(json["fields"][1]["type"][1]["symbols"], json!(["A"]));
        assert_eq!(json["fields"][0]["pii"], true);
        define_once(&mut json);
        assert_eq!(json["fields"][1]["type"], json!(["null", "n.E"]));
        let again: AvroSchema = json.to_string().parse().unwrap();
        assert_eq!(again.canonical(), schema.canonical());
        apache_avro::Schema::parse(&json).unwrap();
    }

    #[test]
    fn another_type_of_the_same_name_gets_a_new_one() {
        let fixed = |size: usize| json!({"type": "fixed", "name": "F", "size": size});
        let mut json = json!({"type": "record", "name": "R", "fields": [
            {"name": "a", "type": fixed(1)}, {"name": "b", "type": fixed(2)},
            {"name": "c", "type": {"type": "array", "items": fixed(2)}}]});
        define_once(&mut json);
        assert_eq!(json["fields"][1]["type"]["name"], "F_2");
        assert_eq!(json["fields"][2]["type"]["items"], "F_2");
        json.to_string().parse::<AvroSchema>().unwrap();
    }
}
