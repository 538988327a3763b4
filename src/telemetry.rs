//! Messages: to standard error, since standard output is for data.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What is told unless `RUST_LOG` says otherwise: what we do, and trouble elsewhere. The embedded
/// broker tells of every dropped connection, and the Delta kernel of every table that is looked for.
const DEFAULT_FILTER: &str = "warn,lakehead=info,lake_writer=info,change_events=info,\
     airline=info,rdkafka=error,tansu_broker=error,tansu_storage=error,tansu_service=error,\
     slatedb=error,buoyant_kernel=off,opentelemetry=off,opentelemetry_sdk=off";

/// Starts to write messages to standard error.
pub(crate) fn start() {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .init();
}
