//! Contracts from records, and rows of older versions of a table.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float64Type;
use columnar::{ChangeDecoder, ChangeSchema, Decoded, UnknownFields, adapt, infer};
use schemas::{Contract, Evolution, Shape};

use crate::table::{buffer, contract, finish, meta};

fn inferred(records: &[&str], shape: Shape) -> Result<Contract, String> {
    let records: Vec<&[u8]> = records.iter().map(|text| text.as_bytes()).collect();
    infer(&records, shape).map_err(|error| error.to_string())
}

fn types(contract: &Contract) -> Vec<String> {
    let fields = contract.fields().iter();
    fields
        .map(|field| {
            assert!(field.nullable);
            format!("{}: {}", field.name, field.field_type)
        })
        .collect()
}

#[test]
fn a_contract_is_inferred_by_its_rule() {
    let records = [
        r#"{"id":1,"price":2,"at":"2013-01-01","ok":true,"nothing":null,"empty":[]}"#,
        r#"{"price":2.5,"id":2,"tags":["a",null],"place":{"x":1,"note":null},"more":[[1],[2.0]]}"#,
        r#"{"place":{"y":{"z":"deep"}},"tags":null,"exp":1e3}"#,
    ];
    let contract = inferred(&records, Shape::Append).unwrap();
    assert_eq!(
        types(&contract),
        [
            "id: long",
            "price: double",
            "at: string",
            "ok: boolean",
            "tags: array of string",
            "place: record {x: long, y: record {z: string}}",
            "more: array of array of double",
            "exp: double",
        ]
    );
    let schema = ChangeSchema::new(&contract);
    let mut decoder = ChangeDecoder::json_with(Shape::Append, &schema, UnknownFields::RefuseValues);
    let mut rows = buffer(&schema);
    for record in records {
        let decoded = decoder.decode(&meta(0), Some(record.as_bytes()), None, &mut rows);
        assert_eq!(decoded, Ok(Decoded::Row), "{record}");
    }
    let envelope = r#"{"payload":{"before":{"a":1},"after":{"b":"x"},"op":"u"}}"#;
    let contract = inferred(
        &[envelope, r#"{"before":null,"after":{"a":2.5}}"#],
        Shape::Debezium,
    );
    assert_eq!(types(&contract.unwrap()), ["a: double", "b: string"]);
}

#[test]
fn what_cannot_be_inferred_is_named() {
    for (records, why) in [
        (
            &[r#"{"a":1}"#, r#"{"a":"1"}"#][..],
            "field \"a\" is a long in one record and a string",
        ),
        (&[r#"{"a":{"b":[1]}}"#, r#"{"a":{"b":1}}"#], "\"a.b\""),
        (&[r#"{"a":18446744073709551616}"#], "more than 64 bits"),
        (&[r#"{"a":1}"#, "[1]"], "record 1"),
        (&[r#"{"a":1"#], "record 0"),
        (&["{}", r#"{"a":null}"#], "no record has a field"),
        (&[], "no record has a field"),
        (&[r#"{"a b":1}"#], "column names"),
        (&[r#"{"a":1,"A":1}"#], "but for case"),
    ] {
        let error = inferred(records, Shape::Append).unwrap_err();
        assert!(error.contains(why), "{records:?}: {error}");
    }
}

#[test]
fn rows_of_an_older_version_fit_the_newer_table() {
    let record = |fields: &str| {
        contract(&format!(
            r#"{{"type":"record","name":"R","lakehead.key":["id"],"fields":[{{"name":"id","type":"long"}},{fields}]}}"#
        ))
    };
    let old = record(
        r#"{"name":"n","type":"int"},{"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":5,"scale":1}},
           {"name":"l","type":{"type":"array","items":{"type":"record","name":"I","fields":[{"name":"x","type":"int"}]}}}"#,
    );
    let new = record(
        r#"{"name":"n","type":"double"},{"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}},
           {"name":"l","type":{"type":"array","items":{"type":"record","name":"I","fields":[{"name":"y","type":"string"},{"name":"x","type":"double"}]}}}"#,
    );
    let Ok(Evolution::Changes(changes)) = old.evolve(&new) else {
        panic!("no change");
    };
    assert!(changes.needs_rewrite());
    let (before, after) = (
        ChangeSchema::new(&old),
        ChangeSchema::new(&changes.contract),
    );
    let mut rows = buffer(&before);
    let body = br#"{"id":1,"n":3,"d":1.5,"l":[{"x":7}]}"#;
    let decoded =
        ChangeDecoder::json(Shape::Append, &before).decode(&meta(0), Some(body), None, &mut rows);
    assert_eq!(decoded, Ok(Decoded::Row));
    let batch = adapt(&finish(rows), &after.batch_schema()).unwrap();
    let n = batch
        .column_by_name("n")
        .unwrap()
        .as_primitive::<Float64Type>();
    assert_eq!(n.value(0).to_bits(), 3_f64.to_bits());
    let items = batch.column_by_name("l").unwrap().as_list::<i32>().value(0);
    assert!(items.as_struct().column_by_name("y").unwrap().is_null(0));
    assert_eq!(batch.schema(), after.batch_schema());
    // A digit that a double does not hold is an error, and so is a column that is gone.
    let long = ChangeSchema::new(&record(r#"{"name":"n","type":"long"}"#));
    let mut rows = buffer(&long);
    let body = br#"{"id":1,"n":9007199254740993}"#;
    let mut decoder = ChangeDecoder::json(Shape::Append, &long);
    decoder
        .decode(&meta(0), Some(body), None, &mut rows)
        .unwrap();
    let batch = finish(rows);
    let double = ChangeSchema::new(&record(r#"{"name":"n","type":"double"}"#));
    assert!(adapt(&batch, &double.batch_schema()).is_err());
    let smaller = ChangeSchema::new(&record(r#"{"name":"m","type":"int"}"#));
    assert!(adapt(&batch, &Arc::clone(&smaller.batch_schema())).is_err());
}
