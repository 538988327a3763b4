//! How work on a connection ends.

use crate::{OutboxError, PublishError, RelayError};

/// How a connection ended without an error.
#[derive(Debug)]
pub(super) enum Ended {
    /// The relay was told to stop; what was acknowledged is confirmed.
    Cancelled,
    /// The connection is spent; publish again from the confirmed position.
    Lost(String),
}

/// Why work on a connection stopped.
pub(super) enum Stop {
    Lost(String),
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
