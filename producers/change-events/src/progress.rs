//! How far the relay has come.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Counters of a running relay; may be read at any time from any thread.
#[derive(Debug, Default)]
pub struct RelayProgress {
    published: AtomicU64,
    confirmed: AtomicI64,
}

impl RelayProgress {
    /// Events that Kafka acknowledged since this relay was opened. An event that was published
    /// again counts again.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// The outbox sequence up to which everything is acknowledged and confirmed in the database.
    pub fn confirmed(&self) -> i64 {
        self.confirmed.load(Ordering::Acquire)
    }

    pub(crate) fn count_published(&self, events: u64) {
        self.published.fetch_add(events, Ordering::Relaxed);
    }

    pub(crate) fn confirm(&self, sequence: i64) {
        self.confirmed.fetch_max(sequence, Ordering::Release);
    }
}
