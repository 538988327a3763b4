//! Deletes, tombstones and keys.

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::types::Value;
use columnar::{
    ChangeBuffer, ChangeDecoder, ChangeSchema, DecodeError, Decoded, KeyBody, KeyDecoder,
};
use schemas::Shape;

use crate::table::{Cell, buffer, cell, contract, encode, finish, meta};

const ROW: &str = r#"{"type":"record","name":"Row","lakehead.key":["id","part"],"fields":[
    {"name":"id","type":"long"},{"name":"part","type":"string"},{"name":"note","type":"string"}]}"#;

fn table() -> Arc<ChangeSchema> {
    ChangeSchema::new(&contract(ROW))
}

fn json(schema: &ChangeSchema, shape: Shape) -> ChangeDecoder {
    ChangeDecoder::json(shape, schema)
}

fn decode(
    decoder: &mut ChangeDecoder,
    body: Option<&str>,
    key: Option<(&mut KeyDecoder, &[u8])>,
    buffer: &mut ChangeBuffer,
) -> Result<Decoded, DecodeError> {
    let key = key.map(|(decoder, body)| KeyBody { decoder, body });
    decoder.decode(&meta(0), body.map(str::as_bytes), key, buffer)
}

#[test]
fn a_null_value_is_passed_deleted_or_refused_by_shape() {
    let schema = table();
    let mut buffer = buffer(&schema);
    for body in [None, Some(" null\n")] {
        let mut debezium = json(&schema, Shape::Debezium);
        assert_eq!(
            decode(&mut debezium, body, None, &mut buffer),
            Ok(Decoded::Passed)
        );
        let mut upsert = json(&schema, Shape::Upsert);
        assert_eq!(
            decode(&mut upsert, body, None, &mut buffer),
            Ok(Decoded::KeyNeeded)
        );
        let mut append = json(&schema, Shape::Append);
        assert_eq!(
            decode(&mut append, body, None, &mut buffer)
                .unwrap_err()
                .code(),
            "invalid"
        );
    }
    let mut wrapped = json(&schema, Shape::Debezium);
    let tombstone = Some(r#"{"schema":null,"payload":null}"#);
    assert_eq!(
        decode(&mut wrapped, tombstone, None, &mut buffer),
        Ok(Decoded::Passed)
    );
    assert_eq!(buffer.rows(), 0);
}

#[test]
fn a_delete_takes_the_row_before_with_whatever_it_knows() {
    let schema = table();
    let mut decoder = json(&schema, Shape::Debezium);
    let mut rows = buffer(&schema);
    let body = r#"{"op":"d","after":null,"before":{"id":1,"part":"a","note":null}}"#;
    assert_eq!(
        decode(&mut decoder, Some(body), None, &mut rows),
        Ok(Decoded::Row)
    );
    let body =
        r#"{"after":{"id":9,"part":"z","note":"never"},"before":{"part":"b","id":2},"op":"d"}"#;
    assert_eq!(
        decode(&mut decoder, Some(body), None, &mut rows),
        Ok(Decoded::Row)
    );
    let batch = finish(rows);
    let row = |row| ["_op", "id", "part", "note"].map(|name| cell(&batch, name, row));
    assert_eq!(
        row(0),
        [Cell::text("d"), Cell::Long(1), Cell::text("a"), Cell::Null]
    );
    assert_eq!(
        row(1),
        [Cell::text("d"), Cell::Long(2), Cell::text("b"), Cell::Null]
    );
}

#[test]
fn a_delete_without_its_key_asks_for_it_and_takes_it() {
    let schema = table();
    let mut decoder = json(&schema, Shape::Debezium);
    let mut keys = KeyDecoder::json(&schema);
    let mut rows = buffer(&schema);
    for (body, note) in [
        (r#"{"op":"d","before":null}"#, Cell::Null),
        (
            r#"{"op":"d","before":{"note":"kept","id":5}}"#,
            Cell::text("kept"),
        ),
    ] {
        assert_eq!(
            decode(&mut decoder, Some(body), None, &mut rows),
            Ok(Decoded::KeyNeeded)
        );
        assert_eq!(rows.rows(), 0);
        for key in [
            r#"{"id":1,"part":"a","other":[]}"#,
            r#"{"schema":{"payload":0},"payload":{"part":"a","id":1}}"#,
        ] {
            let key = Some((&mut keys, key.as_bytes()));
            assert_eq!(
                decode(&mut decoder, Some(body), key, &mut rows),
                Ok(Decoded::Row)
            );
        }
        let batch = finish(std::mem::replace(&mut rows, buffer(&schema)));
        for row in 0..2 {
            let cells = ["id", "part", "note"].map(|name| cell(&batch, name, row));
            assert_eq!(cells, [Cell::Long(1), Cell::text("a"), note.clone()]);
        }
    }
}

#[test]
fn a_bad_key_says_that_it_is_the_key() {
    let schema = table();
    let mut decoder = json(&schema, Shape::Upsert);
    let mut keys = KeyDecoder::json(&schema);
    let mut rows = buffer(&schema);
    for (key, code) in [
        (r#"{"id":1,"part":null}"#, "missing_key"),
        (r#"{"id":1}"#, "missing_key"),
        (r#"{"id":1"#, "truncated"),
        (r#"{"id":1,"part":"a"}x"#, "trailing_bytes"),
        (r#"{"id":"1","part":"a"}"#, "type_mismatch"),
        ("7", "invalid"),
        ("", "truncated"),
    ] {
        let outcome = decode(
            &mut decoder,
            None,
            Some((&mut keys, key.as_bytes())),
            &mut rows,
        );
        let error = outcome.unwrap_err();
        assert_eq!(error.code(), code, "{key}");
        assert!(
            code == "missing_key" || error.to_string().contains("record's key"),
            "{error}"
        );
        assert_eq!(rows.rows(), 0);
    }
}

#[test]
fn avro_keys_are_records_or_single_values() {
    let schema = table();
    let writer = Schema::parse_str(
        r#"{"type":"record","name":"Key","fields":[{"name":"part","type":["null","string"]},
            {"name":"x","type":{"type":"array","items":"int"}},{"name":"id","type":"int"}]}"#,
    );
    let writer = writer.unwrap();
    let mut keys = KeyDecoder::avro(&writer, &schema).unwrap();
    let fields = [
        ("part", Value::Union(1, Box::new(Value::String("a".into())))),
        ("x", Value::Array(vec![Value::Int(1), Value::Int(2)])),
        ("id", Value::Int(4)),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    let key = encode(&writer, Value::Record(fields.into()));
    let mut decoder = json(&schema, Shape::Upsert);
    let mut rows = buffer(&schema);
    assert_eq!(
        decode(&mut decoder, None, Some((&mut keys, &key)), &mut rows),
        Ok(Decoded::Row)
    );
    let batch = finish(rows);
    let cells = ["_op", "id", "part", "note"].map(|name| cell(&batch, name, 0));
    assert_eq!(
        cells,
        [Cell::text("d"), Cell::Long(4), Cell::text("a"), Cell::Null]
    );
    assert!(KeyDecoder::avro(&Schema::String, &schema).is_err());

    let single = contract(ROW).with_key(vec!["part".to_owned()]).unwrap();
    let schema = ChangeSchema::new(&single);
    let mut keys = KeyDecoder::avro(&Schema::String, &schema).unwrap();
    let mut rows = buffer(&schema);
    let mut decoder = json(&schema, Shape::Upsert);
    let key: (&mut KeyDecoder, &[u8]) = (&mut keys, b"\x02a");
    assert_eq!(
        decode(&mut decoder, None, Some(key), &mut rows),
        Ok(Decoded::Row)
    );
    assert_eq!(cell(&finish(rows), "part", 0), Cell::text("a"));
}

#[test]
fn a_single_json_key_may_be_bare() {
    let single = contract(ROW).with_key(vec!["part".to_owned()]).unwrap();
    let schema = ChangeSchema::new(&single);
    let mut keys = KeyDecoder::json(&schema);
    let mut decoder = json(&schema, Shape::Upsert);
    for (key, text) in [
        ("00ff12", "00ff12"),
        (r#""a\n""#, "a\n"),
        (r#"{"part":"x"}"#, "x"),
        ("12", "12"),
    ] {
        let mut rows = buffer(&schema);
        let key = Some((&mut keys, key.as_bytes()));
        assert_eq!(decode(&mut decoder, None, key, &mut rows), Ok(Decoded::Row));
        assert_eq!(cell(&finish(rows), "part", 0), Cell::text(text));
    }
    let single = contract(ROW).with_key(vec!["id".to_owned()]).unwrap();
    let schema = ChangeSchema::new(&single);
    let (mut keys, mut rows) = (KeyDecoder::json(&schema), buffer(&schema));
    let key: (&mut KeyDecoder, &[u8]) = (&mut keys, b"12");
    assert_eq!(
        decode(
            &mut json(&schema, Shape::Upsert),
            None,
            Some(key),
            &mut rows
        ),
        Ok(Decoded::Row)
    );
    assert_eq!(cell(&finish(rows), "id", 0), Cell::Long(12));
}

#[test]
fn without_a_key_a_delete_needs_the_row_before() {
    let schema = ChangeSchema::new(&contract(ROW).with_key(Vec::new()).unwrap());
    let mut rows = buffer(&schema);
    let mut decoder = json(&schema, Shape::Debezium);
    let body = Some(r#"{"op":"d","before":null}"#);
    assert_eq!(
        decode(&mut decoder, body, None, &mut rows)
            .unwrap_err()
            .code(),
        "invalid"
    );
    let body = Some(r#"{"op":"d","before":{"note":"x"}}"#);
    assert_eq!(
        decode(&mut decoder, body, None, &mut rows),
        Ok(Decoded::Row)
    );
}
