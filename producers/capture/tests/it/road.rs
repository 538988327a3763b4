//! The road of one test: an owner, a registry, topics of its own, and the captures it starts.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use capture::{Capture, CaptureError, CaptureProgress, CaptureSettings, CapturedTable, Lsn};
use change_events::{KafkaBroker, KafkaSettings};
use registry_server::{RegistryServer, Settings};
use schemas::{HttpRegistry, SchemaRegistry};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::owner::Owner;
use crate::view::View;

/// What slow machines take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Everything that one test owns.
pub(crate) struct Road {
    pub(crate) owner: Owner,
    pub(crate) brokers: String,
    /// The service; no other test has it.
    pub(crate) service: String,
    pub(crate) settings: CaptureSettings,
    directory: TempDir,
    registry: RegistryServer,
}

impl Road {
    /// A road for tables `schema.name`, which become entities of the same name; the tables are made by
    /// `sql`. Nothing if a part is missing.
    pub(crate) async fn new(sql: &str, tables: &[&str]) -> Option<Self> {
        Self::of(Owner::create().await?, sql, tables).await
    }

    /// The same for an owner that is there.
    pub(crate) async fn of(owner: Owner, sql: &str, tables: &[&str]) -> Option<Self> {
        let Ok(brokers) = std::env::var("LAKEHEAD_TEST_KAFKA") else {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "LAKEHEAD_TEST_KAFKA is not set"
            );
            eprintln!("SKIPPED: LAKEHEAD_TEST_KAFKA is not set");
            return None;
        };
        owner.run(sql).await;
        let directory = tempfile::tempdir().unwrap();
        let registry = RegistryServer::start(Settings::new(directory.path().join("registry")))
            .await
            .unwrap();
        let service = format!("s{}", &Uuid::new_v4().simple().to_string()[..12]);
        let state: PathBuf = directory.path().join("capture");
        let mut settings = CaptureSettings::new(owner.server(), &service, state);
        settings.slot_unbounded = true;
        settings.limits.confirm_interval = Duration::from_millis(50);
        settings.limits.watch_interval = Duration::from_millis(100);
        for table in tables {
            let (schema, name) = table.split_once('.').unwrap();
            let entity = format!("{service}.{name}").parse().unwrap();
            settings
                .tables
                .push(CapturedTable::new(schema, name, entity));
        }
        Some(Self {
            owner,
            brokers,
            service,
            settings,
            directory,
            registry,
        })
    }

    pub(crate) fn registry(&self) -> Arc<dyn SchemaRegistry> {
        Arc::new(HttpRegistry::new(self.registry.url()).unwrap())
    }

    pub(crate) fn open(&self) -> Result<Capture, CaptureError> {
        // What is changed at the brokers is seen soon.
        let refresh = ("topic.metadata.refresh.interval.ms", "1000");
        let broker = KafkaSettings {
            partitions: 3,
            properties: [(refresh.0.to_owned(), refresh.1.to_owned())].into(),
            ..KafkaSettings::new(&self.brokers)
        };
        Capture::open(
            self.settings.clone(),
            Arc::new(KafkaBroker::new(broker)),
            self.registry(),
        )
    }

    /// Starts a capture.
    pub(crate) async fn start(&self) -> Running {
        let deadline = Instant::now() + PATIENCE;
        let capture = loop {
            match self.open() {
                Ok(capture) => break capture,
                // One that was killed a moment ago still holds the directory.
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let cancel = CancellationToken::new();
        Running {
            progress: capture.progress(),
            task: tokio::spawn(capture.run(cancel.clone())),
            cancel,
        }
    }

    /// Captures until everything that is committed now is confirmed, then stops.
    pub(crate) async fn capture_all(&self) -> Arc<CaptureProgress> {
        let running = self.start().await;
        running.wait_confirmed(self.owner.wal_end().await).await;
        let progress = Arc::clone(&running.progress);
        running.stop().await;
        progress
    }

    /// Waits until something is so of the slot, told as of all slots of its name: of one or of none.
    pub(crate) async fn wait_slot(&self, condition: &str) {
        let slot = &self.settings.slot;
        let question =
            format!("SELECT {condition} FROM pg_replication_slots WHERE slot_name = '{slot}'");
        let deadline = Instant::now() + PATIENCE;
        while self.owner.text(&question).await != "t" {
            assert!(
                Instant::now() < deadline,
                "the slot is not yet: {condition}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until captures have had so many sessions from now on: one that is not let in looks again and again.
    pub(crate) async fn wait_sessions(&self, count: usize) {
        let question = "SELECT string_agg(pid::text, ',') FROM pg_stat_activity
            WHERE application_name = 'lakehead-capture' AND datname = current_database()";
        let (mut seen, deadline) = (BTreeSet::new(), Instant::now() + PATIENCE);
        while seen.len() < count {
            assert!(Instant::now() < deadline, "only {seen:?}");
            let now = self.owner.text(question).await;
            seen.extend(now.split(',').map(str::to_owned));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Does something with the slot that needs it to be nobody's: Postgres misses who read it a moment later.
    pub(crate) async fn with_slot(&self, sql: &str) {
        let slot = &self.settings.slot;
        self.wait_slot("NOT coalesce(bool_or(active), false)").await;
        self.owner
            .run(&sql.replace("$slot", &format!("'{slot}'")))
            .await;
    }

    /// The error that a capture ends with.
    pub(crate) async fn refused(&self) -> CaptureError {
        let running = self.start().await;
        let ended = tokio::time::timeout(PATIENCE, running.task).await;
        ended.expect("it runs on").unwrap().unwrap_err()
    }

    /// Gives the tables' topics other names.
    pub(crate) fn service_again(&mut self) {
        self.service.push('x');
        self.settings.service.clone_from(&self.service);
        for table in &mut self.settings.tables {
            table.entity = format!("{}.{}", self.service, table.name).parse().unwrap();
        }
    }

    /// What is in an entity's topic.
    pub(crate) async fn view(&self, entity: &str) -> View {
        View::read(
            &self.brokers,
            &format!("{}.{entity}", self.service),
            &*self.registry(),
        )
        .await
    }

    pub(crate) fn state_directory(&self) -> PathBuf {
        self.directory.path().join("capture")
    }
}

/// A capture that runs.
pub(crate) struct Running {
    pub(crate) progress: Arc<CaptureProgress>,
    pub(crate) task: JoinHandle<Result<(), CaptureError>>,
    cancel: CancellationToken,
}

impl Running {
    pub(crate) async fn wait(&self, what: &str, holds: impl Fn(&CaptureProgress) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.progress) {
            assert!(!self.task.is_finished(), "the capture ended before {what}");
            assert!(
                Instant::now() < deadline,
                "not in time: {what}; {:?}",
                self.progress
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn wait_confirmed(&self, lsn: Lsn) {
        self.wait(&format!("{lsn} is confirmed"), |progress| {
            progress.confirmed() >= lsn
        })
        .await;
    }

    /// Stops it as a signal does.
    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Ends it in the middle of what it does.
    pub(crate) async fn kill(self) {
        self.task.abort();
        self.task.await.ok();
    }
}
