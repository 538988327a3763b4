//! `lakehead capture`: an owner's tables to Kafka, as a process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::capture::{Capture, CaptureError, CaptureProgress, Lsn};
use change_events::KafkaBroker;
use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::Config;
use crate::failure::Failure;
use crate::http;
use crate::stop;

/// How often it is said how far the capture has come, if it has moved.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// How often `--once` looks whether it is done.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Publish the changes of a service's Postgres tables, without code in the service
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lakehead capture --config lakehead.toml            until it is stopped; SIGTERM confirms first
  lakehead capture --config lakehead.toml --once     until everything that is committed now is published

It copies the tables that [capture] names and then follows Postgres' log. docs/capture.md says what the
database needs, what the events look like and what can go wrong.

Exit codes: 0 stopped or done, 1 failed, 2 configuration, 3 cannot connect, 130 stopped at once.")]
pub(crate) struct CaptureArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// End when everything that is committed now is published
    #[arg(long)]
    once: bool,
}

/// Captures until a signal, the end or an error.
pub(crate) async fn run(args: CaptureArgs) -> Result<(), Failure> {
    let mut stop = stop::on_signal()?;
    let resolved = Config::read(&args.config)?.resolve_capture(&args.config)?;
    let capture = Capture::open(
        resolved.capture,
        Arc::new(KafkaBroker::new(resolved.kafka)),
        Arc::new(resolved.registry),
    )?;
    let end = match args.once {
        true => Some(capture.committed().await?),
        false => None,
    };
    let progress = capture.progress();
    if let Some(settings) = &resolved.http {
        http::captured::start(settings, Arc::clone(&progress)).await?;
    }
    let cancel = CancellationToken::new();
    let mut running = tokio::spawn(capture.run(cancel.clone()));
    let ended = tokio::select! {
        ended = &mut running => Some(ended),
        _ = stop.wait_for(|stop| *stop) => None,
        () = until(&progress, end) => None,
    };
    cancel.cancel();
    let ended = match ended {
        Some(ended) => ended,
        None => running.await,
    };
    report(&progress);
    Ok(ended.map_err(Failure::failed)??)
}

/// Says how far the capture has come, until it has come to `end`: also what was to be copied first is, then.
async fn until(progress: &CaptureProgress, end: Option<Lsn>) {
    let mut told = progress.published();
    let mut tell_at = tokio::time::Instant::now() + REPORT_INTERVAL;
    while end.is_none_or(|end| progress.confirmed() < end || !progress.is_streaming()) {
        tokio::time::sleep(LOOK_INTERVAL).await;
        if progress.published() != told && tokio::time::Instant::now() >= tell_at {
            report(progress);
            told = progress.published();
            tell_at = tokio::time::Instant::now() + REPORT_INTERVAL;
        }
    }
}

fn report(progress: &CaptureProgress) {
    info!(
        published = progress.published(),
        copied_rows = progress.copied_rows(),
        confirmed = %progress.confirmed(),
        retained_bytes = progress.retained_bytes(),
        "the log"
    );
}

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Self {
        match error {
            CaptureError::Settings(_) | CaptureError::KafkaRefused(_) => Self::usage(error),
            CaptureError::Postgres { .. } => Self::unreachable(error),
            other => Self::failed(other),
        }
    }
}
