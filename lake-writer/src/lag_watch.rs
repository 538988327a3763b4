//! Looks up where partitions end, off the reading thread, so that lag can be told.

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use schemas::TopicPartition;
use tracing::debug;

use crate::clock::Clock;
use crate::error::WriterError;
use crate::progress::{TableProgress, WriterProgress};
use crate::settings::KafkaSettings;
use crate::stand::{KafkaView, StandError};

/// How often the ends are looked up: one request for each broker and topic.
const INTERVAL: Duration = Duration::from_secs(5);

/// Questions without an answer after which Kafka is taken to be away.
const FAILURES_MAX: usize = 3;

/// A thread with a Kafka client of its own that keeps the lag of `progress` up to date. It ends
/// some seconds after this is dropped.
#[derive(Debug)]
pub struct LagWatch {
    seen: Arc<Mutex<KafkaSeen>>,
    _stop: Sender<()>,
}

/// When Kafka last answered, or why it does not.
#[derive(Clone, Debug, Default)]
pub struct KafkaSeen {
    /// When it answered last.
    pub at: Option<Instant>,
    /// What it said since, if it failed.
    pub error: Option<String>,
    /// How many of the topics are there.
    pub topics: usize,
}

impl LagWatch {
    /// Starts to watch the topics that are named, and those that `progress` meets.
    ///
    /// # Errors
    /// librdkafka refuses the settings, or the system another thread.
    pub fn start(
        settings: &KafkaSettings,
        topics: Vec<String>,
        progress: Arc<WriterProgress>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WriterError> {
        let refused = |why: String| WriterError::Kafka(why);
        let kafka = KafkaView::new(settings).map_err(|error| refused(error.to_string()))?;
        let seen = Arc::new(Mutex::new(KafkaSeen::default()));
        let (stop, stopped) = channel();
        let told = Arc::clone(&seen);
        let watch = move || {
            loop {
                let result = look(&kafka, &topics, &progress, clock.as_ref());
                note(&told, result);
                kafka.forget_told();
                if stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("lag-watch".to_owned());
        thread
            .spawn(watch)
            .map_err(|error| refused(error.to_string()))?;
        Ok(Self { seen, _stop: stop })
    }

    /// How Kafka looked when it was last asked.
    pub fn kafka(&self) -> KafkaSeen {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }
}

fn note(seen: &Mutex<KafkaSeen>, result: Result<usize, StandError>) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    match result {
        Ok(topics) => {
            *seen = KafkaSeen {
                at: Some(Instant::now()),
                error: None,
                topics,
            };
        }
        Err(error) => {
            debug!(%error, "cannot look up where partitions end");
            seen.error = Some(error.to_string());
        }
    }
}

/// Looks once; how many of the topics are there.
fn look(
    kafka: &KafkaView,
    topics: &[String],
    progress: &WriterProgress,
    clock: &dyn Clock,
) -> Result<usize, StandError> {
    if progress.partitions().is_none() {
        let mut there = 0;
        for topic in topics {
            there += match kafka.partition_count(topic) {
                Err(StandError::TopicForbidden { .. }) => 0,
                count => usize::from(count? > 0),
            };
        }
        if topics.is_empty() {
            kafka.topics()?;
        }
        // What patterns found is there.
        return Ok(there + progress.topics().saturating_sub(topics.len()));
    }
    let tables = progress.tables();
    let mut answered = false;
    let mut failures = Vec::new();
    for table in tables.iter().filter(|table| is_there(table)) {
        match look_at(kafka, table, clock) {
            Ok(asked) => answered |= asked,
            Err(error) => failures.push(error),
        }
        if !answered && failures.len() >= FAILURES_MAX {
            break;
        }
    }
    match failures.pop() {
        _ if answered => {}
        // One topic that is gone says nothing of Kafka, and is told elsewhere.
        Some(error) => return Err(error),
        None => match topics.first() {
            Some(topic) => match kafka.partition_count(topic) {
                Err(StandError::TopicForbidden { .. }) => {}
                count => {
                    count?;
                }
            },
            None => {
                kafka.topics()?;
            }
        },
    }
    Ok(progress.topics())
}

/// Whether the table's topic was there for us when the writer last looked. One that is not costs
/// each question its whole time.
fn is_there(table: &TableProgress) -> bool {
    let stopped = table.why_stopped();
    stopped.is_none_or(|stopped| !matches!(stopped.code, "topic_missing" | "topic_forbidden"))
}

/// Takes in where a table's partitions end; whether Kafka had to be asked.
fn look_at(
    kafka: &KafkaView,
    table: &TableProgress,
    clock: &dyn Clock,
) -> Result<bool, StandError> {
    let mut by_topic: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
    for TopicPartition { topic, partition } in table.partitions() {
        by_topic.entry(topic).or_default().push(partition);
    }
    let asked = !by_topic.is_empty();
    for (topic, partitions) in by_topic {
        let ends = kafka.ends(&topic, &partitions)?.into_iter();
        let ends =
            ends.map(|(partition, end)| (TopicPartition::new(Arc::clone(&topic), partition), end));
        table.ends(&ends.collect::<Vec<_>>(), clock.now_us() / 1000);
    }
    Ok(asked)
}
