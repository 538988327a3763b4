//! How work on a connection ends.

use crate::{OutboxError, PublishError, RelayError};

/// How a connection ended without an error.
#[derive(Debug)]
pub(super) enum Ended {
    /// The relay was told to stop; what was acknowledged is confirmed.
    Cancelled,
    /// The connection is spent; publish again from the confirmed position.
    Lost(String),
    /// The connection is spent on a record that is parked now; publish again at once.
    Parked,
    /// Another relay has the outbox.
    Standby,
}

/// Why work on a connection stopped.
pub(super) enum Stop {
    Lost(String),
    /// The brokers will never take this row's record; none after it in its partition is stored.
    Refused {
        sequence: i64,
        why: String,
    },
    /// A parked row was tried and refused; it is parked again.
    ParkedAgain,
    Error(RelayError),
}

impl From<RelayError> for Stop {
    fn from(error: RelayError) -> Self {
        Self::Error(error)
    }
}

impl From<OutboxError> for Stop {
    fn from(error: OutboxError) -> Self {
        Self::Error(error.into())
    }
}

/// A connection that failed is spent, whatever the reason.
pub(super) fn lost(error: PublishError) -> Stop {
    Stop::Lost(error.to_string())
}
