//! Why two sides could not be compared.

use query_engine::QueryError;
use schemas::TableName;

/// Why an owner and the lake could not be compared. That they differ is no error.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The address is not one of a database that can be read.
    #[error("{0}")]
    Address(String),
    /// The owner's database does not answer, or not as asked.
    #[error("the owner's database cannot be {doing}: {source}")]
    Owner {
        /// What was done.
        doing: &'static str,
        /// The database's words.
        source: sqlx::Error,
    },
    /// The two have no common ground.
    #[error("{table} cannot be compared: {why}")]
    Table {
        /// The entity.
        table: TableName,
        /// What is missing, and what to do.
        why: String,
    },
    /// A standby, whose snapshots do not tell which transactions were open.
    #[error(
        "{table} cannot be compared with a server in recovery: a standby does not tell which transactions \
         were open, so a change that is under way would be taken for a difference; give the address of \
         the primary"
    )]
    Standby {
        /// The entity.
        table: TableName,
    },
    /// The lake cannot be read.
    #[error(transparent)]
    Lake(#[from] QueryError),
}

impl VerifyError {
    pub(crate) fn owner(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Owner { doing, source }
    }

    /// Whether something that is needed could not be reached, so that trying again may help.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Owner { source, .. } => matches!(
                source,
                sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut
            ),
            Self::Lake(error) => error.is_unavailable(),
            Self::Address(_) | Self::Table { .. } | Self::Standby { .. } => false,
        }
    }
}
