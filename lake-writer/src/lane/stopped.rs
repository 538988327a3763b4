//! A lane that is not read for now.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::WriterError;

/// First wait before a stopped lane is tried again, and the longest.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// A table that went on for so long begins with short waits again.
const CALM_MIN: Duration = Duration::from_secs(60);

/// What stops a table shows within so long of a new try.
const SETTLED_MIN: Duration = Duration::from_secs(5);

/// Why a lane is not read, and when it is tried again.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) error: WriterError,
    pub(crate) retry_at: Instant,
    wait: Duration,
    /// Rows were committed after it was tried again.
    settled: bool,
}

impl Stopped {
    /// Stopped by this error, perhaps right after being stopped by another: what is wrong with a
    /// record is seen only when it is read again, so a retry may fail a while after it began.
    pub(crate) fn by(error: WriterError, before: Option<&Self>) -> Self {
        let now = Instant::now();
        let again = before.filter(|before| now < before.retry_at + before.wait.max(CALM_MIN));
        let wait = match again {
            None => RETRY_MIN,
            // All were looked at again meanwhile, which was no try of its own.
            Some(before) if now < before.retry_at => before.wait,
            Some(before) => (before.wait * 2).min(RETRY_MAX),
        };
        Self {
            error,
            retry_at: now + wait,
            wait,
            settled: false,
        }
    }

    /// Whether it has been tried again for too short a time to say that it goes on.
    pub(crate) fn is_unsettled(&self) -> bool {
        !self.settled && Instant::now() < self.retry_at + SETTLED_MIN
    }

    /// It goes on.
    pub(crate) fn settle(&mut self) {
        self.settled = true;
    }

    /// How long it waits.
    pub(crate) fn wait(&self) -> Duration {
        self.wait
    }
}
