//! Decoders of record keys.

use apache_avro::Schema;
use schemas::{AvroSchema, FieldType, KeyFormat, Meaning};

use crate::avro::AvroKey;
use crate::column::Column;
use crate::decoder::with_attributes;
use crate::entity::Entity;
use crate::error::{Fault, SchemaMismatch, invalid, other_table, type_mismatch};
use crate::json::JsonKey;
use crate::schema::ChangeSchema;

/// Reads the key of a record whose value does not name the row it deletes.
#[derive(Debug)]
pub struct KeyDecoder {
    fingerprint: u64,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Avro(AvroKey),
    Json(Box<JsonKey>),
    /// The column of a key that is text.
    Text(Single),
    /// The column of a key of 4 or 8 bytes.
    Integer(Single),
}

/// The only column of a key.
#[derive(Debug)]
struct Single {
    column: usize,
    name: Box<str>,
    held: Held,
}

/// What a key's only column holds.
#[derive(Clone, Copy, Debug)]
enum Held {
    Text,
    Int,
    Long,
}

impl KeyDecoder {
    /// A decoder of keys under this writer's schema: a record with every field of the table's
    /// key, or the value of its one field.
    pub fn of_writer(writer: &AvroSchema, schema: &ChangeSchema) -> Result<Self, SchemaMismatch> {
        let format = Format::Avro(AvroKey::compile(writer, schema)?);
        Ok(Self::new(format, schema))
    }

    /// Like [`Self::of_writer`], of a schema that has lost the attributes of its primitive types.
    pub fn avro(writer: &Schema, schema: &ChangeSchema) -> Result<Self, SchemaMismatch> {
        Self::of_writer(&with_attributes(writer)?, schema)
    }

    /// A decoder of JSON keys: an object with every field of the table's key (in Debezium's
    /// `payload` or not), the value of its one field, or, if that is a string, its bare text.
    pub fn json(schema: &ChangeSchema) -> Self {
        Self::new(Format::Json(Box::new(JsonKey::new(schema))), schema)
    }

    /// A decoder of keys that need no writer's schema.
    ///
    /// - `json`: see [`Self::json`];
    /// - `string`: the UTF-8 text as it is, or, for a key that is a whole number, its digits;
    /// - `integer`: a whole number of 4 or 8 bytes, big endian.
    ///
    /// # Errors
    /// Avro keys need their schema; texts and integers need a table with one key column, of
    /// strings or whole numbers.
    pub fn plain(format: KeyFormat, schema: &ChangeSchema) -> Result<Self, SchemaMismatch> {
        let single = || single(format, schema);
        Ok(Self::new(
            match format {
                KeyFormat::Json => return Ok(Self::json(schema)),
                KeyFormat::String => Format::Text(single()?),
                KeyFormat::Integer => Format::Integer(single()?),
                KeyFormat::Avro => {
                    let why = "keys in Avro are read by their writer's schema".to_owned();
                    return Err(SchemaMismatch::Shape { why });
                }
            },
            schema,
        ))
    }

    fn new(format: Format, schema: &ChangeSchema) -> Self {
        Self {
            fingerprint: schema.fingerprint(),
            format,
        }
    }

    /// Reads a key into the open row.
    pub(crate) fn run(
        &mut self,
        body: &[u8],
        schema: &ChangeSchema,
        entity: &mut Entity,
    ) -> Result<(), Fault> {
        if self.fingerprint != schema.fingerprint() {
            return Err(other_table());
        }
        match &mut self.format {
            Format::Avro(plan) => plan.run(body, entity),
            Format::Json(decoder) => decoder.run(body, entity),
            Format::Text(single) => single.push(entity, |held, column| {
                let text =
                    std::str::from_utf8(body).map_err(|_| invalid("a key that is not UTF-8"))?;
                single.push_text(text, held, column)
            }),
            Format::Integer(single) => single.push(entity, |held, column| {
                let value = integer(body).ok_or_else(|| {
                    invalid(format!(
                        "a key of {} bytes, where an integer has 4 or 8",
                        body.len()
                    ))
                })?;
                single.push_long(value, held, column)
            }),
        }
    }
}

/// The only key column, which must hold what the format writes.
fn single(format: KeyFormat, schema: &ChangeSchema) -> Result<Single, SchemaMismatch> {
    let shape = |why: String| SchemaMismatch::Shape { why };
    let [column] = schema.key() else {
        let count = schema.key().len();
        return Err(shape(format!(
            "a key of format {format} is one value, the table's key has {count} columns"
        )));
    };
    let plan = schema.columns().get(*column);
    let plan = plan.ok_or_else(|| shape("the table's key is no column".to_owned()))?;
    let held = match (&plan.field.field_type, plan.field.meaning) {
        (FieldType::String, Meaning::Plain | Meaning::Enum | Meaning::UuidBytes)
            if format == KeyFormat::String =>
        {
            Held::Text
        }
        (FieldType::Int, Meaning::Int) => Held::Int,
        (FieldType::Long, Meaning::Int | Meaning::Plain) => Held::Long,
        (other, _) => {
            return Err(SchemaMismatch::FieldType {
                field: plan.name.clone(),
                writer: format!("keys of format {format}"),
                table: other.name(),
            });
        }
    };
    Ok(Single {
        column: *column,
        name: plan.name.as_str().into(),
        held,
    })
}

impl Single {
    fn push(
        &self,
        entity: &mut Entity,
        push: impl FnOnce(Held, &mut Column) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        match entity.columns.get_mut(self.column) {
            Some(column) => push(self.held, column),
            None => Err(other_table()),
        }
    }

    fn push_text(&self, text: &str, held: Held, column: &mut Column) -> Result<(), Fault> {
        if let Held::Text = held {
            return column.push_text(text);
        }
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let value = text.parse().ok().filter(|_| is_number);
        let value = value.ok_or_else(|| {
            let start: String = text.chars().take(40).collect();
            type_mismatch(&self.name, "long", format!("the string {start:?}"))
        })?;
        self.push_long(value, held, column)
    }

    fn push_long(&self, value: i64, held: Held, column: &mut Column) -> Result<(), Fault> {
        let Held::Int = held else {
            return column.push_long(value);
        };
        let value = i32::try_from(value);
        column.push_int(value.map_err(|_| type_mismatch(&self.name, "int", "a larger number"))?)
    }
}

fn integer(body: &[u8]) -> Option<i64> {
    if let Ok(bytes) = body.try_into() {
        return Some(i64::from_be_bytes(bytes));
    }
    Some(i32::from_be_bytes(body.try_into().ok()?).into())
}
