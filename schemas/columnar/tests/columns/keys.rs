//! Keys that are texts, integers and scalars.

use std::sync::Arc;

use columnar::{ChangeDecoder, ChangeSchema, Decoded, KeyBody, KeyDecoder};
use schemas::{AvroSchema, KeyFormat, Shape};

use crate::table::{Cell, buffer, cell, contract, finish, meta};

fn table(key: &str) -> Arc<ChangeSchema> {
    ChangeSchema::new(&contract(&format!(
        r#"{{"type":"record","name":"R","lakehead.key":["k"],"fields":[{{"name":"k","type":{key}}},{{"name":"a","type":["null","int"]}}]}}"#
    )))
}

/// The key's cell of a delete with this key, or the code of its refusal.
fn delete(
    schema: &Arc<ChangeSchema>,
    mut keys: KeyDecoder,
    body: &[u8],
) -> Result<Cell, &'static str> {
    let mut rows = buffer(schema);
    let key = KeyBody {
        decoder: &mut keys,
        body,
    };
    let mut decoder = ChangeDecoder::json(Shape::Upsert, schema);
    match decoder.decode(&meta(0), None, Some(key), &mut rows) {
        Ok(Decoded::Row) => Ok(cell(&finish(rows), "k", 0)),
        Ok(other) => panic!("{other:?}"),
        Err(error) => {
            assert_eq!(rows.rows(), 0);
            Err(error.code())
        }
    }
}

fn plain(key: &str, format: KeyFormat, body: &[u8]) -> Result<Cell, &'static str> {
    let schema = table(key);
    delete(&schema, KeyDecoder::plain(format, &schema).unwrap(), body)
}

#[test]
fn texts_and_integers_are_read_as_kafka_s_serializers_write_them() {
    let (text, int, long) = (
        r#""string""#,
        r#"{"type":"int","lakehead.type":"int"}"#,
        r#""long""#,
    );
    assert_eq!(
        plain(text, KeyFormat::String, br#"{"a"}"#),
        Ok(Cell::text(r#"{"a"}"#))
    );
    assert_eq!(plain(text, KeyFormat::String, b""), Ok(Cell::text("")));
    assert_eq!(plain(text, KeyFormat::String, b"\xff"), Err("invalid"));
    assert_eq!(plain(long, KeyFormat::String, b"-12"), Ok(Cell::Long(-12)));
    for broken in [
        b"1.0".as_slice(),
        b"+1",
        b"",
        b"-",
        b" 1",
        b"9223372036854775808",
    ] {
        assert_eq!(plain(long, KeyFormat::String, broken), Err("type_mismatch"));
    }
    assert_eq!(
        plain(long, KeyFormat::Integer, &7_i32.to_be_bytes()),
        Ok(Cell::Long(7))
    );
    assert_eq!(
        plain(long, KeyFormat::Integer, &i64::MIN.to_be_bytes()),
        Ok(Cell::Long(i64::MIN))
    );
    assert_eq!(
        plain(int, KeyFormat::Integer, &(-7_i32).to_be_bytes()),
        Ok(Cell::Long(-7))
    );
    assert_eq!(
        plain(int, KeyFormat::Integer, &(1_i64 << 31).to_be_bytes()),
        Err("type_mismatch")
    );
    assert_eq!(plain(long, KeyFormat::Integer, b"123"), Err("invalid"));
    assert_eq!(plain(long, KeyFormat::Json, b"12"), Ok(Cell::Long(12)));
    assert_eq!(
        plain(text, KeyFormat::Json, br#"{"k":"x"}"#),
        Ok(Cell::text("x"))
    );
}

#[test]
fn a_format_that_does_not_go_with_the_key_is_refused() {
    let refused = |key: &str, format| {
        KeyDecoder::plain(format, &table(key))
            .unwrap_err()
            .to_string()
    };
    assert!(refused(r#""string""#, KeyFormat::Integer).contains("format integer"));
    assert!(refused(r#""double""#, KeyFormat::String).contains("format string"));
    assert!(refused(r#""string""#, KeyFormat::Avro).contains("schema"));
    let two = ChangeSchema::new(&contract(
        r#"{"type":"record","name":"R","lakehead.key":["a","b"],"fields":[{"name":"a","type":"int"},{"name":"b","type":"int"}]}"#,
    ));
    let error = KeyDecoder::plain(KeyFormat::Integer, &two)
        .unwrap_err()
        .to_string();
    assert!(error.contains("2 columns"), "{error}");
}

#[test]
fn avro_keys_mean_what_debezium_calls_them() {
    let schema = table(r#"{"type":"long","logicalType":"timestamp-micros"}"#);
    let writer: AvroSchema = r#"{"type":"long","connect.name":"io.debezium.time.Timestamp"}"#
        .parse()
        .unwrap();
    let keys = KeyDecoder::of_writer(&writer, &schema).unwrap();
    assert_eq!(delete(&schema, keys, &[0x04]), Ok(Cell::Long(2000)));
    let other: AvroSchema = r#""long""#.parse().unwrap();
    assert!(KeyDecoder::of_writer(&other, &schema).is_err());
    for format in [
        KeyFormat::Avro,
        KeyFormat::Json,
        KeyFormat::String,
        KeyFormat::Integer,
    ] {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
}
