//! Why a table cannot be looked at, or not be led over a gap.

use crate::delta_log::DeltaLogError;

/// An error of looking at a table from outside, or of accepting its gaps.
#[derive(Debug, thiserror::Error)]
pub enum StandError {
    /// Kafka does not answer, or refuses to.
    #[error("kafka: {0}; check that it runs and [kafka] bootstrap_servers")]
    Kafka(String),
    /// Kafka does not let us see or read a topic.
    #[error("topic {topic}: kafka does not let this client read it; grant READ and DESCRIBE on it")]
    TopicForbidden {
        /// The topic.
        topic: String,
    },
    /// The lake's store does not answer.
    #[error("table {table}: the store does not answer: {why}; nothing is half done, run it again")]
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
    /// The table went on while it was looked at.
    #[error(
        "table {table}: somebody moved its progress meanwhile, a writer or another `lakehead resume`; \
         look at `lakehead status` and run it again if the table is still stopped"
    )]
    Moved {
        /// The table.
        table: String,
    },
}

impl StandError {
    pub(super) fn of(table: &str, error: DeltaLogError) -> Self {
        let table = table.to_owned();
        match error {
            DeltaLogError::Store(error) => Self::Store {
                table,
                why: error.to_string(),
            },
            corrupt @ DeltaLogError::Corrupt { .. } => Self::Table {
                table,
                why: corrupt.to_string(),
            },
        }
    }
}
