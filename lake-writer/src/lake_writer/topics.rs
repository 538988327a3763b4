//! Which topics are read: those that the configuration names, and those that its patterns find.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

use super::{LakeWriter, Until};
use crate::error::WriterError;
use crate::lane::{Lane, Outlet};
use crate::record_log::RecordLog;
use crate::route::Route;
use crate::settings::Start;
use crate::table_writer::{Held, TableParts, TableWriter};

/// Longest time that the lake is waited for before any topic is read.
const STARTS_WAIT_MAX: Duration = Duration::from_secs(10);

/// How often patterns are held against the cluster's topics.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(5);

impl<L: RecordLog> LakeWriter<L> {
    /// Opens a lane for every topic that is to be read and has none, and tells the log.
    pub(super) async fn find_topics(&mut self) -> Result<(), WriterError> {
        if self.discover_at.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        let mut topics: Vec<String> = self.routes.names().map(str::to_owned).collect();
        let begins = self.discover_at.is_none();
        if self.routes.discovers() {
            match self.log.topics().await {
                Ok(mut found) => {
                    if begins {
                        self.put_begun_first(&mut found).await;
                    }
                    topics.extend(found);
                }
                // What is read already goes on; new topics can wait.
                Err(error @ WriterError::Kafka(_)) if self.until == Until::Stopped => {
                    warn!(%error, "cannot look for new topics; trying again");
                }
                Err(error) => return Err(error),
            }
        }
        self.discover_at = Some(Instant::now() + DISCOVERY_INTERVAL);
        let known = self.lanes.len();
        for topic in topics {
            if self.lanes.iter().any(|lane| *lane.topic == *topic) {
                continue;
            }
            let is_new = self.met.insert(topic.clone()) && !begins;
            match self.routes.route(&topic) {
                None => {}
                Some(Err(error)) => self.refuse(&topic, error.code(), &error),
                Some(Ok(mut route)) => {
                    if is_new {
                        // Everything in it is later than this writer's start.
                        route.start = Start::Earliest;
                    }
                    self.take(&topic, route)?;
                }
            }
        }
        if self.lanes.len() == known {
            return Ok(());
        }
        self.progress.reading(self.lanes.len());
        info!(topics = self.lanes.len(), "reading these many topics");
        let names = self.lanes.iter().map(|lane| lane.topic.to_string());
        self.log.read_topics(names.collect())
    }

    /// A table stays with the topic that it was begun with, whatever other topic would lead to it by
    /// now.
    async fn put_begun_first(&mut self, topics: &mut [String]) {
        match timeout(STARTS_WAIT_MAX, self.starts.refresh()).await {
            Ok(Ok(())) => {
                let begun = self.starts.topics();
                topics.sort_by_key(|topic| !begun.contains(topic.as_str()));
            }
            Ok(Err(error)) => warn!(%error, "cannot read which topics were begun with"),
            Err(_) => warn!("the lake does not tell in time which topics were begun with"),
        }
    }

    /// Reads a topic from now on, unless the table that it leads to cannot be made.
    fn take(&mut self, topic: &str, route: Route) -> Result<(), WriterError> {
        if self.unfit.contains(topic) {
            // What it lacks stands in the configuration, which is read once.
            return Ok(());
        }
        match self.add_lane(route) {
            Err(error) if error.is_of_one_table() => {
                self.refuse(topic, error.code(), &error);
                self.unfit.insert(topic.to_owned());
                Ok(())
            }
            added => {
                self.progress.accepted(topic);
                added
            }
        }
    }

    /// The topic is asked for again with the next look, since a contract may be mended.
    fn refuse(&self, topic: &str, code: &'static str, error: &dyn std::fmt::Display) {
        if self.progress.refused(topic, code, error.to_string()) {
            error!(%error, "the topic is not read; all others are");
        }
    }

    /// A lane of its own for a topic, with a task that writes its table.
    fn add_lane(&mut self, route: Route) -> Result<(), WriterError> {
        let (requests, incoming) = mpsc::unbounded_channel();
        let held = Arc::new(Held::new(Arc::clone(&self.room)));
        let writer = TableWriter::new(TableParts {
            lake: self.lake.clone(),
            table: route.table.clone(),
            shape: route.shape,
            infers: route.infer,
            pipeline: self.settings.pipeline.clone(),
            checkpoint_interval: self.settings.checkpoint_interval,
            held: Arc::clone(&held),
            dead_letters: Arc::clone(&self.dead_letters),
            rewrites: Arc::clone(&self.rewrites),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
        });
        self.runtime
            .spawn(writer.run(incoming, self.outcomes_in.clone()));
        self.lanes
            .push(Lane::new(route, Outlet::new(requests, held))?);
        Ok(())
    }
}
