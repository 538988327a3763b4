//! The seam between the relay and Kafka.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use schemas::{Sequence, TopicPartition, header};

/// One record as it goes to Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// By what a connection's notices call the record, not negative: of an outbox the sequence.
    pub number: i64,
    /// The event's place in its source: header `lakehead_sequence`.
    pub sequence: Sequence,
    /// The topic.
    pub topic: Arc<str>,
    /// The service's database: header `ce_source`.
    pub source: Arc<str>,
    /// What kind of event it is: header `ce_type`.
    pub event_type: Arc<str>,
    /// The event's id: header `ce_id`.
    pub event_id: String,
    /// The owner's commit time, RFC 3339 with microseconds: header `ce_time`.
    pub time: String,
    /// The encoded key; it alone decides the partition.
    pub key: Vec<u8>,
    /// The encoded value.
    pub value: Vec<u8>,
}

impl Record {
    /// The headers' names and values; `sequence` is the record's sequence as text.
    pub fn headers<'a>(&'a self, sequence: &'a str) -> [(&'static str, &'a str); 6] {
        [
            (header::SPEC_VERSION, "1.0"),
            (header::EVENT_ID, &self.event_id),
            (header::SOURCE, &self.source),
            (header::TYPE, &self.event_type),
            (header::TIME, &self.time),
            (header::SEQUENCE, sequence),
        ]
    }

    /// Bytes of key, value and headers: what the record takes of the relay's budget.
    pub fn bytes(&self) -> usize {
        let headers = self
            .headers("0000000000")
            .into_iter()
            .map(|(name, text)| name.len() + text.len());
        self.key.len() + self.value.len() + headers.sum::<usize>()
    }
}

/// Why records cannot be published now, or at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The brokers cannot be reached or are not well, or this connection is spent: connect again.
    #[error("{0}")]
    Unavailable(String),
    /// Trying again would not help: settings or rights must be changed.
    #[error("{0}")]
    Refused(String),
}

/// What a connection tells of its records and of the brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The brokers have the record.
    Delivered {
        /// The record's number.
        number: i64,
        /// The partition where it is.
        partition: i32,
        /// Its offset there.
        offset: i64,
    },
    /// The record may or may not be with the brokers. None that was sent after it to its
    /// partition is. The connection is spent.
    Failed {
        /// The record's number.
        number: i64,
        /// The broker's or the client's words.
        why: String,
        /// Whether this very record will never be taken, for example because it is too large.
        refused: bool,
    },
    /// The brokers cannot be reached; the connection goes on trying.
    Down {
        /// The client's words.
        why: String,
    },
}

/// A connection that publishes in order.
///
/// What an implementation must keep: per partition, records are stored in the order in which they
/// were sent; after a record failed, none that was sent after it is stored.
#[async_trait]
pub trait Publisher: fmt::Debug + Send {
    /// Hands one record over; does not wait.
    fn send(&mut self, record: &Record) -> Result<(), PublishError>;

    /// Waits until there is something to tell and appends it to `notices`. May be dropped while
    /// it waits without losing a notice.
    async fn notices(&mut self, notices: &mut Vec<Notice>) -> Result<(), PublishError>;

    /// Gives the connection up, with what it has not delivered.
    async fn close(self: Box<Self>);
}

/// A connection and what was found at its other end.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub publisher: Box<dyn Publisher>,
    /// The cluster's id, where the brokers have one.
    pub cluster: Option<String>,
    /// The partition count of each topic.
    pub partitions: BTreeMap<String, i32>,
}

/// Where the relay publishes to: [`crate::KafkaBroker`], or a stand-in in tests.
#[async_trait]
pub trait Broker: fmt::Debug + Send + Sync {
    /// Connects, and creates the topics that are missing.
    async fn connect(&self, topics: &[String]) -> Result<Connected, PublishError>;

    /// The offset after the last record of each of these partitions.
    async fn ends(
        &self,
        places: Vec<TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, i64>, PublishError>;
}
