//! JSON records that carry their own schema.

use schemas::{AvroSchema, Contract, Shape};
use serde_json::Value;

use super::reader::Reader;
use super::row::JsonRow;
use super::unknown::UnknownFields;
use crate::avro::check;
use crate::contract::row_of;
use crate::error::{DecodeError, Fault, SchemaMismatch, invalid};
use crate::schema::ChangeSchema;

/// How many schemas are remembered. A topic has one at a time, and a second while it changes.
const SCHEMAS_MAX: usize = 8;

/// The schemas of records, by their text. One producer writes the same text again and again, so
/// that it is found by one comparison and not read again.
#[derive(Debug)]
pub(super) struct TypedRows {
    /// The last used comes first.
    known: Vec<Typed>,
    /// What becomes of fields that a record has beyond its own schema.
    unknown: UnknownFields,
}

#[derive(Debug)]
struct Typed {
    text: Box<[u8]>,
    row: Result<JsonRow, SchemaMismatch>,
}

impl TypedRows {
    pub(super) fn new(unknown: UnknownFields) -> Self {
        let known = Vec::new();
        Self { known, unknown }
    }

    /// Takes a schema, after which [`Self::row`] answers its rows; false if it is null.
    pub(super) fn take(
        &mut self,
        reader: &mut Reader<'_>,
        shape: Shape,
        schema: &ChangeSchema,
    ) -> Result<bool, Fault> {
        if reader.take_null()? {
            return Ok(false);
        }
        let found = self.known.iter().position(|typed| reader.take(&typed.text));
        if let Some(found) = found {
            if found > 0 {
                self.known.swap(0, found);
            }
            return Ok(true);
        }
        let start = reader.place();
        reader.skip()?;
        let text = reader.since(start)?;
        let json = serde_json::from_str(text);
        let json: Value = json.map_err(|error| invalid(format!("not JSON: {error}")))?;
        self.known.truncate(SCHEMAS_MAX - 1);
        let typed = Typed {
            text: text.as_bytes().into(),
            row: row(&json, shape, schema, self.unknown),
        };
        self.known.insert(0, typed);
        Ok(true)
    }

    /// The rows of the schema that was taken last.
    pub(super) fn row(&mut self) -> Result<&mut JsonRow, Fault> {
        match self.known.first_mut().map(|typed| &mut typed.row) {
            Some(Ok(row)) => Ok(row),
            Some(Err(mismatch)) => Err(Box::new(DecodeError::Schema(mismatch.clone()))),
            None => Err(invalid("a record without its schema")),
        }
    }
}

/// How rows of a schema are read.
fn row(
    json: &Value,
    shape: Shape,
    schema: &ChangeSchema,
    unknown: UnknownFields,
) -> Result<JsonRow, SchemaMismatch> {
    let refused = |error: schemas::ContractError| SchemaMismatch::Incompatible {
        why: error.to_string(),
    };
    let writer = AvroSchema::from_connect(json).map_err(refused)?;
    let record = row_of(&writer, shape).map_err(refused)?;
    let own = Contract::of_record(&writer, record, Some(schema.contract())).map_err(refused)?;
    let told = |name: &str| {
        let (_, _, fields) = writer.record(record)?;
        let field = fields.iter().find(|field| field.name == name)?;
        Some(writer.describe(field.node))
    };
    check(&own, schema, told)?;
    Ok(JsonRow::of(own.fields(), schema, unknown))
}
