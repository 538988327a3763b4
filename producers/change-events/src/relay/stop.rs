//! How work on a connection ends.

use crate::window::Sent;
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

/// Records that were refused together.
pub(super) struct Refused {
    /// The places of their first and last row, and how many rows there are.
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) rows: usize,
    /// Whether an event is among them, or nothing but marks of transactions.
    pub(super) has_event: bool,
    pub(super) why: String,
}

impl Refused {
    /// One record, or one more beside those that are known; by rising places.
    pub(super) fn and(known: Option<Self>, Sent { place, is_event }: Sent, why: String) -> Self {
        match known {
            Some(known) => Self {
                last: known.last.max(place),
                rows: known.rows + usize::from(place != known.last),
                has_event: known.has_event || is_event,
                ..known
            },
            None => Self {
                first: place,
                last: place,
                rows: 1,
                has_event: is_event,
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
