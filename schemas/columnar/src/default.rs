//! What stands for a field that a record does not know.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemas::{Field, FieldType, Meaning};
use serde_json::{Map, Value, json};

use crate::column::Column;
use crate::decimal::decimal_text;
use crate::error::{Fault, invalid};
use crate::json::fill_value;
use crate::uuid::uuid_text;

/// Fills a column with its field's default, or with null if it has none.
#[derive(Debug)]
pub(crate) struct Filler {
    /// The default as JSON rows of the contract write it; an error if it does not fit.
    default: Option<Result<Box<Filled>, ()>>,
    name: Box<str>,
}

#[derive(Debug)]
struct Filled {
    field: Field,
    text: String,
}

impl Filler {
    pub(crate) fn new(field: &Field) -> Self {
        let default = field.default.as_ref().filter(|value| !value.is_null());
        let default = default.map(|value| {
            let text = in_json(value, field).ok_or(())?.to_string();
            let mut column = Column::new(&field.field_type);
            fill_value(&text, field, &mut column).map_err(drop)?;
            Ok(Box::new(Filled {
                field: field.clone(),
                text,
            }))
        });
        Self {
            default,
            name: field.name.as_str().into(),
        }
    }

    /// Whether there is a value to fill with.
    pub(crate) fn is_value(&self) -> bool {
        self.default.is_some()
    }

    /// Appends the default.
    pub(crate) fn fill(&self, column: &mut Column) -> Result<(), Fault> {
        match &self.default {
            None => {
                column.push_null();
                Ok(())
            }
            Some(Ok(filled)) => fill_value(&filled.text, &filled.field, column),
            Some(Err(())) => Err(invalid(format!(
                "the record lacks field {:?}, and the contract's default does not fit its type; correct the contract",
                self.name
            ))),
        }
    }
}

/// A default in Avro's JSON encoding, in which bytes are texts of U+0000 to U+00FF, as rows of
/// JSON write it.
fn in_json(value: &Value, field: &Field) -> Option<Value> {
    if value.is_null() {
        return field.nullable.then_some(Value::Null);
    }
    Some(match (field.meaning, &field.field_type) {
        (Meaning::Decimal { connect: true, .. }, _)
        | (Meaning::Plain | Meaning::Fixed(_), FieldType::Bytes) => {
            json!(STANDARD.encode(bytes(value)?))
        }
        (Meaning::Decimal { scale, .. }, _) => json!(decimal_text(&bytes(value)?, scale.into())?),
        (Meaning::UuidBytes, _) => json!(uuid_text(&bytes(value)?)?),
        (Meaning::Duration, _) => {
            let bytes = bytes(value)?;
            let part = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
            json!({"months": part(0)?, "days": part(4)?, "millis": part(8)?})
        }
        (Meaning::VariableDecimal, _) => {
            let digits = STANDARD.encode(bytes(&value["value"])?);
            json!({"scale": value["scale"], "value": digits})
        }
        (Meaning::BigDecimal, _) => return None,
        (Meaning::Union, FieldType::Record(branches)) => {
            let first = branches.first()?;
            json!({&first.name: in_json(value, first)?})
        }
        (_, FieldType::Record(fields)) => record(value, fields)?,
        (_, FieldType::Array(items)) => {
            let items = value.as_array()?.iter().map(|item| in_json(item, items));
            Value::Array(items.collect::<Option<_>>()?)
        }
        (_, FieldType::Map(values)) => {
            let entries = value.as_object()?.iter();
            let entries = entries.map(|(key, value)| Some((key.clone(), in_json(value, values)?)));
            Value::Object(entries.collect::<Option<_>>()?)
        }
        _ => value.clone(),
    })
}

fn record(value: &Value, fields: &[Field]) -> Option<Value> {
    let mut object = Map::new();
    for field in fields {
        let given = value.get(&field.name).or(field.default.as_ref());
        object.insert(field.name.clone(), in_json(given?, field)?);
    }
    Some(Value::Object(object))
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    let characters = value.as_str()?.chars();
    characters
        .map(|c| u8::try_from(u32::from(c)).ok())
        .collect()
}
