//! How much memory one table's writer holds, told to the reader as it changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Bytes on their way into one table. Shared by the reader, which adds chunks, and the table's
/// writer, which turns them into files and gives them back.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Chunks that wait for the table's writer.
    waiting: AtomicUsize,
    /// Files that grow or are being uploaded.
    files: AtomicUsize,
    /// A data file that is written anew.
    rewriting: AtomicUsize,
    room: Arc<Notify>,
}

impl Held {
    /// `room` is notified whenever the table's writer has made some.
    pub(crate) fn new(room: Arc<Notify>) -> Self {
        Self {
            room,
            ..Self::default()
        }
    }

    /// Bytes of chunks that the table's writer has not taken in yet.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// All bytes of rows.
    pub(crate) fn bytes(&self) -> usize {
        self.waiting_bytes() + self.files.load(Ordering::Relaxed)
    }

    /// Bytes of a data file that is being written anew; no commit gives them back.
    pub(crate) fn rewriting_bytes(&self) -> usize {
        self.rewriting.load(Ordering::Relaxed)
    }

    /// A chunk was sent.
    pub(crate) fn add_waiting(&self, bytes: usize) {
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A chunk was taken in.
    pub(super) fn take_waiting(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        self.room.notify_one();
    }

    /// The files hold so much now.
    pub(super) fn set_files(&self, bytes: usize) {
        self.files.store(bytes, Ordering::Relaxed);
        self.room.notify_one();
    }

    /// The data file that is written anew holds so much now.
    pub(super) fn set_rewriting(&self, bytes: usize) {
        self.rewriting.store(bytes, Ordering::Relaxed);
        self.room.notify_one();
    }
}
