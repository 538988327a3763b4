//! Decoders of record keys.

use apache_avro::Schema;

use crate::avro::AvroKey;
use crate::entity::Entity;
use crate::error::{Fault, SchemaMismatch, other_table};
use crate::json::JsonKey;
use crate::schema::ChangeSchema;

/// Reads the key of a record whose value does not name the row it deletes.
#[derive(Debug)]
pub struct KeyDecoder {
    fingerprint: u64,
    format: KeyFormat,
}

#[derive(Debug)]
enum KeyFormat {
    Avro(AvroKey),
    Json(JsonKey),
}

impl KeyDecoder {
    /// A decoder of keys under this writer's schema: a record with every field of the table's
    /// key, or the value of its one field.
    pub fn avro(writer: &Schema, schema: &ChangeSchema) -> Result<Self, SchemaMismatch> {
        let format = KeyFormat::Avro(AvroKey::compile(writer, schema)?);
        Ok(Self {
            fingerprint: schema.fingerprint(),
            format,
        })
    }

    /// A decoder of JSON keys: an object with every field of the table's key (in Debezium's
    /// `payload` or not), the value of its one field, or, if that is a string, its bare text.
    pub fn json(schema: &ChangeSchema) -> Self {
        let format = KeyFormat::Json(JsonKey::new(schema));
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
            KeyFormat::Avro(plan) => plan.run(body, entity),
            KeyFormat::Json(decoder) => decoder.run(body, schema, entity),
        }
    }
}
