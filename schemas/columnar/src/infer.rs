//! A contract from JSON records that have none.

use schemas::{Contract, ContractError, Field, FieldType, Meaning, Shape};
use serde_json::{Value, json};

use crate::error::{DecodeError, Fault, invalid};
use crate::json::{Kind, visit};

/// Why no contract can be inferred.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// A record is not what was expected.
    #[error("record {number}: {why}; leave it out, or give the topic a contract")]
    Record {
        /// Which of the records, from 0.
        number: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A field has values of two types.
    #[error(
        "field {field:?} is {one} in one record and {other} in another; give the topic a contract"
    )]
    Mixed {
        /// The field.
        field: String,
        /// A type that was seen.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// No field has a value.
    #[error(
        "no record has a field with a value; wait for more records, or give the topic a contract"
    )]
    Nothing,
    /// The fields make no contract.
    #[error("{0}; give the topic a contract")]
    Contract(#[from] ContractError),
}

/// The contract that the first records of a topic suggest.
///
/// The rule: a number written without fraction and exponent in every record is a `long`, which
/// must have 64 bits; other numbers are a `double`; strings stay strings, whatever they look like;
/// objects are records and arrays are arrays of one such type. Every field may be null. A field
/// whose values are all null, or empty arrays, is left out until it has a value. Fields come in
/// the order in which they are seen first. There is no key: the configuration names it.
///
/// In shape `debezium` the records are envelopes, and the rows before and after count.
///
/// # Errors
/// A record that is no JSON object, a field of two types, a whole number of more than 64 bits, no
/// field at all, or names that no table takes.
pub fn infer(records: &[&[u8]], shape: Shape) -> Result<Contract, InferError> {
    let row = row(records, shape)?;
    let mut names = 0;
    let avro = row.avro(&mut names).ok_or(InferError::Nothing)?;
    Ok(avro.to_string().parse()?)
}

/// The contract of a writer of this record, by the rule of [`infer`], if the record has values in
/// fields that the table lacks: the table's fields and those. What the record has in the table's
/// fields is not looked at.
///
/// # Errors
/// Like [`infer`].
pub fn infer_more(
    table: &Contract,
    record: &[u8],
    shape: Shape,
) -> Result<Option<Contract>, InferError> {
    let Seen::Record(seen) = row(&[record], shape)? else {
        return Ok(None);
    };
    let grown = grown(table.fields(), &seen, &mut 0);
    Ok(grown.map(Contract::of_fields).transpose()?)
}

/// What was seen in all rows of some records.
fn row(records: &[&[u8]], shape: Shape) -> Result<Seen, InferError> {
    let mut row = Seen::Record(Vec::new());
    for (number, record) in records.iter().enumerate() {
        let refused = |fault: Fault| InferError::Record {
            number,
            why: fault.to_string(),
        };
        let value = visit(record).map_err(refused)?;
        for image in images(&value, shape) {
            let seen = seen(image).map_err(|why| refused(invalid(why)))?;
            match seen {
                Seen::Record(_) => row.merge(seen, "")?,
                Seen::Nothing => {}
                other => {
                    let why = format!("{} is no row", other.name());
                    return Err(refused(Box::new(DecodeError::Invalid { why })));
                }
            }
        }
    }
    Ok(row)
}

/// The fields of a record in Avro, with those that were seen besides; nothing if there are none.
fn grown(known: &[Field], seen: &[(String, Seen)], names: &mut usize) -> Option<Vec<Value>> {
    let mut fields: Vec<Value> = known.iter().map(|f| f.avro_json().clone()).collect();
    let mut has_grown = false;
    for (name, seen) in seen {
        match known.iter().position(|field| field.is_known_as(name)) {
            Some(place) => {
                let inside = known.get(place).zip(fields.get_mut(place));
                let inside = inside
                    .and_then(|(field, json)| Some((grown_inside(field, seen, names)?, json)));
                if let Some((avro, json)) = inside {
                    has_grown = true;
                    json["type"] = json!(["null", avro]);
                    json["default"] = Value::Null;
                }
            }
            None => {
                if let Some(avro) = seen.avro(names) {
                    has_grown = true;
                    fields.push(json!({"name": name, "type": ["null", avro], "default": null}));
                }
            }
        }
    }
    has_grown.then_some(fields)
}

/// The Avro type of a record, or of an array of them, with fields besides that were seen within.
fn grown_inside(field: &Field, seen: &Seen, names: &mut usize) -> Option<Value> {
    match (&field.field_type, seen) {
        (FieldType::Record(known), Seen::Record(seen)) if field.meaning == Meaning::Plain => {
            let fields = grown(known, seen, names)?;
            *names += 1;
            Some(json!({"type": "record", "name": format!("Row_{names}"), "fields": fields}))
        }
        (FieldType::Array(items), Seen::Array(seen)) => {
            let items = grown_inside(items, seen, names)?;
            Some(json!({"type": "array", "items": ["null", items]}))
        }
        _ => None,
    }
}

/// What was seen of a field.
#[derive(Debug)]
enum Seen {
    Nothing,
    Boolean,
    Long,
    Double,
    String,
    Array(Box<Seen>),
    Record(Vec<(String, Seen)>),
}

/// The rows of a record.
fn images<'v>(value: &'v Kind<'v>, shape: Shape) -> Vec<&'v Kind<'v>> {
    if shape != Shape::Debezium {
        let payload = value.get("schema").and(value.get("payload"));
        return vec![payload.unwrap_or(value)];
    }
    let envelope = match value.get("payload") {
        Some(payload) if value.get("after").is_none() => payload,
        _ => value,
    };
    ["before", "after"]
        .into_iter()
        .filter_map(|name| envelope.get(name))
        .collect()
}

fn seen(value: &Kind<'_>) -> Result<Seen, String> {
    Ok(match value {
        Kind::Null => Seen::Nothing,
        Kind::Boolean => Seen::Boolean,
        Kind::Text => Seen::String,
        Kind::Number(text) if text.contains(['.', 'e', 'E']) => Seen::Double,
        Kind::Number(text) => match text.parse::<i64>() {
            Ok(_) => Seen::Long,
            Err(_) => return Err(format!("{text} is a whole number of more than 64 bits")),
        },
        Kind::Array(items) => {
            let mut item = Seen::Nothing;
            for value in items {
                item.merge(seen(value)?, "an array's item")
                    .map_err(|error| error.to_string())?;
            }
            Seen::Array(Box::new(item))
        }
        Kind::Object(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, value)| Ok((name.to_string(), seen(value)?)));
            Seen::Record(fields.collect::<Result<_, String>>()?)
        }
    })
}

impl Seen {
    fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "null",
            Self::Boolean => "a boolean",
            Self::Long => "a long",
            Self::Double => "a double",
            Self::String => "a string",
            Self::Array(_) => "an array",
            Self::Record(_) => "an object",
        }
    }

    fn merge(&mut self, other: Self, path: &str) -> Result<(), InferError> {
        match (&mut *self, other) {
            (_, Self::Nothing)
            | (Self::Boolean, Self::Boolean)
            | (Self::Long, Self::Long)
            | (Self::Double, Self::Long | Self::Double)
            | (Self::String, Self::String) => {}
            (own @ (Self::Nothing | Self::Long), other @ Self::Double)
            | (own @ Self::Nothing, other) => *own = other,
            (Self::Array(own), Self::Array(other)) => own.merge(*other, path)?,
            (Self::Record(own), Self::Record(other)) => {
                for (name, seen) in other {
                    let path = format!("{path}{}{name}", if path.is_empty() { "" } else { "." });
                    match own.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, known)) => known.merge(seen, &path)?,
                        None => own.push((name, seen)),
                    }
                }
            }
            (own, other) => {
                return Err(InferError::Mixed {
                    field: path.to_owned(),
                    one: own.name(),
                    other: other.name(),
                });
            }
        }
        Ok(())
    }

    /// The Avro type of what was seen, if anything was; records are named by number.
    fn avro(&self, names: &mut usize) -> Option<Value> {
        Some(match self {
            Self::Nothing => return None,
            Self::Boolean => json!("boolean"),
            Self::Long => json!("long"),
            Self::Double => json!("double"),
            Self::String => json!("string"),
            Self::Array(item) => {
                json!({"type": "array", "items": ["null", item.avro(names)?]})
            }
            Self::Record(fields) => {
                let name = match *names {
                    0 => "Row".to_owned(),
                    number => format!("Row_{number}"),
                };
                *names += 1;
                let fields = fields.iter().filter_map(|(name, seen)| {
                    let avro = seen.avro(names)?;
                    Some(json!({"name": name, "type": ["null", avro], "default": null}))
                });
                let fields: Vec<Value> = fields.collect();
                if fields.is_empty() {
                    return None;
                }
                json!({"type": "record", "name": name, "fields": fields})
            }
        })
    }
}
