//! Contracts: what an entity's rows look like, and which fields are its key.

mod error;

use std::str::FromStr;

use apache_avro::Schema;
use serde_json::{Value, json};

pub use error::ContractError;

use crate::avro::{AvroSchema, NodeId, define_once};
use crate::field::{Builder, Field, FieldType};

/// What an owner promises of an entity: an Avro record schema with the attributes
/// `lakehead.key` (names of the key fields; may be absent) and `lakehead.owner`.
///
/// The fields are kept in the contract's order. Field types that the lake cannot hold exactly are
/// refused by name when the contract is read; what is held of each type is told in schemas/docs/types.md.
/// A field may ask to be held otherwise by the attribute `lakehead.type` ([`crate::Ask`]).
#[derive(Clone, Debug)]
pub struct Contract {
    json: Value,
    fields: Vec<Field>,
    key: Vec<String>,
}

impl Contract {
    /// Reads an Avro record schema as a contract whose key is its `lakehead.key` attribute. A
    /// schema of this type has lost the attributes of its primitive types.
    pub fn from_avro(schema: &Schema) -> Result<Self, ContractError> {
        let text = serde_json::to_string(schema)
            .map_err(|error| ContractError::Avro(error.to_string()))?;
        text.parse()
    }

    /// The contract of a record of a writer's schema. What `table` asks of a field
    /// (`lakehead.type`) goes for the same field of the writer's.
    pub fn of_record(
        schema: &AvroSchema,
        record: NodeId,
        table: Option<&Self>,
    ) -> Result<Self, ContractError> {
        let table = table.map(|table| table.fields.as_slice());
        let fields = Builder::new(schema).record(record, "", table)?;
        let key = match schema.node(record).attributes.get("lakehead.key") {
            Some(Value::Array(names)) => {
                let names = names.iter().filter_map(Value::as_str);
                names.map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        let mut json = schema.standalone(record);
        define_once(&mut json);
        Self::new(json, fields).with_key(key)
    }

    /// A contract of fields in Avro's JSON, in which named types may be written out wherever they
    /// are used.
    ///
    /// # Errors
    /// They are no fields, or the lake cannot hold one.
    pub fn of_fields(fields: Vec<Value>) -> Result<Self, ContractError> {
        let mut json = json!({"type": "record", "name": "Row", "fields": fields});
        define_once(&mut json);
        let schema = AvroSchema::from_json(&json)?;
        Self::of_record(&schema, schema.root(), None)
    }

    /// A contract of fields that were read from this schema.
    pub(crate) fn new(json: Value, fields: Vec<Field>) -> Self {
        Self {
            json,
            fields,
            key: Vec::new(),
        }
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
    ///
    /// # Errors
    /// A key field is not a field, or is a record, an array or a map.
    pub fn with_key(mut self, key: Vec<String>) -> Result<Self, ContractError> {
        for name in &key {
            let field = self.fields.iter().find(|field| &field.name == name);
            let why = match field.map(|field| &field.field_type) {
                None => "is not a field",
                Some(FieldType::Record(_) | FieldType::Array(_) | FieldType::Map(_)) => {
                    "is not a single value, which a key field must be"
                }
                Some(_) => continue,
            };
            return Err(ContractError::Key {
                field: name.clone(),
                why,
            });
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
            Some(field) if field.nullable => format!("{} or null", field.field_type),
            Some(field) => field.field_type.to_string(),
            None => "absent".to_owned(),
        };
        let of = |contract: &'_ Self, name: &str| {
            let field = contract.fields.iter().find(|field| field.name == name);
            describe(field)
        };
        let names = self.fields.iter().chain(&other.fields);
        let differing = names
            .map(|field| &field.name)
            .find(|name| of(self, name) != of(other, name));
        let order = |contract: &Self| -> Vec<String> {
            let fields = contract.fields.iter();
            fields.map(|field| field.name.clone()).collect()
        };
        match differing {
            Some(name) => {
                let (ours, theirs) = (of(self, name), of(other, name));
                Some(format!("its field {name:?} is {ours}, not {theirs}"))
            }
            None if order(self) != order(other) => {
                Some("its fields are in another order".to_owned())
            }
            None => {
                let mut pairs = self.fields.iter().zip(&other.fields);
                let (field, _) = pairs.find(|(ours, theirs)| ours != theirs)?;
                let name = &field.name;
                Some(format!(
                    "its field {name:?} has another meaning, default or alias"
                ))
            }
        }
    }

    /// The Avro record schema as JSON.
    pub fn avro_json(&self) -> &Value {
        &self.json
    }

    /// The Avro JSON of one field, named types written out.
    pub fn avro_field(&self, name: &str) -> Option<&Value> {
        let field = self.fields.iter().find(|field| field.name == name)?;
        Some(&field.json)
    }
}

impl FromStr for Contract {
    type Err = ContractError;

    fn from_str(text: &str) -> Result<Self, ContractError> {
        let schema: AvroSchema = text.parse()?;
        let contract = Self::of_record(&schema, schema.root(), None)?;
        // What was written is kept as it is: its attributes are others' to read.
        let json =
            serde_json::from_str(text).map_err(|error| ContractError::Avro(error.to_string()))?;
        Ok(Self { json, ..contract })
    }
}

#[cfg(test)]
mod tests;
