//! The relay's side of an outbox: the seam between the relay and the service's database.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use schemas::TopicPartition;
use schemas::canonical::EventSums;
use serde::{Deserialize, Serialize};

use crate::{OutboxError, OutboxRow};

/// An outbox as a relay reads it, and what the relay keeps beside it: in SQLite
/// ([`crate::SqliteOutbox`]) or Postgres ([`crate::PostgresOutbox`]).
/// Or another way to read the rows, beside one of these.
///
/// What an implementation must keep: a row that [`Self::rows_after`] did not answer although a
/// larger place was answered never appears; what a call has written is on disk when it returns,
/// with all that the service committed before. After an error only [`Self::claim`] connects again;
/// until then every other call fails, with an error that [passes](OutboxError::is_passing): without
/// the claim another relay may be further, and what this one knows would set it back.
#[async_trait]
pub trait OutboxStore: fmt::Debug + Send + Sync {
    /// The identity of the service's database, or of the order in which its rows come. It may be
    /// another one after the next [`Self::claim`].
    async fn source(&mut self) -> Result<String, OutboxError>;

    /// The identity of the service's database, whatever the order of its rows.
    async fn own_source(&mut self) -> Result<String, OutboxError> {
        self.source().await
    }

    /// Whether it says which transaction wrote a row; known since the last [`Self::claim`].
    fn tells_transactions(&self) -> bool {
        false
    }

    /// Takes the outbox for this relay, with a new connection if the last one is spent; false while
    /// another one has it. To be called before any work and again after an error.
    async fn claim(&mut self) -> Result<bool, OutboxError>;

    /// Notes which server the outbox is on, the first time; answers the one of that time and the
    /// one of now if they differ. A restored backup may draw sequences again that were published.
    async fn moved(&mut self) -> Result<Option<(String, String)>, OutboxError>;

    /// Up to `limit` rows above `position`, in order, and how far it was looked for them.
    async fn rows_after(&mut self, position: i64, limit: u32) -> Result<OutboxBatch, OutboxError>;

    /// Waits until [`Self::rows_after`] this position may have something new to answer. May be
    /// dropped while it waits. An outbox that is polled never says so.
    async fn wait(&mut self, _position: i64) -> Result<(), OutboxError> {
        std::future::pending().await
    }

    /// Whether the rows that it answers are on the owner's disk. If not, the position is saved, and
    /// they with it, before they are published.
    fn is_durable(&self) -> bool {
        false
    }

    /// The row at this place, which was answered and is not confirmed.
    async fn row(&mut self, place: i64) -> Result<Option<OutboxRow>, OutboxError> {
        let rows = self.rows_after(place - 1, 1).await?.rows;
        Ok(rows.into_iter().find(|row| row.place == place))
    }

    /// Notes that the relay ends. To be called when everything that was published is confirmed.
    async fn close(&mut self) -> Result<(), OutboxError> {
        Ok(())
    }

    /// How far the relay has come.
    async fn position(&mut self) -> Result<Position, OutboxError>;

    /// Moves the position. What is smaller than what is there stays as it is; offsets of partitions
    /// that are not named, too. Sums are replaced only by those of a later sequence.
    async fn save(&mut self, position: &Position) -> Result<(), OutboxError>;

    /// The cluster that the outbox is published to, once there was one.
    async fn cluster(&mut self) -> Result<Option<String>, OutboxError>;

    /// Notes the cluster, and forgets the topics of another.
    async fn set_cluster(&mut self, cluster: &str) -> Result<(), OutboxError>;

    /// The partition count that the topic had first; `found` if it is new.
    async fn topic_partitions(&mut self, topic: &str, found: i32) -> Result<i32, OutboxError>;

    /// Parks rows; one that is parked already stays as it is.
    async fn park(&mut self, rows: &[ParkedRow]) -> Result<(), OutboxError>;

    /// Rows that were tried and not published stay parked with a new reason, without the wish to be
    /// tried and the sequence that it brought.
    async fn park_again(&mut self, rows: &[ParkedRow]) -> Result<(), OutboxError>;

    /// The keys with parked rows, at most `limit`.
    async fn parked_keys(&mut self, limit: u32) -> Result<Vec<ParkedKey>, OutboxError>;

    /// The rows of the first key whose first row is to be tried again, in order, at most `limit`.
    /// Of one that was not passed yet the place is above all that were answered.
    async fn retries(&mut self, limit: u32) -> Result<Vec<Retry>, OutboxError>;

    /// Gives rows that are about to be tried a sequence of their own, in their order, above all
    /// that were given before; one that has a sequence keeps it. Answers both of each row that is
    /// still parked.
    async fn number_retries(&mut self, sequences: &[i64]) -> Result<Vec<(i64, i64)>, OutboxError>;

    /// Rows that were tried and published are not parked any more.
    async fn unpark(&mut self, sequences: &[i64]) -> Result<(), OutboxError>;

    /// How far the owner's clock may be said to be complete, once everything up to a sequence is
    /// published; `None` while it cannot be told.
    async fn horizon(&mut self) -> Result<Option<Horizon>, OutboxError>;

    /// Removes up to `rows_max` rows up to `through`, but for those that are parked; answers how
    /// many.
    async fn prune(&mut self, through: i64, rows_max: u32) -> Result<u64, OutboxError>;
}

/// Rows of an outbox that were read together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxBatch {
    /// The rows, by rising place.
    pub rows: Vec<OutboxRow>,
    /// The sequence up to which it was looked: every transaction that had drawn one up to it had
    /// ended by then. It may be lower than at the read before; what was said then holds. By
    /// replication it is a place in the log, above all of [`OutboxRow::place`].
    pub safe: i64,
    /// The place up to which no row is left to publish once all of these are, if that is behind the last
    /// of them: rows there were published before, read another way.
    pub passed: Option<i64>,
}

impl OutboxBatch {
    /// The sequence up to which nothing is left unread above the position, if all rows are taken:
    /// a batch that is as long as its `limit` says nothing of what is behind its last row.
    pub fn read_through(&self, limit: u32) -> i64 {
        let is_full = self.rows.len() >= limit as usize;
        let last = self.rows.last().filter(|_| is_full);
        last.map_or(self.safe, |last| last.place)
    }
}

/// How far a relay has come. More may be kept with it one day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Position {
    /// The place up to which everything is acknowledged (or parked).
    pub confirmed: i64,
    /// The place up to which rows may be in Kafka.
    pub released: i64,
    /// For each topic partition, the offset after the last record acknowledged: at least all of the
    /// rows up to `confirmed` are below. [`Position::UNKNOWN`] where offsets fell back. Of a partition
    /// that is missing nothing is known, not even that nothing was published there.
    pub offsets: BTreeMap<TopicPartition, i64>,
    /// What the events up to `confirmed` add up to, if they are counted; of entities that are not
    /// named, what is there stays.
    pub counting: Option<Counting>,
}

/// Events that are counted for watermarks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counting {
    /// The sequence up to which they are.
    pub through: i64,
    /// Those of each entity.
    pub entities: BTreeMap<String, CountedEvents>,
}

impl Counting {
    /// As both databases keep it: entity, sequence after which it begins, events, the sums of their
    /// ids and of their images, the last watermark's time.
    pub(crate) fn of_rows(
        through: i64,
        rows: Vec<(String, i64, i64, String, String, i64)>,
    ) -> Result<Self, sqlx::Error> {
        let sum = |text: String| {
            text.parse()
                .map_err(|why: String| sqlx::Error::Decode(why.into()))
        };
        let mut entities = BTreeMap::new();
        for (entity, after, events, ids, images, complete_through_us) in rows {
            let sums = EventSums {
                count: u64::try_from(events).unwrap_or(0),
                ids: sum(ids)?,
                rows: sum(images)?,
            };
            let counted = CountedEvents {
                after,
                sums,
                complete_through_us,
            };
            entities.insert(entity, counted);
        }
        Ok(Self { through, entities })
    }
}

/// The events of one entity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedEvents {
    /// The sequence after which they begin.
    pub after: i64,
    /// What they add up to.
    pub sums: EventSums,
    /// The time of the last watermark, in microseconds since 1970-01-01 UTC: none goes back.
    pub complete_through_us: i64,
}

/// An owner's time and the outbox at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// The owner's clock, or the start of its oldest transaction that was open and had written, if
    /// that is earlier: microseconds since 1970-01-01 UTC.
    pub time_us: i64,
    /// What was committed up to then is read once [`OutboxBatch::safe`] has come to this.
    pub drawn: i64,
}

impl Position {
    /// No offset is as large: a topic was made again, and its offsets say nothing any more.
    pub const UNKNOWN: i64 = i64::MAX;

    /// A position without offsets.
    pub fn new(confirmed: i64, released: i64) -> Self {
        Self {
            confirmed,
            released,
            offsets: BTreeMap::new(),
            counting: None,
        }
    }
}

/// A row that is parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedRow {
    /// The row's sequence.
    pub sequence: i64,
    /// Its entity.
    pub entity: String,
    /// What tells the key from others: its encoding, or its text where it has none.
    pub key_id: Vec<u8>,
    /// The key as the service wrote it.
    pub key: String,
    /// Why it is not published.
    pub why: String,
}

/// A key whose rows are parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedKey {
    /// The entity.
    pub entity: String,
    /// See [`ParkedRow::key_id`].
    pub key_id: Vec<u8>,
    /// The first sequence that is parked: later rows of the key are parked behind it.
    pub first: i64,
    /// The last one.
    pub last: i64,
    /// How many rows are parked.
    pub rows: u64,
}

/// A parked row that is to be tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The row, as it is now.
    pub row: OutboxRow,
    /// See [`ParkedRow::key_id`].
    pub key_id: Vec<u8>,
    /// The sequence it was given for an earlier try that may have reached Kafka.
    pub retry_sequence: Option<i64>,
}
