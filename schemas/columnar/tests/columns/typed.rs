//! JSON records that carry their schema, as Kafka Connect's converter writes them.

use columnar::{
    ChangeDecoder, ChangeSchema, DecodeError, Decoded, SchemaMismatch, contract_of_json,
};
use schemas::{Contract, Evolution, FieldType, Shape};
use serde_json::{Value, json};

use crate::resolution::of_arrow;
use crate::table::{Cell, buffer, cell, finish, meta};

/// Fields of a row as Debezium's connector for PostgreSQL describes them.
fn fields(more: &[Value]) -> Value {
    let mut fields = vec![
        json!({"field": "id", "type": "int32", "optional": false}),
        json!({"field": "born", "type": "int32", "optional": true, "name": "io.debezium.time.Date"}),
        json!({"field": "at", "type": "int64", "optional": true, "name": "io.debezium.time.MicroTimestamp"}),
        json!({"field": "price", "type": "bytes", "optional": true, "name": "org.apache.kafka.connect.data.Decimal",
               "parameters": {"scale": "2", "connect.decimal.precision": "10"}}),
        json!({"field": "free", "type": "struct", "optional": true, "name": "io.debezium.data.VariableScaleDecimal",
               "fields": [{"field": "scale", "type": "int32"}, {"field": "value", "type": "bytes"}]}),
        json!({"field": "tags", "type": "array", "optional": true, "items": {"type": "string", "optional": true}}),
    ];
    fields.extend_from_slice(more);
    json!(fields)
}

fn row(more: &[Value], name: &str) -> Value {
    json!({"type": "struct", "fields": fields(more), "optional": true, "name": "shop.Value", "field": name})
}

fn envelope(more: &[Value], after: &Value) -> String {
    json!({
        "schema": {"type": "struct", "optional": false, "name": "shop.Envelope", "fields": [
            row(more, "before"), row(more, "after"),
            {"field": "source", "type": "struct", "fields": [{"field": "ts_ms", "type": "int64"}]},
            {"field": "op", "type": "string"}]},
        "payload": {"before": null, "after": after, "source": {"ts_ms": 5, "name": "shop"}, "op": "c"},
    })
    .to_string()
}

fn after() -> Value {
    json!({"id": 7, "born": 15_706, "at": 1_000_001, "price": "+y4=", "free": {"scale": 3, "value": "BM4="}, "tags": ["a", null]})
}

fn contract(body: &str) -> Contract {
    let key = br#"{"schema":{"type":"struct"},"payload":{"id":7}}"#;
    let contract = contract_of_json(body.as_bytes(), Some(key), Shape::Debezium, None);
    contract.unwrap().unwrap()
}

#[test]
fn a_record_says_itself_what_its_values_mean() {
    let body = envelope(&[], &after());
    let contract = contract(&body);
    assert_eq!(contract.key(), ["id"]);
    let schema = ChangeSchema::new(&contract);
    let mut decoder = ChangeDecoder::json(Shape::Debezium, &schema);
    let mut rows = buffer(&schema);
    for _ in 0..2 {
        let decoded = decoder.decode(&meta(0), Some(body.as_bytes()), None, &mut rows);
        assert_eq!(decoded, Ok(Decoded::Row));
    }
    // The payload before its schema.
    let value: Value = serde_json::from_str(&body).unwrap();
    let turned = format!(
        r#"{{"payload":{},"schema":{}}}"#,
        value["payload"], value["schema"]
    );
    let decoded = decoder.decode(&meta(0), Some(turned.as_bytes()), None, &mut rows);
    assert_eq!(decoded, Ok(Decoded::Row));
    let batch = finish(rows);
    for row in 0..3 {
        let shown = |name: &str| {
            let column = batch.column_by_name(name).unwrap();
            let options = arrow::util::display::FormatOptions::default();
            let shown = arrow::util::display::ArrayFormatter::try_new(column, &options).unwrap();
            shown.value(row).to_string()
        };
        assert_eq!(shown("born"), "2013-01-01");
        assert_eq!(shown("at"), "1970-01-01T00:00:01.000001Z");
        assert_eq!(shown("price"), "-12.34");
        assert_eq!(shown("free"), "1.230");
        let tags = of_arrow(batch.column_by_name("tags").unwrap(), row);
        assert_eq!(tags, json!(["a", null]));
        assert_eq!(cell(&batch, "_event_time", row), Cell::Long(5000));
    }
}

#[test]
fn a_record_with_a_new_field_waits_for_its_column() {
    let first = contract(&envelope(&[], &after()));
    let schema = ChangeSchema::new(&first);
    let more = [json!({"field": "colour", "type": "string", "optional": true})];
    let mut value = after();
    value["colour"] = json!("red");
    let body = envelope(&more, &value);
    let mut decoder = ChangeDecoder::json(Shape::Debezium, &schema);
    let mut rows = buffer(&schema);
    let error = decoder
        .decode(&meta(0), Some(body.as_bytes()), None, &mut rows)
        .unwrap_err();
    assert_eq!(error.code(), "schema_mismatch");
    assert!(
        matches!(&error, DecodeError::Schema(SchemaMismatch::UnknownField { field, .. }) if field == "colour"),
        "{error}"
    );
    let Ok(Evolution::Changes(changes)) = first.evolve(&contract(&body)) else {
        panic!("no change");
    };
    assert_eq!(changes.added, ["colour"]);
    let schema = ChangeSchema::new(&changes.contract);
    let mut decoder = ChangeDecoder::json(Shape::Debezium, &schema);
    let mut rows = buffer(&schema);
    for body in [body, envelope(&[], &after())] {
        let decoded = decoder.decode(&meta(0), Some(body.as_bytes()), None, &mut rows);
        assert_eq!(decoded, Ok(Decoded::Row));
    }
    let batch = finish(rows);
    assert_eq!(cell(&batch, "colour", 0), Cell::text("red"));
    assert_eq!(cell(&batch, "colour", 1), Cell::Null);
}

#[test]
fn a_row_may_come_in_its_wrapper() {
    let body = json!({"schema": row(&[], ""), "payload": after()}).to_string();
    let contract = contract_of_json(body.as_bytes(), None, Shape::Upsert, None)
        .unwrap()
        .unwrap();
    assert_eq!(
        contract.fields()[3].field_type,
        FieldType::Decimal {
            precision: 10,
            scale: 2
        }
    );
    let contract = contract.with_key(vec!["id".to_owned()]).unwrap();
    let schema = ChangeSchema::new(&contract);
    let mut decoder = ChangeDecoder::json(Shape::Upsert, &schema);
    let mut rows = buffer(&schema);
    let null = json!({"schema": row(&[], ""), "payload": null}).to_string();
    let turned = format!(r#"{{"schema":{},"payload":{}}}"#, row(&[], ""), after());
    let mut decode = |body: &str| decoder.decode(&meta(0), Some(body.as_bytes()), None, &mut rows);
    assert_eq!(decode(&body), Ok(Decoded::Row));
    assert_eq!(decode(&turned), Ok(Decoded::Row));
    assert_eq!(decode(&null), Ok(Decoded::KeyNeeded));
    assert_eq!(decode(r#"{"id":8,"price":"+y4="}"#), Ok(Decoded::Row));
    assert_eq!(
        decode(r#"{"schema":null,"payload":{"id":9}}"#),
        Ok(Decoded::Row)
    );
    assert_eq!(decode(r#"{"schema":null}"#).unwrap_err().code(), "invalid");
    assert_eq!(
        decode(r#"{"schema":{"type":"int99"},"payload":{"id":9}}"#)
            .unwrap_err()
            .code(),
        "schema_mismatch"
    );
    let batch = finish(rows);
    assert_eq!(batch.num_rows(), 4);
}

#[test]
fn a_record_without_a_schema_implies_no_contract() {
    for body in [
        r#"{"id":1}"#,
        r#"{"schema":null,"payload":{"id":1}}"#,
        r#"{"schema":{}}"#,
    ] {
        let contract = contract_of_json(body.as_bytes(), None, Shape::Append, None).unwrap();
        assert!(contract.is_none(), "{body}");
    }
    assert!(contract_of_json(b"{", None, Shape::Append, None).is_err());
}
