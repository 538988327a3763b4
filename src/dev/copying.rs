//! The lake-writer of `lakehead dev`, which outlives its errors: a topic that cannot be copied must
//! not take Kafka away from the services.

use std::sync::Arc;
use std::time::Duration;

use lake_store::LakeStore;
use lake_writer::{Assignment, KafkaSettings, Until, WriterProgress};
use schemas::{HttpRegistry, SchemaRegistry};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::error;

use super::topics::Road;
use crate::embedded::Embedded;
use crate::failure::Failure;
use crate::write::Work;

/// The wait after a first failure; it doubles with each that follows.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A lake-writer and what it needs to be started anew.
pub(super) struct Copying {
    lake: LakeStore,
    road: Road,
    kafka: KafkaSettings,
    registry: Arc<dyn SchemaRegistry>,
    progress: Arc<WriterProgress>,
}

impl Copying {
    pub(super) fn new(lake: LakeStore, road: Road, embedded: &Embedded) -> Result<Self, Failure> {
        let registry = HttpRegistry::new(embedded.registry_url()).map_err(Failure::usage)?;
        Ok(Self {
            lake,
            road,
            kafka: KafkaSettings {
                bootstrap_servers: embedded.bootstrap_servers().to_owned(),
                group_id: "lakehead-dev".to_owned(),
                assignment: Assignment::All,
                ..KafkaSettings::default()
            },
            registry: Arc::new(registry),
            progress: Arc::new(WriterProgress::default()),
        })
    }

    /// Copies until `stop`, and commits what was read by then. An error is told and waited out.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut pause = PAUSE_MIN;
        loop {
            let started = Instant::now();
            let copied = match self.work() {
                Ok(work) => work.run(stop.clone()).await,
                Err(failure) => Err(failure),
            };
            let Err(failure) = copied else {
                return;
            };
            if started.elapsed() > PAUSE_MAX {
                pause = PAUSE_MIN;
            }
            error!(
                "the topics are not copied: {}; nothing is lost, trying again in {} s",
                failure.text(),
                pause.as_secs()
            );
            // An error of the channel means that nobody can ask to stop, or wait for us, any more.
            if timeout(pause, stop.wait_for(|asked| *asked)).await.is_ok() {
                return;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn work(&self) -> Result<Work, Failure> {
        let routes = self.road.routes();
        let routes = routes.map_err(|problems| Failure::usage(problems.join("; ")))?;
        Ok(Work {
            lake: self.lake.clone(),
            kafka: self.kafka.clone(),
            writer: self.road.writer.clone(),
            routes,
            registry: Some(Arc::clone(&self.registry)),
            until: Until::Stopped,
            progress: Arc::clone(&self.progress),
        })
    }
}
