//! What an envelope may and may not say.

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::types::Value;
use columnar::{ChangeDecoder, ChangeSchema, DecodeError, Decoded, contract_of};
use schemas::{FieldType, Shape};

use crate::table::{Cell, buffer, cell, contract, encode, finish, lenient, meta};

const ROW: &str = r#"{"type":"record","name":"Row","lakehead.key":["id"],"fields":[
    {"name":"id","type":"long"},{"name":"name","type":"string"},{"name":"at","type":["null",{"type":"long","logicalType":"timestamp-millis"}]},
    {"name":"on","type":["null",{"type":"int","logicalType":"date"}]},{"name":"ok","type":["null","boolean"]},{"name":"raw","type":["null","bytes"]}]}"#;

fn table() -> Arc<ChangeSchema> {
    ChangeSchema::new(&contract(ROW))
}

fn outcome(shape: Shape, body: &str) -> Result<Decoded, DecodeError> {
    let schema = table();
    let mut rows = buffer(&schema);
    lenient(shape, &schema).decode(&meta(0), Some(body.as_bytes()), None, &mut rows)
}

#[test]
fn what_is_not_a_change_is_passed_or_refused() {
    let code = |body| outcome(Shape::Debezium, body).unwrap_err().code();
    assert_eq!(
        outcome(
            Shape::Debezium,
            r#"{"op":"m","before":null,"message":{"x":1}}"#
        ),
        Ok(Decoded::Passed)
    );
    let truncate = outcome(Shape::Debezium, r#"{"op":"t"}"#).unwrap_err();
    assert!(
        truncate.code() == "invalid" && truncate.to_string().contains("truncated its table"),
        "{truncate}"
    );
    assert_eq!(code(r#"{"op":"z","after":{"id":1,"name":"a"}}"#), "invalid");
    assert_eq!(code(r#"{"after":{"id":1,"name":"a"}}"#), "invalid");
    assert_eq!(
        code(r#"{"op":"u","before":{"id":1,"name":"a"}}"#),
        "invalid"
    );
    assert_eq!(code(r#"{"op":"u","after":null}"#), "invalid");
    assert_eq!(code(r#"{"op":5}"#), "type_mismatch");
    assert_eq!(code(r#"{"op":"u","after":[]}"#), "type_mismatch");
    assert_eq!(
        code(r#"{"op":"u","op":"u","after":{"id":1,"name":"a"}}"#),
        "invalid"
    );
    assert_eq!(code("7"), "invalid");
    assert_eq!(
        code(r#"{"op":"u","after":{"id":1,"name":"a"},"source":{"ts_us":9000000000000000000}}"#),
        "invalid"
    );
}

#[test]
fn a_row_keeps_its_contract() {
    let code = |body| outcome(Shape::Append, body).map_err(|error| error.code());
    assert_eq!(code(r#"{"id":1,"name":"a"}"#), Ok(Decoded::Row));
    assert_eq!(code(r#"{"name":"a"}"#), Err("missing_key"));
    assert_eq!(code(r#"{"id":null,"name":"a"}"#), Err("missing_key"));
    assert_eq!(code(r#"{"id":1}"#), Err("type_mismatch"));
    assert_eq!(code(r#"{"id":1,"name":null}"#), Err("type_mismatch"));
    assert_eq!(code(r#"{"id":1,"name":"a","id":1}"#), Err("invalid"));
    assert_eq!(code(r#"{"id":"1","name":"a"}"#), Err("type_mismatch"));
    assert_eq!(code(r#"{"id":1.5,"name":"a"}"#), Err("type_mismatch"));
    assert_eq!(
        code(r#"{"id":9223372036854775808,"name":"a"}"#),
        Err("type_mismatch")
    );
    assert_eq!(code(r#"{"id":1,"name":{"a":[1]}}"#), Err("type_mismatch"));
    assert_eq!(
        code(r#"{"id":1,"name":"a","at":"yesterday"}"#),
        Err("type_mismatch")
    );
    assert_eq!(
        code(r#"{"id":1,"name":"a","at":9223372036854775}"#),
        Ok(Decoded::Row)
    );
    assert_eq!(
        code(r#"{"id":1,"name":"a","at":9223372036854776}"#),
        Err("type_mismatch")
    );
    assert_eq!(
        code(r#"{"id":1,"name":"a","on":2147483648}"#),
        Err("type_mismatch")
    );
    assert_eq!(
        code(r#"{"id":1,"name":"a","raw":"&"}"#),
        Err("type_mismatch")
    );
    assert_eq!(code(r#"{"id":1,"name":"a","ok":1}"#), Err("type_mismatch"));
    assert_eq!(code(r#"[{"id":1,"name":"a"}]"#), Err("invalid"));
    assert_eq!(code("{\"id\":1,\"name\":\"\u{1}\"}"), Err("invalid"));
    assert_eq!(code(r#"{"id":1,"name":"\ud800"}"#), Err("invalid"));
    assert_eq!(code(r#"{"id":1,"name":"a",}"#), Err("invalid"));
    let mismatch = outcome(Shape::Append, r#"{"id":1,"name":3}"#)
        .unwrap_err()
        .to_string();
    assert_eq!(mismatch, r#"field "name": expected string, found a number"#);
}

#[test]
fn the_field_names_of_json_may_be_escaped_and_in_any_order() {
    let schema = table();
    let mut decoder = lenient(Shape::Append, &schema);
    let mut rows = buffer(&schema);
    for body in [
        r#"{"n\u0061me":"a","id":1}"#,
        r#"{"id":2,"x":1,"name":"b"}"#,
        r#"{"name":"c","y\"":{"z":0},"id":3}"#,
        r#"{"x":1,"id":4,"name":"d","at":1}"#,
        r#"{"y\"":1,"id" : 5,"name":"e"}"#,
    ] {
        assert_eq!(
            decoder.decode(&meta(0), Some(body.as_bytes()), None, &mut rows),
            Ok(Decoded::Row),
            "{body}"
        );
    }
    let batch = finish(rows);
    for (row, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        assert_eq!(cell(&batch, "name", row), Cell::text(name));
        assert_eq!(
            cell(&batch, "id", row),
            Cell::Long(i64::try_from(row).unwrap() + 1)
        );
    }
    assert_eq!(cell(&batch, "at", 3), Cell::Long(1000));
}

/// As Debezium's PostgreSQL connector registers it, shortened.
const DEBEZIUM: &str = r#"{"type":"record","name":"Envelope","namespace":"shop.public.item","fields":[
    {"name":"before","default":null,"type":["null",{"type":"record","name":"Value","fields":[
        {"name":"id","type":"int"},{"name":"price","type":["null","float"]},
        {"name":"colour","type":{"type":"enum","name":"Colour","symbols":["RED","BLUE"]}},
        {"name":"lining","type":["null","Colour"]}],"connect.name":"shop.public.item.Value"}]},
    {"name":"after","default":null,"type":["null","Value"]},
    {"name":"source","type":{"type":"record","name":"Source","namespace":"io.debezium.connector.postgresql","fields":[
        {"name":"version","type":"string"},{"name":"name","type":"string"},{"name":"ts_ms","type":"long"},
        {"name":"snapshot","default":"false","type":[{"type":"string","connect.parameters":{"allowed":"true,last"}},"null"]},
        {"name":"sequence","default":null,"type":["null","string"]},{"name":"ts_ns","default":null,"type":["null","long"]},
        {"name":"txId","default":null,"type":["null","long"]},{"name":"lsn","default":null,"type":["null","long"]}]}},
    {"name":"transaction","default":null,"type":["null",{"type":"record","name":"block","namespace":"event","fields":[
        {"name":"id","type":"string"},{"name":"total_order","type":"long"},{"name":"parts","type":{"type":"map","values":["long","string"]}}]}]},
    {"name":"op","type":"string"},{"name":"ts_ms","default":null,"type":["null","long"]}]}"#;

fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Record(
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

#[test]
fn an_envelope_of_debezium_s_lands_with_its_source() {
    let writer = Schema::parse_str(DEBEZIUM).unwrap();
    let key = Schema::parse_str(
        r#"{"type":"record","name":"Key","fields":[{"name":"id","type":"int"}]}"#,
    )
    .unwrap();
    let contract = contract_of(&writer, Some(&key), Shape::Debezium).unwrap();
    assert_eq!(contract.key(), ["id"]);
    let types: Vec<FieldType> = contract
        .fields()
        .iter()
        .map(|field| field.field_type.clone())
        .collect();
    assert_eq!(
        types,
        [
            FieldType::Long,
            FieldType::Double,
            FieldType::String,
            FieldType::String
        ]
    );
    let schema = ChangeSchema::new(&contract);
    let mut decoder = ChangeDecoder::avro(&writer, Shape::Debezium, &schema).unwrap();
    let some = |value| Value::Union(1, Box::new(value));
    let none = || Value::Union(0, Box::new(Value::Null));
    let text = |text: &str| Value::String(text.to_owned());
    let row = |id| {
        let blue = Value::Enum(1, "BLUE".to_owned());
        let fields = [
            ("id", Value::Int(id)),
            ("price", some(Value::Float(0.5))),
            ("colour", blue.clone()),
            ("lining", some(blue)),
        ];
        some(record(fields))
    };
    let parts = [("a".to_owned(), Value::Union(0, Box::new(Value::Long(1))))];
    let block = [
        ("id", text("77:1")),
        ("total_order", Value::Long(1)),
        ("parts", Value::Map(parts.into())),
    ];
    let change = |op: &str, before, after| {
        let source = [
            ("version", text("3")),
            ("name", text("shop")),
            ("ts_ms", Value::Long(5)),
            ("snapshot", Value::Union(1, Box::new(Value::Null))),
            ("sequence", some(text("[1]"))),
            ("ts_ns", some(Value::Long(5_000_999))),
            ("txId", some(Value::Long(-77))),
            ("lsn", some(Value::Long(1 << 40))),
        ];
        encode(
            &writer,
            record([
                ("before", before),
                ("after", after),
                ("source", record(source)),
                ("transaction", some(record(block.clone()))),
                ("op", text(op)),
                ("ts_ms", none()),
            ]),
        )
    };
    let mut rows = buffer(&schema);
    for body in [change("u", row(1), row(2)), change("d", row(3), none())] {
        assert_eq!(
            decoder.decode(&meta(0), Some(&body), None, &mut rows),
            Ok(Decoded::Row)
        );
    }
    let batch = finish(rows);
    let cells =
        |row| ["_op", "id", "price", "colour", "lining"].map(|name| cell(&batch, name, row));
    let image = |op: &str, id| {
        [
            Cell::text(op),
            Cell::Long(id),
            Cell::double(0.5),
            Cell::text("BLUE"),
            Cell::text("BLUE"),
        ]
    };
    assert_eq!(cells(0), image("u", 2));
    assert_eq!(cells(1), image("d", 3));
    let source = [
        "_event_time",
        "_source.name",
        "_source.sequence",
        "_source.lsn",
        "_source.transaction",
    ];
    let expected = [
        Cell::Long(5000),
        Cell::text("shop"),
        Cell::Null,
        Cell::Long(1 << 40),
        Cell::text("-77"),
    ];
    assert_eq!(source.map(|name| cell(&batch, name, 0)), expected);
}
