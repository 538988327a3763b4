//! Where rows came from, and on which date they land.

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::types::Value;
use arrow::array::RecordBatch;
use columnar::{ChangeBuffer, ChangeDecoder, ChangeSchema, Decoded, RecordMeta, contract_of};
use schemas::{SchemaId, Shape};

use crate::table::{Cell, buffer, cell, contract, encode, finish, meta};

const DAY_US: i64 = 86_400_000_000;

fn table() -> Arc<ChangeSchema> {
    ChangeSchema::new(&contract(
        r#"{"type":"record","name":"Row","fields":[{"name":"id","type":["null","long"]},{"name":"text","type":["null","string"]}]}"#,
    ))
}

fn append(buffer: &mut ChangeBuffer, meta: &RecordMeta<'_>) {
    let body = format!(r#"{{"id":{},"text":"t{}"}}"#, meta.offset, meta.offset);
    let mut decoder = ChangeDecoder::json(Shape::Append, buffer.schema());
    assert_eq!(
        decoder.decode(meta, Some(body.as_bytes()), None, buffer),
        Ok(Decoded::Row)
    );
}

#[test]
fn what_the_headers_say_is_kept() {
    let schema = table();
    let mut rows = buffer(&schema);
    append(&mut rows, &meta(7));
    let rich = RecordMeta {
        offset: 8,
        schema_id: Some(SchemaId(5)),
        event_id: Some("e8"),
        source: Some("/flights"),
        sequence: Some(44),
        event_time_us: Some(3_000_000),
        ..meta(8)
    };
    append(&mut rows, &rich);
    let batch = finish(rows);
    assert_eq!(batch.schema(), schema.batch_schema());
    let names = [
        "_op",
        "_event_id",
        "_event_time",
        "_topic",
        "_partition",
        "_offset",
        "_generation",
        "_schema_id",
        "_source",
        "_ingest_time",
    ];
    let plain = [
        Cell::text("c"),
        Cell::Null,
        Cell::Long(1_000_000),
        Cell::text("topic"),
        Cell::Long(3),
        Cell::Long(7),
        Cell::Long(2),
        Cell::Null,
        Cell::Null,
        Cell::Long(2_000_000),
    ];
    assert_eq!(names.map(|name| cell(&batch, name, 0)), plain);
    let some = [
        "_event_id",
        "_event_time",
        "_schema_id",
        "_source.name",
        "_source.sequence",
        "_source.lsn",
        "_source.transaction",
    ];
    let expected = [
        Cell::text("e8"),
        Cell::Long(3_000_000),
        Cell::Long(5),
        Cell::text("/flights"),
        Cell::Long(44),
        Cell::Null,
        Cell::Null,
    ];
    assert_eq!(some.map(|name| cell(&batch, name, 1)), expected);
}

fn offsets(batch: &RecordBatch) -> Vec<Cell> {
    (0..batch.num_rows())
        .map(|row| cell(batch, "_offset", row))
        .collect()
}

#[test]
fn rows_keep_their_order() {
    let schema = table();
    let times = [5, DAY_US, DAY_US - 1, -1, DAY_US + 1, DAY_US + 2, 6];
    let mut rows = buffer(&schema);
    for (offset, time) in (0..).zip(times) {
        append(
            &mut rows,
            &RecordMeta {
                event_time_us: Some(time),
                ..meta(offset)
            },
        );
    }
    let batch = rows.finish(0).unwrap();
    let expected: Vec<Cell> = (0..7).map(Cell::Long).collect();
    assert_eq!(offsets(&batch), expected);
    for row in 0..batch.num_rows() {
        assert_eq!(cell(&batch, "id", row), cell(&batch, "_offset", row));
        assert_eq!(cell(&batch, "text", row), Cell::text(&format!("t{row}")));
    }
    assert_eq!(buffer(&schema).finish(0).unwrap().num_rows(), 0);
}

#[test]
fn rows_of_several_writers_share_a_buffer() {
    let schema = table();
    let writer = |fields: &str| {
        Schema::parse_str(&format!(
            r#"{{"type":"record","name":"Row","fields":[{fields}]}}"#
        ))
        .unwrap()
    };
    let old = writer(r#"{"name":"id","type":"int"}"#);
    let new = writer(r#"{"name":"text","type":"string"},{"name":"id","type":["long","null"]}"#);
    let mut of_old = ChangeDecoder::avro(&old, Shape::Append, &schema).unwrap();
    let mut of_new = ChangeDecoder::avro(&new, Shape::Append, &schema).unwrap();
    let field = |name: &str, value| (name.to_owned(), value);
    let mut rows = buffer(&schema);
    for number in 0..20_i32 {
        let (decoder, body) = if number % 2 == 0 {
            (
                &mut of_old,
                encode(&old, Value::Record(vec![field("id", Value::Int(number))])),
            )
        } else {
            let id = Value::Union(0, Box::new(Value::Long(number.into())));
            let fields = vec![
                field("text", Value::String("x".to_owned())),
                field("id", id),
            ];
            (&mut of_new, encode(&new, Value::Record(fields)))
        };
        let id = SchemaId(u32::try_from(number % 2).unwrap() + 1);
        let meta = RecordMeta {
            schema_id: Some(id),
            ..meta(number.into())
        };
        assert_eq!(
            decoder.decode(&meta, Some(&body), None, &mut rows),
            Ok(Decoded::Row)
        );
    }
    let batch = finish(rows);
    for row in 0..20_usize {
        let number = i64::try_from(row).unwrap();
        assert_eq!(cell(&batch, "id", row), Cell::Long(number));
        assert_eq!(cell(&batch, "_schema_id", row), Cell::Long(number % 2 + 1));
        let text = if row % 2 == 0 {
            Cell::Null
        } else {
            Cell::text("x")
        };
        assert_eq!(cell(&batch, "text", row), text);
    }
}

#[test]
fn a_decoder_of_another_table_is_refused() {
    let other =
        contract(r#"{"type":"record","name":"Row","fields":[{"name":"id","type":"string"}]}"#);
    let mut decoder = ChangeDecoder::json(Shape::Append, &ChangeSchema::new(&other));
    let mut rows = buffer(&table());
    let outcome = decoder.decode(&meta(0), Some(b"{\"id\":\"a\"}"), None, &mut rows);
    assert_eq!(outcome.unwrap_err().code(), "invalid");
    assert_eq!(rows.rows(), 0);
    let error = contract_of(&Schema::Long, None, Shape::Append).unwrap_err();
    assert!(error.to_string().contains("long"), "{error}");
}
