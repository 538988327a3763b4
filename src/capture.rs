//! `lakehead capture`: an owner's tables to Kafka, as a process.

use std::path::PathBuf;
use std::sync::Arc;

use ::capture::{Capture, CaptureError};
use change_events::KafkaBroker;
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::failure::Failure;
use crate::stop;

/// Publish the changes of a service's Postgres tables, without code in the service
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lakehead capture --config lakehead.toml     until it is stopped; SIGTERM confirms first

It copies the tables that [capture] names and then follows Postgres' log. docs/capture.md says what the
database needs, what the events look like and what can go wrong.

Exit codes: 0 stopped, 1 failed, 2 configuration, 3 cannot connect, 130 stopped at once.")]
pub(crate) struct CaptureArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Captures until a signal or an error.
pub(crate) async fn run(args: CaptureArgs) -> Result<(), Failure> {
    let mut stopped = stop::on_signal()?;
    let resolved = Config::read(&args.config)?.resolve_capture(&args.config)?;
    let capture = Capture::open(
        resolved.capture,
        Arc::new(KafkaBroker::new(resolved.kafka)),
        Arc::new(resolved.registry),
    )?;
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    tokio::spawn(async move {
        // Whoever asks to stop is gone when the program ends by itself.
        if stopped.wait_for(|stop| *stop).await.is_ok() {
            stop.cancel();
        }
    });
    Ok(capture.run(cancel).await?)
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
