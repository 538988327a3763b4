//! What went wrong with a service's database.

use std::error::Error;

/// The service's database did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("the outbox cannot be {doing}: {source}; check the service's database")]
pub struct OutboxError {
    doing: &'static str,
    is_passing: bool,
    source: Box<dyn Error + Send + Sync>,
}

/// Classes of SQLSTATE that a later try may not meet: connection lost, no resources, the server
/// stops or starts, rolled back for another transaction.
const PASSING_CLASSES: [&str; 4] = ["08", "53", "57", "40"];

/// `read_only_sql_transaction`: a standby answers, where the primary is to be.
const READ_ONLY: &str = "25006";

impl OutboxError {
    /// Whether the database is away or busy and may answer later. SQLite's own waits are over
    /// when it fails, so nothing of it passes.
    pub fn is_passing(&self) -> bool {
        self.is_passing
    }

    /// The session has ended; [`crate::OutboxStore::claim`] makes another.
    pub(crate) fn no_session() -> Self {
        Self {
            doing: "used",
            is_passing: true,
            source: "its session has ended, and the claim to it with the session".into(),
        }
    }

    pub(crate) fn while_being(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self {
            doing,
            is_passing: is_passing(&source),
            source: Box::new(source),
        }
    }

    #[cfg(feature = "tokio-postgres")]
    pub(crate) fn of_tokio_postgres(
        doing: &'static str,
    ) -> impl FnOnce(tokio_postgres::Error) -> Self {
        move |source| Self {
            doing,
            is_passing: source.is_closed()
                || source
                    .code()
                    .is_some_and(|code| is_passing_state(code.code())),
            source: Box::new(source),
        }
    }
}

fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => error
            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
            .is_some_and(|error| is_passing_state(error.code())),
        _ => false,
    }
}

fn is_passing_state(state: &str) -> bool {
    state == READ_ONLY || PASSING_CLASSES.iter().any(|class| state.starts_with(class))
}
