use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use schemas::Contract;
use serde_json::json;

use super::*;
use crate::TransactionPlace;

const CONTRACT: &str = r#"{"type":"record","name":"Seat","lakehead.key":["id"],"fields":[
    {"name":"id","type":"int"},
    {"name":"holder","type":["null","string"],"default":null},
    {"name":"state","type":{"type":"enum","name":"State","symbols":["free","taken"]}}]}"#;

fn envelope() -> Envelope {
    let contract: Contract = CONTRACT.parse().unwrap();
    Envelope::of(&"cabin.seat".parse().unwrap(), &contract)
}

fn encoder() -> EventEncoder {
    let table = "cabin.seat".parse().unwrap();
    EventEncoder::new(
        &table,
        "cabin.seat",
        "/cabin/x",
        &envelope(),
        SchemaId(1),
        SchemaId(2),
    )
    .unwrap()
}

fn update() -> OutboxRow {
    OutboxRow {
        sequence: 42,
        place: 42,
        event_id: "e-1".into(),
        entity: "cabin.seat".into(),
        op: "u".into(),
        event_type: None,
        event_time_us: 1_357_034_400_000_789,
        key: json!({"id": 7}).to_string(),
        before: Some(json!({"id": 7, "holder": null, "state": "free"}).to_string()),
        after: Some(json!({"id": 7, "holder": "Ann", "state": "taken"}).to_string()),
        transaction: Some(TransactionPlace {
            id: "734:40".into(),
            total_order: 3,
            entity_order: 2,
            ended: None,
        }),
    }
}

/// Decodes a framed value with apache-avro and takes every byte.
fn decode(id: u32, schema: &str, framed: &[u8]) -> serde_json::Value {
    let (found, mut body) = wire::unframe(framed).unwrap();
    assert_eq!(found, SchemaId(id));
    let schema = Schema::parse_str(schema).unwrap();
    let value: Avro = GenericDatumReader::builder(&schema)
        .build()
        .unwrap()
        .read_value(&mut body)
        .unwrap();
    assert!(body.is_empty());
    value.try_into().unwrap()
}

#[test]
fn an_update_is_debeziums_envelope() {
    let record = encoder().encode(&update(), 1_700_000_000_000).unwrap();
    assert_eq!(
        decode(1, &envelope().key_schema, &record.key),
        json!({"id": 7})
    );
    assert_eq!(
        decode(2, &envelope().value_schema, &record.value),
        json!({
            "before": {"id": 7, "holder": null, "state": "free"},
            "after": {"id": 7, "holder": "Ann", "state": "taken"},
            "source": {
                "version": env!("CARGO_PKG_VERSION"), "connector": "lakehead", "name": "cabin",
                "ts_ms": 1_357_034_400_000_i64, "ts_us": 1_357_034_400_000_789_i64,
                "db": "cabin", "table": "seat", "sequence": "42", "txId": "734:40",
            },
            "op": "u",
            "ts_ms": 1_700_000_000_000_i64,
            "transaction": {"id": "734:40", "total_order": 3, "data_collection_order": 2},
        })
    );
    assert_eq!(
        record.headers("42"),
        [
            ("ce_specversion", "1.0"),
            ("ce_id", "e-1"),
            ("ce_source", "/cabin/x"),
            ("ce_type", "cabin.seat.change"),
            ("ce_time", "2013-01-01T10:00:00.000789Z"),
            ("lakehead_sequence", "42"),
        ]
    );
}

#[test]
fn a_create_has_no_before_and_a_delete_no_after() {
    let (mut create, mut delete) = (update(), update());
    (create.op, create.before) = ("c".into(), None);
    create.transaction = None;
    (delete.op, delete.after) = ("d".into(), None);
    for (row, absent) in [(create, "before"), (delete, "after")] {
        let record = encoder().encode(&row, 0).unwrap();
        let value = decode(2, &envelope().value_schema, &record.value);
        assert_eq!(value[absent], serde_json::Value::Null);
        assert_eq!(value["op"], row.op);
        assert_eq!(value["transaction"].is_null(), row.transaction.is_none());
    }
}

#[test]
fn a_row_of_debeziums_shape_has_a_bare_key_and_its_events_name() {
    let row = OutboxRow {
        op: "d".into(),
        event_type: Some("SeatRemoved".into()),
        key: "7".into(),
        before: None,
        after: None,
        ..update()
    };
    let record = encoder().encode(&row, 0).unwrap();
    assert_eq!(record.key, encoder().encode(&update(), 0).unwrap().key);
    assert_eq!(&*record.event_type, "SeatRemoved");
    let value = decode(2, &envelope().value_schema, &record.value);
    assert_eq!(value["before"], serde_json::Value::Null);
    let error = encoder().encode(
        &OutboxRow {
            key: "x".into(),
            ..row
        },
        0,
    );
    assert_eq!(error.unwrap_err().field.unwrap(), "id");
}

#[test]
fn a_row_that_cannot_be_encoded_names_its_field() {
    let bad = |change: fn(&mut OutboxRow)| {
        let mut row = update();
        change(&mut row);
        encoder().encode(&row, 0).unwrap_err().field.unwrap()
    };
    assert_eq!(bad(|row| row.op = "x".into()), "op");
    assert_eq!(bad(|row| row.after = None), "after");
    assert_eq!(bad(|row| row.key = "{}".into()), "id");
    assert_eq!(bad(|row| row.event_time_us = i64::MAX), "event_time_us");
    assert_eq!(
        bad(|row| row.after = Some(json!({"id": 7, "state": "lost"}).to_string())),
        "state"
    );
}
