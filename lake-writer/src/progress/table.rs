//! How one table stands.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use schemas::{TableName, TopicPartition};

use crate::error::WriterError;
use crate::record_log::mark_time_ms;
use crate::table_writer::{Outcome, Resume};

/// What was done for one table since the start, and how far it is behind.
#[derive(Debug)]
pub struct TableProgress {
    name: TableName,
    rows: AtomicU64,
    dead_letters: AtomicU64,
    repetitions: AtomicU64,
    commits: AtomicU64,
    fences: AtomicU64,
    /// Milliseconds since 1970-01-01T00:00Z; 0 before the first commit.
    committed_at_ms: AtomicI64,
    stopped: Mutex<Option<StoppedTable>>,
    partitions: Mutex<BTreeMap<TopicPartition, PartitionProgress>>,
}

/// Why a table is not written to, or a topic has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedTable {
    /// The error's stable word, as in the runbook.
    pub code: &'static str,
    /// The error, with what to do.
    pub error: String,
}

/// How far a table is behind its topic, over the partitions of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Offsets between what is committed and the end.
    pub records: u64,
    /// Upper bound of the age of the oldest record that is not committed, by the records' own
    /// timestamps; 0 when all is. Where nothing was ever committed: the time since records were
    /// first seen, which is less than their age.
    pub millis: u64,
}

#[derive(Debug, Default)]
struct PartitionProgress {
    next_offset: Option<i64>,
    /// When the last committed record was written, if it is known.
    last_record_ms: Option<i64>,
    end_offset: Option<i64>,
    /// When all of it was last seen committed.
    caught_up_ms: Option<i64>,
    /// When it was first seen that not all of it is.
    behind_ms: Option<i64>,
}

impl TableProgress {
    pub(super) fn new(name: TableName) -> Self {
        Self {
            name,
            rows: AtomicU64::default(),
            dead_letters: AtomicU64::default(),
            repetitions: AtomicU64::default(),
            commits: AtomicU64::default(),
            fences: AtomicU64::default(),
            committed_at_ms: AtomicI64::default(),
            stopped: Mutex::default(),
            partitions: Mutex::default(),
        }
    }

    /// The table.
    pub fn name(&self) -> &TableName {
        &self.name
    }

    /// Rows committed.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Records committed as dead letters.
    pub fn dead_letters(&self) -> u64 {
        self.dead_letters.load(Ordering::Relaxed)
    }

    /// Records dropped because their source had published them before.
    pub fn repetitions(&self) -> u64 {
        self.repetitions.load(Ordering::Relaxed)
    }

    /// Versions committed.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Partitions that were found to be moved on by another writer.
    pub fn fences(&self) -> u64 {
        self.fences.load(Ordering::Relaxed)
    }

    /// When the last commit of this process landed, in milliseconds since 1970-01-01T00:00Z.
    pub fn committed_at_ms(&self) -> Option<i64> {
        Some(self.committed_at_ms.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// Why the table is not written to, if it is not.
    pub fn why_stopped(&self) -> Option<StoppedTable> {
        let stopped = self.stopped.lock();
        stopped.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The partitions that this process has.
    pub fn partitions(&self) -> Vec<TopicPartition> {
        self.known().keys().cloned().collect()
    }

    /// How far the table is behind; `None` before the ends were first looked up.
    pub fn lag(&self, now_ms: i64) -> Option<Lag> {
        let mut sum: Option<Lag> = None;
        for partition in self.known().values() {
            if let Some(lag) = partition.lag(now_ms) {
                let sum = sum.get_or_insert_default();
                sum.records += lag.records;
                sum.millis = sum.millis.max(lag.millis);
            }
        }
        sum
    }

    /// Takes in where partitions end now.
    pub(crate) fn ends(&self, ends: &[(TopicPartition, i64)], now_ms: i64) {
        let mut known = self.known();
        for (partition, end) in ends {
            if let Some(found) = known.get_mut(partition) {
                found.end_offset = Some(*end);
                found.note_caught_up(now_ms);
                if found.next_offset.is_some_and(|next| next < *end) {
                    found.behind_ms.get_or_insert(now_ms);
                }
            }
        }
    }

    /// Takes in where partitions that are read from now on stand.
    pub(crate) fn opened(&self, resumes: &[Resume]) {
        let mut known = self.known();
        for resume in resumes {
            let found = known.entry(resume.partition.clone()).or_default();
            if found.next_offset != resume.next_offset || found.last_record_ms.is_none() {
                found.last_record_ms = resume.last_mark.map(mark_time_ms);
            }
            // A partition that the table has never seen begins where it did at the try before.
            found.next_offset = resume.next_offset.or(found.next_offset);
        }
    }

    /// Takes in where a partition is read from.
    pub(crate) fn starts(&self, partition: &TopicPartition, next_offset: i64) {
        if let Some(found) = self.known().get_mut(partition) {
            found.next_offset = Some(next_offset);
        }
    }

    pub(super) fn given_up(&self) {
        self.known().clear();
    }

    pub(super) fn committed(&self, outcome: &Outcome, now_ms: i64) {
        self.rows.fetch_add(outcome.rows as u64, Ordering::Relaxed);
        self.dead_letters
            .fetch_add(outcome.dead_letters as u64, Ordering::Relaxed);
        self.repetitions
            .fetch_add(outcome.repetitions, Ordering::Relaxed);
        self.fences
            .fetch_add(outcome.fenced.len() as u64, Ordering::Relaxed);
        if outcome.version.is_some() {
            self.commits.fetch_add(1, Ordering::Relaxed);
            self.committed_at_ms.store(now_ms, Ordering::Relaxed);
        }
        let mut known = self.known();
        for (partition, next_offset) in &outcome.committed {
            // A commit may be told after the partition was given up.
            if let Some(found) = known.get_mut(partition) {
                found.next_offset = Some(*next_offset);
                let marks = outcome.last_marks.iter();
                let mut marks = marks.filter(|(of, _)| of == partition);
                found.last_record_ms = match marks.next() {
                    Some((_, mark)) => Some(mark_time_ms(*mark)),
                    None => found.last_record_ms,
                };
                found.note_caught_up(now_ms);
            }
        }
    }

    pub(crate) fn stopped(&self, error: &WriterError) {
        let stopped = StoppedTable {
            code: error.code(),
            error: error.to_string(),
        };
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = Some(stopped);
    }

    pub(crate) fn goes_on(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, PartitionProgress>> {
        let known = self.partitions.lock();
        known.unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartitionProgress {
    fn note_caught_up(&mut self, now_ms: i64) {
        if self.end_offset.is_some() && self.end_offset <= self.next_offset {
            self.caught_up_ms = Some(now_ms);
        }
    }

    fn lag(&self, now_ms: i64) -> Option<Lag> {
        let behind = self.end_offset?.saturating_sub(self.next_offset?);
        let Ok(records @ 1..) = u64::try_from(behind) else {
            return Some(Lag::default());
        };
        // What is not committed was written after the last committed record, and after the moment
        // at which nothing else was there.
        let since = self.last_record_ms.max(self.caught_up_ms);
        // Where nothing was ever committed nothing is known of the records' age.
        let since = since.or(self.behind_ms);
        let millis = since.map_or(0, |since| now_ms.saturating_sub(since));
        Some(Lag {
            records,
            millis: u64::try_from(millis).unwrap_or(0),
        })
    }
}
