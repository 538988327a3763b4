//! The normal form of a schema: two texts of one schema become one.

use serde_json::{Map, Value};

const PRIMITIVES: [&str; 8] = [
    "null", "boolean", "int", "long", "float", "double", "bytes", "string",
];

/// Names in full, namespaces in the names, and types without attributes as plain names. What is
/// written besides (documentation, defaults, attributes of any kind) stays.
pub(crate) fn normal(schema: &Value, namespace: Option<&str>) -> Value {
    match schema {
        Value::String(name) => Value::String(full(name, namespace)),
        Value::Array(branches) => branches
            .iter()
            .map(|branch| normal(branch, namespace))
            .collect(),
        Value::Object(object) => match object.get("type") {
            Some(Value::String(kind)) => of_kind(kind, object, namespace),
            Some(inner) if object.len() == 1 => normal(inner, namespace),
            _ => schema.clone(),
        },
        other => other.clone(),
    }
}

fn of_kind(kind: &str, object: &Map<String, Value>, namespace: Option<&str>) -> Value {
    let mut result = object.clone();
    match kind {
        "record" | "error" | "enum" | "fixed" => {
            let own = object.get("namespace").and_then(Value::as_str);
            let name = object.get("name").and_then(Value::as_str);
            let name = full(name.unwrap_or_default(), own.or(namespace));
            let inner = name.rsplit_once('.').map(|(namespace, _)| namespace);
            result.remove("namespace");
            for (member, value) in &mut result {
                match (member.as_str(), value) {
                    ("name", value) => *value = Value::String(name.clone()),
                    ("aliases", Value::Array(aliases)) => {
                        aliases.iter_mut().for_each(|alias| in_full(alias, inner));
                    }
                    ("fields", Value::Array(fields)) => {
                        fields
                            .iter_mut()
                            .for_each(|field| normalize_type(field, inner));
                    }
                    _ => {}
                }
            }
        }
        "array" => normalize_member(&mut result, "items", namespace),
        "map" => normalize_member(&mut result, "values", namespace),
        name if result.len() == 1 => return Value::String(full(name, namespace)),
        _ => {}
    }
    Value::Object(result)
}

fn in_full(alias: &mut Value, namespace: Option<&str>) {
    if let Value::String(name) = alias {
        *name = full(name, namespace);
    }
}

fn normalize_type(field: &mut Value, namespace: Option<&str>) {
    if let Value::Object(field) = field {
        normalize_member(field, "type", namespace);
    }
}

fn normalize_member(object: &mut Map<String, Value>, member: &str, namespace: Option<&str>) {
    if let Some(schema) = object.get_mut(member) {
        *schema = normal(schema, namespace);
    }
}

fn full(name: &str, namespace: Option<&str>) -> String {
    match namespace {
        _ if PRIMITIVES.contains(&name) || name.contains('.') => name.to_owned(),
        None | Some("") => name.to_owned(),
        Some(namespace) => format!("{namespace}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn two_texts_of_one_schema_become_one() {
        let one = json!({
            "type": "record", "name": "Order", "namespace": "shop", "aliases": ["Purchase"],
            "fields": [
                {"name": "id", "type": {"type": "long"}},
                {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["A"]}},
                {"name": "last", "type": ["null", "State"], "default": null},
                {"name": "lines", "type": {"type": "array", "items": {"type": "string"}}},
                {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            ],
        });
        let two = json!({
            "type": "record", "name": "shop.Order", "aliases": ["shop.Purchase"],
            "fields": [
                {"name": "id", "type": "long"},
                {"name": "state", "type": {"type": "enum", "name": "shop.State", "symbols": ["A"]}},
                {"name": "last", "type": ["null", "shop.State"], "default": null},
                {"name": "lines", "type": {"type": "array", "items": "string"}},
                {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            ],
        });
        assert_eq!(normal(&one, None), two);
        assert_eq!(normal(&two, None), two);
        let parsed = |schema: &Value| apache_avro::Schema::parse(schema).unwrap();
        let form = |schema: &Value| parsed(schema).canonical_form();
        assert_eq!(form(&one), form(&two));
    }
}
