//! JSON is what serde_json says it is.

use columnar::ChangeSchema;
use proptest::prelude::*;
use proptest::sample::Index;
use schemas::Shape;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::table::{buffer, contract, lenient, meta};

/// Whether a text with none of the table's fields is taken.
fn is_taken(text: &[u8]) -> bool {
    let contract = contract(
        r#"{"type":"record","name":"R","fields":[{"name":"no_such_field","type":["null","long"]}]}"#,
    );
    let schema = ChangeSchema::new(&contract);
    let mut buffer = buffer(&schema);
    lenient(Shape::Append, &schema)
        .decode(&meta(0), Some(text), None, &mut buffer)
        .is_ok()
}

/// serde_json reads a `Value` only if its numbers fit and its surrogates pair; what is passed over
/// has to be JSON and no more.
fn is_object(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    text.trim_ascii_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// A piece of a JSON text, right or wrong.
fn pieces() -> impl Strategy<Value = String> {
    let tokens = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        "null",
        "true",
        "false",
        "nul",
        "1",
        "0",
        "-",
        ".",
        "e",
        "E+",
        "\"a\"",
        "\"a\":",
        "\\u00e4",
        "\\n",
        " ",
        "\n",
        "\t",
        "\u{1}",
        "é",
        "1.5e-3",
        "00",
        "-0",
        "\"\\ud83d\\ude00\"",
    ];
    prop::collection::vec((0..tokens.len()).prop_map(move |i| tokens[i]), 0..12)
        .prop_map(|pieces| pieces.concat())
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..6).prop_map(Value::from_iter),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn pieces_of_json_are_taken_when_they_make_json(pieces in pieces()) {
        let text = format!("{{\"a\":{pieces}}}");
        prop_assert_eq!(is_taken(text.as_bytes()), is_object(text.as_bytes()), "{}", text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_value_is_passed_over(value in values(), pretty in any::<bool>()) {
        let object = serde_json::json!({"a": value});
        let text = if pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) };
        prop_assert!(is_taken(text.unwrap().as_bytes()));
    }

    #[test]
    fn flipped_json_is_taken_when_it_is_json(value in values(), at in any::<Index>(), byte in any::<u8>()) {
        let mut text = serde_json::to_vec(&serde_json::json!({"a": value})).unwrap();
        *at.get_mut(&mut text) = byte;
        prop_assert_eq!(is_taken(&text), is_object(&text), "{}", String::from_utf8_lossy(&text));
    }
}

#[test]
fn depth_has_a_limit() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(is_taken(nested(100).as_bytes()));
    assert!(!is_taken(nested(100_000).as_bytes()));
}
