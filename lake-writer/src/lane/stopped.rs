//! A lane that is not read for now.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::WriterError;

/// First wait before a stopped lane is tried again, and the longest.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// Why a lane is not read, and when it is tried again.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) error: WriterError,
    pub(crate) retry_at: Instant,
    wait: Duration,
}

impl Stopped {
    /// Stopped by this error, perhaps right after being stopped by another.
    pub(crate) fn by(error: WriterError, before: Option<&Self>) -> Self {
        let wait = before.map_or(RETRY_MIN, |before| (before.wait * 2).min(RETRY_MAX));
        Self {
            error,
            retry_at: Instant::now() + wait,
            wait,
        }
    }

    /// How long it waits.
    pub(crate) fn wait(&self) -> Duration {
        self.wait
    }
}
