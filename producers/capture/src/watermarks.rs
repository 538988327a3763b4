//! What is counted of each table's events, and when a watermark may be published.
//!
//! The owner's clock is asked first, then its open transactions, then where its log ends ([`horizon`]).
//! Once the stream has passed that place and everything is acknowledged, everything that was committed up
//! to that time is in Kafka.
//!
//! What is counted is saved with the position that is confirmed, so that an event counts once, however
//! often it is published.
//!
//! [`horizon`]: crate::horizon

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use change_events::{CountedEvents, Record, Tally};
use schemas::canonical::{self, EventSums, RowWriter};
use schemas::{PartitionEnd, Sequence};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::horizon::Horizon;
use crate::state::Progress;
use crate::table_plan::{Encoded, TablePlan, copy_source};
use crate::{CapturedTable, Lsn};

/// How soon it is asked again while nothing can be told.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What is kept of a table's events: those of the log, and the rows of its first copy, which have a source
/// of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CountedTable {
    changes: CountedEvents,
    copied: CountedEvents,
}

/// The same of all tables, by topic.
pub(crate) type CountedTables = BTreeMap<String, CountedTable>;

/// Events by topic.
type Sums = BTreeMap<Arc<str>, EventSums>;

/// What a capture counts, and the horizon that it is on its way to.
#[derive(Debug)]
pub(crate) struct Watermarks {
    interval: Duration,
    /// By topic.
    tables: BTreeMap<String, OfTable>,
    /// The events of the transaction that is being read.
    open: Sums,
    /// Of transactions that are sent whole: their ends and their events.
    ended: VecDeque<(Lsn, Sums)>,
    ahead: Option<Horizon>,
    /// When a horizon is asked for next.
    look_at: Instant,
    pub(crate) is_hidden_told: bool,
    writer: RowWriter,
}

#[derive(Debug)]
struct OfTable {
    changes: Tally,
    copied: Tally,
}

impl Watermarks {
    /// Goes on counting where the progress says; of a table of which it does not say, begins behind all
    /// that may be published of it.
    pub(crate) fn new(interval: Duration, tables: &[CapturedTable], progress: &Progress) -> Self {
        let known = progress.counted.clone().unwrap_or_default();
        let confirmed = through(progress.confirmed);
        let anew = CountedEvents {
            after: confirmed.max(progress.reserved.signed()),
            ..CountedEvents::default()
        };
        let anew = CountedTable {
            changes: anew,
            copied: anew,
        };
        let source: Arc<str> = progress.source.as_str().into();
        let copy_source = copy_source(&source);
        let of_table = |table: &CapturedTable| {
            let counted = known.get(&table.topic()).copied().unwrap_or(anew);
            let tally = |source: &Arc<str>, counted| {
                Tally::new(table.entity.clone(), Arc::clone(source), counted, confirmed)
            };
            let of_table = OfTable {
                changes: tally(&source, counted.changes),
                copied: tally(&copy_source, counted.copied),
            };
            (table.topic(), of_table)
        };
        Self {
            interval,
            tables: tables.iter().map(of_table).collect(),
            open: Sums::new(),
            ended: VecDeque::new(),
            ahead: None,
            look_at: Instant::now() + interval,
            is_hidden_told: false,
            writer: RowWriter::default(),
        }
    }

    /// Takes in a row of a copy, which is added to its chunk's.
    pub(crate) fn add_copied(
        &mut self,
        plan: &TablePlan,
        sequence: Sequence,
        record: &Encoded,
        sums: &mut EventSums,
    ) {
        let image = self.image(plan, record);
        sums.add(&sequence.to_string(), image);
    }

    /// Counts a chunk of a copy, which is acknowledged.
    pub(crate) fn count_copied(&mut self, topic: &str, sequence: Sequence, sums: &EventSums) {
        if let Some(of_table) = self.tables.get_mut(topic)
            && sequence.major > of_table.copied.counted().after
        {
            of_table.copied.add(sums);
        }
    }

    /// Takes in an event of the transaction that is being read.
    pub(crate) fn send(&mut self, plan: &TablePlan, sequence: Sequence, record: &Encoded) {
        let after = self.tables.get(&*plan.topic);
        if after.is_none_or(|of_table| sequence.major <= of_table.changes.counted().after) {
            return;
        }
        let image = self.image(plan, record);
        let sums = match self.open.get_mut(&*plan.topic) {
            Some(sums) => sums,
            None => self.open.entry(Arc::clone(&plan.topic)).or_default(),
        };
        sums.add(&sequence.to_string(), image);
    }

    /// The hash of the row that an event leaves.
    fn image(&mut self, plan: &TablePlan, record: &Encoded) -> u128 {
        let Some(image) = record.image() else {
            self.writer.clear();
            self.writer.null();
            return self.writer.hash();
        };
        // What has no place in the lake counts as its bytes: it becomes a dead letter there.
        let hash = plan.row.hash(image, &mut self.writer);
        hash.unwrap_or_else(|_| canonical::hash(record.value.as_slice()))
    }

    /// The transaction that is being read is sent whole.
    pub(crate) fn end_transaction(&mut self, end: Lsn) {
        if !self.open.is_empty() {
            self.ended.push_back((end, std::mem::take(&mut self.open)));
        }
    }

    /// Counts the transactions up to a place, which are acknowledged; answers what is to be saved with it.
    pub(crate) fn count(&mut self, confirmed: Lsn) -> CountedTables {
        while let Some((_, sums)) = self.ended.pop_front_if(|(end, _)| *end <= confirmed) {
            for (topic, sums) in &sums {
                if let Some(of_table) = self.tables.get_mut(&**topic) {
                    of_table.changes.add(sums);
                }
            }
        }
        self.counted()
    }

    /// What is counted.
    pub(crate) fn counted(&self) -> CountedTables {
        let tables = self.tables.iter().map(|(topic, of_table)| {
            let counted = CountedTable {
                changes: *of_table.changes.counted(),
                copied: *of_table.copied.counted(),
            };
            (topic.clone(), counted)
        });
        tables.collect()
    }

    /// Whether a horizon is to be asked for now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.ahead.is_none() && now >= self.look_at
    }

    /// Asks for a horizon at once, whatever it is on its way to.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.ahead = None;
        self.look_at = now;
    }

    /// Whether nothing is asked for and nothing is waited for.
    pub(crate) fn rests(&self, now: Instant) -> bool {
        self.ahead.is_none() && now < self.look_at
    }

    /// Goes for a horizon; without one it is asked for again soon.
    pub(crate) fn go_for(&mut self, horizon: Option<Horizon>, now: Instant) {
        self.ahead = horizon;
        if horizon.is_none() {
            self.look_at = now + LOOK_INTERVAL.min(self.interval);
        }
    }

    /// The time up to which everything is in Kafka, once it is.
    pub(crate) fn reached(&mut self, confirmed: Lsn, now: Instant) -> Option<i64> {
        let horizon = self.ahead.take_if(|ahead| ahead.end <= confirmed)?;
        self.look_at = now + self.interval;
        Some(horizon.time_us)
    }

    /// The watermarks of a time, of the tables of which `ends` answers where their topics end. Everything
    /// before `confirmed` must be counted. They count as published from now on.
    pub(crate) fn at(
        &mut self,
        time_us: i64,
        confirmed: Lsn,
        ends: impl Fn(&str) -> Option<Vec<PartitionEnd>>,
    ) -> Vec<Record> {
        let mut records = Vec::new();
        for (topic, of_table) in &mut self.tables {
            let Some(ends) = ends(topic) else {
                continue;
            };
            for tally in [&mut of_table.changes, &mut of_table.copied] {
                let mark = tally.mark(time_us, through(confirmed), ends.clone());
                records.extend(mark.as_ref().map(Record::of_watermark));
            }
        }
        records
    }
}

/// The last sequence that a place in the log is behind: a commit that begins there is not counted.
fn through(confirmed: Lsn) -> i64 {
    Lsn(confirmed.0.saturating_sub(1)).signed()
}

#[cfg(test)]
mod tests;
