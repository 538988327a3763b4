//! The fields of an entity, and what the lake holds of them.

mod build;
mod held;
mod names;
mod nested;

use serde_json::Value;

use crate::avro::{AvroSchema, NodeId};
use crate::contract::ContractError;
use crate::evolution::{fits, inner_type};
use crate::meaning::Meaning;

pub(crate) use build::Builder;
pub(crate) use names::joined;

/// One field of an entity, or of a record within; items of arrays and values of maps are fields
/// named `element` and `value`.
#[derive(Clone, Debug)]
pub struct Field {
    /// The field's name, also the column's.
    pub name: String,
    /// What the lake holds of its values.
    pub field_type: FieldType,
    /// Whether the contract lets it be null.
    pub nullable: bool,
    /// What its values mean where they are written.
    pub meaning: Meaning,
    /// What the contract asks to be held other than by default.
    pub asked: Option<Ask>,
    /// Other names under which writers write it.
    pub aliases: Vec<String>,
    /// What stands for it where a writer does not know the field, in Avro's JSON encoding.
    pub default: Option<Value>,
    /// The field as Avro JSON, named types written out.
    pub(crate) json: Value,
}

/// The types that the lake holds. Avro's `int` is a `Long` and its `float` a `Double` unless the
/// contract asks for less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// true or false.
    Boolean,
    /// A whole number of 32 bits, where the contract asks for it.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// A 32-bit floating-point number, where the contract asks for it.
    Float,
    /// A 64-bit floating-point number.
    Double,
    /// UTF-8 text.
    String,
    /// Bytes.
    Bytes,
    /// A day, counted from 1970-01-01.
    Date,
    /// An instant in microseconds since 1970-01-01 UTC.
    Timestamp,
    /// A number of at most 38 decimal digits.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: u8,
    },
    /// Named fields.
    Record(Vec<Field>),
    /// Items of one type.
    Array(Box<Field>),
    /// Values of one type by text.
    Map(Box<Field>),
}

/// What a contract may ask for by the attribute `lakehead.type` of a field or its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// `"int"`: INT for an Avro `int`.
    Int,
    /// `"long"`: the count of a date, time or timestamp as it is written.
    Long,
    /// `"float"`: FLOAT for an Avro `float`.
    Float,
    /// `"string"`: the digits of a decimal of any size, or the text of a zoned timestamp.
    String,
    /// `"timestamp"`: TIMESTAMP for a local timestamp, its clock taken to show UTC.
    Timestamp,
}

/// Two fields are equal if they hold and read the same; what else their contracts say of them
/// (documentation, names of types) does not count.
impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        let parts = |field: &Self| (field.nullable, field.meaning, field.asked);
        let value = |field: &Self| field.default.clone().filter(|value| !value.is_null());
        self.name == other.name
            && self.field_type == other.field_type
            && parts(self) == parts(other)
            && self.aliases == other.aliases
            && value(self) == value(other)
    }
}

impl Eq for Field {}

impl Field {
    /// Whether the count of a date, time or timestamp is held as it is written.
    pub fn as_written(&self) -> bool {
        self.asked == Some(Ask::Long) && self.meaning.is_counted()
    }

    /// The field of this name that a type of a schema makes; what `table` asks goes for it.
    ///
    /// # Errors
    /// The lake cannot hold the type.
    pub fn of_type(
        schema: &AvroSchema,
        id: NodeId,
        name: &str,
        table: Option<&Self>,
    ) -> Result<Self, ContractError> {
        Builder::new(schema).item(id, name, name, table)
    }

    /// Whether a column of this field holds a writer's single values as they are.
    pub fn takes(&self, writer: &Self) -> bool {
        fits(self, writer)
    }

    /// The field as Avro JSON, named types written out.
    pub fn avro_json(&self) -> &Value {
        &self.json
    }

    /// The names that values of an enum may have; none if it is none.
    pub fn symbols(&self) -> Vec<String> {
        let symbols = inner_type(&self.json)["symbols"].as_array();
        let symbols = symbols.into_iter().flatten().filter_map(Value::as_str);
        symbols.map(str::to_owned).collect()
    }

    /// Whether a writer's field of this name and these aliases is this one.
    pub fn is_known_as(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }
}

impl FieldType {
    /// What the type is called in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Decimal { .. } => "decimal",
            Self::Record(_) => "record",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
        }
    }
}

impl std::fmt::Display for FieldType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Decimal { precision, scale } => write!(f, "decimal({precision}, {scale})"),
            Self::Array(items) => write!(f, "array of {}", items.field_type),
            Self::Map(values) => write!(f, "map of {}", values.field_type),
            Self::Record(fields) => {
                f.write_str("record {")?;
                for (number, field) in fields.iter().enumerate() {
                    let comma = if number == 0 { "" } else { ", " };
                    write!(f, "{comma}{}: {}", field.name, field.field_type)?;
                }
                f.write_str("}")
            }
            plain => f.write_str(plain.name()),
        }
    }
}

impl Ask {
    /// The ask that a text stands for.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "int" => Self::Int,
            "long" => Self::Long,
            "float" => Self::Float,
            "string" => Self::String,
            "timestamp" => Self::Timestamp,
            _ => return None,
        })
    }
}
