//! How a table stands against its topic, told from outside of any running writer: from the table's
//! Delta log and from Kafka. Nothing here writes but [`Observer::accept`].

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use lake_store::{LakeStore, STARTS_PATH};
use schemas::{Shape, TableName, TopicPartition};

use crate::app_id::{AppIds, NO_MARK, cluster_number};
use crate::clock::Clock;
use crate::delta_log::{DeltaLog, DeltaLogError, TableState};
use crate::entropy::Entropy;
use crate::record_log::mark_time_ms;
use crate::route::{RouteError, Routes};
use crate::settings::{KafkaSettings, Start};

mod error;
mod gap;
mod kafka_view;
mod ledger;
mod passage;

pub use error::StandError;
pub use gap::{Gap, GapReason, Restart};
pub(crate) use kafka_view::KafkaView;

/// A topic and the table that it feeds.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The table.
    pub table: TableName,
    /// What the topic's values stand for.
    pub shape: Shape,
    /// Where a partition is read from that the table has never seen.
    pub start: Start,
}

/// A topic that is to be copied and cannot be.
#[derive(Clone, Debug)]
pub struct RefusedTopic {
    /// The topic's name.
    pub topic: String,
    /// Why.
    pub error: RouteError,
}

/// Looks at the tables of one pipeline.
#[derive(Debug)]
pub struct Observer {
    lake: LakeStore,
    pipeline: String,
    kafka: KafkaView,
    /// What Kafka said when it did not answer; it is not asked again.
    kafka_away: OnceLock<String>,
    clock: Arc<dyn Clock>,
    entropy: Arc<Entropy>,
}

/// How one table stands. What Kafka did not tell is left out, see [`Stand::kafka_error`].
#[derive(Debug)]
pub struct Stand {
    /// The topic and its table.
    pub feed: Feed,
    /// The table's newest version; `None` if there is no table.
    pub version: Option<u64>,
    /// When that version was committed, in milliseconds since 1970-01-01T00:00Z, if it says so.
    pub committed_at_ms: Option<i64>,
    /// How many partitions the topic had when the table was last committed to.
    pub partitions_before: Option<i64>,
    /// How many it has; 0 if there is no such topic.
    pub partitions_now: Option<i32>,
    /// The number of the cluster that the topic was of when the table was last committed to.
    cluster_before: Option<i64>,
    /// That of the cluster that answers.
    cluster_now: Option<i64>,
    /// All partitions that the topic has or the table knows, in order.
    pub partitions: Vec<PartitionStand>,
    /// Why Kafka told nothing, if it did not.
    pub kafka_error: Option<String>,
    /// Kafka does not let us see or read the topic: what it told is not all.
    pub topic_forbidden: bool,
    /// What the table says; of one that is not made yet, what the table of starts says.
    txns: HashMap<String, i64>,
    /// Where the copies of partitions began, by the names of their progress.
    starts: HashMap<String, i64>,
}

/// How a table stands in one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionStand {
    /// The partition's number.
    pub partition: i32,
    /// The next offset to be copied; `None` if no writer has begun with the partition.
    pub next_offset: Option<i64>,
    /// Whether it is read from the first offset kept if the table has never seen it.
    starts_first: bool,
    /// The first offset that Kafka keeps, and the one it will write next.
    pub kept: Option<(i64, i64)>,
    /// Mark of the last record copied.
    mark: Option<i64>,
    /// Mark of the record that is at its place now.
    mark_now: Option<i64>,
    /// Mark of the first record kept, where the end is before the next offset.
    first_mark: Option<i64>,
}

impl Observer {
    /// An observer of this pipeline. Waits for nothing yet.
    ///
    /// # Errors
    /// librdkafka refuses the settings.
    pub fn new(
        lake: LakeStore,
        pipeline: &str,
        kafka: &KafkaSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<Entropy>,
    ) -> Result<Self, StandError> {
        Ok(Self {
            lake,
            pipeline: pipeline.to_owned(),
            kafka: KafkaView::new(kafka)?,
            kafka_away: OnceLock::new(),
            clock,
            entropy,
        })
    }

    /// The topics that are to be copied, each with its table: those that the configuration names, and
    /// those that its patterns find; and those that cannot be read. Left out are those that Kafka
    /// would have to tell when it does not answer; [`Observer::look`] says that it does not.
    ///
    /// # Errors
    /// There are only patterns, and Kafka does not tell its topics.
    pub fn feeds(&self, routes: &mut Routes) -> Result<(Vec<Feed>, Vec<RefusedTopic>), StandError> {
        let mut topics: Vec<String> = routes.names().map(str::to_owned).collect();
        if routes.discovers() {
            match self.kafka.topics() {
                Ok(found) => topics.extend(found),
                Err(error) if topics.is_empty() => return Err(error),
                Err(error) => {
                    self.kafka_away.get_or_init(|| error.to_string());
                }
            }
            let mut seen = HashSet::new();
            topics.retain(|topic| seen.insert(topic.clone()));
        }
        let (mut feeds, mut refused) = (Vec::with_capacity(topics.len()), Vec::new());
        for topic in topics {
            match routes.route(&topic) {
                None => {}
                Some(Ok(route)) => feeds.push(Feed {
                    topic: route.topic,
                    table: route.table,
                    shape: route.shape,
                    start: route.start,
                }),
                Some(Err(error)) => refused.push(RefusedTopic { topic, error }),
            }
        }
        Ok((feeds, refused))
    }

    /// How a table stands. Blocks the thread while it asks Kafka, for seconds at the most.
    ///
    /// # Errors
    /// The table's log cannot be read. That Kafka does not answer is told in the answer.
    pub async fn look(&self, feed: &Feed) -> Result<Stand, StandError> {
        let mut stand = self.look_in_lake(feed).await?;
        stand.kafka_error = self.kafka_away.get().cloned();
        if stand.kafka_error.is_none() {
            match self.look_in_kafka(&mut stand) {
                Ok(()) => {}
                Err(StandError::TopicForbidden { .. }) => stand.topic_forbidden = true,
                Err(error) => stand.kafka_error = Some(error.to_string()),
            }
        }
        Ok(stand)
    }

    /// How a table stands, without asking Kafka.
    ///
    /// # Errors
    /// The table's log cannot be read.
    pub async fn look_in_lake(&self, feed: &Feed) -> Result<Stand, StandError> {
        let log = self.log(&feed.table.changes_path());
        let failed = |error| StandError::of(&feed.table.to_string(), error);
        let state = log.load().await.map_err(failed)?;
        let committed_at_ms = match &state {
            Some(state) => committed_at_ms(&log, state).await.map_err(failed)?,
            None => None,
        };
        let starts = self.log(STARTS_PATH).load().await;
        let starts = starts.map_err(|error| StandError::of(STARTS_PATH, error))?;
        let starts = starts.map_or_else(HashMap::new, |state| state.txns);
        let (version, txns) = match state {
            Some(state) => (Some(state.version), state.txns),
            None => (None, starts.clone()),
        };
        let mut stand = Stand {
            feed: feed.clone(),
            version,
            committed_at_ms,
            partitions_before: None,
            partitions_now: None,
            cluster_before: None,
            cluster_now: None,
            partitions: Vec::new(),
            kafka_error: None,
            topic_forbidden: false,
            txns,
            starts,
        };
        stand.partitions_before = stand.txn(&self.ids().partition_count(&feed.topic));
        stand.cluster_before = stand.txn(&self.ids().cluster(&feed.topic));
        let prefix = self.ids().progress(&TopicPartition::new(&*feed.topic, 0));
        let prefix = prefix.trim_end_matches('0');
        let known = stand.txns.keys().chain(stand.starts.keys());
        let known = known.filter_map(|app_id| app_id.strip_prefix(prefix)?.parse().ok());
        let mut known: Vec<i32> = known.collect();
        known.sort_unstable();
        for partition in known {
            stand.add(self.ids(), partition);
        }
        Ok(stand)
    }

    fn look_in_kafka(&self, stand: &mut Stand) -> Result<(), StandError> {
        let topic = Arc::clone(&stand.feed.topic);
        let now = self.kafka.partition_count(&topic);
        let now = now.inspect_err(|error| {
            if !matches!(error, StandError::TopicForbidden { .. }) {
                self.kafka_away.get_or_init(|| error.to_string());
            }
        })?;
        for partition in 0..now {
            stand.add(self.ids(), partition);
        }
        stand.partitions.sort_by_key(|stand| stand.partition);
        stand.partitions_now = Some(now);
        stand.cluster_now = self.kafka.cluster_id().as_deref().map(cluster_number);
        let numbers: Vec<i32> = (0..now).collect();
        for (partition, kept) in self.kafka.kept(&topic, &numbers)? {
            if let Some(found) = stand.of(partition) {
                found.kept = Some(kept);
            }
        }
        let before = stand.partitions.iter();
        let before = before.filter_map(|stand| Some((stand.partition, stand.last_offset()?)));
        for (partition, mark) in self.kafka.marks(&topic, &before.collect::<Vec<_>>())? {
            if let Some(found) = stand.of(partition) {
                found.mark_now = Some(mark);
            }
        }
        let firsts = stand.partitions.iter();
        let firsts = firsts.filter_map(|stand| Some((stand.partition, stand.regressed_to()?)));
        for (partition, mark) in self.kafka.marks(&topic, &firsts.collect::<Vec<_>>())? {
            if let Some(found) = stand.of(partition) {
                found.first_mark = Some(mark);
            }
        }
        Ok(())
    }

    fn ids(&self) -> AppIds<'_> {
        AppIds::new(&self.pipeline)
    }

    fn log(&self, path: &str) -> DeltaLog {
        DeltaLog::new(self.lake.table_store(path))
    }
}

/// When a version was committed, if its entry is still there and says so.
async fn committed_at_ms(log: &DeltaLog, state: &TableState) -> Result<Option<i64>, DeltaLogError> {
    let actions = log.entry(state.version).await?.unwrap_or_default();
    let mut infos = actions.into_iter().filter_map(|action| action.commit_info);
    Ok(infos.find_map(|info| info["timestamp"].as_i64()))
}

impl Stand {
    /// Offsets between what is committed and the end, over all partitions; `None` if Kafka did not
    /// tell. A partition that was never seen counts from the first offset kept, if it begins there;
    /// where it begins otherwise is seen when it does.
    pub fn lag_records(&self) -> Option<u64> {
        let mut sum = 0;
        for partition in &self.partitions {
            sum += match partition.kept {
                Some(_) => partition.lag_records()?,
                // It is not there any more, so nothing of it waits.
                None if self.kafka_error.is_none() && !self.topic_forbidden => 0,
                None => return None,
            };
        }
        Some(sum)
    }

    /// How old the last copied record is in the partition that is furthest behind: an upper bound of
    /// the age of what is not copied yet. 0 if everything is; `None` if it is not known.
    pub fn lag_ms(&self, now_ms: i64) -> Option<u64> {
        if self.lag_records()? == 0 {
            return Some(0);
        }
        let behind = self.partitions.iter();
        let behind = behind.filter(|stand| stand.lag_records().is_some_and(|lag| lag > 0));
        let ages =
            behind.filter_map(|stand| Some(now_ms.saturating_sub(mark_time_ms(stand.mark?))));
        ages.max().and_then(|age| u64::try_from(age).ok())
    }

    /// Whether another cluster answers than the topic was copied from.
    fn is_elsewhere(&self) -> bool {
        let (before, now) = (self.cluster_before, self.cluster_now);
        before.is_some() && now.is_some() && before != now
    }

    fn txn(&self, app_id: &str) -> Option<i64> {
        self.txns.get(app_id).copied()
    }

    /// Where the pipeline goes on in a partition.
    fn next_offset(&self, app_id: &str) -> Option<i64> {
        self.txn(app_id).or(self.starts.get(app_id).copied())
    }

    fn of(&mut self, partition: i32) -> Option<&mut PartitionStand> {
        let mut partitions = self.partitions.iter_mut();
        partitions.find(|stand| stand.partition == partition)
    }

    fn add(&mut self, ids: AppIds<'_>, partition: i32) {
        if self.of(partition).is_some() {
            return;
        }
        let place = TopicPartition::new(Arc::clone(&self.feed.topic), partition);
        // Partitions that come to a topic that is copied already have nothing to be left out.
        let starts_first = self.feed.start == Start::Earliest || self.partitions_before.is_some();
        self.partitions.push(PartitionStand {
            partition,
            next_offset: self.next_offset(&ids.progress(&place)),
            starts_first,
            mark: self
                .txn(&ids.last_record(&place))
                .filter(|mark| *mark != NO_MARK),
            ..PartitionStand::default()
        });
    }
}

impl PartitionStand {
    /// Offsets between what is committed and the end; `None` if Kafka did not tell, or where it
    /// begins is not known.
    pub fn lag_records(&self) -> Option<u64> {
        let (first, end) = self.kept?;
        let first = self.starts_first.then_some(first);
        let behind = end.saturating_sub(self.next_offset.or(first)?);
        Some(u64::try_from(behind).unwrap_or(0))
    }

    /// The offset of the last record copied, if it has a mark to be compared and Kafka keeps it.
    fn last_offset(&self) -> Option<i64> {
        let (next_offset, (first, end), _) = (self.next_offset?, self.kept?, self.mark?);
        (first < next_offset && next_offset <= end).then_some(next_offset - 1)
    }

    /// The first offset kept, if the end is before the next offset and there are records.
    fn regressed_to(&self) -> Option<i64> {
        let (next_offset, (first, end)) = (self.next_offset?, self.kept?);
        (end < next_offset && first < end).then_some(first)
    }
}

#[cfg(test)]
mod tests;
