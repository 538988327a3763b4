//! Fail points: how the tests show that a crash anywhere is survived.
//!
//! Without the cargo feature `faults` all of this compiles to nothing. With it, the environment variable
//! `FAILPOINTS` (see the crate `fail`) arms the points of [`Point`], and those of crates that build on this one.

/// A moment at which an armed relay dies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Point {
    /// Rows are handed over to Kafka or parked, nothing is confirmed.
    OutboxSent,
    /// Rows are acknowledged, nothing says so.
    OutboxAcknowledged,
    /// It is saved that they are.
    OutboxConfirmed,
    /// Rows are parked, what comes after them is not confirmed.
    OutboxParked,
    /// Parked rows have the numbers under which they are tried again, none is sent.
    RetryNumbered,
    /// Parked rows are published, and still parked.
    RetryPublished,
    /// Some rows that the lake has are removed.
    OutboxPruned,
}

/// Dies here if the point is armed.
pub(crate) fn point(point: Point) {
    reach(match point {
        Point::OutboxSent => "outbox_sent",
        Point::OutboxAcknowledged => "outbox_acknowledged",
        Point::OutboxConfirmed => "outbox_confirmed",
        Point::OutboxParked => "outbox_parked",
        Point::RetryNumbered => "retry_numbered",
        Point::RetryPublished => "retry_published",
        Point::OutboxPruned => "outbox_pruned",
    });
}

/// Dies here if the point of this name is armed.
#[doc(hidden)]
#[cfg(feature = "faults")]
pub fn reach(name: &'static str) {
    fail::fail_point!(name, |_| {
        tracing::error!(fail_point = name, "fail point reached: aborting");
        std::process::abort()
    });
}

#[doc(hidden)]
#[cfg(not(feature = "faults"))]
pub fn reach(_: &'static str) {}
