//! Questions about the cluster itself: is it there, what does it hold, where would we start.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use schemas::TopicPartition;

use super::{KafkaLog, REQUEST_TIMEOUT};
use crate::error::WriterError;
use crate::settings::Start;

/// How long the brokers are waited for before it is looked whether they refused us.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// How long it is listened between two questions.
const LISTEN_TIME: Duration = Duration::from_millis(100);

impl KafkaLog {
    /// Asks the brokers for their cluster once, so that a wrong address and wrong credentials are
    /// said at the start. A refusal ends the wait at once; otherwise it gives up after `timeout`,
    /// or within a second of `stopped`.
    pub fn check(&self, timeout: Duration, stopped: impl Fn() -> bool) -> Result<(), WriterError> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = left.min(CHECK_INTERVAL);
            let Err(error) = self.consumer.fetch_metadata(None, wait) else {
                return Ok(());
            };
            self.listen();
            if let Some(why) = self.consumer.context().trouble.refusal() {
                return Err(WriterError::KafkaRefused { why });
            }
            if left.is_zero() || stopped() {
                let why = self.consumer.context().trouble.failure();
                let why = why.map_or(String::new(), |why| format!("; last: {why}"));
                return Err(WriterError::Kafka(format!("{error}{why}")));
            }
        }
    }

    /// Takes in what librdkafka has to say of its connections. Nothing is assigned yet, so no
    /// record can come.
    fn listen(&self) {
        let until = Instant::now() + LISTEN_TIME;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.consumer.poll(left);
        }
    }

    /// The names of all topics of the cluster that this user may see, in order; those that Kafka
    /// keeps for itself too. Asks once: who looks for new topics looks again anyhow, and must not
    /// keep those that are known waiting.
    pub(super) async fn cluster_topics(&self) -> Result<Vec<String>, WriterError> {
        tokio::task::yield_now().await;
        let metadata = self.consumer.fetch_metadata(None, REQUEST_TIMEOUT);
        let metadata = metadata.map_err(|error| WriterError::Kafka(format!("topics: {error}")))?;
        let there = metadata.topics().iter();
        let there = there.filter(|topic| topic.error().is_none());
        let mut names: Vec<String> = there.map(|topic| topic.name().to_owned()).collect();
        names.sort();
        Ok(names)
    }

    /// The id that the cluster gave itself when it was made; `None` when no broker tells in time.
    pub fn cluster_id(&self) -> Option<String> {
        self.consumer.client().fetch_cluster_id(REQUEST_TIMEOUT)
    }

    /// The offset to start at in a partition that the table has never seen.
    ///
    /// `Latest`, and a time after the last record, give the next offset to be written.
    pub(super) async fn first_offset(
        &self,
        partition: &TopicPartition,
        start: Start,
    ) -> Result<i64, WriterError> {
        let at = match start {
            Start::Earliest => return Ok(self.kept(partition).await?.0),
            Start::Latest => None,
            Start::At { unix_ms } => self.offset_at(partition, unix_ms).await?,
        };
        match at {
            Some(offset) => Ok(offset),
            None => Ok(self.kept(partition).await?.1),
        }
    }

    /// What [`Self::kept`] says of each partition. Asked in two questions for all of them, for each
    /// waits for the fetch that is under way; those that have no answer then are asked one by one.
    pub(super) async fn all_kept(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Result<(i64, i64), WriterError>>, WriterError> {
        let mut known = HashMap::new();
        if partitions.len() > 1 {
            tokio::task::yield_now().await;
            let firsts = self.offsets(partitions, Offset::Beginning);
            tokio::task::yield_now().await;
            let ends = self.offsets(partitions, Offset::End);
            for (place, first) in firsts {
                known.extend(ends.get(&place).map(|end| (place, (first, *end))));
            }
        }
        let mut kept = Vec::with_capacity(partitions.len());
        for partition in partitions {
            match known.get(partition) {
                Some(known) => kept.push(Ok(*known)),
                None => match self.kept(partition).await {
                    Err(error) if !error.is_of_one_table() => return Err(error),
                    answer => kept.push(answer),
                },
            }
        }
        Ok(kept)
    }

    /// The offset at one end of each partition, of those that the brokers tell at once.
    fn offsets(
        &self,
        partitions: &[TopicPartition],
        which: Offset,
    ) -> HashMap<TopicPartition, i64> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for place in partitions {
            // Beginning and end are times to the protocol.
            list.add_partition_offset(&place.topic, place.partition, which)
                .ok();
        }
        let found = self.consumer.offsets_for_times(list, REQUEST_TIMEOUT);
        let found = found.map_or_else(
            |_| Vec::new(),
            |found| {
                let elements = found.elements();
                let offsets = elements
                    .iter()
                    .filter_map(|element| match element.offset() {
                        Offset::Offset(offset) if element.error().is_ok() => Some((
                            TopicPartition::new(element.topic(), element.partition()),
                            offset,
                        )),
                        _ => None,
                    });
                offsets.collect()
            },
        );
        found.into_iter().collect()
    }

    /// The first offset that is kept, and the one after the last.
    pub(super) async fn kept(&self, partition: &TopicPartition) -> Result<(i64, i64), WriterError> {
        self.ask(("offsets", &partition.topic), || {
            self.consumer
                .fetch_watermarks(&partition.topic, partition.partition, REQUEST_TIMEOUT)
        })
        .await
    }

    /// The first offset whose record is not older than a time.
    async fn offset_at(
        &self,
        partition: &TopicPartition,
        unix_ms: i64,
    ) -> Result<Option<i64>, WriterError> {
        let ask = || {
            let mut times = TopicPartitionList::with_capacity(1);
            times.add_partition_offset(
                &partition.topic,
                partition.partition,
                Offset::Offset(unix_ms),
            )?;
            let answer = self.consumer.offsets_for_times(times, REQUEST_TIMEOUT)?;
            let found = answer.elements().first().map(|element| {
                let offset = element.offset();
                element.error().map(|()| offset)
            });
            found.unwrap_or(Err(KafkaError::NoMessageReceived))
        };
        let what = ("offset at a time", &*partition.topic);
        Ok(match self.ask(what, ask).await? {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        })
    }
}
