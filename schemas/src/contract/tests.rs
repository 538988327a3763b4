//! What a contract may say.

use super::*;
use crate::Meaning;

fn record(fields: &str) -> Result<Contract, ContractError> {
    format!(r#"{{"type":"record","name":"R","lakehead.key":["id"],"fields":[{{"name":"id","type":"long"}},{fields}]}}"#).parse()
}

fn refusal(fields: &str) -> String {
    record(fields).unwrap_err().to_string()
}

#[test]
fn fields_keep_order_type_and_nullability() {
    let contract = record(
        r#"{"name":"n","type":["null","int"]},{"name":"t","type":{"type":"long","logicalType":"timestamp-micros"}}"#,
    )
    .unwrap();
    assert_eq!(contract.key(), ["id"]);
    let found: Vec<_> = contract
        .fields()
        .iter()
        .map(|field| (field.name.as_str(), field.field_type.name(), field.nullable))
        .collect();
    assert_eq!(
        found,
        [
            ("id", "long", false),
            ("n", "long", true),
            ("t", "timestamp", false)
        ]
    );
    assert_eq!(contract.fields()[1].meaning, Meaning::Int);
}

#[test]
fn what_a_table_cannot_hold_exactly_is_refused_by_name() {
    for (avro, why) in [
        (r#""null""#, "null"),
        (r#"["null"]"#, "null"),
        (
            r#"{"type":"record","name":"E","fields":[]}"#,
            "without fields",
        ),
        (r#"{"type":"fixed","name":"F","size":0}"#, "no bytes"),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":39,"scale":2}"#,
            "decimal(39, 2)",
        ),
        (
            r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#,
            "holds itself",
        ),
        (
            r#"{"type":"record","name":"T","fields":[{"name":"sub","type":{"type":"array","items":"T"}}]}"#,
            "holds itself",
        ),
        (
            r#"{"type":"double","lakehead.type":"float"}"#,
            "lakehead.type",
        ),
        (r#"{"type":"int","lakehead.type":"tiny"}"#, "lakehead.type"),
    ] {
        let error = refusal(&format!(r#"{{"name":"tags","type":{avro}}}"#));
        assert!(error.contains("\"tags") && error.contains(why), "{error}");
    }
}

#[test]
fn types_that_stand_for_too_much_are_refused() {
    let deep = (0..40).fold("\"int\"".to_owned(), |inner, _| {
        format!(r#"{{"type":"array","items":{inner}}}"#)
    });
    let error = refusal(&format!(r#"{{"name":"a","type":{deep}}}"#));
    assert!(error.contains("more than 32 deep"), "{error}");
    let mut bomb = r#"{"name":"t0","type":"int"}"#.to_owned();
    for n in 1..24 {
        bomb = format!(
            r#"{{"name":"a{n}","type":{{"type":"record","name":"R{n}","fields":[{bomb}]}}}},{{"name":"b{n}","type":"R{n}"}}"#
        );
    }
    let error = refusal(&bomb);
    assert!(error.contains("more than 4096 fields"), "{error}");
}

#[test]
fn a_named_type_may_be_used_again() {
    let colour = r#"{"type":"enum","name":"Colour","symbols":["RED"]}"#;
    let fields =
        format!(r#"{{"name":"a","type":{colour}}},{{"name":"b","type":["null","Colour"]}}"#);
    let contract = record(&fields).unwrap();
    let last = &contract.fields()[2];
    assert!(last.field_type == FieldType::String && last.nullable);
    assert_eq!(
        contract.avro_field("b").unwrap()["type"][1]["symbols"][0],
        "RED"
    );
}

#[test]
fn a_contract_may_ask_for_less_or_for_what_is_written() {
    let contract = record(
        r#"{"name":"i","type":"int","lakehead.type":"int"},
           {"name":"f","type":{"type":"float","lakehead.type":"float"}},
           {"name":"n","type":{"type":"long","logicalType":"timestamp-nanos"},"lakehead.type":"long"},
           {"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":65,"scale":3},"lakehead.type":"string"}"#,
    )
    .unwrap();
    let types: Vec<_> = contract
        .fields()
        .iter()
        .map(|field| field.field_type.name())
        .collect();
    assert_eq!(types, ["long", "int", "float", "long", "string"]);
    assert!(contract.fields()[3].as_written());
}

#[test]
fn a_difference_is_named() {
    let one = record(r#"{"name":"n","type":"int"}"#).unwrap();
    let other = record(r#"{"name":"n","type":["null","string"]}"#).unwrap();
    let told = one.difference(&other).unwrap();
    assert!(
        told.contains(r#"field "n""#) && told.contains("string or null"),
        "{told}"
    );
    assert_eq!(one.difference(&one.clone()), None);
    let other = one.clone().with_key(vec!["n".into()]).unwrap();
    assert!(one.difference(&other).unwrap().contains("key"));
}

#[test]
fn names_that_collide_are_refused() {
    assert!(record(r#"{"name":"ID","type":"int"}"#).is_err());
    assert!(record(r#"{"name":"_op","type":"int"}"#).is_err());
    let contract = record(r#"{"name":"b","type":{"type":"array","items":"int"}}"#).unwrap();
    assert!(contract.clone().with_key(vec!["zz".into()]).is_err());
    assert!(contract.with_key(vec!["b".into()]).is_err());
}
