//! What went wrong with a service's database.

use std::error::Error;

/// The service's database did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("the outbox cannot be {doing}: {source}; check the service's database")]
pub struct OutboxError {
    doing: &'static str,
    is_passing: bool,
    is_turn: bool,
    source: Box<dyn Error + Send + Sync>,
}

/// Classes of SQLSTATE that a later try may not meet: connection lost, no resources, the server
/// stops or starts, rolled back for another transaction.
const PASSING_CLASSES: [&str; 4] = ["08", "53", "57", "40"];

/// `read_only_sql_transaction`: the server takes no changes now, as one that is about to be left does.
const READ_ONLY: &str = "25006";

impl OutboxError {
    /// Whether the database is away or busy and may answer later. SQLite's own waits are over
    /// when it fails, so nothing of it passes.
    pub fn is_passing(&self) -> bool {
        self.is_passing
    }

    /// Whether nothing is wrong: the outbox is read another way from now on, and is to be claimed
    /// again.
    pub fn is_turn(&self) -> bool {
        self.is_turn
    }

    /// Of another way to the database than this crate's: it may pass, or somebody has to do something.
    pub fn new(
        doing: &'static str,
        is_passing: bool,
        why: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            doing,
            is_passing,
            is_turn: false,
            source: why.into(),
        }
    }

    /// See [`Self::is_turn`].
    pub fn turn() -> Self {
        Self {
            is_turn: true,
            ..Self::new("read", true, "it is read another way from now on")
        }
    }

    /// The session has ended; [`crate::OutboxStore::claim`] makes another.
    pub(crate) fn no_session() -> Self {
        Self::new(
            "used",
            true,
            "its session has ended, and the claim to it with the session",
        )
    }

    /// As after a failover, while the old primary's address leads to what it is now.
    pub(crate) fn standby() -> Self {
        Self::new(
            "opened",
            true,
            "a standby answers, where the primary is to be",
        )
    }

    pub(crate) fn while_being(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self {
            doing,
            is_passing: is_passing(&source),
            is_turn: false,
            source: Box::new(source),
        }
    }

    #[cfg(feature = "tokio-postgres")]
    pub(crate) fn of_tokio_postgres(
        doing: &'static str,
    ) -> impl FnOnce(tokio_postgres::Error) -> Self {
        move |source| Self {
            doing,
            is_turn: false,
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
