//! Debezium's decimal, whose scale comes with each value.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::fields::{FieldNames, for_each_field};
use super::reader::Reader;
use crate::decimal::decimal_text;
use crate::error::Fault;

/// The parts of Debezium's decimal.
#[derive(Debug)]
pub(super) struct VariableDecimal {
    names: FieldNames<bool>,
}

impl VariableDecimal {
    pub(super) fn new() -> Self {
        Self {
            names: FieldNames::new([("scale", true), ("value", false)]),
        }
    }

    /// Reads `{"scale": …, "value": Base64}`; nothing if it is another object.
    pub(super) fn run(
        &mut self,
        reader: &mut Reader<'_>,
        scratch: &mut String,
    ) -> Result<Option<String>, Fault> {
        let (mut scale, mut bytes) = (None, None);
        for_each_field(
            reader,
            &mut self.names,
            scratch,
            |reader, field, scratch| {
                match (field, reader.token()?) {
                    (Some(true), b'-' | b'0'..=b'9') => scale = reader.number()?.long(),
                    (Some(false), b'"') => bytes = STANDARD.decode(reader.text(scratch)?).ok(),
                    _ => reader.skip()?,
                }
                Ok(())
            },
        )?;
        Ok(scale
            .zip(bytes)
            .and_then(|(scale, bytes)| decimal_text(&bytes, scale)))
    }
}
