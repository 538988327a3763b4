//! Schemas that are made to cost much.

use columnar::{ChangeDecoder, ChangeSchema, Decoded, contract_of_json, contract_of_writer};
use schemas::{AvroSchema, Contract, Shape};
use serde_json::{Value, json};

use crate::table::{buffer, contract, meta};

const FIELDS_MAX: usize = 4096;

fn wide(count: usize) -> Value {
    let fields: Vec<Value> = (0..count)
        .map(|n| json!({"name": format!("f{n}"), "type": ["null", "long"], "default": null}))
        .collect();
    json!({"type": "record", "name": "Wide", "fields": fields})
}

/// Records in one another, each twice in the next one, the last with this field: the text is
/// short, and what it stands for is not.
fn doubled(levels: usize, last: &Value) -> Value {
    let mut inner =
        json!({"type": "record", "name": "R0", "fields": [{"name": "a", "type": last}]});
    for level in 1..levels {
        inner = json!({"type": "record", "name": format!("R{level}"), "fields": [
            {"name": "a", "type": inner}, {"name": "b", "type": format!("R{}", level - 1)}]});
    }
    inner
}

/// An envelope of rows with a number, and a field that no table has.
fn beside(other: &Value) -> AvroSchema {
    let row = json!({"type": "record", "name": "Row", "fields": [{"name": "id", "type": "long"}]});
    let envelope = json!({"type": "record", "name": "Envelope", "fields": [
        {"name": "other", "type": other}, {"name": "before", "type": ["null", row]}, {"name": "after", "type": ["null", "Row"]},
        {"name": "op", "type": "string"}]});
    envelope.to_string().parse().unwrap()
}

/// Decodes an envelope whose field beside has these bytes.
fn decode_beside(other: &Value, bytes: &[u8]) -> Result<Decoded, String> {
    let schema = ChangeSchema::new(&contract(
        r#"{"type":"record","name":"Row","lakehead.key":["id"],"fields":[{"name":"id","type":"long"}]}"#,
    ));
    let decoder = ChangeDecoder::of_writer(&beside(other), Shape::Debezium, &schema);
    let mut decoder = decoder.map_err(|error| error.to_string())?;
    let body = [bytes, &[0, 2, 14, 2, b'c']].concat();
    let mut rows = buffer(&schema);
    let decoded = decoder.decode(&meta(0), Some(&body), None, &mut rows);
    decoded.map_err(|error| error.to_string())
}

fn refused(schema: &Value) -> String {
    let error = schema.to_string().parse::<Contract>().unwrap_err();
    error.to_string()
}

#[test]
fn as_many_fields_as_a_table_takes_and_no_more() {
    let most = contract(&wide(FIELDS_MAX).to_string());
    let schema = ChangeSchema::new(&most);
    let writer: AvroSchema = wide(FIELDS_MAX).to_string().parse().unwrap();
    let mut decoder = ChangeDecoder::of_writer(&writer, Shape::Append, &schema).unwrap();
    let mut rows = buffer(&schema);
    let decoded = decoder.decode(&meta(0), Some(&[0; FIELDS_MAX]), None, &mut rows);
    assert_eq!(decoded, Ok(Decoded::Row));
    let decoded = decoder.decode(&meta(1), Some(&[0; FIELDS_MAX - 1]), None, &mut rows);
    assert_eq!(decoded.unwrap_err().code(), "truncated");
    for count in [FIELDS_MAX + 1, 10_000] {
        assert!(refused(&wide(count)).contains("one of more than 4096 fields"));
    }
    // A table does not grow beyond it either.
    let fresh =
        json!({"type": "record", "name": "Wide", "fields": [{"name": "other", "type": "long"}]});
    let error = most.evolve(&contract(&fresh.to_string())).unwrap_err();
    assert!(error.to_string().contains("at most 4096 fields"), "{error}");
}

#[test]
fn short_schemas_of_many_fields_are_refused() {
    assert!(refused(&doubled(30, &json!("long"))).contains("more than 4096 fields"));
    let union = doubled(30, &json!(["null", "long", "string"]));
    assert!(
        refused(&json!({"type": "record", "name": "Row", "fields": [
        {"name": "u", "type": ["null", union]}]}))
        .contains("more than 4096 fields")
    );
}

#[test]
fn what_is_walked_over_costs_what_its_bytes_cost() {
    // Beside the row the many fields take no bytes, or more than there are.
    let nothing = doubled(30, &json!("null"));
    assert_eq!(decode_beside(&nothing, &[]), Ok(Decoded::Row));
    let many = json!({"type": "array", "items": nothing});
    let huge = [&b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"[..], &[0]].concat();
    assert_eq!(decode_beside(&many, &huge), Ok(Decoded::Row));
    let numbers = decode_beside(&doubled(30, &json!("int")), &[0; 1000]);
    assert!(numbers.unwrap_err().contains("ends too early"));
    let items = json!({"type": "array", "items": doubled(40, &json!({"type": "fixed", "name": "F", "size": 0}))});
    assert_eq!(decode_beside(&items, &huge), Ok(Decoded::Row));
}

#[test]
fn recursive_types_are_refused_in_a_row_and_walked_over_beside_it() {
    let list = json!({"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]});
    let row = json!({"type": "record", "name": "Row", "fields": [{"name": "list", "type": list}]});
    assert!(refused(&row).contains("a record that holds itself"));
    let through = json!({"type": "record", "name": "Tree", "fields": [
        {"name": "leaves", "type": {"type": "array", "items": {"type": "map", "values": "Tree"}}}]});
    assert!(refused(&through).contains("a record that holds itself"));
    assert_eq!(decode_beside(&list, &[2, 2, 2, 0]), Ok(Decoded::Row));
    let deep = decode_beside(&list, &[2; 10_000]).unwrap_err();
    assert!(deep.contains("64 deep"), "{deep}");
    let endless = json!({"type": "record", "name": "Self", "fields": [
        {"name": "a", "type": "Self"}, {"name": "b", "type": "Self"}]});
    assert!(
        decode_beside(&endless, &[])
            .unwrap_err()
            .contains("64 deep")
    );
}

#[test]
fn types_that_lie_deep_are_refused() {
    let nested = |levels: usize| {
        let open = r#"{"type":"array","items":"#.repeat(levels);
        format!(
            r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":{open}"long"{}}}]}}"#,
            "}".repeat(levels)
        )
    };
    assert!(nested(20).parse::<Contract>().is_ok());
    for levels in [40, 100, 100_000] {
        let error = nested(levels).parse::<Contract>().unwrap_err().to_string();
        assert!(
            error.contains("deep") || error.contains("recursion"),
            "{error}"
        );
        assert!(nested(levels).parse::<AvroSchema>().is_ok() == (levels <= 100));
    }
    let unions = format!("{}\"null\"{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(unions.parse::<AvroSchema>().is_err());
}

#[test]
fn schemas_of_json_records_have_the_same_limits() {
    let of = |fields: Value| {
        let value = json!({"schema": {"type": "struct", "fields": fields}, "payload": {}});
        let contract = contract_of_json(value.to_string().as_bytes(), None, Shape::Append, None);
        contract.unwrap_err().to_string()
    };
    let many: Vec<Value> = (0..10_000)
        .map(|n| json!({"field": format!("f{n}"), "type": "int64"}))
        .collect();
    assert!(of(json!(many)).contains("more than 4096 fields"));
    let mut deep = json!({"type": "int64"});
    for _ in 0..50 {
        deep = json!({"type": "array", "items": deep});
    }
    deep["field"] = json!("a");
    assert!(of(json!([deep])).contains("deep"));
    let value = format!(
        r#"{{"schema":{}"#,
        r#"{"type":"array","items":"#.repeat(100_000)
    );
    assert!(contract_of_json(value.as_bytes(), None, Shape::Append, None).is_err());
}

#[test]
fn a_name_of_a_megabyte_is_one_error() {
    let name = "n".repeat(1 << 20);
    let writer = json!({"type": "record", "name": "R", "fields": [{"name": name, "type": "null"}]});
    let writer: AvroSchema = writer.to_string().parse().unwrap();
    let error = contract_of_writer(&writer, None, Shape::Append, None).unwrap_err();
    assert!(error.to_string().len() < 3 << 20);
}
