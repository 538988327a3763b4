//! The wall clock, as a constructor argument.

use std::fmt;

/// Tells the time of day. Intervals are measured with tokio's clock, which tests can pause.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Microseconds since 1970-01-01T00:00Z.
    fn now_us(&self) -> i64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        chrono::Utc::now().timestamp_micros()
    }
}
