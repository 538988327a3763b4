//! A transaction on its way, and what is told of it in the topic of transactions.

use std::collections::BTreeMap;

use change_events::TransactionMark;
pub(crate) use change_events::timestamp::rfc3339_or_epoch as rfc3339;
use schemas::Sequence;

use crate::Lsn;

/// A transaction whose changes are being read.
///
/// Sequences within it count every change that Postgres sends, whether it is published or not, so that
/// they are the same when the transaction is read again: 0 is the begin, change `i` (from 0) has `2i + 1`,
/// and `2i + 2` for the second event of a changed key, the end has `2n + 1` of `n` changes.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) commit_lsn: Lsn,
    pub(crate) xid: u32,
    pub(crate) commit_time_us: i64,
    /// The commit time, RFC 3339.
    pub(crate) time: String,
    /// Debezium's name for it: the number and the commit's LSN.
    pub(crate) id: String,
    changes: i64,
    events: i64,
    events_of_table: BTreeMap<String, i64>,
}

impl Transaction {
    pub(crate) fn begin(commit_lsn: Lsn, xid: u32, commit_time_us: i64) -> Self {
        Self {
            commit_lsn,
            xid,
            commit_time_us,
            time: rfc3339(commit_time_us),
            id: format!("{xid}:{}", commit_lsn.0),
            changes: 0,
            events: 0,
            events_of_table: BTreeMap::new(),
        }
    }

    /// The sequence of the next change's event; `second` of the create after a changed key's delete.
    pub(crate) fn sequence(&self, second: bool) -> Sequence {
        self.at(2 * self.changes + 1 + i64::from(second))
    }

    fn at(&self, minor: i64) -> Sequence {
        Sequence {
            major: self.commit_lsn.signed(),
            minor: Some(minor),
        }
    }

    /// Counts an event of a table; answers its place in all, and among those of the table, from 1.
    pub(crate) fn count_event(&mut self, table: &str) -> (i64, i64) {
        self.events += 1;
        match self.events_of_table.get_mut(table) {
            Some(count) => {
                *count += 1;
                (self.events, *count)
            }
            None => {
                self.events_of_table.insert(table.to_owned(), 1);
                (self.events, 1)
            }
        }
    }

    /// Counts a change of Postgres', published or not.
    pub(crate) fn count_change(&mut self) {
        self.changes += 1;
    }

    /// How many events were published.
    pub(crate) fn events(&self) -> i64 {
        self.events
    }

    /// The same of each table.
    pub(crate) fn events_of_table(&self) -> &BTreeMap<String, i64> {
        &self.events_of_table
    }

    /// Where the transaction begins.
    pub(crate) fn begin_mark(&self) -> TransactionMark<'_> {
        self.mark(0)
    }

    /// Where it ends.
    pub(crate) fn end_mark(&self) -> TransactionMark<'_> {
        self.mark(2 * self.changes + 1)
    }

    fn mark(&self, minor: i64) -> TransactionMark<'_> {
        TransactionMark {
            id: &self.id,
            time_us: self.commit_time_us,
            sequence: self.at(minor),
        }
    }
}
