//! The log of records that the writer reads: what it needs of Kafka, and no more.

use std::time::Duration;

use async_trait::async_trait;
use schemas::TopicPartition;

use crate::error::WriterError;

/// One record as the log hands it out; borrowed, so that nothing is copied before it is decoded.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition's number.
    pub partition: i32,
    /// The record's offset in it.
    pub offset: i64,
    /// The record's timestamp in milliseconds since 1970-01-01T00:00Z; 0 when it has none.
    pub timestamp_ms: i64,
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The record's value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The record's headers, if it has any.
    pub headers: Option<&'a dyn Headers>,
}

impl std::fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "record {}/{} offset {}",
            self.topic, self.partition, self.offset
        )
    }
}

impl<'a> Record<'a> {
    /// All headers in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> {
        let headers = self.headers;
        (0..headers.map_or(0, Headers::len)).filter_map(move |index| headers?.get(index))
    }

    /// Bytes of key and value.
    pub fn size_bytes(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len)
    }
}

/// The headers of a record.
pub trait Headers {
    /// How many there are.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Name and value of the header at an index; `None` past the end or when the name is not text.
    fn get(&self, index: usize) -> Option<(&str, Option<&[u8]>)>;
}

/// Which partitions this process reads, as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// These partitions are ours from now on; [`RecordLog::assign`] is awaited.
    Assigned(Vec<TopicPartition>),
    /// All partitions are somebody else's from now on.
    Revoked,
}

/// Where to start in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub partition: TopicPartition,
    /// The next offset to read; `None` reads from the earliest record kept.
    pub next_offset: Option<i64>,
}

/// A partitioned log of records, read by one process at a time.
///
/// Implementations: Kafka ([`crate::KafkaLog`]) and the simulation's log. Guarantees that the
/// writer relies on: within a partition, records come in rising offset order from the position
/// that was set, none left out but those the log no longer has (compaction, aborted transactions);
/// after [`RecordLog::assign`] or [`RecordLog::seek`] no record from before the call is handed out
/// for the partition below the position.
#[async_trait]
pub trait RecordLog: Send {
    /// Hands out records until `wait` is over, `records_max` is reached or the membership changes.
    ///
    /// The Kafka implementation blocks its thread: the caller runs on a thread of its own.
    async fn poll(
        &mut self,
        wait: Duration,
        records_max: usize,
        each: &mut (dyn for<'r> FnMut(Record<'r>) + Send),
    ) -> Result<Option<Membership>, WriterError>;

    /// Starts reading these partitions, and only these, at their positions.
    async fn assign(&mut self, positions: &[Position]) -> Result<(), WriterError>;

    /// Gives up all partitions after [`Membership::Revoked`].
    async fn unassign(&mut self) -> Result<(), WriterError>;

    /// Goes on at another offset of an assigned partition.
    async fn seek(
        &mut self,
        partition: &TopicPartition,
        next_offset: i64,
    ) -> Result<(), WriterError>;

    /// Stops handing out records of assigned partitions until they are resumed.
    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), WriterError>;

    /// Hands out records of paused partitions again.
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), WriterError>;

    /// Earliest offset kept and next offset to be written.
    async fn offsets_kept(&mut self, partition: &TopicPartition)
    -> Result<(i64, i64), WriterError>;

    /// Tells the log how far a partition is committed in the lake. Cosmetic: it is for lag
    /// displays, nothing reads it back.
    fn report_progress(&mut self, progress: &[(TopicPartition, i64)]);
}
