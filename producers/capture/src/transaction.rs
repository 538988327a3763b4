//! A transaction on its way, and what is told of it in the topic of transactions.

use std::collections::BTreeMap;
use std::sync::Arc;

use change_events::{Record, put_long, put_text};
use chrono::{DateTime, SecondsFormat};
use schemas::{SchemaId, SchemaRegistry, Sequence, TransactionEvent, wire};

use crate::stop::Stop;
use crate::{CaptureError, Lsn};

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
}

/// The event time as a header holds it; a time that RFC 3339 does not have is the epoch's.
pub(crate) fn rfc3339(time_us: i64) -> String {
    let time = DateTime::from_timestamp_micros(time_us).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Encodes begins and ends of transactions.
#[derive(Debug)]
pub(crate) struct TransactionEncoder {
    topic: Arc<str>,
    event_type: Arc<str>,
    source: Arc<str>,
    key_id: SchemaId,
    value_id: SchemaId,
}

impl TransactionEncoder {
    /// The topic of a service's transactions.
    pub(crate) fn topic(service: &str) -> String {
        format!("{service}.transaction")
    }

    /// Registers the schemas.
    pub(crate) async fn prepare(
        service: &str,
        source: &Arc<str>,
        registry: &dyn SchemaRegistry,
    ) -> Result<Self, Stop> {
        let topic = Self::topic(service);
        let event = TransactionEvent::of(service);
        let (key, value) = (format!("{topic}-key"), format!("{topic}-value"));
        let ids = tokio::try_join!(
            registry.register(&key, &event.key_schema),
            registry.register(&value, &event.value_schema),
        );
        let (key_id, value_id) = match ids {
            Ok(ids) => ids,
            Err(error) if error.is_passing() => {
                return Err(Stop::Lost {
                    what: "schema registry",
                    why: error.to_string(),
                });
            }
            Err(source) => return Err(Stop::Error(CaptureError::Registry { topic, source })),
        };
        Ok(Self {
            event_type: topic.as_str().into(),
            topic: topic.into(),
            source: Arc::clone(source),
            key_id,
            value_id,
        })
    }

    /// The record that a transaction begins.
    pub(crate) fn begin(&self, transaction: &Transaction) -> Record {
        let mut value = self.head("BEGIN", transaction);
        value.extend_from_slice(&[0, 0]);
        self.record(transaction, transaction.at(0), value)
    }

    /// The record that a transaction ended, with its counts.
    pub(crate) fn end(&self, transaction: &Transaction) -> Record {
        let mut value = self.head("END", transaction);
        value.push(2);
        put_long(transaction.events, &mut value);
        value.push(2);
        // A map in memory is far shorter than i64's end; it is not empty.
        put_long(transaction.events_of_table.len() as i64, &mut value);
        for (table, events) in &transaction.events_of_table {
            put_text(table, &mut value);
            put_long(*events, &mut value);
        }
        value.push(0);
        self.record(
            transaction,
            transaction.at(2 * transaction.changes + 1),
            value,
        )
    }

    fn head(&self, status: &str, transaction: &Transaction) -> Vec<u8> {
        let mut value = Vec::with_capacity(128);
        wire::frame(self.value_id, &mut value);
        put_text(status, &mut value);
        put_text(&transaction.id, &mut value);
        put_long(transaction.commit_time_us.div_euclid(1000), &mut value);
        value
    }

    fn record(&self, transaction: &Transaction, sequence: Sequence, value: Vec<u8>) -> Record {
        let mut key = Vec::with_capacity(64);
        wire::frame(self.key_id, &mut key);
        put_text(&transaction.id, &mut key);
        Record {
            number: 0,
            sequence,
            topic: Arc::clone(&self.topic),
            source: Arc::clone(&self.source),
            event_type: Arc::clone(&self.event_type),
            event_id: sequence.to_string(),
            time: transaction.time.clone(),
            key,
            value,
        }
    }
}
