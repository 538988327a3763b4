//! The log of records that the writer reads: what it needs of Kafka, and no more.

use std::ops::ControlFlow;
use std::time::Duration;

use async_trait::async_trait;
use schemas::TopicPartition;
use twox_hash::XxHash3_64;

use crate::error::WriterError;
use crate::settings::Start;

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

/// Bits of a mark that hold a hash of the record's key and value; those above hold its timestamp.
const CONTENT_BITS: u32 = 20;

/// The timestamp in a record's mark, in milliseconds since 1970-01-01T00:00Z.
pub(crate) fn mark_time_ms(mark: i64) -> i64 {
    mark >> CONTENT_BITS
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

    /// A number that tells this record from another at its offset in a topic that was made again,
    /// or in another cluster: its timestamp and a hash of its key and value. Never negative.
    pub(crate) fn mark(&self) -> i64 {
        let key = XxHash3_64::oneshot(self.key.unwrap_or_default());
        let content = XxHash3_64::oneshot_with_seed(key, self.value.unwrap_or_default());
        let content = content.cast_signed() & ((1 << CONTENT_BITS) - 1);
        (self.timestamp_ms & (i64::MAX >> CONTENT_BITS)) << CONTENT_BITS | content
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

/// What the log has to say besides records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// These partitions are ours from now on; [`RecordLog::assign`] is awaited.
    Assigned(Vec<TopicPartition>),
    /// All partitions are somebody else's from now on.
    Revoked,
    /// The log does not hold the next offset of some partition, and hands out nothing of it until
    /// positions are assigned anew.
    OffsetLost,
    /// A topic is gone, has come, was made again under its name, or is not for us: where the assigned partitions
    /// stand must be looked up and compared anew.
    TopicsChanged,
}

/// Where to go on in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub partition: TopicPartition,
    /// The next offset to read.
    pub next_offset: i64,
}

/// A partitioned log of records, read by one process at a time.
///
/// Implementations: Kafka ([`crate::KafkaLog`]) and the simulation's log. Guarantees that the
/// writer relies on: within a partition, records come in rising offset order from the position
/// that was set, none left out but those the log no longer has (compaction, aborted transactions);
/// after [`RecordLog::assign`] or [`RecordLog::seek`] the first record handed out for a partition
/// is the first at or after the position. [`RecordLog::assign`] ends every pause.
#[async_trait]
pub trait RecordLog: Send {
    /// Hands out records until `each` breaks off, `wait` is over without one, `records_max` is
    /// reached or there are no more at hand. A notice is answered before the next poll.
    ///
    /// The Kafka implementation blocks its thread: the caller runs on a thread of its own.
    async fn poll(
        &mut self,
        wait: Duration,
        records_max: usize,
        each: &mut (dyn for<'r> FnMut(Record<'r>) -> ControlFlow<()> + Send),
    ) -> Result<Option<Notice>, WriterError>;

    /// Starts reading these partitions, and only these, at their positions.
    async fn assign(&mut self, positions: &[Position]) -> Result<(), WriterError>;

    /// Gives up all partitions after [`Notice::Revoked`].
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

    /// Earliest offset kept and next offset to be written, of each of these partitions in their
    /// order. What is wrong with one says nothing of the others.
    async fn offsets_kept(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Result<(i64, i64), WriterError>>, WriterError>;

    /// All topics there are, by name.
    async fn topics(&mut self) -> Result<Vec<String>, WriterError>;

    /// Reads these topics from now on, as soon as they exist.
    fn read_topics(&mut self, topics: Vec<String>) -> Result<(), WriterError>;

    /// The offset to start at in a partition that the table has never seen.
    async fn start_offset(
        &mut self,
        partition: &TopicPartition,
        start: Start,
    ) -> Result<i64, WriterError>;

    /// The offset below which everything of a partition was handed out some time ago, if the log
    /// knows: offsets of transaction markers and of compacted records hold nothing to hand out.
    fn passed(&self, partition: &TopicPartition) -> Option<i64>;

    /// How many partitions a topic has; 0 if it does not exist. An error of one table if we may not
    /// see or read it.
    async fn partition_count(&mut self, topic: &str) -> Result<i32, WriterError>;

    /// The id that the log's cluster gave itself when it was made; `None` if it has none. Of the
    /// cluster that answered last.
    async fn cluster_id(&mut self) -> Result<Option<String>, WriterError>;

    /// Tells the log how far a partition is committed in the lake. Cosmetic: it is for lag
    /// displays, nothing reads it back.
    fn report_progress(&mut self, progress: &[(TopicPartition, i64)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(timestamp_ms: i64, key: &[u8], value: Option<&[u8]>) -> i64 {
        let record = Record {
            topic: "t",
            partition: 0,
            offset: 7,
            timestamp_ms,
            key: Some(key),
            value,
            headers: None,
        };
        record.mark()
    }

    #[test]
    fn records_of_one_time_and_size_are_told_apart() {
        let last = mark(1_700_000_000_123, b"k", Some(b"{\"n\":1019}"));
        assert_eq!(mark_time_ms(last), 1_700_000_000_123);
        assert!(last >= 0 && mark(i64::MAX, b"k", None) >= 0);
        assert_eq!(mark(1_700_000_000_123, b"k", Some(b"{\"n\":1019}")), last);
        for other in [
            mark(1_700_000_000_123, b"k", Some(b"{\"n\":2019}")),
            mark(1_700_000_000_123, b"l", Some(b"{\"n\":1019}")),
            mark(1_700_000_000_123, b"k", None),
            mark(1_700_000_000_124, b"k", Some(b"{\"n\":1019}")),
        ] {
            assert_ne!(other, last);
        }
    }
}
