//! Questions to Kafka from outside of the reading loop.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::StandError;
use crate::kafka::{client_config, is_forbidden, is_hidden, is_missing, record_of};
use crate::settings::KafkaSettings;

/// Longest time one question takes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest time to read one record of each partition of a topic.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// First offset kept and next offset.
type Kept = (i64, i64);

/// A client that joins no group and commits nothing.
pub(crate) struct KafkaView {
    consumer: BaseConsumer,
}

impl std::fmt::Debug for KafkaView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KafkaView")
    }
}

impl KafkaView {
    pub(crate) fn new(settings: &KafkaSettings) -> Result<Self, StandError> {
        let mut config = client_config(settings);
        // The end of a partition may be markers of transactions, which are never handed out.
        config.set("enable.partition.eof", "true");
        config.set("statistics.interval.ms", "0");
        let consumer = config.create().map_err(told)?;
        Ok(Self { consumer })
    }

    /// Lets go of what librdkafka has told meanwhile, which is kept until somebody asks for it.
    pub(crate) fn forget_told(&self) {
        while self.consumer.poll(Duration::ZERO).is_some() {}
    }

    /// All topics, in order.
    pub(crate) fn topics(&self) -> Result<Vec<String>, StandError> {
        let metadata = self.consumer.fetch_metadata(None, REQUEST_TIMEOUT);
        let metadata = metadata.map_err(told)?;
        let names = metadata
            .topics()
            .iter()
            .map(|topic| topic.name().to_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
    }

    /// How many partitions a topic has; 0 if there is no such topic. [`StandError::TopicForbidden`]
    /// if we may not see it.
    pub(crate) fn partition_count(&self, topic: &str) -> Result<i32, StandError> {
        let metadata = self.consumer.fetch_metadata(Some(topic), REQUEST_TIMEOUT);
        let metadata = match metadata {
            Err(error) if is_missing(&error) => return Ok(0),
            other => other.map_err(told)?,
        };
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        if found.is_some_and(is_hidden) {
            return Err(forbidden(topic));
        }
        let count = found.map_or(0, |topic| topic.partitions().len());
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }

    /// The id of the cluster; `None` if it has none.
    pub(crate) fn cluster_id(&self) -> Option<String> {
        self.consumer.client().fetch_cluster_id(REQUEST_TIMEOUT)
    }

    /// The next offset of each partition: one request for each broker.
    pub(crate) fn ends(
        &self,
        topic: &str,
        partitions: &[i32],
    ) -> Result<Vec<(i32, i64)>, StandError> {
        self.offsets(topic, partitions, Offset::End).map_err(told)
    }

    /// First offset kept and next offset of each partition.
    pub(crate) fn kept(
        &self,
        topic: &str,
        partitions: &[i32],
    ) -> Result<Vec<(i32, Kept)>, StandError> {
        let firsts = self.offsets(topic, partitions, Offset::Beginning);
        let firsts: HashMap<i32, i64> = firsts.map_err(told)?.into_iter().collect();
        let ends = self.ends(topic, partitions)?.into_iter();
        let both = ends.filter_map(|(partition, end)| {
            let first = firsts.get(&partition)?;
            Some((partition, (*first, end)))
        });
        Ok(both.collect())
    }

    fn offsets(
        &self,
        topic: &str,
        partitions: &[i32],
        which: Offset,
    ) -> KafkaResult<Vec<(i32, i64)>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition_offset(topic, *partition, which)?;
        }
        // Beginning and end are times to the protocol.
        let found = self.consumer.offsets_for_times(list, REQUEST_TIMEOUT)?;
        let mut offsets = Vec::with_capacity(partitions.len());
        for element in found.elements() {
            element.error()?;
            if let Offset::Offset(offset) = element.offset() {
                offsets.push((element.partition(), offset));
            }
        }
        Ok(offsets)
    }

    /// The marks of the records at exactly these offsets; those that are not there are left out.
    pub(crate) fn marks(
        &self,
        topic: &str,
        places: &[(i32, i64)],
    ) -> Result<HashMap<i32, i64>, StandError> {
        let mut marks = HashMap::new();
        if places.is_empty() {
            return Ok(marks);
        }
        let mut list = TopicPartitionList::with_capacity(places.len());
        for (partition, offset) in places {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
                .map_err(told)?;
        }
        self.consumer.assign(&list).map_err(told)?;
        let mut waiting: HashMap<i32, i64> = places.iter().copied().collect();
        let deadline = Instant::now() + READ_TIMEOUT;
        while !waiting.is_empty() {
            let wait = deadline.saturating_duration_since(Instant::now());
            match self.consumer.poll(wait) {
                None => {
                    return Err(StandError::Kafka(format!(
                        "topic {topic}: no record of {} partitions came within {READ_TIMEOUT:?}",
                        waiting.len()
                    )));
                }
                Some(Ok(message)) => {
                    let wanted = waiting.remove(&message.partition());
                    if wanted == Some(message.offset()) {
                        marks.insert(message.partition(), record_of(&message).mark());
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    waiting.remove(&partition);
                }
                Some(Err(error)) if is_forbidden(&error) => return Err(forbidden(topic)),
                Some(Err(error)) => return Err(told(error)),
            }
        }
        self.consumer.unassign().map_err(told)?;
        Ok(marks)
    }
}

fn forbidden(topic: &str) -> StandError {
    StandError::TopicForbidden {
        topic: topic.to_owned(),
    }
}

fn told(error: KafkaError) -> StandError {
    StandError::Kafka(error.to_string())
}
