//! Fields that the table lacks.

use super::reader::Reader;
use super::visit::{Kind, visit};
use crate::error::{DecodeError, Fault};

/// What becomes of a row of JSON with a field that the table lacks. A null says nothing in any
/// case, and is passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownFields {
    /// The row is refused ([`DecodeError::UnknownField`]).
    #[default]
    Refuse,
    /// The row is refused if there is a value in the field: arrays and objects of nothing are
    /// passed over too, as no column can be made of them.
    RefuseValues,
    /// The field is passed over.
    Ignore,
}

impl UnknownFields {
    /// Takes the value of a field that the record `inside` lacks; an empty name is the row's.
    #[inline]
    pub(super) fn pass(self, reader: &mut Reader<'_>, inside: &str) -> Result<(), Fault> {
        if self == Self::Ignore {
            return reader.skip();
        }
        self.look(reader, inside)
    }

    #[cold]
    fn look(self, reader: &mut Reader<'_>, inside: &str) -> Result<(), Fault> {
        let name = reader.field_name();
        if reader.take_null()? {
            return Ok(());
        }
        let start = reader.place();
        // What is not JSON at all is not a matter of fields.
        reader.skip()?;
        if self == Self::RefuseValues && is_hollow(&visit(reader.since(start)?.as_bytes())?) {
            return Ok(());
        }
        let dot = if inside.is_empty() { "" } else { "." };
        let field = format!("{inside}{dot}{name}");
        Err(Box::new(DecodeError::UnknownField { field }))
    }
}

/// Whether there is no single value in it.
fn is_hollow(value: &Kind<'_>) -> bool {
    match value {
        Kind::Null => true,
        Kind::Array(items) => items.iter().all(is_hollow),
        Kind::Object(fields) => fields.iter().all(|(_, value)| is_hollow(value)),
        Kind::Boolean | Kind::Number(_) | Kind::Text => false,
    }
}
