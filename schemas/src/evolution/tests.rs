//! The rules of evolution, one by one.

use crate::{Changes, Contract, Evolution, FieldType, Incompatible};

/// A contract of a key `id` and these fields.
fn contract(name: &str, fields: &str) -> Contract {
    let comma = if fields.is_empty() { "" } else { "," };
    let text = format!(
        r#"{{"type":"record","name":"{name}","namespace":"n","lakehead.key":["id"],"fields":[{{"name":"id","type":"long"}}{comma}{fields}]}}"#
    );
    text.parse().unwrap()
}

fn evolve(table: &str, writer: &str) -> Result<Evolution, Incompatible> {
    contract("Table", table).evolve(&contract("Writer", writer))
}

fn changes(table: &str, writer: &str) -> Changes {
    match evolve(table, writer) {
        Ok(Evolution::Changes(changes)) => {
            // What the table remembers is the contract that was meant.
            let stored: Contract = changes.contract.avro_json().to_string().parse().unwrap();
            assert_eq!(stored.fields(), changes.contract.fields());
            assert_eq!(stored.key(), ["id"]);
            apache_avro::Schema::parse(changes.contract.avro_json()).unwrap();
            // A table that is told the new contract itself comes to the same one.
            let Ok(Evolution::Changes(told)) = contract("Table", table).evolve(&changes.contract)
            else {
                panic!("the table does not follow {:?}", changes.contract);
            };
            assert_eq!(told.contract.difference(&changes.contract), None);
            // And it holds both writers from now on.
            for fields in [table, writer] {
                let again = changes.contract.evolve(&contract("Again", fields)).unwrap();
                assert!(matches!(again, Evolution::Same), "{again:?}");
            }
            *changes
        }
        other => panic!("{other:?}"),
    }
}

fn same(table: &str, writer: &str) {
    let evolution = evolve(table, writer);
    assert!(matches!(evolution, Ok(Evolution::Same)), "{evolution:?}");
}

fn refused(table: &str, writer: &str) -> String {
    evolve(table, writer).unwrap_err().to_string()
}

fn a(avro: &str) -> String {
    format!(r#"{{"name":"a","type":{avro}}}"#)
}

const B: &str = r#"{"name":"b","type":["null","string"],"default":null}"#;

#[test]
fn a_new_field_is_a_new_column_at_the_end() {
    let changes = changes(
        B,
        &format!(
            r#"{{"name":"n","type":"int","default":7}},{B},{}"#,
            a("\"string\"")
        ),
    );
    assert_eq!(changes.added, ["n", "a"]);
    assert!(!changes.needs_rewrite());
    let names: Vec<&str> = changes
        .contract
        .fields()
        .iter()
        .map(|f| f.name.as_str())
        .collect();
    assert_eq!(names, ["id", "b", "n", "a"]);
    assert!(changes.contract.fields()[2].nullable && changes.contract.fields()[3].nullable);
    assert_eq!(changes.contract.fields()[2].default, Some(7.into()));
}

#[test]
fn a_field_that_is_gone_stays_in_the_table() {
    same(B, "");
    let changes = changes(&a("\"string\""), "");
    assert_eq!(changes.relaxed, ["a"]);
    same(r#"{"name":"a","type":"string","default":"x"}"#, "");
    assert_eq!(changes.contract.fields().len(), 2);
}

#[test]
fn order_and_names_of_types_do_not_matter() {
    let (a, b) = (a(r#"{"type":"enum","name":"E","symbols":["X","Y"]}"#), B);
    let other = self::a(r#"{"type":"enum","name":"F","symbols":["Y","X"]}"#);
    same(&format!("{a},{b}"), &format!("{b},{other}"));
}

#[test]
fn a_renamed_field_is_the_same_column() {
    let renamed = r#"{"name":"c","type":"string","aliases":["a"]}"#;
    let first = changes(&a("\"string\""), renamed);
    assert_eq!(first.renamed, [("a".to_owned(), "c".to_owned())]);
    assert_eq!(first.contract.fields()[1].name, "a");
    assert!(first.contract.fields()[1].is_known_as("c"));
    // A new contract gives a field another name; one that another field has stays there.
    let aliased = r#"{"name":"a","type":"string","aliases":["c","id","b"]}"#;
    let named = changes(&a("\"string\""), aliased);
    assert!(named.contract.fields()[1].is_known_as("c"));
    assert!(!named.contract.fields()[1].is_known_as("id"));
    // A table that knows the alias already; and a field that is there by its own name.
    same(
        r#"{"name":"a","type":"string","aliases":["c"]}"#,
        r#"{"name":"c","type":"string"}"#,
    );
    let both = format!("{},{renamed}", a("\"string\""));
    assert_eq!(changes(&a("\"string\""), &both).added, ["c"]);
    let error = refused(
        r#"{"name":"a","type":"string","aliases":["c"]}"#,
        r#"{"name":"a","type":"string"},{"name":"c","type":"string"}"#,
    );
    assert!(error.contains("two of the writer's fields"), "{error}");
}

#[test]
fn numbers_widen_only_where_no_digit_is_lost() {
    let numbers = |from: &str, to: &str| evolve(&a(from), &a(to));
    let widened = |from: &str, to: &str| {
        let changes = changes(&a(from), &a(to));
        assert!(changes.needs_rewrite());
        (
            changes.widened[0].from.clone(),
            changes.widened[0].to.clone(),
        )
    };
    let retyped = |from: &str, to: &str| {
        let changes = changes(&a(from), &a(to));
        assert!(!changes.needs_rewrite() && changes.retyped == ["a"]);
    };
    let (int, long, float, double) = ("\"int\"", "\"long\"", "\"float\"", "\"double\"");
    assert_eq!(widened(int, double), (FieldType::Long, FieldType::Double));
    assert_eq!(widened(int, float), (FieldType::Long, FieldType::Double));
    retyped(int, long);
    retyped(float, double);
    for (from, to) in [
        (long, int),
        (double, int),
        (double, float),
        (float, int),
        (int, int),
    ] {
        same(&a(from), &a(to));
    }
    for (from, to) in [(long, double), (long, float), (double, long), (float, long)] {
        let error = numbers(from, to).unwrap_err();
        assert!(
            error.why.contains("2^53") && error.why.contains("new field"),
            "{error}"
        );
        assert_eq!(
            (error.table.schema.as_str(), error.writer.schema.as_str()),
            ("n.Table", "n.Writer")
        );
        assert_eq!(error.field, "a");
    }
    let asked = r#"{"type":"int","lakehead.type":"int"}"#;
    assert_eq!(widened(asked, long), (FieldType::Int, FieldType::Long));
    assert_eq!(widened(asked, double), (FieldType::Int, FieldType::Double));
    let asked = r#"{"type":"float","lakehead.type":"float"}"#;
    assert_eq!(
        widened(asked, double),
        (FieldType::Float, FieldType::Double)
    );
    same(&a(asked), &a(float));
}

#[test]
fn an_int_that_was_a_long_once_is_no_double() {
    // The book's example needs the table to know that a column came from int only.
    let first = changes(&a("\"int\""), &a("\"long\""));
    let error = first
        .contract
        .evolve(&contract("W", &a("\"double\"")))
        .unwrap_err();
    assert!(error.to_string().contains("2^53"), "{error}");
    let widened = changes(&a("\"int\""), &a("\"double\""));
    assert!(
        widened
            .contract
            .evolve(&contract("W", &a("\"long\"")))
            .is_err()
    );
}

#[test]
fn decimals_widen_to_hold_both() {
    let decimal = |precision: u8, scale: u8| {
        format!(
            r#"{{"type":"bytes","logicalType":"decimal","precision":{precision},"scale":{scale}}}"#
        )
    };
    same(&a(&decimal(10, 2)), &a(&decimal(9, 1)));
    let changes = changes(&a(&decimal(10, 2)), &a(&decimal(12, 5)));
    let widened = &changes.widened[0];
    assert_eq!(
        widened.to,
        FieldType::Decimal {
            precision: 13,
            scale: 5
        }
    );
    let error = refused(&a(&decimal(38, 0)), &a(&decimal(38, 2)));
    assert!(error.contains("38 digits"), "{error}");
    let text = r#"{"type":"bytes","logicalType":"decimal","precision":60,"scale":2,"lakehead.type":"string"}"#;
    same(&a(text), &a(&decimal(9, 1)));
}

#[test]
fn times_change_their_unit_freely_unless_held_as_written() {
    let of = |logical: &str, more: &str| {
        a(&format!(
            r#"{{"type":"long","logicalType":"{logical}"{more}}}"#
        ))
    };
    same(&of("timestamp-millis", ""), &of("timestamp-nanos", ""));
    let zoned = a(r#"{"type":"string","connect.name":"io.debezium.time.ZonedTimestamp"}"#);
    same(&of("timestamp-millis", ""), &zoned);
    same(
        &of("local-timestamp-millis", ""),
        &of("local-timestamp-micros", ""),
    );
    let raw = r#","lakehead.type":"long""#;
    let error = refused(&of("timestamp-nanos", raw), &of("timestamp-micros", ""));
    assert!(error.contains("another unit"), "{error}");
    for (table, writer) in [
        (of("timestamp-millis", ""), of("local-timestamp-millis", "")),
        (of("timestamp-millis", ""), a("\"long\"")),
        (a("\"long\""), of("time-micros", "")),
        (of("time-micros", ""), a("\"long\"")),
        (of("timestamp-millis", ""), of("timestamp-millis", raw)),
    ] {
        refused(&table, &writer);
    }
}

#[test]
fn types_are_not_swapped() {
    let types = [
        "\"boolean\"",
        "\"long\"",
        "\"string\"",
        "\"bytes\"",
        r#"{"type":"int","logicalType":"date"}"#,
        r#"{"type":"long","logicalType":"timestamp-micros"}"#,
        r#"{"type":"bytes","logicalType":"decimal","precision":4}"#,
        r#"{"type":"array","items":"int"}"#,
        r#"{"type":"map","values":"int"}"#,
        r#"{"type":"record","name":"R","fields":[{"name":"x","type":"int"}]}"#,
        r#"["null","int","string"]"#,
        r#"{"type":"fixed","name":"D","size":12,"logicalType":"duration"}"#,
    ];
    for (i, from) in types.iter().enumerate() {
        for (j, to) in types.iter().enumerate() {
            let branch = *from == types[10] && *to == types[2];
            let evolution = evolve(&a(from), &a(to));
            assert_eq!(evolution.is_ok(), i == j || branch, "{from} {to}");
        }
    }
}

#[test]
fn an_enum_has_the_symbols_of_all_its_writers() {
    let of = |symbols: &str| {
        a(&format!(
            r#"{{"type":"enum","name":"E","symbols":[{symbols}]}}"#
        ))
    };
    same(&of(r#""A","B""#), &of(r#""B""#));
    same(&of(r#""A","B""#), &of(r#""B","A""#));
    let more = changes(&of(r#""A","B""#), &of(r#""C","B""#));
    assert_eq!(more.retyped, ["a"]);
    assert!(more.added.is_empty() && !more.needs_rewrite());
    assert_eq!(more.contract.fields()[1].symbols(), ["A", "B", "C"]);
    let text = changes(&of(r#""A""#), &a("\"string\""));
    assert_eq!(text.contract.fields()[1].symbols(), [] as [&str; 0]);
    same(&a("\"string\""), &of(r#""A""#));
}

#[test]
fn what_lies_in_a_field_evolves_like_a_row() {
    let record = |fields: &str| {
        a(&format!(
            r#"["null",{{"type":"record","name":"R","fields":[{fields}]}}]"#
        ))
    };
    let (x, y) = (
        r#"{"name":"x","type":"int"}"#,
        r#"{"name":"y","type":"string"}"#,
    );
    let nested = changes(
        &record(x),
        &record(&format!(r#"{y},{{"name":"x","type":"double"}}"#)),
    );
    assert_eq!(nested.added, ["a.y"]);
    assert_eq!(nested.widened[0].column, "a.x");
    let items = |inner: &str| a(&format!(r#"{{"type":"array","items":{inner}}}"#));
    let changes = changes(&items("\"int\""), &items("[\"null\",\"double\"]"));
    assert_eq!(changes.widened[0].column, "a.element");
    assert_eq!(changes.relaxed, ["a.element"]);
    let values = |inner: &str| a(&format!(r#"{{"type":"map","values":{inner}}}"#));
    let error = refused(&values("\"long\""), &values("\"double\""));
    assert!(error.contains("\"a.value\""), "{error}");
}

#[test]
fn a_union_gets_new_branches() {
    let first = changes(
        &a(r#"["null","int","string"]"#),
        &a(r#"["boolean","string","null","long"]"#),
    );
    assert_eq!(first.added, ["a.boolean", "a.long"]);
    same(&a(r#"["int","string"]"#), &a("\"string\""));
    refused(&a(r#"["int","string"]"#), &a("\"boolean\""));
    refused(&a("\"int\""), &a(r#"["int","string"]"#));
}

#[test]
fn a_type_that_two_fields_share_widens_in_one() {
    let shared = |own: &str| {
        format!(
            r#"{{"name":"a","type":{{"type":"record","name":"S","fields":[{{"name":"x","type":"int"}}]}}}},
               {{"name":"b","type":{own}}}"#
        )
    };
    let other = r#"{"type":"record","name":"T","fields":[{"name":"x","type":"double"}]}"#;
    let changes = changes(&shared("\"S\""), &shared(other));
    assert_eq!(changes.widened.len(), 1);
    assert_eq!(changes.widened[0].column, "b.x");
}

#[test]
fn the_key_stays() {
    let table = contract("T", &a("\"int\""));
    let writer = |text: &str| text.parse::<Contract>().unwrap();
    let gone = writer(r#"{"type":"record","name":"W","fields":[{"name":"a","type":"int"}]}"#);
    let error = table.evolve(&gone).unwrap_err();
    assert!(error.field == "id" && error.why.contains("key"), "{error}");
    let other = r#"{"type":"record","name":"W","lakehead.key":["a"],"fields":[{"name":"id","type":"long"},{"name":"a","type":"int"}]}"#;
    let error = table.evolve(&writer(other)).unwrap_err();
    assert!(error.to_string().starts_with("the key: "), "{error}");
    let keyed = contract("T", &a("\"int\""))
        .with_key(vec!["a".to_owned()])
        .unwrap();
    let wider = r#"{"type":"record","name":"W","fields":[{"name":"id","type":"long"},{"name":"a","type":"double"}]}"#;
    let error = keyed.evolve(&writer(wider)).unwrap_err();
    assert!(error.why.contains("key field"), "{error}");
}

#[test]
fn names_that_differ_by_case_are_no_two_columns() {
    let error = refused(&a("\"int\""), r#"{"name":"A","type":["null","int"]}"#);
    assert!(error.contains("case"), "{error}");
}

#[test]
fn inferred_numbers_are_doubles_once_one_of_them_is() {
    let record = |inner: &str| {
        a(&format!(
            r#"["null",{{"type":"record","name":"R","fields":[{{"name":"x","type":["null","{inner}"],"default":null}}]}}]"#
        ))
    };
    for (long, double, column) in [
        (a("\"long\""), a("\"double\""), "a"),
        (record("long"), record("double"), "a.x"),
    ] {
        assert!(refused(&long, &double).contains("2^53"));
        let (long, double) = (contract("Table", &long), contract("Table", &double));
        let Ok(Evolution::Changes(changes)) = long.evolve_inferred(&double) else {
            panic!("it does not widen");
        };
        assert_eq!(changes.contract.difference(&double), None);
        let widened: Vec<_> = changes.widened.iter().map(|one| &*one.column).collect();
        assert_eq!(widened, [column]);
        let other = double.evolve_inferred(&long);
        assert!(matches!(other, Ok(Evolution::Same)), "{other:?}");
    }
    let text = contract("Table", &a("\"string\""));
    let number = contract("Table", &a("\"double\""));
    assert!(text.evolve_inferred(&number).is_err());
}
