//! One flush for many appends.
//!
//! A batch is acknowledged when it is in a file of the write-ahead log. Appends that arrive while
//! a file is written share the next one, and files are at least the flush interval apart: an idle
//! broker answers at once, a busy one writes few, larger files.

use std::sync::Arc;
use std::time::Duration;

use slatedb::Db;
use slatedb::config::{FlushOptions, FlushType};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::error;

/// Appends waiting at once; more wait for a place.
const WAITING_MAX: usize = 4096;

/// A restart reads every file written since the last table, so that many small ones make it slow:
/// after this many files they are gathered into a table, however small.
const FILES_MAX: u32 = 4000;

type Waiter = oneshot::Sender<bool>;

/// A handle to the task that flushes. The task ends with its last handle.
#[derive(Clone, Debug)]
pub(crate) struct Durability {
    waiters: mpsc::Sender<Waiter>,
}

/// The log cannot be written any more: no acknowledgement may be given.
#[derive(Debug)]
pub(crate) struct NotDurable;

impl Durability {
    pub(crate) fn start(db: Arc<Db>, interval: Duration) -> Self {
        let (waiters, queue) = mpsc::channel(WAITING_MAX);
        tokio::spawn(flush_for(db, interval, queue));
        Self { waiters }
    }

    /// Returns when everything written to the database before this call would survive a SIGKILL.
    pub(crate) async fn reached(&self) -> Result<(), NotDurable> {
        let (waiter, flushed) = oneshot::channel();
        self.waiters.send(waiter).await.map_err(|_| NotDurable)?;
        match flushed.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(NotDurable),
        }
    }
}

async fn flush_for(db: Arc<Db>, interval: Duration, mut queue: mpsc::Receiver<Waiter>) {
    let mut next = Instant::now();
    let mut waiting = Vec::new();
    let mut files = 0;
    while let Some(first) = queue.recv().await {
        sleep_until(next).await;
        waiting.push(first);
        while let Ok(waiter) = queue.try_recv() {
            waiting.push(waiter);
        }
        next = Instant::now() + interval;
        let flushed = match db.flush().await {
            Ok(()) => true,
            Err(error) => {
                error!(%error, "the embedded broker cannot write its log; restart it");
                false
            }
        };
        for waiter in waiting.drain(..) {
            // One that is gone closed its connection; its records are kept all the same.
            let _ = waiter.send(flushed);
        }
        files += 1;
        if files == FILES_MAX {
            files = 0;
            tokio::spawn(gather(Arc::clone(&db)));
        }
    }
}

/// Writes what is in memory as a table. Appends go on meanwhile.
async fn gather(db: Arc<Db>) {
    let table = FlushOptions {
        flush_type: FlushType::MemTable,
    };
    if let Err(error) = db.flush_with_options(table).await {
        error!(%error, "the embedded broker cannot write a table; a restart will take longer");
    }
}
