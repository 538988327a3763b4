//! The known cases of Avro's schema resolution, each in both directions.

use super::*;
use serde_json::{Value, json};

fn found(reader: &Value, writer: &Value) -> Vec<Incompatibility> {
    let parsed = |schema| Schema::parse(schema).unwrap();
    incompatibilities(&parsed(reader), &parsed(writer)).unwrap()
}

fn reads(reader: &Value, writer: &Value) -> bool {
    found(reader, writer).is_empty()
}

fn record(fields: Value) -> Value {
    json!({ "type": "record", "name": "Order", "namespace": "shop", "fields": fields })
}

fn order(field_type: Value) -> Value {
    record(json!([{ "name": "id", "type": "long" }, { "name": "x", "type": field_type }]))
}

fn optional(schema: Value) -> Value {
    json!(["null", schema])
}

#[test]
fn fields_come_and_go_with_defaults() {
    let id = json!({ "name": "id", "type": "long" });
    let plain = json!({ "name": "x", "type": "string" });
    let with_default = json!({ "name": "x", "type": "string", "default": "" });
    let nullable = json!({ "name": "x", "type": ["null", "string"], "default": null });
    let nullable_only = json!({ "name": "x", "type": ["null", "string"] });
    let without = record(json!([id]));
    for (field, is_optional) in [
        (plain, false),
        (with_default, true),
        (nullable, true),
        (nullable_only, false),
    ] {
        let with = record(json!([id, field]));
        assert_eq!(reads(&with, &without), is_optional, "{field}");
        // A field that the reader does not want is passed over.
        assert!(reads(&without, &with), "{field}");
        let reordered = record(json!([field, id]));
        assert!(reads(&reordered, &with) && reads(&with, &reordered));
    }
}

#[test]
fn a_missing_default_is_told_with_its_place() {
    let line = |fields: Value| json!({ "type": "record", "name": "Line", "fields": fields });
    let price = json!({ "name": "price", "type": "double" });
    let nested = |line: Value| {
        record(json!([{ "name": "lines", "type": { "type": "array", "items": line } }]))
    };
    let reader = nested(line(json!([price])));
    let writer = nested(line(json!([])));
    let [only] = found(&reader, &writer).try_into().unwrap();
    assert_eq!(only.cause, Cause::Default);
    assert_eq!(only.path, "/fields/0/type/items/fields/0");
    assert_eq!(only.field, "lines.price");
    let told = only.message(crate::incompatibility::Reader::New);
    for part in [
        "errorType:'READER_FIELD_MISSING_DEFAULT_VALUE'",
        "'lines.price' at path '/fields/0/type/items/fields/0' in the new schema has no default",
        "additionalInfo:'price'",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert!(reads(&writer, &reader));
}

#[test]
fn types_are_promoted_in_one_direction_only() {
    let promotions = [
        ("int", "long"),
        ("int", "float"),
        ("int", "double"),
        ("long", "float"),
        ("long", "double"),
        ("float", "double"),
        ("string", "bytes"),
        ("bytes", "string"),
    ];
    let primitives = [
        "null", "boolean", "int", "long", "float", "double", "bytes", "string",
    ];
    for writer in primitives {
        for reader in primitives {
            let expected = reader == writer || promotions.contains(&(writer, reader));
            let is_read = reads(&order(json!(reader)), &order(json!(writer)));
            assert_eq!(is_read, expected, "{writer} read as {reader}");
        }
    }
    let [only] = found(&order(json!("int")), &order(json!("string")))
        .try_into()
        .unwrap();
    assert_eq!((&*only.field, &*only.path), ("x", "/fields/1/type"));
    let cause = Cause::Type {
        reader: "int".to_owned(),
        writer: "string".to_owned(),
    };
    assert_eq!(only.cause, cause);
}

#[test]
fn enums_gain_symbols_and_lose_them_only_with_a_default() {
    let symbols = |symbols: Value| json!({ "type": "enum", "name": "E", "symbols": symbols });
    let with_default =
        |symbols: Value| json!({ "type": "enum", "name": "E", "symbols": symbols, "default": "A" });
    let (small, large) = (json!(["A"]), json!(["B", "A"]));
    assert!(reads(&symbols(large.clone()), &symbols(small.clone())));
    assert!(!reads(&symbols(small.clone()), &symbols(large.clone())));
    assert!(reads(&with_default(small.clone()), &symbols(large.clone())));
    assert!(!reads(
        &symbols(small.clone()),
        &with_default(large.clone())
    ));
    let missing = vec!["B".to_owned()];
    let [only] = found(&symbols(small), &symbols(large)).try_into().unwrap();
    assert_eq!(only.cause, Cause::Symbols { missing });
}

#[test]
fn a_renamed_field_or_type_is_found_by_the_readers_alias() {
    let old = record(json!([{ "name": "name", "type": "string" }]));
    let new = record(json!([{ "name": "title", "type": "string", "aliases": ["name"] }]));
    assert!(reads(&new, &old));
    assert!(!reads(&old, &new), "the writer's aliases do not count");
    let renamed = json!({ "type": "record", "name": "Sale", "namespace": "shop", "fields": [] });
    let mut known = renamed.clone();
    known["aliases"] = json!(["Order"]);
    let order = record(json!([]));
    assert!(!reads(&renamed, &order));
    assert!(reads(&known, &order) && !reads(&order, &known));
    let [only] = found(&renamed, &order).try_into().unwrap();
    assert!(matches!(only.cause, Cause::Name { .. }), "{only:?}");
    // Only the name without its namespace counts.
    let mut moved = order.clone();
    moved["namespace"] = json!("store");
    assert!(reads(&moved, &order) && reads(&order, &moved));
}

#[test]
fn unions_widen() {
    let long = json!("long");
    assert!(reads(&optional(long.clone()), &long));
    assert!(!reads(&long, &optional(long.clone())));
    assert!(reads(
        &json!(["null", "string", "long"]),
        &optional(long.clone())
    ));
    assert!(!reads(
        &optional(long.clone()),
        &json!(["null", "string", "long"])
    ));
    assert!(reads(
        &json!(["double", "null"]),
        &json!(["null", "int", "float"])
    ));
    // A union of one branch is that branch; every branch of the writer's must be readable.
    assert!(reads(&long, &json!(["long"])) && reads(&json!("double"), &json!(["int", "long"])));
    let [only] = found(&optional(json!("string")), &long).try_into().unwrap();
    let writer = "long".to_owned();
    assert_eq!(only.cause, Cause::Branch { writer });
    // A record in a union is compared by its fields, and the reason is theirs.
    let before = optional(record(json!([])));
    let after = optional(record(json!([{ "name": "x", "type": "int" }])));
    assert!(reads(&before, &after));
    let [only] = found(&after, &before).try_into().unwrap();
    assert_eq!((only.cause, &*only.field), (Cause::Default, "x"));
}

#[test]
fn fixed_types_keep_their_size_and_decimals_their_digits() {
    let fixed = |size: u32| json!({ "type": "fixed", "name": "F", "size": size });
    assert!(reads(&fixed(16), &fixed(16)) && !reads(&fixed(16), &fixed(8)));
    assert!(!reads(&json!("bytes"), &fixed(8)) && !reads(&fixed(8), &json!("bytes")));
    let decimal = |precision: u32, scale: u32| json!({ "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale });
    assert!(reads(&decimal(10, 2), &decimal(10, 2)));
    assert!(!reads(&decimal(12, 2), &decimal(10, 2)) && !reads(&decimal(10, 3), &decimal(10, 2)));
    let in_fixed = |scale: u32| json!({ "type": "fixed", "name": "D", "size": 8, "logicalType": "decimal", "precision": 9, "scale": scale });
    assert!(reads(&in_fixed(2), &in_fixed(2)) && !reads(&in_fixed(2), &in_fixed(3)));
}

#[test]
fn logical_types_count_as_the_types_under_them() {
    let logical = |base: &str, name: &str| json!({ "type": base, "logicalType": name });
    let millis = logical("long", "timestamp-millis");
    assert!(reads(&json!("long"), &millis) && reads(&millis, &json!("long")));
    assert!(reads(&millis, &logical("int", "date")) && !reads(&logical("int", "date"), &millis));
    assert!(reads(&logical("string", "uuid"), &json!("string")));
}

#[test]
fn containers_are_compared_by_what_is_in_them() {
    let array = |items: &str| json!({ "type": "array", "items": items });
    let map = |values: &str| json!({ "type": "map", "values": values });
    assert!(reads(&array("long"), &array("int")) && !reads(&array("int"), &array("long")));
    assert!(reads(&map("double"), &map("float")) && !reads(&map("float"), &map("double")));
    assert!(!reads(&map("int"), &array("int")));
    let [only] = found(&order(map("int")), &order(map("string")))
        .try_into()
        .unwrap();
    assert_eq!(only.path, "/fields/1/type/values");
}

#[test]
fn a_named_type_is_the_same_where_it_is_defined_and_where_it_is_referred_to() {
    let money = json!({ "type": "record", "name": "Money", "fields": [{ "name": "cents", "type": "long" }] });
    let first =
        record(json!([{ "name": "net", "type": money }, { "name": "tax", "type": "Money" }]));
    let second =
        record(json!([{ "name": "tax", "type": money }, { "name": "net", "type": "shop.Money" }]));
    assert!(reads(&first, &second) && reads(&second, &first));
    // What is wrong with a type is wrong wherever it stands.
    let wider = json!({ "type": "record", "name": "Money", "fields": [{ "name": "cents", "type": "double" }] });
    let wide =
        record(json!([{ "name": "tax", "type": wider }, { "name": "net", "type": "Money" }]));
    assert!(reads(&wide, &first));
    assert_eq!(found(&first, &wide).len(), 2);
}

#[test]
fn recursive_types_end() {
    let node = |value: &str| {
        json!({ "type": "record", "name": "Node", "fields": [
            { "name": "next", "type": ["null", "Node"], "default": null },
            { "name": "value", "type": value },
        ]})
    };
    assert!(reads(&node("long"), &node("int")));
    let wrong = found(&node("int"), &node("long"));
    assert!(
        wrong.iter().any(|found| found.path == "/fields/1/type"),
        "{wrong:?}"
    );
}

#[test]
fn what_was_assumed_inside_a_cycle_is_asked_again() {
    // A and B refer to each other. B is found good while A is assumed to be, which then it is not.
    let schema = |value: &str| {
        json!([{ "type": "record", "name": "A", "fields": [
            { "name": "b", "type": ["null", { "type": "record", "name": "B", "fields": [
                { "name": "a", "type": ["null", "A"] } ] }] },
            { "name": "value", "type": value },
        ] }])
    };
    let parsed = |value: &Value| Schema::parse(value).unwrap();
    let (reader, writer) = (parsed(&schema("int")), parsed(&schema("string")));
    let found = incompatibilities(&reader, &writer).unwrap();
    assert!(!found.is_empty());
}

#[test]
fn reasons_are_bounded_and_so_is_the_depth() {
    let fields = |with: bool| {
        let names = (0..100).filter(|_| with).map(|number| format!("f{number}"));
        let fields = names.map(|name| json!({ "name": name, "type": "int" }));
        record(Value::Array(fields.collect()))
    };
    assert_eq!(found(&fields(true), &fields(false)).len(), FOUND_MAX);
    // Each record refers to the one before: deep, though no text is nested deeply. The reader's
    // fields come in the order that leads down the whole chain at once.
    let chain = |is_reader: bool| {
        let null = std::iter::once(json!("null"));
        let definitions: Vec<_> = null
            .chain((0..400).map(|number| {
                let inner = match number {
                    0 => json!("int"),
                    _ => json!(format!("R{}", number - 1)),
                };
                json!({ "type": "record", "name": format!("R{number}"),
                    "fields": [{ "name": "inner", "type": inner }] })
            }))
            .collect();
        json!({ "type": "record", "name": "Holder", "fields": [
            { "name": if is_reader { "unused" } else { "other" }, "type": definitions, "default": null },
            { "name": "last", "type": "R399" },
        ]})
    };
    let found = found(&chain(true), &chain(false));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].cause, Cause::TooLarge);
}
