//! `lakehead write`: the lake-writer as a process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use lake_store::LakeStore;
use lake_writer::{
    Entropy, KafkaLog, KafkaSettings, LakeWriter, Parts, Routes, SystemClock, Until, WriterError,
    WriterProgress, WriterSettings,
};
use schemas::SchemaRegistry;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::config::Config;
use crate::failure::Failure;
use crate::stop;

/// Longest wait for Kafka's first answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Run the lake-writer: Kafka topics into Delta tables, exactly once
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lakehead write --config lakehead.toml            until it is stopped; SIGTERM commits first
  lakehead write --config lakehead.toml --once     until everything there now is committed

The configuration is described in deploy/lakehead.example.toml.

Exit codes: 0 stopped or caught up, 1 failed, 2 configuration, 3 cannot connect, 130 stopped at once.")]
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
    lake.check().await?;
    lake.check_exclusive_create().await?;
    let until = if args.once {
        Until::CaughtUp
    } else {
        Until::Stopped
    };
    let registry = resolved.registry;
    let work = Work {
        lake,
        kafka: resolved.kafka,
        writer: resolved.writer,
        routes: resolved.routes,
        registry: registry.map(|registry| Arc::new(registry) as Arc<dyn SchemaRegistry>),
        until,
        progress: Arc::new(WriterProgress::default()),
    };
    work.run(stop).await
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
    /// Runs the writer on a thread of its own, since reading from Kafka blocks it.
    pub(crate) async fn run(self, stop: watch::Receiver<bool>) -> Result<(), Failure> {
        let tables = Handle::current();
        let (ended, end) = oneshot::channel();
        let thread = std::thread::Builder::new().name("lake-writer".to_owned());
        thread
            .spawn(move || {
                // Nobody waits any more if the program is ending.
                ended.send(self.block(tables, stop)).ok();
            })
            .map_err(Failure::failed)?;
        let died = || {
            Failure::failed(anyhow::anyhow!(
                "the lake-writer died; see the message above"
            ))
        };
        end.await.map_err(|_| died())?
    }

    fn block(self, tables: Handle, stop: watch::Receiver<bool>) -> Result<(), Failure> {
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
        let parts = Parts {
            lake: self.lake,
            registry: self.registry,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(Entropy::from_os()),
            runtime: tables,
            progress: self.progress,
        };
        let writer = LakeWriter::new(log, self.writer, self.routes, self.until, parts);
        runtime.block_on(writer.run(stop)).map_err(Failure::from)
    }
}
