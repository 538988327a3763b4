//! `lakehead write`: the lake-writer as a process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use lake_store::LakeStore;
use lake_writer::{
    CareProgress, Entropy, KafkaLog, KafkaSettings, LagWatch, LakeWriter, Meter, MeteredRegistry,
    MeteredStore, Parts, Routes, SystemClock, Until, WriterError, WriterProgress, WriterSettings,
};
use schemas::SchemaRegistry;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::config::{Config, Http};
use crate::failure::Failure;
use crate::http::{self, Watched};
use crate::{maintain, stop};

/// Longest wait for Kafka's first answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest wait for leaving Kafka's group.
const LEAVE_WAIT_MAX: Duration = Duration::from_secs(5);

/// How often the reading thread gives a sign of life.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Run the lake-writer: Kafka topics into Delta tables, exactly once
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lakehead write --config lakehead.toml            until it is stopped; SIGTERM commits first
  lakehead write --config lakehead.toml --once     until everything there now is committed

The configuration is described in deploy/lakehead.example.toml; docs/operations.md says what can go
wrong and what to do. After SIGTERM it ends within 45 seconds, whatever Kafka or the store do; after
a second one, at once.

Exit codes: 0 stopped or caught up, 1 failed, 2 configuration, 3 cannot connect, 5 stopped or caught
up, but a table could not go on, 130 stopped at once.")]
pub(crate) struct WriteArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// End when everything that is in the topics now is committed. With assignment = "group": of
    /// the partitions this process is given; use "all" to copy every one
    #[arg(long)]
    once: bool,
}

/// Runs until a signal, the end or an error.
pub(crate) async fn run(args: WriteArgs) -> Result<(), Failure> {
    let stop = stop::on_signal()?;
    let resolved = Config::read(&args.config)?.resolve(&args.config)?;
    let lake = resolved.lake.open(true)?;
    let until = if args.once {
        Until::CaughtUp
    } else {
        Until::Stopped
    };
    let registry = resolved.registry;
    let mut work = Work {
        lake: lake.clone(),
        kafka: resolved.kafka,
        writer: resolved.writer,
        routes: resolved.routes,
        registry: registry.map(|registry| Arc::new(registry) as Arc<dyn SchemaRegistry>),
        until,
        progress: Arc::new(WriterProgress::default()),
    };
    let care = resolved.maintenance.enabled;
    let care = care.then(Arc::<CareProgress>::default);
    if let Some(settings) = &resolved.http {
        work.watch(settings, care.clone()).await?;
    }
    let mut stopped = stop.clone();
    tokio::select! {
        biased;
        _ = stopped.wait_for(|stop| *stop) => return Ok(()),
        // Nothing reads yet, and whoever asks whether it lives is told that it does.
        () = beat(Arc::clone(&work.progress)) => {}
        checked = check(&lake) => checked?,
    }
    let Some(care) = care else {
        return work.run(stop).await;
    };
    let maintenance = maintain::Beside::new(&work.lake, &resolved.maintenance, care);
    match args.once {
        false => maintenance.during(work.run(stop)).await,
        true => maintenance.after(work.run(stop.clone()), stop).await,
    }
}

/// Whether the lake can be written to.
async fn check(lake: &LakeStore) -> Result<(), Failure> {
    lake.check().await?;
    Ok(lake.check_exclusive_create().await?)
}

/// A lake-writer about to start.
pub(crate) struct Work {
    pub(crate) lake: LakeStore,
    pub(crate) kafka: KafkaSettings,
    pub(crate) writer: WriterSettings,
    pub(crate) routes: Routes,
    pub(crate) registry: Option<Arc<dyn SchemaRegistry>>,
    pub(crate) until: Until,
    pub(crate) progress: Arc<WriterProgress>,
}

impl Work {
    /// Answers questions about the work, and the care beside it, from now on.
    async fn watch(
        &mut self,
        settings: &Http,
        care: Option<Arc<CareProgress>>,
    ) -> Result<(), Failure> {
        let (store, registry) = (Arc::new(Meter::default()), Arc::new(Meter::default()));
        let topics = self.routes.names().map(str::to_owned).collect();
        let progress = Arc::clone(&self.progress);
        let lag = LagWatch::start(&self.kafka, topics, progress, Arc::new(SystemClock))?;
        let watched = Watched {
            progress: Arc::clone(&self.progress),
            lag,
            lake: self.lake.clone(),
            buffer_bytes_max: self.writer.buffer_bytes_max.as_u64(),
            store: Arc::clone(&store),
            registry: Arc::clone(&registry),
            care,
        };
        self.lake = self
            .lake
            .clone()
            .map_store(|inner| Arc::new(MeteredStore::new(inner, store)));
        if let Some(inner) = self.registry.take() {
            self.registry = Some(Arc::new(MeteredRegistry::new(inner, registry)));
        }
        http::start(settings, watched).await
    }

    /// Runs the writer on a thread of its own, since reading from Kafka blocks it.
    pub(crate) async fn run(self, stop: watch::Receiver<bool>) -> Result<(), Failure> {
        let tables = Handle::current();
        let (ended, end) = oneshot::channel();
        let (leaves, left) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("lake-writer".to_owned());
        thread
            .spawn(move || {
                let mut writer = None;
                // Nobody waits any more if the program is ending.
                ended.send(self.block(&mut writer, tables, stop)).ok();
                drop(writer);
                drop(leaves);
            })
            .map_err(Failure::failed)?;
        let died = || {
            Failure::failed(anyhow::anyhow!(
                "the lake-writer died; see the message above"
            ))
        };
        let result = end.await.map_err(|_| died())?;
        // Who does not take leave holds its partitions until its session ends, and no longer.
        tokio::time::timeout(LEAVE_WAIT_MAX, left).await.ok();
        result
    }

    /// Runs a writer, which is left in `place`: to drop it may take long.
    fn block(
        self,
        place: &mut Option<LakeWriter<KafkaLog>>,
        tables: Handle,
        stop: watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(Failure::failed)?;
        let log = KafkaLog::new(&self.kafka, Vec::new()).map_err(|error| match error {
            WriterError::Kafka(why) => Failure::usage(format!("[kafka]: {why}")),
            other => other.into(),
        })?;
        let asked = log.check(CONNECT_TIMEOUT, || *stop.borrow());
        if *stop.borrow() {
            return Ok(());
        }
        asked.map_err(|error| match error {
            WriterError::KafkaRefused { .. } => Failure::unreachable(error),
            other => Failure::unreachable(anyhow::Error::new(other).context(format!(
                "kafka cannot be reached at {:?}; check kafka.bootstrap_servers",
                self.kafka.bootstrap_servers
            ))),
        })?;
        runtime.spawn(beat(Arc::clone(&self.progress)));
        let parts = Parts {
            lake: self.lake,
            registry: self.registry,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(Entropy::from_os()),
            runtime: tables,
            progress: self.progress,
        };
        let writer = LakeWriter::new(log, self.writer, self.routes, self.until, parts);
        let writer = place.insert(writer);
        runtime.block_on(writer.run(stop)).map_err(Failure::from)
    }
}

/// Gives signs of life of the thread it runs on, also while the writer waits for Kafka or the store.
async fn beat(progress: Arc<WriterProgress>) {
    let mut due = tokio::time::interval(BEAT_INTERVAL);
    loop {
        due.tick().await;
        progress.beat();
    }
}
