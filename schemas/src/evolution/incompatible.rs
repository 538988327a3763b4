//! Why a table cannot hold a writer's records.

/// Why a table cannot hold a writer's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incompatible {
    /// The field, within records as `a.b`; empty for the key as a whole.
    pub field: String,
    /// The table's contract by name, and what it says of the field.
    pub table: Box<(String, String)>,
    /// The writer's schema by name, and what it says of the field.
    pub writer: Box<(String, String)>,
    /// Why the one does not hold the other, and what to do.
    pub why: String,
}

impl std::fmt::Display for Incompatible {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ((table, in_table), (writer, in_writer)) = (self.table.as_ref(), self.writer.as_ref());
        if self.field.is_empty() {
            f.write_str("the key")?;
        } else {
            write!(f, "field {:?}", self.field)?;
        }
        write!(
            f,
            ": schema {writer:?} says {in_writer}, the table's contract {table:?} says {in_table}: {}",
            self.why
        )
    }
}

impl std::error::Error for Incompatible {}

/// What to do about a type that cannot change.
pub(super) const WAY_ON: &str =
    "write it as a new field beside the old one, or send the records to a new topic and table";
