//! Counters of what a writer has done, to be read from another thread.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::table_writer::Outcome;

/// What a writer has done since it started.
#[derive(Debug, Default)]
pub struct WriterProgress {
    records_read: AtomicU64,
    rows_committed: AtomicU64,
    dead_letters: AtomicU64,
    repetitions: AtomicU64,
    commits: AtomicU64,
    fenced: AtomicU64,
    buffered_bytes: AtomicU64,
}

impl WriterProgress {
    /// Records taken from the log.
    pub fn records_read(&self) -> u64 {
        self.records_read.load(Ordering::Relaxed)
    }

    /// Rows committed to tables of changes.
    pub fn rows_committed(&self) -> u64 {
        self.rows_committed.load(Ordering::Relaxed)
    }

    /// Records committed as dead letters.
    pub fn dead_letters(&self) -> u64 {
        self.dead_letters.load(Ordering::Relaxed)
    }

    /// Records dropped because their source had published them before.
    pub fn repetitions(&self) -> u64 {
        self.repetitions.load(Ordering::Relaxed)
    }

    /// Versions committed to tables of changes.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Times that a partition was found to be another writer's.
    pub fn fenced(&self) -> u64 {
        self.fenced.load(Ordering::Relaxed)
    }

    /// Bytes in buffers and in flushes on their way.
    pub fn buffered_bytes(&self) -> u64 {
        self.buffered_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn add_read(&self, records: u64) {
        self.records_read.fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn set_buffered_bytes(&self, bytes: u64) {
        self.buffered_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_committed(&self, outcome: &Outcome) {
        self.rows_committed
            .fetch_add(outcome.rows as u64, Ordering::Relaxed);
        self.dead_letters
            .fetch_add(outcome.dead_letters as u64, Ordering::Relaxed);
        self.repetitions
            .fetch_add(outcome.repetitions, Ordering::Relaxed);
        self.commits
            .fetch_add(u64::from(outcome.version.is_some()), Ordering::Relaxed);
        self.fenced
            .fetch_add(outcome.fenced.len() as u64, Ordering::Relaxed);
    }
}
