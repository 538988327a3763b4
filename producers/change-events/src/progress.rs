//! How far the relay has come.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Counters of a running relay; may be read at any time from any thread.
#[derive(Debug, Default)]
pub struct RelayProgress {
    published: AtomicU64,
    confirmed: AtomicI64,
    parked_keys: AtomicU64,
    parked_rows: AtomicU64,
    pruned: AtomicU64,
}

impl RelayProgress {
    /// Events that Kafka acknowledged since this relay was opened. An event that was published
    /// again counts again.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// The outbox sequence up to which everything is acknowledged (or parked) and
    /// confirmed in the database.
    pub fn confirmed(&self) -> i64 {
        self.confirmed.load(Ordering::Acquire)
    }

    /// Keys whose rows wait because one of them cannot be published.
    pub fn parked_keys(&self) -> u64 {
        self.parked_keys.load(Ordering::Relaxed)
    }

    /// Rows that wait: those that cannot be published and the later ones of their keys.
    pub fn parked_rows(&self) -> u64 {
        self.parked_rows.load(Ordering::Relaxed)
    }

    /// Rows that were removed since this relay was opened.
    pub fn pruned(&self) -> u64 {
        self.pruned.load(Ordering::Relaxed)
    }

    pub(crate) fn set_parked(&self, keys: u64, rows: u64) {
        self.parked_keys.store(keys, Ordering::Relaxed);
        self.parked_rows.store(rows, Ordering::Relaxed);
    }

    pub(crate) fn count_pruned(&self, rows: u64) {
        self.pruned.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn count_published(&self, events: u64) {
        self.published.fetch_add(events, Ordering::Relaxed);
    }

    pub(crate) fn confirm(&self, sequence: i64) {
        self.confirmed.fetch_max(sequence, Ordering::Release);
    }
}
