//! How far the capture has come.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::Lsn;

/// Counters of a running capture; may be read at any time from any thread.
#[derive(Debug, Default)]
pub struct CaptureProgress {
    published: AtomicU64,
    copied_rows: AtomicU64,
    confirmed: AtomicU64,
    retained_bytes: AtomicU64,
    log_end: AtomicU64,
    is_streaming: AtomicBool,
}

impl CaptureProgress {
    /// Records that Kafka acknowledged since this capture was made. One that was published again
    /// counts again.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Rows of the tables' first copies, acknowledged.
    pub fn copied_rows(&self) -> u64 {
        self.copied_rows.load(Ordering::Relaxed)
    }

    /// Everything that was committed before this place is acknowledged by Kafka.
    pub fn confirmed(&self) -> Lsn {
        Lsn(self.confirmed.load(Ordering::Acquire))
    }

    /// Write-ahead log that Postgres keeps for the slot, in bytes, when it was last looked at.
    pub fn retained_bytes(&self) -> u64 {
        self.retained_bytes.load(Ordering::Relaxed)
    }

    /// Log that was written behind what is confirmed, in bytes, when the server was last looked at.
    pub fn lag_bytes(&self) -> u64 {
        let end = self.log_end.load(Ordering::Relaxed);
        end.saturating_sub(self.confirmed().0)
    }

    /// Whether the tables are copied and the stream is read.
    pub fn is_streaming(&self) -> bool {
        self.is_streaming.load(Ordering::Acquire)
    }

    pub(crate) fn count_published(&self, records: u64) {
        self.published.fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn count_copied(&self, rows: u64) {
        self.copied_rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn confirm(&self, lsn: Lsn) {
        self.confirmed.fetch_max(lsn.0, Ordering::Release);
    }

    pub(crate) fn retain(&self, bytes: u64) {
        self.retained_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn see_end(&self, end: Lsn) {
        self.log_end.store(end.0, Ordering::Relaxed);
    }

    pub(crate) fn stream(&self, is_streaming: bool) {
        self.is_streaming.store(is_streaming, Ordering::Release);
    }
}
