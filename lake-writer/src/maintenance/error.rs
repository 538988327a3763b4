//! Why a table could not be taken care of.

use arrow::error::ArrowError;
use lake_store::LakeStoreError;
use parquet::errors::ParquetError;
use schemas::TableName;

use crate::commit::Refusal;
use crate::delta_log::DeltaLogError;

/// What to do about a current table that is of no use. What has passed its retention is in no other one.
pub(super) const PUT_BACK: &str = "put its folder back from a backup; or, where no changes have passed \
     their retention (the table of changes lacks the property lakehead.changes_since), move it away, \
     and `lakehead maintain` makes it again";

/// An error of the care for one table. Nothing is half done: what was uploaded is in no table, and
/// the next round begins with what is there.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// The lake's store does not do as asked.
    #[error("table {table}: the store does not answer: {why}; it is tried again in the next round")]
    Store {
        /// The table.
        table: String,
        /// The store's words.
        why: String,
    },
    /// A table is not as it must be.
    #[error("table {table}: {why}")]
    Table {
        /// The table.
        table: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// There is nothing that could be derived.
    #[error("table {table}: {why}")]
    NotDerived {
        /// The table.
        table: TableName,
        /// Why not.
        why: &'static str,
    },
    /// A setting makes no sense, or would put readers or writers at risk.
    #[error("{0}")]
    Setting(String),
    /// Another process took care of the table at the same time, and was first.
    #[error("table {table}: another process was first; it is looked at again in the next round")]
    Overtaken {
        /// The table.
        table: String,
    },
    /// The lake cannot be listed.
    #[error(transparent)]
    Lake(#[from] LakeStoreError),
    /// A part of the program ended without saying why, or computed what cannot be: a bug.
    #[error("internal error: {0}")]
    Internal(String),
}

impl MaintenanceError {
    pub(crate) fn of_store(table: &str, error: &object_store::Error) -> Self {
        let why = match error {
            object_store::Error::NotFound { path, .. } => format!(
                "{path} is not there, though the table has it (if that lasts, put it back from a backup)"
            ),
            other => other.to_string(),
        };
        Self::Store {
            table: table.to_owned(),
            why,
        }
    }

    pub(crate) fn of_table(table: &str, why: impl Into<String>) -> Self {
        Self::Table {
            table: table.to_owned(),
            why: why.into(),
        }
    }

    pub(crate) fn of_log(table: &str, error: &DeltaLogError) -> Self {
        match error {
            DeltaLogError::Store(error) => Self::of_store(table, error),
            DeltaLogError::Corrupt { .. } if table.ends_with("/current") => {
                Self::of_table(table, format!("{error}; {PUT_BACK}"))
            }
            DeltaLogError::Corrupt { .. } => Self::of_table(table, error.to_string()),
        }
    }
}

/// Why rows could not be read, folded or encoded; whoever knows the table names it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FoldError {
    #[error("{0}")]
    Log(#[from] DeltaLogError),
    #[error("{0}")]
    Store(#[from] object_store::Error),
    #[error("{path}: {why}")]
    File { path: String, why: String },
    #[error("{0}")]
    Rows(#[from] ArrowError),
    #[error("{0}")]
    Encoding(#[from] ParquetError),
    #[error("{0}")]
    Layout(String),
    #[error("{0:?}")]
    Refused(Refusal),
    #[error("{0}")]
    Internal(String),
    /// Of the changes, and not of what is made of them.
    #[error("{0}")]
    Changes(MaintenanceError),
}

impl FoldError {
    /// An error of the log of changes at this path.
    pub(crate) fn of_changes(path: &str, error: &DeltaLogError) -> Self {
        Self::Changes(MaintenanceError::of_log(path, error))
    }

    /// The error of a table at this path.
    pub(crate) fn of(self, table: &str) -> MaintenanceError {
        match self {
            Self::Changes(error) => error,
            Self::Store(error) => MaintenanceError::of_store(table, &error),
            Self::Log(error) => MaintenanceError::of_log(table, &error),
            Self::Refused(Refusal::Fenced(_) | Refusal::Overtaken) => MaintenanceError::Overtaken {
                table: table.to_owned(),
            },
            Self::Refused(Refusal::LayoutChanged) => MaintenanceError::of_table(
                table,
                format!(
                    "another program changed its columns or its protocol; if that stays so, {PUT_BACK}"
                ),
            ),
            Self::Refused(Refusal::NoAnswer(why)) => MaintenanceError::Store {
                table: table.to_owned(),
                why,
            },
            Self::Refused(Refusal::NotEncodable(why)) | Self::Internal(why) => {
                MaintenanceError::Internal(why)
            }
            other => MaintenanceError::of_table(table, other.to_string()),
        }
    }

    /// Names the file that an error of reading is about.
    pub(crate) fn in_file(self, path: &str) -> Self {
        match self {
            Self::Rows(_) | Self::Encoding(_) => Self::File {
                path: path.to_owned(),
                why: self.to_string(),
            },
            other => other,
        }
    }

    /// Whether a file that a log named is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Store(object_store::Error::NotFound { .. }))
    }
}

impl From<Refusal> for FoldError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unreadable(why) => Self::Layout(why),
            other => Self::Refused(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_advised_of_a_current_table_loses_no_rows() {
        let corrupt = DeltaLogError::Corrupt {
            path: "entry".into(),
            why: "cut off".to_owned(),
        };
        for error in [
            MaintenanceError::of_log("s/e/current", &corrupt),
            FoldError::Refused(Refusal::LayoutChanged).of("s/e/current"),
        ] {
            let error = error.to_string();
            assert!(
                error.contains("from a backup") && error.contains("lakehead.changes_since"),
                "{error}"
            );
        }
    }
}
