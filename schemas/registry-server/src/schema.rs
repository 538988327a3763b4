//! What makes two schema texts the same schema.

use serde_json::Value;

use crate::normal::normal;
use crate::problem::Problem;

/// The longest schema text.
pub(crate) const SCHEMA_BYTES_MAX: usize = 512 * 1024;

/// A schema that was checked: what it says, and the text that is kept and compared.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) schema: apache_avro::Schema,
    pub(crate) text: String,
}

/// Checks that a text is an Avro schema and brings it into the form that is kept and compared:
/// JSON without layout, attributes in alphabetical order. Everything that is written in the schema
/// (documentation, defaults, attributes of our own) stays, and counts. With `normalize`, names are
/// written in full too, so that two ways to write one schema are one.
pub(crate) fn check(text: &str, normalize: bool) -> Result<Checked, Problem> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(invalid(format!("longer than {SCHEMA_BYTES_MAX} bytes")));
    }
    let mut json: Value = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
    let schema = apache_avro::Schema::parse(&json).map_err(|error| invalid(error.to_string()))?;
    if normalize {
        json = normal(&json, None);
    }
    let mut written = String::with_capacity(text.len());
    write(&json, &mut written);
    Ok(Checked {
        schema,
        text: written,
    })
}

fn invalid(reason: String) -> Problem {
    Problem::InvalidSchema { reason }
}

fn write(json: &Value, to: &mut String) {
    match json {
        Value::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            to.push('{');
            for (position, (name, member)) in members.into_iter().enumerate() {
                if position > 0 {
                    to.push(',');
                }
                to.push_str(&Value::from(name.as_str()).to_string());
                to.push(':');
                write(member, to);
            }
            to.push('}');
        }
        Value::Array(items) => {
            to.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    to.push(',');
                }
                write(item, to);
            }
            to.push(']');
        }
        plain => to.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> Result<String, Problem> {
        check(text, false).map(|checked| checked.text)
    }

    #[test]
    fn layout_and_order_do_not_count_but_attributes_do() {
        let one = canonical(r#"{"type": "record", "name": "a", "fields": []}"#).unwrap();
        let two = canonical(r#"{"name":"a","fields":[],"type":"record"}"#).unwrap();
        let owned = r#"{"name":"a","fields":[],"type":"record","lakehead.owner":"b"}"#;
        assert_eq!(one, two);
        assert_ne!(canonical(owned).unwrap(), two);
        assert_eq!(canonical(r#" "string" "#).unwrap(), r#""string""#);
    }

    #[test]
    fn what_is_not_avro_is_refused() {
        let deep = "[".repeat(10_000);
        for text in [
            "",
            "{",
            "string",
            r#"{"type":"record"}"#,
            r#""strange""#,
            &deep,
        ] {
            let problem = canonical(text).unwrap_err();
            assert!(matches!(problem, Problem::InvalidSchema { .. }), "{text}");
        }
    }

    proptest! {
        #[test]
        fn canonical_is_stable(name in "[a-z]{1,9}", doc in ".{0,20}") {
            let schema = serde_json::json!({"type": "enum", "name": name, "doc": doc, "symbols": ["A"]});
            let once = canonical(&schema.to_string()).unwrap();
            prop_assert_eq!(canonical(&once).unwrap(), once.clone());
            let back: Value = serde_json::from_str(&once).unwrap();
            prop_assert_eq!(back, schema);
        }
    }
}
