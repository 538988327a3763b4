//! Bodies that are made to cost much, in columns that nest.

use columnar::{ChangeBuffer, ChangeDecoder, ChangeSchema, DecodeError, Decoded};
use schemas::{AvroSchema, Shape};
use serde_json::{Value, json};

use crate::table::{buffer, contract, finish, meta};

const HUGE: &[u8] = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01";

fn record(avro: &Value) -> String {
    json!({"type": "record", "name": "Row", "fields": [{"name": "a", "type": avro}]}).to_string()
}

fn run(
    table: &Value,
    writer: &Value,
    body: &[u8],
    look: impl FnOnce(ChangeBuffer),
) -> Result<Decoded, DecodeError> {
    let schema = ChangeSchema::new(&contract(&record(table)));
    let writer: AvroSchema = record(writer).parse().unwrap();
    let mut decoder = ChangeDecoder::of_writer(&writer, Shape::Append, &schema).unwrap();
    let mut rows = buffer(&schema);
    let decoded = decoder.decode(&meta(0), Some(body), None, &mut rows);
    look(rows);
    decoded
}

fn code(avro: &Value, body: &[u8]) -> Result<Decoded, &'static str> {
    run(avro, avro, body, drop).map_err(|error| error.code())
}

#[test]
fn counts_that_lie_are_found_out() {
    let ints = json!({"type": "array", "items": "int"});
    assert_eq!(code(&ints, b"\x04\x02\x02\x00"), Ok(Decoded::Row));
    assert_eq!(code(&ints, b"\x03\x04\x02\x02\x00"), Ok(Decoded::Row));
    assert_eq!(code(&ints, b"\x03\x06\x02\x02\x00"), Err("invalid"));
    assert_eq!(code(&ints, &[HUGE, b"\x02"].concat()), Err("truncated"));
    assert_eq!(
        code(&ints, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02"),
        Err("invalid")
    );
    let nulls = json!({"type": "array", "items": ["null", "int"]});
    assert_eq!(
        code(&nulls, &[HUGE, b"\x00\x00"].concat()),
        Err("truncated")
    );
    let map = json!({"type": "map", "values": "int"});
    assert_eq!(code(&map, b"\x02\x02k\x02\x00"), Ok(Decoded::Row));
    assert_eq!(code(&map, b"\x04\x02k\x02\x02k\x04\x00"), Err("invalid"));
    assert_eq!(code(&map, &[HUGE, b"\x02k"].concat()), Err("truncated"));
    let union = json!(["null", "int", "string"]);
    assert_eq!(code(&union, b"\x06"), Err("invalid"));
    assert_eq!(code(&union, b"\x04\x02a"), Ok(Decoded::Row));
}

#[test]
fn few_bytes_do_not_fill_many_columns() {
    let items = |fields: Vec<Value>| json!({"type": "array", "items": {"type": "record", "name": "Item", "fields": fields}});
    let own = json!({"name": "x", "type": "boolean"});
    let mut fields = vec![own.clone()];
    fields.extend(
        (0..2000)
            .map(|n| json!({"name": format!("n{n}"), "type": ["null", "long"], "default": null})),
    );
    let (table, writer) = (items(fields), items(vec![own]));
    let body = |count: usize| {
        let mut body = Vec::new();
        let mut zigzag = count * 2;
        while zigzag >= 0x80 {
            body.push(u8::try_from(zigzag & 0x7f).unwrap() | 0x80);
            zigzag >>= 7;
        }
        body.push(u8::try_from(zigzag).unwrap());
        body.extend(std::iter::repeat_n(1, count));
        body.push(0);
        body
    };
    let few = run(&table, &writer, &body(100), |rows| {
        assert_eq!(rows.rows(), 1);
        finish(rows);
    });
    assert_eq!(few, Ok(Decoded::Row));
    let many = run(&table, &writer, &body(100_000), |rows| {
        assert_eq!(rows.rows(), 0)
    });
    let error = many.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("fill 2002 columns each with fewer bytes"),
        "{error}"
    );
}

#[test]
fn few_characters_do_not_fill_many_columns() {
    let fields: Vec<Value> = (0..2000)
        .map(|n| json!({"name": format!("n{n}"), "type": ["null", "long"], "default": null}))
        .collect();
    let item = json!({"type": "record", "name": "Item", "fields": fields});
    let items = json!({"type": "array", "items": ["null", item]});
    let schema = ChangeSchema::new(&contract(&record(&items)));
    let mut decoder = ChangeDecoder::json(Shape::Append, &schema);
    for (item, count, code) in [
        ("{}", 100, None),
        ("{}", 100_000, Some("invalid")),
        ("null", 100_000, Some("invalid")),
    ] {
        let mut rows = buffer(&schema);
        let body = format!(r#"{{"a":[{}{item}]}}"#, format!("{item},").repeat(count));
        let decoded = decoder.decode(&meta(0), Some(body.as_bytes()), None, &mut rows);
        assert_eq!(decoded.err().map(|error| error.code()), code, "{item}");
    }
}

#[test]
fn json_that_lies_deep_is_refused() {
    let items = json!({"type": "array", "items": {"type": "array", "items": "int"}});
    let schema = ChangeSchema::new(&contract(&record(&items)));
    let mut decoder = ChangeDecoder::json(Shape::Append, &schema);
    let mut rows = buffer(&schema);
    let mut code = |text: String| {
        let decoded = decoder.decode(&meta(0), Some(text.as_bytes()), None, &mut rows);
        decoded.map_err(|error| error.code())
    };
    assert_eq!(code(r#"{"a":[[1],[2,3],[]]}"#.to_owned()), Ok(Decoded::Row));
    assert_eq!(
        code(r#"{"a":[[1],[2,[3]]]}"#.to_owned()),
        Err("type_mismatch")
    );
    let deep = format!(
        r#"{{"a":[[{}{}]]}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(code(deep), Err("invalid"));
    assert_eq!(
        code(format!(r#"{{"a":{}"#, "[".repeat(100_000))),
        Err("invalid")
    );
}

#[test]
fn arrays_in_one_another_share_one_budget() {
    let fields: Vec<Value> = (0..2000)
        .map(|n| json!({"name": format!("n{n}"), "type": ["null", "long"], "default": null}))
        .collect();
    let item = json!({"type": "record", "name": "Item", "fields": fields});
    let items = json!({"type": "array", "items": {"type": "array", "items": ["null", item]}});
    let schema = ChangeSchema::new(&contract(&record(&items)));
    // A thousand arrays of a thousand items: each array by itself is small.
    let inner = format!("[{}null]", "null,".repeat(999));
    let body = format!(r#"{{"a":[{}{inner}]}}"#, format!("{inner},").repeat(999));
    let mut rows = buffer(&schema);
    let mut decoder = ChangeDecoder::json(Shape::Append, &schema);
    let error = decoder
        .decode(&meta(0), Some(body.as_bytes()), None, &mut rows)
        .unwrap_err();
    assert!(error.to_string().contains("columns each"), "{error}");
    // The same in Avro: two blocks in one another, an item of one byte each.
    let (outer, inner) = (
        vec![0xd0, 0x0f],
        [&[0xd0, 0x0f][..], &[0; 1000], &[0]].concat(),
    );
    let body = [outer, inner.repeat(1000), vec![0]].concat();
    let many = run(&items, &items, &body, |rows| assert_eq!(rows.rows(), 0));
    assert_eq!(many.unwrap_err().code(), "invalid");
}

#[test]
fn long_defaults_are_not_multiplied() {
    let own = json!({"name": "x", "type": "boolean"});
    let long = json!({"name": "y", "type": "string", "default": "y".repeat(100_000)});
    let items = |fields: Value| json!({"type": "array", "items": {"type": "record", "name": "Item", "fields": fields}});
    let (table, writer) = (items(json!([own, long])), items(json!([own])));
    let body = |count: u8| [&[count * 2][..], &vec![1; count.into()], &[0]].concat();
    let few = run(&table, &writer, &body(30), |rows| {
        assert_eq!(rows.rows(), 1)
    });
    assert_eq!(few, Ok(Decoded::Row));
    let many = run(&table, &writer, &body(60), |rows| {
        assert_eq!(rows.rows(), 0)
    });
    assert_eq!(many.unwrap_err().code(), "invalid");
}
