//! Why a record, or a whole writer's schema, was refused.

/// Why a record's bytes did not become a row. The buffer is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a value.
    #[error("the value ends too early, at byte {at}")]
    Truncated {
        /// Where more bytes were expected, counted from the body's start.
        at: usize,
    },
    /// The value is complete and bytes are left over.
    #[error("{count} bytes follow the end of the value at byte {at}")]
    TrailingBytes {
        /// Where the value ended.
        at: usize,
        /// How many bytes follow.
        count: usize,
    },
    /// A field holds something that its column cannot.
    #[error("field {field:?}: expected {expected}, found {found}")]
    TypeMismatch {
        /// The field.
        field: String,
        /// What the contract says.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// A row of JSON has a field that the table lacks.
    #[error(
        "field {field:?} is not in the table; nothing is dropped silently, so add it to the contract"
    )]
    UnknownField {
        /// The field, with the record that it is in.
        field: String,
    },
    /// A key field is null or absent.
    #[error("key field {field:?} is null or absent")]
    MissingKey {
        /// The key field.
        field: String,
    },
    /// The bytes are not what their format says, or the event makes no sense.
    #[error("{why}")]
    Invalid {
        /// What is wrong.
        why: String,
    },
    /// The record carries its own schema, which does not fit the table.
    #[error("in the record's schema: {0}")]
    Schema(SchemaMismatch),
    /// The record's key, which was needed for a delete, was refused.
    #[error("in the record's key: {0}")]
    InKey(Box<DecodeError>),
}

impl DecodeError {
    /// The dead letter's error code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::TrailingBytes { .. } => "trailing_bytes",
            Self::TypeMismatch { .. } => "type_mismatch",
            Self::UnknownField { .. } => "unknown_field",
            Self::MissingKey { .. } => "missing_key",
            Self::Invalid { .. } => "invalid",
            Self::Schema(_) => "schema_mismatch",
            Self::InKey(inner) => inner.code(),
        }
    }
}

/// Why a table of changes cannot hold the records of a writer's schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaMismatch {
    /// The writer has a field that the table lacks.
    #[error(
        "the writer's field {field:?} ({writer}) is not in the table; nothing is dropped silently, so add it to the contract"
    )]
    UnknownField {
        /// The field.
        field: String,
        /// Its Avro type.
        writer: String,
    },
    /// The table requires a field that the writer lacks.
    #[error(
        "the table's field {field:?} is required and the writer's schema lacks it; give it a default or make it nullable in the contract"
    )]
    MissingField {
        /// The field.
        field: String,
    },
    /// A field's types differ in a way that cannot be held exactly.
    #[error("field {field:?}: the writer says {writer}, the table {table}")]
    FieldType {
        /// The field.
        field: String,
        /// The writer's Avro type.
        writer: String,
        /// The table's type.
        table: &'static str,
    },
    /// The table holds the field, and its contract or its column must change first.
    #[error("the table does not hold the writer's schema yet: {why}")]
    Behind {
        /// What must change.
        why: String,
    },
    /// A field cannot be held at all, or not beside what the column holds.
    #[error("{why}")]
    Incompatible {
        /// The field, both types and what to do.
        why: String,
    },
    /// The writer's schema is not of the topic's shape.
    #[error("the writer's schema does not fit the topic's shape: {why}")]
    Shape {
        /// What is missing or wrong.
        why: String,
    },
}

/// A decode error on its way up: boxed, so that the results of the hot path stay in registers.
pub(crate) type Fault = Box<DecodeError>;

#[cold]
pub(crate) fn invalid(why: impl Into<String>) -> Fault {
    Box::new(DecodeError::Invalid { why: why.into() })
}

#[cold]
pub(crate) fn truncated(at: usize) -> Fault {
    Box::new(DecodeError::Truncated { at })
}

#[cold]
pub(crate) fn type_mismatch(
    field: &str,
    expected: &'static str,
    found: impl Into<String>,
) -> Fault {
    Box::new(DecodeError::TypeMismatch {
        field: field.to_owned(),
        expected,
        found: found.into(),
    })
}

#[cold]
pub(crate) fn other_table() -> Fault {
    invalid("the decoder was made for another table's columns than the buffer's")
}
