//! Writer's schemas that a table cannot hold, and bodies that abuse their schema.

use apache_avro::Schema;
use columnar::{ChangeDecoder, ChangeSchema, DecodeError, Decoded, SchemaMismatch};
use schemas::Shape;

use crate::table::{buffer, contract, meta};

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"Row","fields":[{fields}]}}"#)
}

fn refusal(table: &str, writer: &str) -> SchemaMismatch {
    let schema = ChangeSchema::new(&contract(&record(table)));
    let writer = Schema::parse_str(&record(writer)).unwrap();
    ChangeDecoder::avro(&writer, Shape::Append, &schema).unwrap_err()
}

#[test]
fn nothing_is_dropped_or_made_up() {
    let id = r#"{"name":"id","type":"long"}"#;
    let more = format!(r#"{id},{{"name":"more","type":["null","string"]}}"#);
    assert!(
        matches!(refusal(id, &more), SchemaMismatch::UnknownField { field, .. } if field == "more")
    );
    let required = format!(r#"{id},{{"name":"more","type":"string"}}"#);
    assert!(
        matches!(refusal(&required, id), SchemaMismatch::MissingField { field } if field == "more")
    );
}

#[test]
fn types_widen_only_where_nothing_is_lost() {
    let field = |avro: &str| format!(r#"{{"name":"a","type":{avro}}}"#);
    let date = r#"{"type":"int","logicalType":"date"}"#;
    let micros = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
    for (table, writer) in [
        (r#""long""#, r#""double""#),
        (r#""double""#, r#""long""#),
        (r#""string""#, r#""bytes""#),
        (r#""long""#, micros),
        (micros, r#""long""#),
        (date, r#""int""#),
        (r#""long""#, date),
        (r#""boolean""#, r#""int""#),
        (r#""long""#, r#"["int","string"]"#),
        (r#""string""#, r#"{"type":"array","items":"string"}"#),
    ] {
        let error = refusal(&field(table), &field(writer));
        assert!(
            matches!(error, SchemaMismatch::FieldType { .. }),
            "{table} {writer}: {error}"
        );
    }
    let error = refusal(&field(r#""long""#), &field(r#"["null","double"]"#)).to_string();
    assert_eq!(
        error,
        r#"field "a": the writer says [null, double], the table long"#
    );
}

#[test]
fn an_envelope_must_be_one() {
    let schema = ChangeSchema::new(&contract(&record(r#"{"name":"id","type":"long"}"#)));
    for writer in [
        r#""string""#.to_owned(),
        record(r#"{"name":"id","type":"long"}"#),
        record(r#"{"name":"after","type":"string"},{"name":"op","type":"string"}"#),
        record(
            r#"{"name":"after","type":{"type":"record","name":"V","fields":[{"name":"id","type":"long"}]}},{"name":"op","type":"int"}"#,
        ),
    ] {
        let writer = Schema::parse_str(&writer).unwrap();
        let error = ChangeDecoder::avro(&writer, Shape::Debezium, &schema).unwrap_err();
        assert!(matches!(error, SchemaMismatch::Shape { .. }), "{error}");
    }
}

/// An envelope with a field `more` of this type, and its body after `after` (id 1) and `op`.
fn with_more(more: &str, body: &[u8]) -> Result<Decoded, DecodeError> {
    let schema = ChangeSchema::new(&contract(&record(r#"{"name":"id","type":"long"}"#)));
    let writer = record(&format!(
        r#"{{"name":"after","type":{{"type":"record","name":"V","fields":[{{"name":"id","type":"long"}}]}}}},
           {{"name":"op","type":"string"}},{{"name":"more","type":{more}}}"#
    ));
    let writer = Schema::parse_str(&writer).unwrap();
    let mut decoder = ChangeDecoder::avro(&writer, Shape::Debezium, &schema).unwrap();
    let body = [b"\x02\x02c", body].concat();
    let mut rows = buffer(&schema);
    decoder.decode(&meta(0), Some(&body), None, &mut rows)
}

#[test]
fn what_is_passed_over_is_checked_too() {
    let code = |more, body: &[u8]| with_more(more, body).map_err(|error| error.code());
    let ints = r#"{"type":"array","items":"int"}"#;
    assert_eq!(code(ints, b"\x04\x02\x02\x00"), Ok(Decoded::Row));
    // A block of count -2 tells its size in bytes, here rightly and wrongly.
    assert_eq!(code(ints, b"\x03\x04\x02\x02\x00"), Ok(Decoded::Row));
    assert_eq!(code(ints, b"\x03\x06\x02\x02\x00"), Err("invalid"));
    assert_eq!(
        code(ints, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02"),
        Err("truncated")
    );
    assert_eq!(
        code(ints, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x02"),
        Err("invalid")
    );
    assert_eq!(code(r#""string""#, b"\x02\xff"), Err("invalid"));
    assert_eq!(code(r#""boolean""#, b"\x02"), Err("invalid"));
    assert_eq!(code(r#"["null","int"]"#, b"\x04"), Err("invalid"));
    assert_eq!(code(r#"["null","int"]"#, b"\x01"), Err("invalid"));
    let symbols = r#"{"type":"enum","name":"E","symbols":["A"]}"#;
    assert_eq!(code(symbols, b"\x00"), Ok(Decoded::Row));
    assert_eq!(code(symbols, b"\x02"), Err("invalid"));
    assert_eq!(
        code(
            r#"{"type":"map","values":"double"}"#,
            b"\x02\x02k12345678\x00"
        ),
        Ok(Decoded::Row)
    );
    assert_eq!(
        code(r#"{"type":"fixed","name":"F","size":3}"#, b"ab"),
        Err("truncated")
    );
}

#[test]
fn a_few_bytes_cannot_keep_us_busy() {
    let code = |more, body: &[u8]| with_more(more, body).map_err(|error| error.code());
    let huge = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    let nulls = r#"{"type":"array","items":"null"}"#;
    assert_eq!(
        code(nulls, &[huge.as_slice(), b"\x00"].concat()),
        Ok(Decoded::Row)
    );
    let empties = r#"{"type":"array","items":{"type":"record","name":"Z","fields":[]}}"#;
    assert_eq!(
        code(empties, &[huge.as_slice(), b"\x00"].concat()),
        Ok(Decoded::Row)
    );
    let list = r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#;
    assert_eq!(code(list, b"\x02\x02\x02\x00"), Ok(Decoded::Row));
    assert_eq!(code(list, &[2; 1_000_000]), Err("invalid"));
}
