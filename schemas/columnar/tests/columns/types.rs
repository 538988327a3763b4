//! The document of types says what the code does: it is made of values that go in and come out.

use std::fmt::Write as _;
use std::sync::Arc;

use apache_avro::types::Value;
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use columnar::{ChangeDecoder, ChangeSchema, Decoded};
use schemas::{AvroSchema, Contract, Shape};

use crate::canonical::{canonical, canonical_of_json};
use crate::table::{buffer, encode, finish, meta};
use crate::type_rows::{ASKED, AVRO, DEBEZIUM, REFUSED, REFUSED_CONNECT, Row};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/types.md");

const INTRODUCTION: &str = "\
# Types

What a table holds of each type that a producer may write. This document is made by a test
(`schemas/columnar/tests/columns/types.rs`) from values that go through the decoders: what it shows
is what happens.

Nothing is ever silently changed. A value that its column does not hold exactly makes its record a
dead letter (`type_mismatch`), and a type that no column holds exactly is refused by name when the
contract or the writer's schema is read.

- `int` lands as BIGINT and `float` as DOUBLE, so that most promotions rewrite nothing.
- A time without a zone of its own stays what it was: a count is a number. Debezium counts the wall
  clock of a database column without a zone as if it showed UTC, and so does TIMESTAMP here.
- Delta has no type for a time of day: it is a BIGINT of microseconds since midnight, as
  Debezium's `MicroTime`.
- In JSON, numbers stand for what the contract (or the schema that comes with the record) says;
  texts of dates, times and numbers are read where they are given in the example.
- In JSON, a field that the contract lacks makes its record a dead letter (`unknown_field`), unless it
  is null, or the topic says `unknown_fields = \"ignore\"`, or its columns are inferred
  (deploy/configuration.md).
- A Debezium placeholder for a value that the database did not send (`__debezium_unavailable_value`)
  is a text like any other: set the table's replica identity to full.
";

/// What comes out of a column of this type for a value.
fn landed(row: &Row, contract: &Contract) -> (String, String) {
    let writer: AvroSchema = record(row.avro).parse().unwrap();
    let schema = ChangeSchema::new(contract);
    let mut rows = buffer(&schema);
    let mut avro = ChangeDecoder::of_writer(&writer, Shape::Append, &schema).unwrap();
    let codec = apache_avro::Schema::parse_str(&record(row.avro)).unwrap();
    let value = Value::Record(vec![("a".to_owned(), (row.value)())]);
    let body = encode(&codec, value);
    let decoded = avro.decode(&meta(0), Some(&body), None, &mut rows);
    assert_eq!(decoded, Ok(Decoded::Row), "{}", row.avro);
    let mut json = ChangeDecoder::json(Shape::Append, &schema);
    for text in row.json {
        let body = format!(r#"{{"a":{text}}}"#);
        let decoded = json.decode(&meta(1), Some(body.as_bytes()), None, &mut rows);
        assert_eq!(decoded, Ok(Decoded::Row), "{} {body}", row.avro);
    }
    let batch = finish(rows);
    for (place, text) in row.json.iter().enumerate() {
        let json = format!(r#"{{"a":{text}}}"#);
        assert_eq!(
            canonical_of_json(contract, &json),
            canonical(&batch, contract, place + 1),
            "{} {json}",
            row.avro
        );
    }
    let column = batch.column_by_name("a").unwrap();
    assert!(!column.is_null(0));
    let shown: Vec<String> = (0..column.len()).map(|row| show(column, row)).collect();
    for (place, text) in row.json.iter().enumerate() {
        assert_eq!(shown[place + 1], shown[0], "{} {text}", row.avro);
    }
    (sql_type(column.data_type()), shown[0].clone())
}

fn show(column: &ArrayRef, row: usize) -> String {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column, &options).unwrap();
    formatter.value(row).to_string()
}

/// The name of a type in SQL.
fn sql_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Utf8 => "STRING".to_owned(),
        DataType::Binary => "BINARY".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(_, _) => "TIMESTAMP".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::List(item) => format!("ARRAY<{}>", sql_type(item.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => {
                format!("MAP<STRING, {}>", sql_type(fields[1].data_type()))
            }
            other => panic!("a map of {other}"),
        },
        DataType::Struct(fields) => {
            let fields = fields.iter();
            let fields: Vec<String> = fields
                .map(|field| format!("{}: {}", field.name(), sql_type(field.data_type())))
                .collect();
            format!("STRUCT<{}>", fields.join(", "))
        }
        other => panic!("no name of {other}"),
    }
}

fn record(avro: &str) -> String {
    format!(r#"{{"type":"record","name":"Sample","fields":[{{"name":"a","type":{avro}}}]}}"#)
}

fn table(title: &str, lead: &str, rows: &[Row], out: &mut String) {
    write!(out, "\n## {title}\n\n{lead}\n\n").unwrap();
    out.push_str("| written as | lands as | in JSON, for example | comes out as | rule |\n|---|---|---|---|---|\n");
    for row in rows {
        let contract: Contract = record(row.avro).parse().unwrap();
        let (lake, shown) = landed(row, &contract);
        let json: Vec<String> = row.json.iter().map(|text| format!("`{text}`")).collect();
        writeln!(
            out,
            "| {} | `{lake}` | {} | `{shown}` | {} |",
            row.title,
            json.join(" "),
            row.rule
        )
        .unwrap();
    }
}

fn refused(out: &mut String) {
    out.push_str("\n## Refused by name\n\n| written as | what is said |\n|---|---|\n");
    for (title, avro) in REFUSED {
        let error = record(avro).parse::<Contract>().unwrap_err();
        writeln!(out, "| {title} | {error} |").unwrap();
    }
    for (title, connect) in REFUSED_CONNECT {
        let json = serde_json::from_str(connect).unwrap();
        let error = AvroSchema::from_connect(&json).unwrap_err();
        writeln!(out, "| {title} | {error} |").unwrap();
    }
}

#[test]
fn the_document_says_what_the_code_does() {
    let mut text = INTRODUCTION.to_owned();
    table(
        "Avro",
        "Nullable fields are a union of `null` and one type.",
        AVRO,
        &mut text,
    );
    let lead = "By the `connect.name` of an Avro type, or by the `name` in the schema of a JSON record. Every\nother name goes by the type it is given with.";
    table("Debezium and Kafka Connect", lead, DEBEZIUM, &mut text);
    let lead = "By the attribute `lakehead.type` of a field, or of its type, in the contract.";
    table("What a contract may ask for", lead, ASKED, &mut text);
    refused(&mut text);
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(DOCUMENT, &text).unwrap();
    }
    let document = std::fs::read_to_string(DOCUMENT).unwrap_or_default();
    assert!(
        document == text,
        "schemas/docs/types.md does not say what the code does; run this test with UPDATE_DOCUMENTS=1"
    );
}

#[test]
fn what_a_column_does_not_hold_exactly_is_a_dead_letter() {
    let dead = |avro: &str, json: &[&str]| {
        let contract: Contract = record(avro).parse().unwrap();
        let schema: Arc<ChangeSchema> = ChangeSchema::new(&contract);
        let mut decoder = ChangeDecoder::json(Shape::Append, &schema);
        let mut rows = buffer(&schema);
        for text in json {
            let body = format!(r#"{{"a":{text}}}"#);
            let error = decoder
                .decode(&meta(0), Some(body.as_bytes()), None, &mut rows)
                .unwrap_err();
            assert_eq!(error.code(), "type_mismatch", "{avro} {text}: {error}");
            assert_eq!(rows.rows(), 0);
        }
    };
    dead(
        "\"long\"",
        &["1.5", "\"1\"", "9223372036854775808", "true", "[1]", "{}"],
    );
    dead("\"int\"", &["2147483648", "-2147483649", "0.5", "\"1\""]);
    dead("\"float\"", &["1e39", "-1e39", "\"NaN\""]);
    dead("\"string\"", &["1", "true", "{}", "[]"]);
    dead(
        r#"["null",{"type":"enum","name":"E","symbols":["RED","BLUE"]}]"#,
        &["\"GREEN\"", "\"red\"", "\"\"", "0", "true"],
    );
    dead(
        r#"{"type":"array","items":{"type":"enum","name":"E","symbols":["RED"]}}"#,
        &["[\"BLUE\"]", "[\"RED\",null]"],
    );
    dead(
        r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#,
        &["\"0fdb4a7a1d2e4b8c9c3f5a6b7c8d9e0f\"", "\"x\"", "\"\""],
    );
    dead("\"boolean\"", &["1", "\"true\"", "null"]);
    dead("\"double\"", &["1e999", "\"1\"", "\"NaN\""]);
    dead(
        r#"{"type":"int","lakehead.type":"int"}"#,
        &["2147483648", "0.5"],
    );
    dead(r#"{"type":"float","lakehead.type":"float"}"#, &["1e39"]);
    dead("\"bytes\"", &["\"%\"", "1"]);
    dead(r#"{"type":"fixed","name":"F","size":3}"#, &["\"YWI=\""]);
    dead(
        r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#,
        &["1.234", "100", "\"1.234\"", "\"x\"", "\"\""],
    );
    dead(
        r#"{"type":"int","logicalType":"date"}"#,
        &["\"2013-02-30\"", "1.5", "\"2013-01-01Z\""],
    );
    dead(
        r#"{"type":"long","logicalType":"timestamp-nanos"}"#,
        &["1", "1999"],
    );
    dead(
        r#"{"type":"long","logicalType":"timestamp-micros"}"#,
        &[
            "\"2013-01-01T00:00:00.1234567Z\"",
            "\"2013-01-01T00:00:00\"",
        ],
    );
    dead(
        r#"{"type":"long","logicalType":"local-timestamp-micros"}"#,
        &["\"2013-01-01T00:00:00Z\""],
    );
    dead(
        r#"{"type":"int","logicalType":"time-millis"}"#,
        &["\"24:00:00\"", "\"1\""],
    );
    dead(
        r#"["null","int","string"]"#,
        &["5", "{}", r#"{"int":1,"string":"a"}"#, r#"{"x":1}"#],
    );
    dead(
        r#"{"type":"array","items":"int"}"#,
        &["{}", "[null]", "[1,\"a\"]", "1"],
    );
    dead(
        r#"{"type":"map","values":"int"}"#,
        &["[]", r#"{"a":null}"#, r#"{"a":"b"}"#],
    );
    let inner = r#"{"type":"record","name":"I","fields":[{"name":"x","type":"int"}]}"#;
    dead(
        inner,
        &[
            "{}",
            r#"{"x":null}"#,
            r#"{"x":"a"}"#,
            r#"{"x":2147483648}"#,
            "[]",
        ],
    );
}
