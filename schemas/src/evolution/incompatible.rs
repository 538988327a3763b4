//! Why a table cannot hold a writer's records.

/// Why a table cannot hold a writer's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incompatible {
    /// The field, within records as `a.b`; empty for the key as a whole.
    pub field: String,
    /// The table's contract.
    pub table: Box<Side>,
    /// The writer's schema.
    pub writer: Box<Side>,
    /// Why the one does not hold the other, and what to do.
    pub why: String,
}

/// One of two schemas that do not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The schema by its full name.
    pub schema: String,
    /// What it says of the field.
    pub says: String,
}

impl std::fmt::Display for Incompatible {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() {
            f.write_str("the key")?;
        } else {
            write!(f, "field {:?}", self.field)?;
        }
        write!(
            f,
            ": schema {:?} says {}, the table's contract {:?} says {}: {}",
            self.writer.schema, self.writer.says, self.table.schema, self.table.says, self.why
        )
    }
}

impl std::error::Error for Incompatible {}

/// What to do about a type that cannot change.
pub(super) const WAY_ON: &str =
    "write it as a new field beside the old one, or send the records to a new topic and table";
