//! What types mean.

use super::*;

fn meaning(text: &str) -> Result<Meaning, String> {
    let schema: AvroSchema = text.parse().unwrap();
    Meaning::of(&schema, schema.root())
}

#[test]
fn a_logical_type_that_does_not_go_with_its_type_says_nothing() {
    let plain = |text| assert_eq!(meaning(text), Ok(Meaning::Plain), "{text}");
    plain(r#"{"type":"string","logicalType":"date"}"#);
    plain(r#"{"type":"long","logicalType":"date"}"#);
    plain(r#"{"type":"string","logicalType":"of-my-own"}"#);
    plain(r#"{"type":"string","connect.name":"io.debezium.data.Json"}"#);
    assert_eq!(
        meaning(r#"{"type":"fixed","name":"F","size":15,"logicalType":"uuid"}"#),
        Ok(Meaning::Fixed(15))
    );
}

#[test]
fn a_decimal_must_tell_its_digits() {
    let decimal = |attributes: &str| {
        meaning(&format!(
            r#"{{"type":"bytes","logicalType":"decimal"{attributes}}}"#
        ))
    };
    assert!(decimal("").unwrap_err().contains("precision"));
    assert!(
        decimal(r#","precision":4,"scale":5"#)
            .unwrap_err()
            .contains("decimal(4, 5)")
    );
    assert!(decimal(r#","precision":4,"scale":-1"#).is_err());
    let connect = |parameters: &str| {
        decimal(&format!(
            r#","precision":64,"scale":2,"connect.name":"{CONNECT_DECIMAL}","connect.parameters":{parameters}"#
        ))
    };
    let of = |precision| Meaning::Decimal {
        precision,
        scale: 2,
        connect: true,
    };
    assert_eq!(connect(r#"{"scale":"2"}"#), Ok(of(38)));
    assert_eq!(
        connect(r#"{"scale":"2","connect.decimal.precision":"65"}"#),
        Ok(of(65))
    );
    assert!(connect(r#"{"scale":"-2"}"#).is_err());
}
