//! Which rows of the outbox may be removed: those that are in the lake.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;

use schemas::TopicPartition;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::faults::{Point, point};
use crate::outbox_store::OutboxStore;
use crate::{LakeProgress, OutboxError, RelayLimits, RelayProgress};

/// Rows that are removed at once: what a service's own transactions wait for at the most.
const ROWS_MAX: u32 = 2_000;

type Committed = Result<BTreeMap<TopicPartition, i64>, Box<dyn Error + Send + Sync>>;

/// Asks the lake from time to time, beside the relay's work, and removes what it has.
#[derive(Debug)]
pub(super) struct Pruning {
    lake: Option<Arc<dyn LakeProgress>>,
    /// The topics of the relay's entities.
    topics: Vec<String>,
    asked: Option<Asked>,
    /// What the lake was asked for and did not have yet. It is asked for that again and not for more: of what
    /// is published meanwhile a lake is always short.
    lacked: Option<Stand>,
    ask_at: Instant,
    /// Rows up to here are to be removed; `None` if they are.
    through: Option<i64>,
    /// What the lake said when it could not be asked; said once.
    away: Option<String>,
    /// Topics of no entity for which the outbox was kept; said once.
    left: BTreeSet<Arc<str>>,
}

/// Where the relay stood: the rows up to `confirmed` are in Kafka, all below these offsets.
#[derive(Debug)]
pub(super) struct Stand {
    pub(super) confirmed: i64,
    pub(super) offsets: BTreeMap<TopicPartition, i64>,
}

/// A question on its way.
#[derive(Debug)]
struct Asked {
    answer: JoinHandle<Committed>,
    stand: Stand,
}

impl Pruning {
    pub(super) fn new(lake: Option<Arc<dyn LakeProgress>>, topics: Vec<String>) -> Self {
        Self {
            lake,
            topics,
            asked: None,
            lacked: None,
            ask_at: Instant::now(),
            through: None,
            away: None,
            left: BTreeSet::new(),
        }
    }

    /// Forgets what is known: rows that the last answer let go have become records again.
    pub(super) fn start_again(&mut self) {
        (self.asked, self.lacked, self.through) = (None, None, None);
    }

    /// Whether [`Self::ask`] would ask now.
    pub(super) fn is_due(&self) -> bool {
        let is_idle = self.asked.is_none() && self.through.is_none();
        self.lake.is_some() && is_idle && Instant::now() >= self.ask_at
    }

    /// Asks whether the lake has what it lacked, or else everything that is published now.
    pub(super) fn ask(&mut self, now: Stand, limits: &RelayLimits) {
        self.ask_at = Instant::now() + limits.prune_interval;
        let Some(lake) = self.lake.clone() else {
            return;
        };
        let stand = self.lacked.take().unwrap_or(now);
        // What was published of an entity that is configured no more goes from the outbox, too.
        let published = stand.offsets.keys().map(|place| place.topic.to_string());
        let topics: BTreeSet<String> = self.topics.iter().cloned().chain(published).collect();
        let topics: Vec<String> = topics.into_iter().collect();
        self.asked = Some(Asked {
            answer: tokio::spawn(async move { lake.committed(&topics).await }),
            stand,
        });
    }

    /// Takes the lake's answer if there is one, and removes some of what may go.
    pub(super) async fn step(
        &mut self,
        store: &mut dyn OutboxStore,
        progress: &RelayProgress,
    ) -> Result<(), OutboxError> {
        if let Some(asked) = self.asked.take_if(|asked| asked.answer.is_finished()) {
            self.through = self.answered(asked).await;
        }
        let Some(through) = self.through else {
            return Ok(());
        };
        let pruned = store.prune(through, ROWS_MAX).await?;
        progress.count_pruned(pruned);
        if pruned > 0 {
            point(Point::OutboxPruned);
        }
        if pruned < u64::from(ROWS_MAX) {
            self.through = None;
        }
        Ok(())
    }

    async fn answered(&mut self, asked: Asked) -> Option<i64> {
        let Asked { answer, stand } = asked;
        let answer: Committed = answer.await.unwrap_or_else(|error| Err(error.into()));
        match answer {
            Ok(committed) => {
                if self.away.take().is_some() {
                    info!("the lake answers again; the outbox is pruned behind it");
                }
                let lacks = |(place, next): &(&TopicPartition, &i64)| {
                    committed.get(place).is_none_or(|has| has < *next)
                };
                let lacking = stand.offsets.iter().filter(lacks);
                let lacking: Vec<&TopicPartition> = lacking.map(|(place, _)| place).collect();
                self.say_left(&lacking);
                if lacking.is_empty() {
                    return Some(stand.confirmed);
                }
                self.lacked = Some(stand);
                None
            }
            Err(error) => {
                if self.away.is_none() {
                    let why = error.to_string();
                    warn!(why, "the lake does not say what it has; the outbox is kept");
                    self.away = Some(why);
                }
                self.lacked = Some(stand);
                None
            }
        }
    }

    /// The lake may never have what was published to a topic that it has no table of any more.
    fn say_left(&mut self, lacking: &[&TopicPartition]) {
        for TopicPartition { topic, .. } in lacking {
            let is_left = !self.topics.iter().any(|of_entity| **of_entity == **topic);
            if is_left && self.left.insert(Arc::clone(topic)) {
                warn!(
                    topic = &**topic,
                    "events were published to a topic that no entity of this relay has now, and the outbox is \
                     not pruned before the lake has them; if they are not to come there: DELETE FROM \
                     lakehead.outbox_partition WHERE topic = '{topic}' (SQLite: outbox_partition), and start \
                     the relay again"
                );
            }
        }
    }
}
