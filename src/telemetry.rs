//! Messages: to standard error, since standard output is for data.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// What is told unless the environment says otherwise: what we do, and trouble elsewhere. The
/// embedded broker tells of every dropped connection, and the Delta kernel of every table that is
/// looked for. What ends a session with Postgres is told once, by the capture.
const DEFAULT_FILTER: &str = "warn,lakehead=info,lake_writer=info,change_events=info,\
     capture=info,airline=info,pgwire_replication=off,rdkafka=error,tansu_broker=error,tansu_storage=error,tansu_service=error,\
     slatedb=error,buoyant_kernel=off,opentelemetry=off,opentelemetry_sdk=off";

/// Environment variables with a filter, the first that is set counts.
const FILTER_VARIABLES: [&str; 2] = ["LAKEHEAD_LOG", "RUST_LOG"];

/// How messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines to be read
    #[default]
    Text,
    /// One JSON object a line: timestamp, level, target, message and the event's fields
    Json,
}

/// How to tell what happens.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Write messages as text or as JSON, one object a line. LAKEHEAD_LOG (or RUST_LOG) chooses
    /// which: warn, or lake_writer=debug, or both with a comma
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        env = "LAKEHEAD_LOG_FORMAT",
        default_value = "text",
        hide_env_values = true
    )]
    log_format: LogFormat,
}

/// Starts to write messages to standard error.
pub(crate) fn start(args: &LogArgs) -> Result<(), Failure> {
    let filter = filter()?;
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let messages = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => messages.with_ansi(colours).init(),
        // Fields beside the message, so that a log store indexes them without unpacking.
        LogFormat::Json => messages.json().flatten_event(true).init(),
    }
    Ok(())
}

fn filter() -> Result<EnvFilter, Failure> {
    for variable in FILTER_VARIABLES {
        let Ok(text) = std::env::var(variable) else {
            continue;
        };
        return EnvFilter::try_new(&text)
            .map_err(|error| Failure::usage(format!("{variable}={text:?}: {error}")));
    }
    Ok(EnvFilter::new(DEFAULT_FILTER))
}
