//! Why the flight inventory stopped.

use std::path::PathBuf;

use change_events::{OutboxError, RelayError};
use schemas::{ContractError, NameError};

use crate::DataSetError;

/// The service cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// Its directory cannot be made.
    #[error("the directory {path} of the flight inventory cannot be created: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Its database did not do what was asked.
    #[error("the flight inventory's database {path} failed: {source}; check the file and its disk")]
    Database {
        /// The database's file.
        path: PathBuf,
        /// The database's words.
        source: sqlx::Error,
    },
    /// Its outbox.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// An event's images cannot be written as JSON: a bug.
    #[error("a flight cannot be written as json: {0}")]
    Image(String),
    /// The data set.
    #[error(transparent)]
    DataSet(#[from] DataSetError),
    /// The database holds another replay.
    #[error(
        "{path} holds a replay of {found}, not of {wanted}; use another directory, or go on with \
         the same period"
    )]
    OtherPeriod {
        /// The database's file.
        path: PathBuf,
        /// The period in the database.
        found: String,
        /// The period that was asked for.
        wanted: String,
    },
    /// The table is not where the replay's position says.
    #[error(
        "change {position} of the replay finds its flight not {wanted} in {path}: the table was \
         changed by somebody else; use another directory"
    )]
    OutOfStep {
        /// The database's file.
        path: PathBuf,
        /// The change's place in the replay.
        position: u64,
        /// What the flight had to be.
        wanted: &'static str,
    },
    /// The relay cannot be opened.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// The contract in this program is broken: a bug.
    #[error("the contract of flights.flight is broken: {0}")]
    Contract(#[from] ContractError),
    /// The entity's name in this program is broken: a bug.
    #[error(transparent)]
    Name(#[from] NameError),
}
