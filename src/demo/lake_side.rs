//! The lake's side of the demo: a lake-writer that follows the service until all has arrived.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use lake_store::LakeStore;
use lake_writer::{
    Assignment, KafkaSettings, Route, Routes, Until, WriterProgress, WriterSettings,
};
use query_engine::{Engine, EngineSettings};
use schemas::SchemaRegistry;
use tokio::sync::watch;

use super::owner_side::Owner;
use crate::failure::Failure;
use crate::write::Work;

/// Shorter than a daemon's default, so that there is something to see.
const FLUSH_AGE_MAX: Duration = Duration::from_secs(2);

/// A lake-writer about to follow.
pub(super) struct Writing {
    lake: LakeStore,
    bootstrap_servers: String,
    registry: Arc<dyn SchemaRegistry>,
    progress: Arc<WriterProgress>,
    rows_before: u64,
}

/// What can be watched of it.
#[derive(Clone)]
pub(super) struct LakeWatch {
    progress: Arc<WriterProgress>,
    rows_before: u64,
}

impl LakeWatch {
    /// Rows in the lake, those of earlier runs included.
    pub(super) fn committed(&self) -> u64 {
        self.rows_before + self.progress.rows_committed()
    }
}

impl Writing {
    pub(super) async fn new(
        lake: LakeStore,
        bootstrap_servers: &str,
        registry: Arc<dyn SchemaRegistry>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            rows_before: rows_in(&lake).await?,
            lake,
            bootstrap_servers: bootstrap_servers.to_owned(),
            registry,
            progress: Arc::new(WriterProgress::default()),
        })
    }

    pub(super) fn watch(&self) -> LakeWatch {
        LakeWatch {
            progress: Arc::clone(&self.progress),
            rows_before: self.rows_before,
        }
    }

    /// Writes while the owner publishes, then up to the end of what it published.
    pub(super) async fn follow(
        &self,
        owner: Owner,
        stop: watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        let (enough, following) = watch::channel(false);
        let mut writer = tokio::spawn(self.work(Until::Stopped)?.run(following));
        let result = tokio::select! {
            result = owner.run(stop.clone()) => result,
            ended = &mut writer => return ended.map_err(Failure::failed)?,
        };
        enough.send_replace(true);
        writer.await.map_err(Failure::failed)??;
        result?;
        self.work(Until::CaughtUp)?.run(stop).await
    }

    fn work(&self, until: Until) -> Result<Work, Failure> {
        let kafka = KafkaSettings {
            bootstrap_servers: self.bootstrap_servers.clone(),
            group_id: "lakehead-demo".to_owned(),
            assignment: Assignment::All,
            ..KafkaSettings::default()
        };
        let writer = WriterSettings {
            flush_age_max: FLUSH_AGE_MAX,
            ..WriterSettings::default()
        };
        let table = airline::FLIGHT_TABLE.parse::<schemas::TableName>();
        let contract = airline::flight_contract().map_err(Failure::failed)?;
        let route = Route {
            contract: Some(contract),
            ..Route::new(airline::FLIGHT_TABLE, table.map_err(Failure::failed)?)
        };
        let routes = Routes::of(vec![route]).map_err(Failure::failed)?;
        Ok(Work {
            lake: self.lake.clone(),
            kafka,
            writer,
            routes,
            registry: Some(Arc::clone(&self.registry)),
            until,
            progress: Arc::clone(&self.progress),
        })
    }
}

/// Rows of changes that an earlier run left.
async fn rows_in(lake: &LakeStore) -> Result<u64, Failure> {
    let table = airline::FLIGHT_TABLE.parse().map_err(Failure::failed);
    let table: schemas::TableName = table?;
    if !lake.has_log(&table.changes_path()).await? {
        return Ok(0);
    }
    let engine = Engine::open(lake.clone(), &EngineSettings::default()).map_err(Failure::failed)?;
    let sql = format!("select count(*) from {}_changes", airline::FLIGHT_TABLE);
    let answer = engine.ask(&sql).await.map_err(Failure::failed)?;
    let batches = answer.collect().await.map_err(Failure::failed)?;
    let counts = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values());
    Ok(counts.map(|count| u64::try_from(*count).unwrap_or(0)).sum())
}
