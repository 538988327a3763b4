//! The writer's loop: poll, decode into chunks, hand them to the tables' writers, take in how
//! their commits went.
//!
//! ```text
//! RecordLog ─▶ Lane + Partition (decode) ─chunks─▶ TableWriter (Parquet, commit) ─▶ outcome
//!     ▲                                                                               │
//!     └──────────── seek after a fence, hold back above the budget ◀──────────────────┘
//! ```

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use lake_store::LakeStore;
use schemas::{SchemaRegistry, TableName, TopicPartition};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tracing::info;

use crate::clock::Clock;
use crate::dead_letters_log::DeadLettersLog;
use crate::entropy::Entropy;
use crate::error::WriterError;
use crate::lane::Lane;
use crate::partition::{Partition, Reading};
use crate::progress::WriterProgress;
use crate::record_log::{Notice, Record, RecordLog};
use crate::route::Routes;
use crate::schema_cache::SchemaCache;
use crate::settings::WriterSettings;
use crate::starts::Starts;
use crate::table_writer::Outcome;

mod assignment;
mod contracts;
mod opening;
mod outcome;
mod pace;
mod topics;
mod warmth;

pub(crate) use opening::Opening;
use pace::Flow;
use warmth::Warmth;

/// Longest time one poll lasts, so that stops, schemas and flushes are seen in time.
const POLL_WAIT_MAX: Duration = Duration::from_millis(100);

/// Records, and bytes of them, handed out by one poll.
const POLL_RECORDS_MAX: usize = 10_000;
const POLL_BYTES_MAX: usize = 8 << 20;

/// Longest time a stop waits for the last commits.
const STOP_WAIT_MAX: Duration = Duration::from_secs(30);

/// How often it is told that no partitions have come yet.
const WAITING_TOLD_INTERVAL: Duration = Duration::from_secs(10);

/// How often ids that the registry did not know are forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);

/// What the writer works with.
#[derive(Debug)]
pub struct Parts {
    /// The lake to write to.
    pub lake: LakeStore,
    /// The registry of Avro schemas; not needed for JSON.
    pub registry: Option<Arc<dyn SchemaRegistry>>,
    /// Tells the time of day.
    pub clock: Arc<dyn Clock>,
    /// Names files and commits, and jitters waits.
    pub entropy: Arc<Entropy>,
    /// Where tables are written and schemas fetched: a multi-threaded runtime, or in a simulation
    /// the one everything runs on.
    pub runtime: Handle,
    /// Counts what was done.
    pub progress: Arc<WriterProgress>,
}

/// When the writer ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Never: it goes on until it is stopped.
    Stopped,
    /// When everything that was in the topics at the start is committed.
    CaughtUp,
}

/// Copies change events from a [`RecordLog`] into the tables of a lake, exactly once.
pub struct LakeWriter<L> {
    log: L,
    settings: WriterSettings,
    until: Until,
    routes: Routes,
    /// Topics that cannot be read as they are configured.
    unfit: HashSet<String>,
    /// Topics that were found so far.
    met: HashSet<String>,
    /// When topics are looked for next; `None` before the first time.
    discover_at: Option<Instant>,
    lake: LakeStore,
    starts: Starts,
    dead_letters: Arc<DeadLettersLog>,
    /// One table's data files are written anew at a time.
    rewrites: Arc<Semaphore>,
    lanes: Vec<Lane>,
    partitions: Vec<Partition>,
    schemas: SchemaCache,
    outcomes_in: mpsc::UnboundedSender<(TableName, Result<Outcome, WriterError>)>,
    outcomes: mpsc::UnboundedReceiver<(TableName, Result<Outcome, WriterError>)>,
    clock: Arc<dyn Clock>,
    entropy: Arc<Entropy>,
    runtime: Handle,
    progress: Arc<WriterProgress>,
    assigned: Vec<TopicPartition>,
    assigned_once: bool,
    flow: Flow,
    warmth: Warmth,
    /// Told when a table's writer has made room.
    room: Arc<Notify>,
    forget_at: Instant,
    waiting_told_at: Instant,
    nothing_told: bool,
}

impl<L> std::fmt::Debug for LakeWriter<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LakeWriter")
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

impl<L: RecordLog> LakeWriter<L> {
    /// A writer of the topics that are routed. Their tables are written on `parts.runtime`.
    pub fn new(
        log: L,
        settings: WriterSettings,
        routes: Routes,
        until: Until,
        parts: Parts,
    ) -> Self {
        let (outcomes_in, outcomes) = mpsc::unbounded_channel();
        let (clock, entropy) = (Arc::clone(&parts.clock), Arc::clone(&parts.entropy));
        let lake = parts.lake.map_store(crate::faults::wrap);
        let dead_letters = DeadLettersLog::new(&lake, clock, Arc::clone(&entropy));
        Self {
            starts: Starts::new(
                &lake,
                &settings.pipeline,
                Arc::clone(&parts.clock),
                Arc::clone(&parts.entropy),
            ),
            log,
            settings,
            until,
            routes,
            unfit: HashSet::new(),
            met: HashSet::new(),
            discover_at: None,
            lake,
            dead_letters: Arc::new(dead_letters),
            rewrites: Arc::new(Semaphore::new(1)),
            lanes: Vec::new(),
            partitions: Vec::new(),
            schemas: SchemaCache::new(parts.registry, parts.runtime.clone(), entropy),
            outcomes_in,
            outcomes,
            clock: parts.clock,
            entropy: parts.entropy,
            runtime: parts.runtime,
            progress: parts.progress,
            assigned: Vec::new(),
            assigned_once: false,
            flow: Flow::Free,
            warmth: Warmth::default(),
            room: Arc::new(Notify::new()),
            forget_at: Instant::now() + FORGET_INTERVAL,
            waiting_told_at: Instant::now(),
            nothing_told: false,
        }
    }

    /// Runs until `stop` says so, the end is reached or an error makes going on wrong. What was
    /// read by then is committed. To be called once. Dropping the writer leaves Kafka's group, which
    /// takes as long as the group's session when Kafka does not answer.
    ///
    /// With [`crate::KafkaLog`] this blocks: give it a thread with a runtime of its own.
    pub async fn run(&mut self, mut stop: watch::Receiver<bool>) -> Result<(), WriterError> {
        self.find_topics().await?;
        if self.until == Until::CaughtUp {
            self.check_topics().await?;
        }
        loop {
            // A step may wait for a store that is down, for ever; dropping it loses nothing.
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                step = self.step() => step?,
            }
            if self.is_caught_up() {
                break;
            }
        }
        self.finish().await
    }

    /// A run with an end has none for a topic that does not exist, and if it may read none at all.
    async fn check_topics(&mut self) -> Result<(), WriterError> {
        let (mut missing, mut forbidden) = (Vec::new(), Vec::new());
        for lane in &self.lanes {
            match self.log.partition_count(&lane.topic).await {
                Ok(0) => missing.push(lane.topic.to_string()),
                Err(error @ WriterError::TopicForbidden { .. }) => {
                    forbidden.push(format!("{}: {error}", lane.topic));
                }
                counted => {
                    counted?;
                }
            }
        }
        if !missing.is_empty() {
            return Err(WriterError::TopicsMissing(missing));
        }
        match forbidden.len() == self.lanes.len() && !forbidden.is_empty() {
            true => Err(WriterError::TablesStopped(forbidden)),
            false => Ok(()),
        }
    }

    async fn step(&mut self) -> Result<(), WriterError> {
        self.progress.turned();
        self.tell_of_waiting();
        self.take_outcomes().await?;
        self.take_schemas().await?;
        if self.until == Until::Stopped && self.routes.discovers() {
            self.find_topics().await?;
        }
        self.retry_tables().await?;
        let to_read = self.open_answered(Duration::ZERO).await?;
        self.read_opened(to_read).await?;
        if matches!(self.flow, Flow::Held(_)) || self.waits_for_commits() {
            self.wait_for_room().await;
        } else {
            match self.poll().await? {
                Some(Notice::Assigned(partitions)) => self.take_assignment(partitions).await?,
                Some(Notice::Revoked) => self.give_up_partitions().await?,
                Some(Notice::OffsetLost) => self.find_lost_offsets().await?,
                Some(Notice::TopicsChanged) => self.look_again().await?,
                None => {}
            }
        }
        self.take_contracts().await?;
        self.pause_waiting()?;
        self.flush_what_is_due();
        self.keep_to_budget()
    }

    async fn poll(&mut self) -> Result<Option<Notice>, WriterError> {
        let reading = Reading {
            now: Instant::now(),
            now_us: self.clock.now_us(),
            record_bytes_max: usize::try_from(self.settings.record_bytes_max.as_u64())
                .unwrap_or(usize::MAX),
        };
        let chunk_bytes_max = self.chunk_bytes_max();
        let (mut failures, mut last, mut read, mut bytes) = (Vec::new(), 0, 0, 0);
        let Self {
            log,
            lanes,
            partitions,
            schemas,
            progress,
            ..
        } = self;
        let mut each = |record: Record<'_>| {
            let Some(index) = find(partitions, &record, last) else {
                return ControlFlow::Continue(());
            };
            last = index;
            let partition = &mut partitions[index];
            let lane = &mut lanes[partition.lane];
            if let Err(error) = partition.accept(&record, lane, schemas, &reading) {
                failures.push((partition.lane, error));
                return ControlFlow::Break(());
            }
            if partition.is_full(chunk_bytes_max) {
                lane.outlet.hand_over(partition, lane.schema.as_ref());
            }
            read += 1;
            bytes += record.size_bytes();
            match bytes < POLL_BYTES_MAX {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        };
        let notice = log.poll(POLL_WAIT_MAX, POLL_RECORDS_MAX, &mut each).await?;
        progress.add_read(read);
        if matches!(notice, Some(Notice::TopicsChanged | Notice::Revoked)) {
            // All of it is dropped and read again, and a table that stopped would land it first.
            return Ok(notice);
        }
        for (index, error) in failures {
            self.stop_table(index, error)?;
        }
        Ok(notice)
    }

    /// A member that died holds its partitions until its session ends; nothing else says so. That
    /// no topic is there yet is told once: it may be so for long, and for good reason.
    fn tell_of_waiting(&mut self) {
        if self.assigned_once || self.waiting_told_at.elapsed() < WAITING_TOLD_INTERVAL {
            return;
        }
        self.waiting_told_at = Instant::now();
        if !self.lanes.is_empty() {
            info!(
                "still waiting for partitions: a topic may not exist yet, or the group waits for a \
                 member that died (session.timeout.ms)"
            );
        } else if !self.nothing_told {
            self.nothing_told = true;
            info!("no topic is there that is to be copied; waiting for one");
        }
    }

    /// The open partitions of one lane.
    fn partitions_of(&self, index: usize) -> impl Iterator<Item = &Partition> {
        self.partitions
            .iter()
            .filter(move |partition| partition.lane == index)
    }

    /// Whether a run with an end has read all of it.
    fn has_read_everything(&self) -> bool {
        self.until == Until::CaughtUp
            && self.assigned_once
            && self.lanes.iter().all(|lane| lane.opening.is_none())
            && self
                .partitions
                .iter()
                .all(|partition| partition.is_at_end(self.log.passed(&partition.partition)))
    }

    /// Whether there is nothing to do but to wait for the last commits.
    fn waits_for_commits(&self) -> bool {
        self.has_read_everything() && self.lanes.iter().any(|lane| lane.outlet.waits())
    }

    /// Whether a run with an end has committed all of it.
    fn is_caught_up(&self) -> bool {
        self.has_read_everything() && self.lanes.iter().all(|lane| lane.outlet.is_idle())
    }

    /// Commits what was read. Bounded: what is not committed by then is read again next time.
    async fn finish(&mut self) -> Result<(), WriterError> {
        let deadline = Instant::now() + STOP_WAIT_MAX;
        for index in 0..self.lanes.len() {
            self.flush(index);
        }
        while self.lanes.iter().any(|lane| lane.outlet.waits()) {
            match tokio::time::timeout_at(deadline, self.outcomes.recv()).await {
                Ok(Some((table, outcome))) => self.take_last_outcome(&table, outcome)?,
                Ok(None) => return Err(WriterError::Internal("a table's writer died".to_owned())),
                Err(_) => return Err(WriterError::StopTimeout(STOP_WAIT_MAX)),
            }
        }
        let stopped = self.lanes.iter().filter_map(|lane| {
            let before = lane.stopped_before.as_ref();
            let before = before.filter(|before| before.is_unsettled());
            let stopped = lane.stopped.as_ref().or(before)?;
            Some(format!("{}: {}", lane.topic, stopped.error))
        });
        let refused = self.progress.refused_topics().into_iter();
        let refused = refused.map(|(topic, why)| format!("{topic}: {}", why.error));
        let stopped: Vec<String> = stopped.chain(refused).collect();
        match stopped.is_empty() {
            true => {
                info!("everything that was read is committed");
                Ok(())
            }
            false => Err(WriterError::TablesStopped(stopped)),
        }
    }
}

/// The partition a record is of; most records are of the same one as the record before.
fn find(partitions: &[Partition], record: &Record<'_>, last: usize) -> Option<usize> {
    let is_of = |partition: &Partition| {
        partition.partition.partition == record.partition
            && partition.partition.topic.as_ref() == record.topic
    };
    if partitions.get(last).is_some_and(is_of) {
        return Some(last);
    }
    partitions.iter().position(is_of)
}
