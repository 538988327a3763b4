//! A topic of generated records.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use async_trait::async_trait;
use lake_writer::{Notice, Position, Record, RecordLog, Start, WriterError};
use schemas::{Shape, TopicPartition};

/// What the records are of.
#[derive(Clone, Copy)]
pub(crate) struct Subject {
    pub(crate) topic: &'static str,
    pub(crate) contract: &'static str,
    pub(crate) shape: Shape,
    /// Writes the record of a number into an empty key and an empty value; there are so many keys.
    pub(crate) compose: fn(i64, i64, &mut String, &mut String),
}

const PARTITIONS: i32 = 4;

/// Time of the first record.
pub(crate) const FIRST_MS: i64 = 1_700_000_000_000;

/// Records handed out at a time, of one partition.
const POLL_RECORDS: usize = 500;

/// The topic with its first `changes` records.
pub(crate) struct Generated {
    subject: Subject,
    changes: i64,
    keys: i64,
    /// Next offset, and whether the partition is paused.
    positions: BTreeMap<i32, (i64, bool)>,
    notice: Option<Notice>,
    key: String,
    value: String,
}

impl Generated {
    pub(crate) fn new(subject: Subject, changes: i64, keys: i64) -> Self {
        let all = (0..PARTITIONS).map(|number| TopicPartition::new(subject.topic, number));
        Self {
            subject,
            changes,
            keys,
            positions: BTreeMap::new(),
            notice: Some(Notice::Assigned(all.collect())),
            key: String::new(),
            value: String::new(),
        }
    }

    fn end(&self, partition: i32) -> i64 {
        (self.changes - i64::from(partition) + i64::from(PARTITIONS) - 1) / i64::from(PARTITIONS)
    }

    fn compose(&mut self, number: i64) {
        self.key.clear();
        self.value.clear();
        (self.subject.compose)(number, self.keys, &mut self.key, &mut self.value);
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) {
        for partition in partitions {
            if let Some(position) = self.positions.get_mut(&partition.partition) {
                position.1 = paused;
            }
        }
    }
}

#[async_trait]
impl RecordLog for Generated {
    async fn poll(
        &mut self,
        _: Duration,
        records_max: usize,
        each: &mut (dyn for<'r> FnMut(Record<'r>) -> ControlFlow<()> + Send),
    ) -> Result<Option<Notice>, WriterError> {
        tokio::task::yield_now().await;
        let mut left = (records_max / PARTITIONS as usize).min(POLL_RECORDS);
        for partition in 0..PARTITIONS {
            let Some((mut next, false)) = self.positions.get(&partition).copied() else {
                continue;
            };
            let mut goes_on = true;
            for _ in 0..left {
                if next >= self.end(partition) || !goes_on {
                    break;
                }
                let number = next * i64::from(PARTITIONS) + i64::from(partition);
                self.compose(number);
                let flow = each(Record {
                    topic: self.subject.topic,
                    partition,
                    offset: next,
                    timestamp_ms: FIRST_MS + number / 100,
                    key: Some(self.key.as_bytes()),
                    value: Some(self.value.as_bytes()),
                    headers: None,
                });
                goes_on = flow.is_continue();
                next += 1;
            }
            self.positions.insert(partition, (next, false));
            if !goes_on {
                left = 0;
            }
        }
        if left > 0
            && self
                .positions
                .iter()
                .all(|(number, (next, _))| *next >= self.end(*number))
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(self.notice.take())
    }

    async fn assign(&mut self, positions: &[Position]) -> Result<(), WriterError> {
        let positions = positions.iter();
        self.positions = positions
            .map(|position| (position.partition.partition, (position.next_offset, false)))
            .collect();
        Ok(())
    }

    async fn unassign(&mut self) -> Result<(), WriterError> {
        self.positions.clear();
        Ok(())
    }

    async fn seek(
        &mut self,
        partition: &TopicPartition,
        next_offset: i64,
    ) -> Result<(), WriterError> {
        if let Some(position) = self.positions.get_mut(&partition.partition) {
            position.0 = next_offset;
        }
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), WriterError> {
        self.set_paused(partitions, true);
        Ok(())
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), WriterError> {
        self.set_paused(partitions, false);
        Ok(())
    }

    async fn offsets_kept(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Result<(i64, i64), WriterError>>, WriterError> {
        let kept = partitions.iter().map(|of| Ok((0, self.end(of.partition))));
        Ok(kept.collect())
    }

    async fn topics(&mut self) -> Result<Vec<String>, WriterError> {
        Ok(vec![self.subject.topic.to_owned()])
    }

    fn read_topics(&mut self, _: Vec<String>) -> Result<(), WriterError> {
        Ok(())
    }

    async fn start_offset(&mut self, _: &TopicPartition, _: Start) -> Result<i64, WriterError> {
        Ok(0)
    }

    fn passed(&self, _: &TopicPartition) -> Option<i64> {
        None
    }

    async fn partition_count(&mut self, _: &str) -> Result<i32, WriterError> {
        Ok(PARTITIONS)
    }

    async fn cluster_id(&mut self) -> Result<Option<String>, WriterError> {
        Ok(None)
    }

    fn report_progress(&mut self, _: &[(TopicPartition, i64)]) {}
}
