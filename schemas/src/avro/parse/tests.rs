//! Schemas in Avro's JSON.

use super::*;

fn parsed(text: &str) -> Result<AvroSchema, ContractError> {
    text.parse()
}

#[test]
fn names_are_resolved_in_their_namespaces() {
    let schema = parsed(
        r#"{"type":"record","name":"a.b.R","fields":[
            {"name":"x","type":{"type":"enum","name":"E","symbols":["A"]}},
            {"name":"y","type":["null","E"]},
            {"name":"z","type":"a.b.E"},
            {"name":"w","type":{"type":"fixed","name":"F","namespace":"c","size":2}},
            {"name":"v","type":"c.F"},
            {"name":"next","type":["null","R"]}]}"#,
    )
    .unwrap();
    let (_, root, fields) = schema.record(schema.root()).unwrap();
    assert_eq!(fields[0].node, fields[2].node);
    assert_eq!(
        schema.without_null(fields[1].node),
        (super::super::Nulls::First, fields[0].node)
    );
    assert_eq!(fields[3].node, fields[4].node);
    assert_eq!(schema.without_null(fields[5].node).1, root);
}

#[test]
fn attributes_of_primitive_types_are_kept() {
    let schema = parsed(r#"{"type":"int","connect.name":"io.debezium.time.Date"}"#).unwrap();
    let node = schema.node(schema.root());
    assert_eq!(node.logical(), Some("io.debezium.time.Date"));
    assert_eq!(
        schema.describe(schema.root()),
        "io.debezium.time.Date (int)"
    );
    assert!(matches!(
        parsed("long").unwrap().node(schema.root()).kind,
        Kind::Long
    ));
}

#[test]
fn what_is_no_schema_is_refused_with_its_reason() {
    for (text, why) in [
        (r#""nothing""#, "not defined"),
        ("[]", "no types"),
        (r#"["int","int"]"#, "twice"),
        (r#"["int",["null"]]"#, "directly in a union"),
        (r#"{"type":"array"}"#, "items"),
        (r#"{"type":"enum","name":"E","symbols":["A","A"]}"#, "twice"),
        (r#"{"type":"fixed","name":"F","size":-1}"#, "whole number"),
        (r#"{"type":"record","name":"R"}"#, "fields"),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a"}]}"#,
            "type",
        ),
        (r#"{"type":"record","fields":[]}"#, "name"),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#,
            "twice",
        ),
        ("7", "not a type"),
        ("{", "EOF"),
    ] {
        let error = parsed(text).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}
