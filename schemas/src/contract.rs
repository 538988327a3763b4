//! Contracts: what an entity's rows look like, and which fields are its key.

use std::str::FromStr;

use apache_avro::Schema;
use apache_avro::schema::ResolvedSchema;
use serde_json::Value;

/// What an owner promises of an entity: an Avro record schema with the attributes
/// `lakehead.key` (names of the key fields; may be absent) and `lakehead.owner`.
///
/// The fields are kept in the contract's order. Field types that the lake cannot hold exactly are
/// refused by name when the contract is read.
#[derive(Clone, Debug)]
pub struct Contract {
    json: Value,
    fields: Vec<Field>,
    key: Vec<String>,
}

/// One field of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The field's name, also the column's.
    pub name: String,
    /// What its values are.
    pub field_type: FieldType,
    /// Whether the contract lets it be null.
    pub nullable: bool,
}

/// The types of fields. Avro's `int` is a `Long` and its `float` a `Double` in the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// true or false.
    Boolean,
    /// A whole number of 64 bits: Avro `int` and `long`.
    Long,
    /// A 64-bit floating-point number: Avro `float` and `double`.
    Double,
    /// UTF-8 text: Avro `string`, `enum` and `uuid`.
    String,
    /// Bytes: Avro `bytes` and `fixed`.
    Bytes,
    /// A day, counted from 1970-01-01: Avro `date`.
    Date,
    /// An instant in microseconds: Avro `timestamp-millis` and `timestamp-micros`.
    Timestamp,
}

/// Why a contract was refused.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// It is not an Avro schema.
    #[error("the contract is not an Avro schema: {0}")]
    Avro(String),
    /// It is an Avro schema of something else.
    #[error("the contract must be an Avro record, not {0}")]
    NotARecord(String),
    /// A field's type cannot be held by the lake.
    #[error(
        "field {field:?}: {found} cannot be held in a table yet; nothing is changed silently, so it is refused"
    )]
    FieldType {
        /// The field.
        field: String,
        /// The Avro type that was found.
        found: String,
    },
    /// A field's name is taken or not usable.
    #[error("field {field:?}: {why}")]
    FieldName {
        /// The field.
        field: String,
        /// What is wrong with its name.
        why: &'static str,
    },
    /// A key field is not among the fields, or may be null.
    #[error("key field {field:?} {why}")]
    Key {
        /// The key field.
        field: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Contract {
    /// Reads an Avro record schema as a contract whose key is its `lakehead.key` attribute.
    pub fn from_avro(schema: &Schema) -> Result<Self, ContractError> {
        let text = serde_json::to_string(schema)
            .map_err(|error| ContractError::Avro(error.to_string()))?;
        text.parse()
    }

    /// The fields in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The names of the key fields, in the contract's order; empty for facts without a key.
    pub fn key(&self) -> &[String] {
        &self.key
    }

    /// The same contract with another key.
    pub fn with_key(mut self, key: Vec<String>) -> Result<Self, ContractError> {
        for name in &key {
            if !self.fields.iter().any(|field| &field.name == name) {
                return Err(ContractError::Key {
                    field: name.clone(),
                    why: "is not a field",
                });
            }
        }
        self.key = key;
        Ok(self)
    }

    /// What another contract says differently of key and fields, for people; `None` if nothing.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self.key != other.key {
            return Some(format!("its key is {:?}, not {:?}", self.key, other.key));
        }
        let describe = |field: Option<&Field>| match field {
            Some(field) if field.nullable => format!("{:?} or null", field.field_type),
            Some(field) => format!("{:?}", field.field_type),
            None => "absent".to_owned(),
        };
        let of = |contract: &'_ Self, name: &str| {
            let field = contract.fields.iter().find(|field| field.name == name);
            describe(field).to_lowercase()
        };
        let names = self.fields.iter().chain(&other.fields);
        let differing = names
            .map(|field| &field.name)
            .find(|name| of(self, name) != of(other, name));
        match differing {
            Some(name) => {
                let (ours, theirs) = (of(self, name), of(other, name));
                Some(format!("its field {name:?} is {ours}, not {theirs}"))
            }
            None if self.fields != other.fields => {
                Some("its fields are in another order".to_owned())
            }
            None => None,
        }
    }

    /// The Avro record schema as JSON.
    pub fn avro_json(&self) -> &Value {
        &self.json
    }

    /// The Avro JSON of one field.
    pub fn avro_field(&self, name: &str) -> Option<&Value> {
        self.json["fields"]
            .as_array()?
            .iter()
            .find(|field| field["name"] == name)
    }
}

impl FromStr for Contract {
    type Err = ContractError;

    fn from_str(text: &str) -> Result<Self, ContractError> {
        let avro_error = |error: String| ContractError::Avro(error);
        let json: Value =
            serde_json::from_str(text).map_err(|error| avro_error(error.to_string()))?;
        let schema = Schema::parse(&json).map_err(|error| avro_error(error.to_string()))?;
        let Schema::Record(record) = &schema else {
            return Err(ContractError::NotARecord(schema_name(&schema)));
        };
        let names = ResolvedSchema::new(&schema).map_err(|error| avro_error(error.to_string()))?;
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let (nullable, inner) = without_null(&field.schema);
            // A named type is defined where it first stands and referred to afterwards.
            let inner = match inner {
                Schema::Ref { name } => names.get_names().get(name).copied().unwrap_or(inner),
                _ => inner,
            };
            let field_type = field_type(inner).ok_or_else(|| ContractError::FieldType {
                field: field.name.clone(),
                found: schema_name(inner),
            })?;
            fields.push(Field {
                name: field.name.clone(),
                field_type,
                nullable,
            });
        }
        check_names(&fields)?;
        let key = match &json["lakehead.key"] {
            Value::Array(names) => names
                .iter()
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect(),
            _ => Vec::new(),
        };
        Self {
            json,
            fields,
            key: Vec::new(),
        }
        .with_key(key)
    }
}

/// The type of a field's values, if a table can hold them exactly.
fn field_type(schema: &Schema) -> Option<FieldType> {
    Some(match schema {
        Schema::Boolean => FieldType::Boolean,
        Schema::Int | Schema::Long => FieldType::Long,
        Schema::Float | Schema::Double => FieldType::Double,
        Schema::String | Schema::Enum(_) => FieldType::String,
        Schema::Uuid(apache_avro::schema::UuidSchema::String) => FieldType::String,
        Schema::Bytes | Schema::Fixed(_) => FieldType::Bytes,
        Schema::Date => FieldType::Date,
        Schema::TimestampMillis | Schema::TimestampMicros => FieldType::Timestamp,
        _ => return None,
    })
}

/// A union of null and one other type is that type, nullable.
fn without_null(schema: &Schema) -> (bool, &Schema) {
    let Schema::Union(union) = schema else {
        return (false, schema);
    };
    match union.variants() {
        [Schema::Null, other] | [other, Schema::Null] => (true, other),
        [only] => (false, only),
        _ => (false, schema),
    }
}

fn schema_name(schema: &Schema) -> String {
    let kind = apache_avro::schema::SchemaKind::from(schema);
    format!("Avro type {kind:?}").to_lowercase()
}

/// Two names that differ only by case are one column to many readers; `_` is ours.
fn check_names(fields: &[Field]) -> Result<(), ContractError> {
    let mut seen = std::collections::HashSet::new();
    for field in fields {
        let why = if field.name.starts_with('_') {
            "names starting with _ are Lakehead's own columns"
        } else if !seen.insert(field.name.to_lowercase()) {
            "another field has the same name but for case"
        } else {
            continue;
        };
        return Err(ContractError::FieldName {
            field: field.name.clone(),
            why,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &str) -> Result<Contract, ContractError> {
        format!(r#"{{"type":"record","name":"R","lakehead.key":["id"],"fields":[{{"name":"id","type":"long"}},{fields}]}}"#).parse()
    }

    #[test]
    fn fields_keep_order_type_and_nullability() {
        let contract = record(
            r#"{"name":"n","type":["null","int"]},{"name":"t","type":{"type":"long","logicalType":"timestamp-micros"}}"#,
        )
        .unwrap();
        assert_eq!(contract.key(), ["id"]);
        let field = |name: &str, field_type, nullable| Field {
            name: name.into(),
            field_type,
            nullable,
        };
        assert_eq!(
            contract.fields(),
            [
                field("id", FieldType::Long, false),
                field("n", FieldType::Long, true),
                field("t", FieldType::Timestamp, false),
            ]
        );
    }

    #[test]
    fn what_a_table_cannot_hold_exactly_is_refused_by_name() {
        let error =
            record(r#"{"name":"tags","type":{"type":"array","items":"string"}}"#).unwrap_err();
        assert!(
            error.to_string().contains("\"tags\"") && error.to_string().contains("array"),
            "{error}"
        );
        assert!(record(r#"{"name":"u","type":["int","string"]}"#).is_err());
    }

    #[test]
    fn a_named_type_may_be_used_again() {
        let colour = r#"{"type":"enum","name":"Colour","symbols":["RED"]}"#;
        let fields =
            format!(r#"{{"name":"a","type":{colour}}},{{"name":"b","type":["null","Colour"]}}"#);
        let contract = record(&fields).unwrap();
        let last = Field {
            name: "b".into(),
            field_type: FieldType::String,
            nullable: true,
        };
        assert_eq!(contract.fields()[2], last);
    }

    #[test]
    fn a_difference_is_named() {
        let one = record(r#"{"name":"n","type":"int"}"#).unwrap();
        let other = record(r#"{"name":"n","type":["null","string"]}"#).unwrap();
        let told = one.difference(&other).unwrap();
        assert_eq!(told, "its field \"n\" is long, not string or null");
        assert_eq!(one.difference(&one.clone()), None);
        let other = one.clone().with_key(vec!["n".into()]).unwrap();
        assert!(one.difference(&other).unwrap().contains("key"));
    }

    #[test]
    fn names_that_collide_are_refused() {
        assert!(record(r#"{"name":"ID","type":"int"}"#).is_err());
        assert!(record(r#"{"name":"_op","type":"int"}"#).is_err());
        let contract = record(r#"{"name":"b","type":"int"}"#).unwrap();
        assert!(contract.with_key(vec!["zz".into()]).is_err());
    }
}
