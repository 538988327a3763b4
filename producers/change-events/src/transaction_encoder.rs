//! Begins and ends of an owner's transactions, as records.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::{RegistryError, SchemaId, SchemaRegistry, Sequence, TransactionEvent, wire};

use crate::Record;
use crate::record_encoder::{put_long, put_text};
use crate::timestamp;

/// Where in the owner's time and in its source a transaction begins or ends.
#[derive(Clone, Copy, Debug)]
pub struct TransactionMark<'a> {
    /// The transaction's id, as its events have it.
    pub id: &'a str,
    /// Microseconds since 1970-01-01 UTC.
    pub time_us: i64,
    /// The record's own: rising in the topic from begin to end, and from transaction to transaction.
    pub sequence: Sequence,
}

/// Encodes [`TransactionEvent`]s: Avro in Confluent's wire format, for the topic
/// `<service>.transaction`.
#[derive(Debug)]
pub struct TransactionEncoder {
    topic: Arc<str>,
    source: Arc<str>,
    key_id: SchemaId,
    value_id: SchemaId,
}

impl TransactionEncoder {
    /// The topic of a service's transactions.
    pub fn topic(service: &str) -> String {
        format!("{service}.transaction")
    }

    /// Registers the schemas.
    pub async fn prepare(
        service: &str,
        source: &str,
        registry: &dyn SchemaRegistry,
    ) -> Result<Self, RegistryError> {
        let topic = Self::topic(service);
        let event = TransactionEvent::of(service);
        let (key, value) = (format!("{topic}-key"), format!("{topic}-value"));
        let (key_id, value_id) = tokio::try_join!(
            registry.register(&key, &event.key_schema),
            registry.register(&value, &event.value_schema),
        )?;
        Ok(Self {
            topic: topic.into(),
            source: source.into(),
            key_id,
            value_id,
        })
    }

    /// The record that a transaction begins.
    pub fn begin(&self, mark: TransactionMark<'_>) -> Record {
        let mut value = self.head("BEGIN", mark);
        value.extend_from_slice(&[0, 0]);
        self.record(mark, value)
    }

    /// The record that a transaction ended, with how many events of each table or entity it has.
    pub fn end(&self, mark: TransactionMark<'_>, counts: &BTreeMap<String, i64>) -> Record {
        let mut value = self.head("END", mark);
        value.push(2);
        put_long(counts.values().sum::<i64>(), &mut value);
        value.push(2);
        if !counts.is_empty() {
            // A map in memory is far shorter than i64's end.
            put_long(counts.len() as i64, &mut value);
        }
        for (name, events) in counts {
            put_text(name, &mut value);
            put_long(*events, &mut value);
        }
        value.push(0);
        self.record(mark, value)
    }

    fn head(&self, status: &str, mark: TransactionMark<'_>) -> Vec<u8> {
        let mut value = Vec::with_capacity(128);
        wire::frame(self.value_id, &mut value);
        put_text(status, &mut value);
        put_text(mark.id, &mut value);
        put_long(mark.time_us.div_euclid(1000), &mut value);
        value
    }

    fn record(&self, mark: TransactionMark<'_>, value: Vec<u8>) -> Record {
        let mut key = Vec::with_capacity(64);
        wire::frame(self.key_id, &mut key);
        put_text(mark.id, &mut key);
        Record {
            number: 0,
            sequence: mark.sequence,
            topic: Arc::clone(&self.topic),
            source: Arc::clone(&self.source),
            event_type: Arc::clone(&self.topic),
            event_id: mark.sequence.to_string(),
            time: timestamp::rfc3339_or_epoch(mark.time_us),
            key,
            value,
        }
    }
}
