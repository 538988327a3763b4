//! What a writer does, to be read from other threads: counters, tables, signs of life.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use schemas::TableName;
use tokio::time::Instant;

use crate::table_writer::Outcome;

mod table;

pub use table::{Lag, StoppedTable, TableProgress};

/// What a writer has done since it started, and how it stands.
#[derive(Debug)]
pub struct WriterProgress {
    started: Instant,
    records_read: AtomicU64,
    rows_committed: AtomicU64,
    dead_letters: AtomicU64,
    repetitions: AtomicU64,
    commits: AtomicU64,
    fenced: AtomicU64,
    buffered_bytes: AtomicU64,
    topics: AtomicU64,
    /// Partitions read, or a negative number while there is no assignment.
    partitions: AtomicI64,
    /// Milliseconds after the start; 0 before the first time.
    turned_ms: AtomicU64,
    beat_ms: AtomicU64,
    /// In the order in which they were first met, which never changes.
    tables: RwLock<Vec<Arc<TableProgress>>>,
    /// Topics that are to be read and cannot be, each with why.
    refused: RwLock<BTreeMap<String, StoppedTable>>,
}

impl Default for WriterProgress {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            records_read: AtomicU64::default(),
            rows_committed: AtomicU64::default(),
            dead_letters: AtomicU64::default(),
            repetitions: AtomicU64::default(),
            commits: AtomicU64::default(),
            fenced: AtomicU64::default(),
            buffered_bytes: AtomicU64::default(),
            topics: AtomicU64::default(),
            partitions: AtomicI64::new(-1),
            turned_ms: AtomicU64::default(),
            beat_ms: AtomicU64::default(),
            tables: RwLock::default(),
            refused: RwLock::default(),
        }
    }
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

    /// Topics that are to be read: those that are named, there or not, and those that were found.
    pub fn topics(&self) -> usize {
        usize::try_from(self.topics.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// Partitions that are read; `None` while none have been given to this process.
    pub fn partitions(&self) -> Option<u64> {
        u64::try_from(self.partitions.load(Ordering::Relaxed)).ok()
    }

    /// All tables, in an order that never changes: later ones come last.
    pub fn tables(&self) -> Vec<Arc<TableProgress>> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.clone()
    }

    /// Topics that are to be read and cannot be, each with why.
    pub fn refused_topics(&self) -> BTreeMap<String, StoppedTable> {
        let refused = self.refused.read();
        refused.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The reader's thread is alive. To be told about once a second by a task on it.
    pub fn beat(&self) {
        let now = self.since_start_ms();
        self.beat_ms.store(now, Ordering::Relaxed);
    }

    /// Time since the reader's thread last gave a sign of life, in milliseconds.
    pub fn beat_age_ms(&self) -> u64 {
        let last = self.beat_ms.load(Ordering::Relaxed);
        let last = last.max(self.turned_ms.load(Ordering::Relaxed));
        self.since_start_ms().saturating_sub(last)
    }

    /// Time since the reader's loop last began a turn, in milliseconds. Long while it waits for
    /// Kafka or the store.
    pub fn turn_age_ms(&self) -> u64 {
        let last = self.turned_ms.load(Ordering::Relaxed);
        self.since_start_ms().saturating_sub(last)
    }

    pub(crate) fn turned(&self) {
        let now = self.since_start_ms();
        self.turned_ms.store(now, Ordering::Relaxed);
    }

    pub(crate) fn reading(&self, topics: usize) {
        self.topics.store(topics as u64, Ordering::Relaxed);
    }

    pub(crate) fn assigned(&self, partitions: usize) {
        let partitions = i64::try_from(partitions).unwrap_or(i64::MAX);
        self.partitions.store(partitions, Ordering::Relaxed);
    }

    /// A topic cannot be read; whether that is news.
    pub(crate) fn refused(&self, topic: &str, code: &'static str, error: String) -> bool {
        let why = StoppedTable { code, error };
        let mut refused = self.refused.write().unwrap_or_else(PoisonError::into_inner);
        let before = refused.insert(topic.to_owned(), why.clone());
        before != Some(why)
    }

    /// A topic can be read.
    pub(crate) fn accepted(&self, topic: &str) {
        let mut refused = self.refused.write().unwrap_or_else(PoisonError::into_inner);
        refused.remove(topic);
    }

    pub(crate) fn revoked(&self) {
        self.partitions.store(-1, Ordering::Relaxed);
        for table in self.tables() {
            table.given_up();
        }
    }

    /// One table's part; made when it is first asked for.
    pub(crate) fn table(&self, name: &TableName) -> Arc<TableProgress> {
        let find = |tables: &[Arc<TableProgress>]| {
            let mut tables = tables.iter();
            tables.find(|table| table.name() == name).map(Arc::clone)
        };
        let known = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = find(&known) {
            return table;
        }
        drop(known);
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        find(&tables).unwrap_or_else(|| {
            let table = Arc::new(TableProgress::new(name.clone()));
            tables.push(Arc::clone(&table));
            table
        })
    }

    pub(crate) fn add_read(&self, records: u64) {
        self.records_read.fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn set_buffered_bytes(&self, bytes: u64) {
        self.buffered_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_committed(&self, table: &TableName, outcome: &Outcome, now_us: i64) {
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
        self.table(table).committed(outcome, now_us / 1000);
    }

    fn since_start_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
