//! Why a contract was refused.

/// Why a contract was refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ContractError {
    /// It is not an Avro schema.
    #[error("the contract is not an Avro schema: {0}")]
    Avro(String),
    /// It is an Avro schema of something else.
    #[error("the contract must be an Avro record, not {0}")]
    NotARecord(String),
    /// A field's type cannot be held by the lake.
    #[error(
        "field {field:?}: {found} cannot be held in a table; nothing is changed silently, so it is refused"
    )]
    FieldType {
        /// The field, with the records that it lies in: `a.b`.
        field: String,
        /// The type that was found, and why it is not held.
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
    /// A key field is not among the fields, or cannot be compared.
    #[error("key field {field:?} {why}")]
    Key {
        /// The key field.
        field: String,
        /// What is wrong with it.
        why: &'static str,
    },
}
