//! [`RecordLog`] over a Kafka consumer.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use schemas::TopicPartition;
use tracing::{debug, info, warn};

use crate::error::WriterError;
use crate::record_log::{Notice, Position, Record, RecordLog};
use crate::settings::{Assignment, KafkaSettings, Start};

mod client;
mod cluster;
mod context;
mod error;
mod message;
mod permission;
mod properties;
mod trouble;

use client::Client;
use error::refused;
pub(crate) use error::{is_forbidden, is_hidden, is_missing};
pub(crate) use message::record_of;
use permission::Permission;
pub(crate) use properties::client_config;

/// How often missing topics and new partitions are looked for.
const METADATA_INTERVAL: Duration = Duration::from_secs(1);

/// How often what is not paused is resumed.
const RESUME_INTERVAL: Duration = Duration::from_secs(2);

/// Longest time one question to the brokers takes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How often one kind of problem is told.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// How often a question is asked before the writer gives up, and before a topic that is not there
/// is taken to be gone: for a moment brokers do not know of one that was just made.
const REQUEST_ATTEMPTS: usize = 12;
const MISSING_ATTEMPTS: usize = 4;

/// The pause between two attempts.
const REQUEST_PAUSE: Duration = Duration::from_millis(250);

/// A Kafka consumer, in a group or by itself.
pub struct KafkaLog {
    consumer: Client,
    settings: KafkaSettings,
    topics: Vec<String>,
    /// Partitions known so far, when this process reads all of them.
    known: Vec<TopicPartition>,
    metadata_due: Instant,
    /// What is read, those of it that are paused, and when the others are resumed once more.
    assigned: Vec<TopicPartition>,
    paused: HashSet<TopicPartition>,
    resume_due: Instant,
    /// Topics of the last assignment.
    given: HashSet<Arc<str>>,
    permission: Permission,
    /// Problems told lately, and when.
    told: HashMap<String, Instant>,
}

impl std::fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaLog")
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

impl KafkaLog {
    /// A consumer of these topics, which may be none at first. Does not wait for the brokers.
    pub fn new(settings: &KafkaSettings, topics: Vec<String>) -> Result<Self, WriterError> {
        let mut log = Self {
            consumer: Client::new(settings)?,
            settings: settings.clone(),
            topics: Vec::new(),
            known: Vec::new(),
            metadata_due: Instant::now(),
            assigned: Vec::new(),
            paused: HashSet::new(),
            resume_due: Instant::now() + RESUME_INTERVAL,
            given: HashSet::new(),
            permission: Permission::default(),
            told: HashMap::new(),
        };
        log.read_topics(topics)?;
        Ok(log)
    }

    /// All partitions of the topics, once they are there and whenever they are more.
    fn look_for_partitions(&mut self) -> Option<Notice> {
        if self.settings.assignment != Assignment::All || Instant::now() < self.metadata_due {
            return None;
        }
        self.metadata_due = Instant::now() + METADATA_INTERVAL;
        // One question for all of them: each waits for the fetch that is under way, half a second
        // where nothing happens.
        let one = match self.topics.as_slice() {
            [] => return None,
            [name] => Some(name.as_str()),
            _ => None,
        };
        let metadata = match self.consumer.fetch_metadata(one, REQUEST_TIMEOUT) {
            Ok(metadata) => metadata,
            Err(error) => {
                warn!(%error, "cannot ask for the topics' partitions; trying again");
                return None;
            }
        };
        let (mut found, mut hidden) = (Vec::new(), HashSet::new());
        for topic in metadata.topics() {
            let name = topic.name();
            if !self.topics.iter().any(|read| read == name) {
                continue;
            }
            if is_hidden(topic) {
                hidden.insert(name.to_owned());
            } else if topic.error().is_none() {
                let ids = topic.partitions().iter();
                found.extend(ids.map(|partition| TopicPartition::new(name, partition.id())));
            }
        }
        found.sort();
        // Topics that come late join; none is given up because an answer lacked it.
        let fresh = found
            .iter()
            .any(|partition| !self.known.contains(partition));
        if !fresh {
            let news = self.permission.see_hidden(hidden);
            return news.then_some(Notice::TopicsChanged);
        }
        self.known.append(&mut found);
        self.known.sort();
        self.known.dedup();
        Some(Notice::Assigned(self.known.clone()))
    }

    /// Begins anew with another client after a topic was made again: the present one remembers
    /// things of the earlier topic, and now and then hands out nothing more of the new one.
    fn renew(&mut self) -> Result<Notice, WriterError> {
        warn!("a topic was made again, or this is another cluster; connecting to kafka anew");
        let fresh = Client::new(&self.settings)?;
        std::mem::replace(&mut self.consumer, fresh).leave();
        self.known.clear();
        self.assigned.clear();
        let topics = std::mem::take(&mut self.topics);
        self.read_topics(topics)?;
        Ok(Notice::Revoked)
    }

    /// Resumes what should be read. librdkafka numbers what is asked of a partition when it is asked, and
    /// drops what it meets behind a higher number: a resume that meets the start of a fetcher, which waits
    /// for commits under way, is lost, and the partition stays paused, silently (its issue 5591). Of one that
    /// is not paused this does nothing.
    fn resume_again(&mut self) -> Result<(), WriterError> {
        if Instant::now() < self.resume_due {
            return Ok(());
        }
        self.resume_due = Instant::now() + RESUME_INTERVAL;
        let assigned = self.assigned.iter();
        let flowing: Vec<_> = assigned
            .filter(|partition| !self.paused.contains(partition))
            .cloned()
            .collect();
        self.consumer.resume(&self.list(&flowing)).map_err(refused)
    }

    /// A resume is lost.
    #[cfg(test)]
    pub(crate) fn lose_resume(&self, partitions: &[TopicPartition]) {
        self.consumer.pause(&self.list(partitions)).ok();
    }

    fn is_topic_new(&self) -> bool {
        let context = self.consumer.context();
        context.topics_changed.load(Ordering::Relaxed)
    }

    fn next_notice(&mut self) -> Option<Notice> {
        let waiting = self.consumer.context().notices.lock();
        let next = waiting
            .map(|mut waiting| waiting.pop_front())
            .unwrap_or_default();
        let next = next.or_else(|| self.look_for_partitions());
        if let Some(Notice::Assigned(partitions)) = &next {
            let topics = partitions.iter();
            self.given = topics
                .map(|partition| Arc::clone(&partition.topic))
                .collect();
        }
        next
    }

    fn list(&self, partitions: &[TopicPartition]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&partition.topic, partition.partition);
        }
        list
    }

    /// Asks the brokers until they answer or patience ends. A question blocks the thread for
    /// [`REQUEST_TIMEOUT`] at the most; between two of them others on the thread have their turn,
    /// so that a stop is not held up.
    async fn ask<T>(
        &self,
        (what, topic): (&str, &str),
        question: impl Fn() -> KafkaResult<T> + Send,
    ) -> Result<T, WriterError> {
        // One that others have partitions of, or nobody, was not made a moment ago: who waits for
        // hundreds that are not there keeps all others waiting.
        let is_expected = self.given.is_empty() || self.given.contains(topic);
        let missing_attempts = if is_expected { MISSING_ATTEMPTS } else { 1 };
        let mut attempts = 0;
        loop {
            tokio::task::yield_now().await;
            attempts += 1;
            match question() {
                Ok(answer) => return Ok(answer),
                Err(error) if is_missing(&error) && attempts >= missing_attempts => {
                    let topic = topic.to_owned();
                    return Err(WriterError::TopicMissing { topic });
                }
                Err(error) if is_forbidden(&error) => return Err(permission::hidden(topic)),
                Err(error) if attempts < REQUEST_ATTEMPTS => {
                    warn!(%error, what, topic, "kafka does not answer; trying again");
                    tokio::time::sleep(REQUEST_PAUSE).await;
                }
                Err(error) => return Err(WriterError::Kafka(format!("{what}: {error}"))),
            }
        }
    }
}

impl KafkaLog {
    /// Passes over an error among the records if librdkafka goes on by itself.
    fn tolerate(&mut self, error: KafkaError) -> Result<(), WriterError> {
        let code = error.rdkafka_error_code();
        if let Some(
            RDKafkaErrorCode::Fatal
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::Authentication,
        ) = code
        {
            return Err(refused(error));
        }
        // A cluster that is away is told by every broker, many times a second.
        self.told.retain(|_, told| told.elapsed() < TELL_INTERVAL);
        if let Entry::Vacant(untold) = self.told.entry(error.to_string()) {
            warn!(%error, "kafka reports a problem; going on");
            untold.insert(Instant::now());
        }
        Ok(())
    }
}

#[async_trait]
impl RecordLog for KafkaLog {
    async fn poll(
        &mut self,
        wait: Duration,
        records_max: usize,
        each: &mut (dyn for<'r> FnMut(Record<'r>) -> ControlFlow<()> + Send),
    ) -> Result<Option<Notice>, WriterError> {
        let deadline = Instant::now() + wait;
        self.resume_again()?;
        for records in 0..records_max {
            let wait = match records {
                0 => deadline.saturating_duration_since(Instant::now()),
                _ => Duration::ZERO,
            };
            match self.consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    if each(record_of(&message)).is_break() {
                        break;
                    }
                }
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                    // In a topic that was made again one partition may have lost its offset while
                    // another is read on: nothing of either may land.
                    return match self.is_topic_new() {
                        true => self.renew().map(Some),
                        false => Ok(Some(Notice::OffsetLost)),
                    };
                }
                Some(Err(error)) if is_missing(&error) => {
                    info!(%error, "kafka reports that a topic is not there; looking which");
                    return Ok(Some(Notice::TopicsChanged));
                }
                Some(Err(error)) if is_forbidden(&error) => {
                    info!(%error, "kafka does not let us read a topic; looking which");
                    let topics = self.topics.iter().map(String::as_str);
                    self.permission.suspect(topics);
                    return Ok(Some(Notice::TopicsChanged));
                }
                Some(Err(error)) => self.tolerate(error)?,
            }
        }
        if self.is_topic_new() {
            return self.renew().map(Some);
        }
        Ok(self.next_notice())
    }

    async fn assign(&mut self, positions: &[Position]) -> Result<(), WriterError> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for Position {
            partition,
            next_offset,
        } in positions
        {
            let (topic, offset) = (&partition.topic, Offset::Offset(*next_offset));
            list.add_partition_offset(topic, partition.partition, offset)
                .map_err(refused)?;
        }
        self.assigned = positions.iter().map(|at| at.partition.clone()).collect();
        self.paused.clear();
        // librdkafka remembers a pause across assignments. Before assigning, as fetchers start on a
        // thread of its own by then.
        self.consumer.resume(&list).map_err(refused)?;
        self.consumer.assign(&list).map_err(refused)
    }

    async fn unassign(&mut self) -> Result<(), WriterError> {
        self.assigned.clear();
        // librdkafka forgets that it is stopping a fetcher: an assignment that is taken back before the
        // one ahead of it has ended stops it twice, and the process aborts. Its thread does one thing
        // after another, so it has ended when a pause is answered, as a resume before an assignment is.
        let assigned = self.consumer.assignment().map_err(refused)?;
        self.consumer.pause(&assigned).map_err(refused)?;
        self.consumer.unassign().map_err(refused)
    }

    async fn seek(
        &mut self,
        partition: &TopicPartition,
        next_offset: i64,
    ) -> Result<(), WriterError> {
        let (topic, number) = (&partition.topic, partition.partition);
        // Refused while the fetcher is still starting, hence the patience.
        let seek = || {
            let mut place = TopicPartitionList::with_capacity(1);
            place.add_partition_offset(topic, number, Offset::Offset(next_offset))?;
            // Unlike `seek` it tells errors by their codes.
            let sought = self.consumer.seek_partitions(place, REQUEST_TIMEOUT)?;
            let sought = sought.elements_for_topic(topic);
            sought.first().map_or(Ok(()), |place| place.error())
        };
        let sought = self.ask(("seek", topic), seek).await;
        // A partition that is gone has no fetcher, which is told in many words.
        if matches!(sought, Err(WriterError::Kafka(_)))
            && self.partition_count(topic).await? <= number
        {
            let topic = topic.to_string();
            return Err(WriterError::TopicMissing { topic });
        }
        sought
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), WriterError> {
        self.paused.extend(partitions.iter().cloned());
        self.consumer.pause(&self.list(partitions)).map_err(refused)
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), WriterError> {
        for partition in partitions {
            self.paused.remove(partition);
        }
        self.consumer
            .resume(&self.list(partitions))
            .map_err(refused)
    }

    async fn offsets_kept(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Result<(i64, i64), WriterError>>, WriterError> {
        self.all_kept(partitions).await
    }

    async fn topics(&mut self) -> Result<Vec<String>, WriterError> {
        self.cluster_topics().await
    }

    /// In a group this subscribes again, and a rebalance follows if they are others than before.
    fn read_topics(&mut self, topics: Vec<String>) -> Result<(), WriterError> {
        if topics == self.topics {
            return Ok(());
        }
        self.topics = topics;
        self.metadata_due = Instant::now();
        if self.settings.assignment == Assignment::Group {
            let names: Vec<&str> = self.topics.iter().map(String::as_str).collect();
            self.consumer.subscribe(&names).map_err(refused)?;
        }
        Ok(())
    }

    async fn start_offset(
        &mut self,
        partition: &TopicPartition,
        start: Start,
    ) -> Result<i64, WriterError> {
        self.first_offset(partition, start).await
    }

    fn passed(&self, partition: &TopicPartition) -> Option<i64> {
        let fetched = self.consumer.context().fetched.lock().ok()?;
        fetched.get(partition).copied()
    }

    async fn partition_count(&mut self, topic: &str) -> Result<i32, WriterError> {
        let count = || {
            let metadata = self.consumer.fetch_metadata(Some(topic), REQUEST_TIMEOUT)?;
            match metadata.topics().iter().find(|found| found.name() == topic) {
                Some(found) if is_hidden(found) => Err(KafkaError::MetadataFetch(
                    RDKafkaErrorCode::TopicAuthorizationFailed,
                )),
                found => Ok(found.map_or(0, |topic| topic.partitions().len())),
            }
        };
        let count = self.ask(("partitions", topic), count).await?;
        if count > 0 {
            self.permission.check(&self.settings, topic)?;
        }
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }

    async fn cluster_id(&mut self) -> Result<Option<String>, WriterError> {
        tokio::task::yield_now().await;
        Ok(KafkaLog::cluster_id(self))
    }

    fn report_progress(&mut self, progress: &[(TopicPartition, i64)]) {
        let mut list = TopicPartitionList::with_capacity(progress.len());
        for (partition, next_offset) in progress {
            let offset = Offset::Offset(*next_offset);
            if list
                .add_partition_offset(&partition.topic, partition.partition, offset)
                .is_err()
            {
                return;
            }
        }
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            debug!(%error, "progress was not reported to kafka; it is only for display");
        }
    }
}
