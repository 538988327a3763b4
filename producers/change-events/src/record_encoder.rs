//! JSON objects to Avro records, by a plan made once per schema.
//!
//! The JSON text is read once and its values are written straight as Avro bytes; no tree of values
//! is built in between. Object members may come in any order; each field's bytes are put in the
//! schema's order at the end.

mod field;
mod value;

use std::ops::Range;

use apache_avro::Schema;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};

use self::field::{Field, FieldSeed};
pub use self::value::{put_long, put_text};

/// Why a JSON text is not a record of the schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", self.field.as_ref().map(|name| format!("field {name:?}: ")).unwrap_or_default())]
pub struct EncodeError {
    /// The field, if one is to blame.
    pub field: Option<String>,
    /// What is wrong.
    pub why: String,
}

impl EncodeError {
    pub(crate) fn new(field: Option<&str>, why: impl Into<String>) -> Self {
        Self {
            field: field.map(str::to_owned),
            why: why.into(),
        }
    }
}

/// Encodes JSON objects as Avro records of one schema.
///
/// Strict: a member that is no field, a member twice, a value of another type or outside its
/// type's range is an error, never a changed value. A member that is left out takes the field's
/// default, else null where the field allows it, else it is an error. How values are written in
/// JSON is said at [`crate::ChangeEvent`].
#[derive(Debug)]
pub struct RecordEncoder {
    fields: Vec<Field>,
    scratch: Scratch,
}

/// Buffers that are kept from record to record.
#[derive(Debug, Default)]
struct Scratch {
    bytes: Vec<u8>,
    /// Where each field's bytes lie, in the schema's order.
    found: Vec<Option<Range<usize>>>,
    /// The field being read: the one to name in an error.
    current: Option<usize>,
}

impl RecordEncoder {
    /// Prepares the encoder of a record schema; errors name the field that has no encoding.
    pub fn new(schema: &Schema) -> Result<Self, EncodeError> {
        let Schema::Record(record) = schema else {
            return Err(EncodeError::new(None, "the schema is not a record"));
        };
        let fields = record
            .fields
            .iter()
            .map(Field::new)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            fields,
            scratch: Scratch::default(),
        })
    }

    /// The field of a record that has one.
    pub(crate) fn only_field(&self) -> Option<&Field> {
        match self.fields.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Appends the record's Avro body to `out`; on an error `out` is as it was.
    pub fn encode(&mut self, json: &str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.scratch.clear(self.fields.len());
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let seed = RecordSeed {
            fields: &self.fields,
            scratch: &mut self.scratch,
        };
        let read = seed
            .deserialize(&mut deserializer)
            .and_then(|()| deserializer.end());
        if let Err(error) = read {
            let field = self
                .scratch
                .current
                .and_then(|index| self.fields.get(index));
            return Err(EncodeError::new(field.map(Field::name), error.to_string()));
        }
        let start = out.len();
        for (field, found) in self.fields.iter().zip(&self.scratch.found) {
            let bytes = match found {
                Some(range) => self.scratch.bytes.get(range.clone()),
                None => field.absent(),
            };
            let Some(bytes) = bytes else {
                out.truncate(start);
                return Err(EncodeError::new(
                    Some(field.name()),
                    "is missing and may not be null",
                ));
            };
            out.extend_from_slice(bytes);
        }
        Ok(())
    }
}

impl Scratch {
    fn clear(&mut self, fields: usize) {
        self.bytes.clear();
        self.found.clear();
        self.found.resize(fields, None);
        self.current = None;
    }
}

/// Reads the object's members into the scratch.
struct RecordSeed<'a> {
    fields: &'a [Field],
    scratch: &'a mut Scratch,
}

impl<'de> DeserializeSeed<'de> for RecordSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RecordSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object of the record's fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // Members mostly come in the schema's order, so the next field is tried first.
        let mut expected = 0;
        while let Some(index) = map.next_key_seed(NameSeed {
            fields: self.fields,
            expected,
        })? {
            expected = index + 1;
            self.scratch.current = Some(index);
            let (Some(field), Some(found)) =
                (self.fields.get(index), self.scratch.found.get_mut(index))
            else {
                return Err(A::Error::custom("the plan has lost a field"));
            };
            if found.is_some() {
                return Err(A::Error::custom("is there twice"));
            }
            let start = self.scratch.bytes.len();
            map.next_value_seed(FieldSeed {
                field,
                out: &mut self.scratch.bytes,
            })?;
            *found = Some(start..self.scratch.bytes.len());
            self.scratch.current = None;
        }
        Ok(())
    }
}

/// Finds a member's field by name.
struct NameSeed<'a> {
    fields: &'a [Field],
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<usize, E> {
        if self
            .fields
            .get(self.expected)
            .is_some_and(|field| field.name() == name)
        {
            return Ok(self.expected);
        }
        self.fields
            .iter()
            .position(|field| field.name() == name)
            .ok_or_else(|| E::custom(format!("member {name:?} is not a field of the contract")))
    }
}

#[cfg(test)]
mod tests;
