//! Kafka Connect's JSON form of schemas.

use serde_json::{Map, Value, json};

use super::parse::broken;
use super::{AvroSchema, Kind, Node, NodeId, RecordField};
use crate::ContractError;

/// Connect's name of decimals, whose scale is a parameter.
const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";

/// Most digits of a decimal whose precision is not told: all that a table can hold.
const DIGITS_MAX: u64 = 38;

/// Reads a schema as the Avro schema that Connect's Avro converter would make of it.
pub(super) fn parse(json: &Value) -> Result<AvroSchema, ContractError> {
    let mut nodes = Vec::new();
    let root = node(json, &mut nodes)?;
    Ok(AvroSchema { nodes, root })
}

fn push(nodes: &mut Vec<Node>, kind: Kind, attributes: Map<String, Value>) -> NodeId {
    nodes.push(Node { kind, attributes });
    NodeId(nodes.len() - 1)
}

fn node(json: &Value, nodes: &mut Vec<Node>) -> Result<NodeId, ContractError> {
    let word = json["type"].as_str();
    let word = word.ok_or_else(|| broken("a Connect schema lacks its attribute \"type\""))?;
    let kind = match word {
        "int8" | "int16" | "int32" => Kind::Int,
        "int64" => Kind::Long,
        "float" | "float32" => Kind::Float,
        "double" | "float64" => Kind::Double,
        "boolean" => Kind::Boolean,
        "string" => Kind::String,
        "bytes" => Kind::Bytes,
        "array" => Kind::Array(node(&json["items"], nodes)?),
        "map" if json["keys"]["type"] == "string" => Kind::Map(node(&json["values"], nodes)?),
        "map" => return Err(broken("a map whose keys are not strings")),
        "struct" => structure(json, nodes)?,
        other => return Err(broken(format!("{other:?} is no type of Kafka Connect"))),
    };
    let id = push(nodes, kind, attributes(json));
    if json["optional"] != true {
        return Ok(id);
    }
    let null = push(nodes, Kind::Null, Map::new());
    Ok(push(nodes, Kind::Union(vec![null, id]), Map::new()))
}

fn structure(json: &Value, nodes: &mut Vec<Node>) -> Result<Kind, ContractError> {
    let list = json["fields"].as_array();
    let list = list.ok_or_else(|| broken("a Connect struct lacks its fields"))?;
    let mut fields = Vec::with_capacity(list.len());
    for field in list {
        let name = field["field"].as_str();
        let name = name.ok_or_else(|| broken("a field of a Connect struct lacks its name"))?;
        fields.push(RecordField {
            name: name.to_owned(),
            node: node(field, nodes)?,
            aliases: Vec::new(),
            default: default(field),
            attributes: Map::new(),
        });
    }
    let name = avro_name(json["name"].as_str().unwrap_or("Struct"));
    Ok(Kind::Record { name, fields })
}

/// Defaults that read the same in both forms.
fn default(field: &Value) -> Option<Value> {
    let is_plain = !matches!(field["type"].as_str(), Some("bytes" | "struct" | "map"));
    let default = field.get("default").filter(|_| is_plain).cloned();
    default.or_else(|| (field["optional"] == true).then_some(Value::Null))
}

fn attributes(json: &Value) -> Map<String, Value> {
    let mut attributes = Map::new();
    let Some(name) = json["name"].as_str() else {
        return attributes;
    };
    attributes.insert("connect.name".to_owned(), json!(name));
    let parameters = &json["parameters"];
    if parameters.is_object() {
        attributes.insert("connect.parameters".to_owned(), parameters.clone());
    }
    if name == DECIMAL {
        let number = |name: &str| parameters[name].as_str()?.parse::<u64>().ok();
        let precision = number("connect.decimal.precision").unwrap_or(DIGITS_MAX);
        attributes.insert("logicalType".to_owned(), json!("decimal"));
        attributes.insert("precision".to_owned(), json!(precision));
        // A negative scale is no Avro, and is refused where the type is looked at.
        attributes.insert("scale".to_owned(), json!(number("scale")));
    }
    attributes
}

/// The name with `_` for what Avro does not allow.
fn avro_name(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let name: String = name
        .chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .collect();
    match name.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("_{name}"),
        false => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_schema_is_read_as_its_avro_twin() {
        let schema = AvroSchema::from_connect(&json!({
            "type": "struct", "name": "a-b.Value", "optional": true, "fields": [
                {"field": "id", "type": "int32", "default": 0},
                {"field": "d", "type": "int32", "optional": true, "name": "io.debezium.time.Date"},
                {"field": "n", "type": "bytes", "name": DECIMAL, "parameters": {"scale": "2"}},
                {"field": "t", "type": "array", "items": {"type": "string", "optional": true}},
                {"field": "m", "type": "map", "keys": {"type": "string"}, "values": {"type": "float"}},
            ]
        }))
        .unwrap();
        let (nulls, id, fields) = schema.record(schema.root()).unwrap();
        assert_eq!(nulls, super::super::Nulls::First);
        assert!(matches!(&schema.node(id).kind, Kind::Record { name, .. } if name == "a_b.Value"));
        let described: Vec<String> = fields
            .iter()
            .map(|field| schema.describe(field.node))
            .collect();
        assert_eq!(described[0], "int");
        assert_eq!(described[1], "[null, io.debezium.time.Date (int)]");
        assert_eq!(described[3], "array of union");
        assert_eq!(described[4], "map of float");
        assert_eq!(schema.node(fields[2].node).attributes["precision"], 38);
        assert_eq!(fields[0].default, Some(json!(0)));
        for broken in [
            json!({}),
            json!({"type": "int128"}),
            json!({"type": "struct"}),
            json!({"type": "map", "keys": {"type": "int32"}, "values": {"type": "string"}}),
        ] {
            assert!(AvroSchema::from_connect(&broken).is_err(), "{broken}");
        }
    }
}
