//! Whether the writer can do its work, and what is missing if not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lake_writer::StoppedTable;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::Watched;

/// Kafka must have answered within so long; it is asked every five seconds.
const KAFKA_SEEN_MAX: Duration = Duration::from_secs(30);

/// An answer of the store counts for so long, so that frequent questions to us are few to it.
const STORE_SEEN_MAX: Duration = Duration::from_secs(15);

/// Longest wait for the store's answer.
const STORE_WAIT_MAX: Duration = Duration::from_secs(5);

/// The answer of `/readyz`. A stopped table is told and does not make the writer unready: all
/// others go on, and starting it again would not help.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Whether nothing is missing.
    pub(crate) ready: bool,
    /// What is missing.
    pub(crate) missing: Vec<String>,
    /// Partitions that this process reads; absent before the first assignment.
    pub(crate) partitions: Option<u64>,
    /// Tables that are not written to, each with why.
    pub(crate) stopped: BTreeMap<String, Stopped>,
    /// Topics that are to be read and cannot be, each with why.
    #[serde(default)]
    pub(crate) refused: BTreeMap<String, Stopped>,
}

/// Why a table is not written to.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stopped {
    pub(crate) code: String,
    pub(crate) error: String,
}

impl From<StoppedTable> for Stopped {
    fn from(why: StoppedTable) -> Self {
        Self {
            code: why.code.to_owned(),
            error: why.error,
        }
    }
}

/// Answers whether the writer is ready.
#[derive(Debug)]
pub(super) struct Readiness {
    watched: Arc<Watched>,
    store: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Readiness {
    pub(super) fn new(watched: Arc<Watched>) -> Self {
        Self {
            watched,
            store: Mutex::new(None),
        }
    }

    pub(super) fn watched(&self) -> &Watched {
        &self.watched
    }

    pub(super) async fn report(&self) -> Report {
        let partitions = self.watched.progress.partitions();
        let mut missing = Vec::new();
        missing.extend(self.kafka().err());
        missing.extend(self.store().await.err());
        let topics = self.watched.lag.kafka().topics;
        // Without any topic there is nothing to be assigned: it waits rightly.
        if partitions.is_none() && topics > 0 {
            missing.push("no partitions are assigned yet".to_owned());
        }
        Report {
            ready: missing.is_empty(),
            missing,
            partitions,
            stopped: self.stopped(),
            refused: self.refused(),
        }
    }

    fn kafka(&self) -> Result<(), String> {
        let seen = self.watched.lag.kafka();
        if seen.at.is_some_and(|at| at.elapsed() <= KAFKA_SEEN_MAX) {
            return Ok(());
        }
        let error = seen.error.map(|error| format!(": {error}"));
        let since = seen
            .at
            .map(|at| format!(" for {} s", at.elapsed().as_secs()));
        let (since, error) = (since.unwrap_or_default(), error.unwrap_or_default());
        Err(format!("kafka has not answered{since}{error}"))
    }

    /// Asks the store for a listing, unless it answered a moment ago. One question at a time.
    async fn store(&self) -> Result<(), String> {
        let mut last = self.store.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() <= STORE_SEEN_MAX
        {
            return answer.clone();
        }
        let answer = tokio::time::timeout(STORE_WAIT_MAX, self.watched.lake.check()).await;
        let answer = match answer {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!(
                "lake {} has not answered within {STORE_WAIT_MAX:?}",
                self.watched.lake.url()
            )),
        };
        *last = Some((Instant::now(), answer.clone()));
        answer
    }

    fn stopped(&self) -> BTreeMap<String, Stopped> {
        let tables = self.watched.progress.tables().into_iter();
        let stopped = tables
            .filter_map(|table| Some((table.name().to_string(), table.why_stopped()?.into())));
        stopped.collect()
    }

    fn refused(&self) -> BTreeMap<String, Stopped> {
        let refused = self.watched.progress.refused_topics().into_iter();
        refused.map(|(topic, why)| (topic, why.into())).collect()
    }
}
