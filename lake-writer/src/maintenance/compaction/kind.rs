//! What kind of table is compacted: the columns of its files, and the order of their rows.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use uuid::Uuid;

use crate::action::Metadata;
use crate::layout;

/// A kind of table.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// An entity's changes, or the watermarks: columns by the table's contract.
    Changes,
    /// One of the lake's own, with the columns that this program's version writes.
    Own(SchemaRef),
}

/// The order in which rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// `_partition`, `_generation`, `_offset`.
    Places,
    /// That of the times of their files.
    Arrival,
}

impl Kind {
    /// The columns that the data files of a table have.
    ///
    /// # Errors
    /// The table is not one that this program's version writes to; why, and what to do.
    pub(super) fn columns(&self, metadata: &Metadata) -> Result<SchemaRef, String> {
        let Self::Own(ours) = self else {
            return super::columns(metadata);
        };
        let expected = layout::system_metadata(ours, Uuid::nil(), 0)?;
        let checked = layout::check_system(&expected, metadata);
        checked.map_err(|why| format!("{why}; nothing of it is compacted"))?;
        Ok(Arc::clone(ours))
    }

    /// The order of the rows. Tables of our own have no generations, and dead letters come in the order of
    /// their offsets as it is.
    pub(super) fn order(&self) -> Order {
        match self {
            Self::Changes => Order::Places,
            Self::Own(_) => Order::Arrival,
        }
    }
}
