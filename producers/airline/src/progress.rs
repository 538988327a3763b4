//! How far the replay has come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of a replay; may be read at any time from any thread. A clone reads the same counters.
#[derive(Clone, Debug, Default)]
pub struct ReplayProgress {
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    total: AtomicU64,
}

impl ReplayProgress {
    /// Changes that are in the service's database, those of earlier runs included.
    pub fn written(&self) -> u64 {
        self.counters.written.load(Ordering::Relaxed)
    }

    /// Changes of the whole period; 0 until the replay has begun.
    pub fn total(&self) -> u64 {
        self.counters.total.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self, written: u64, total: u64) {
        self.counters.written.store(written, Ordering::Relaxed);
        self.counters.total.store(total, Ordering::Relaxed);
    }

    pub(crate) fn write(&self, written: u64) {
        self.counters.written.store(written, Ordering::Relaxed);
    }
}
