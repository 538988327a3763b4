//! How work on a connection ends.

use crate::{OutboxError, PublishError, RelayError};

/// How a connection ended without an error.
#[derive(Debug)]
pub(super) enum Ended {
    /// The relay was told to stop; what was acknowledged is confirmed.
    Cancelled,
    /// The connection is spent; publish again from the confirmed position.
    Lost(String),
    /// The connection is spent on what was refused; publish again at once, with what that taught.
    Refused,
    /// Another relay has the outbox.
    Standby,
}

/// Why work on a connection stopped.
pub(super) enum Stop {
    Lost(String),
    /// The brokers did not take the batches of these rows; none after them in their partitions is
    /// stored.
    Refused(Refused),
    /// Parked rows were tried and refused.
    RetryRefused,
    Error(RelayError),
}

/// Rows that were refused together.
pub(super) struct Refused {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) rows: usize,
    pub(super) why: String,
}

impl Refused {
    /// One row, or one more beside those that are known.
    pub(super) fn and(known: Option<Self>, sequence: i64, why: String) -> Self {
        match known {
            Some(known) => Self {
                last: known.last.max(sequence),
                rows: known.rows + 1,
                ..known
            },
            None => Self {
                first: sequence,
                last: sequence,
                rows: 1,
                why,
            },
        }
    }
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
