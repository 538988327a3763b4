//! `lakehead relay`: a service's outbox into Kafka, as a process beside the service.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::capture::{Lsn, OutboxProgress, OutboxReading, ReplicatedOutbox};
use change_events::{
    KafkaBroker, Outbox, OutboxError, OutboxStore, PostgresOutbox, Relay, RelayError,
    RelayProgress, SqliteOutbox,
};
use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::{Config, Database, ResolvedRelay};
use crate::failure::Failure;
use crate::stop;

mod lake;

use lake::CommittedOffsets;

/// How often it is said how far the relay has come, if it has moved.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// How often `--once` looks whether it is done.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Publish a service's outbox: its own database into Kafka topics
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lakehead relay --config lakehead.toml            until it is stopped
  lakehead relay --config lakehead.toml --once     until everything in the outbox now is published
  lakehead relay --config lakehead.toml --create   create the outbox first, if it is missing
  lakehead relay --sql | psql \"$DATABASE_URL\"      create it by hand, in Postgres

docs/outbox.md takes a service from nothing to rows in the lake, and says what to do with parked rows.
A second relay of the same Postgres outbox waits until the first one ends, and takes over.

Exit codes: 0 stopped or done, 1 failed, 2 configuration, 3 cannot connect, 130 stopped at once.")]
pub(crate) struct RelayArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", required_unless_present = "sql")]
    config: Option<PathBuf>,

    /// End when everything that is in the outbox now is published or parked
    #[arg(long)]
    once: bool,

    /// Create the outbox in the service's database where it is missing
    #[arg(long)]
    create: bool,

    /// Print the SQL that creates an outbox in Postgres, and end
    #[arg(long, conflicts_with_all = ["config", "once", "create"])]
    sql: bool,
}

/// Runs until a signal, the end or an error.
pub(crate) async fn run(args: RelayArgs) -> Result<(), Failure> {
    let Some(file) = &args.config else {
        return print_sql();
    };
    let mut stop = stop::on_signal()?;
    let resolved = Config::read(file)?.resolve_relay(file)?;
    let database = resolved.relay.database.clone();
    if args.create {
        create(&database, &resolved.relay.service).await?;
    }
    let end = match args.once {
        true => Some(end(&database).await.map_err(failure)?),
        false => None,
    };
    let (relay, log) = relay(resolved, &database).await?;
    let progress = relay.progress();
    let cancel = CancellationToken::new();
    let mut running = tokio::spawn(relay.run(cancel.clone()));
    let ended = tokio::select! {
        ended = &mut running => Some(ended),
        _ = stop.wait_for(|stop| *stop) => None,
        () = until(&progress, log.as_deref(), end) => None,
    };
    cancel.cancel();
    let ended = match ended {
        Some(ended) => ended,
        None => running.await,
    };
    report(&progress);
    ended.map_err(Failure::failed)?.map_err(relay_failure)
}

fn print_sql() -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(Outbox::postgres_sql().as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::failed(error)),
        _ => Ok(()),
    }
}

/// A relay that is connected to the database and to nothing else, and how far it reads a log.
async fn relay(
    mut resolved: ResolvedRelay,
    database: &Database,
) -> Result<(Relay, Option<Arc<OutboxProgress>>), Failure> {
    let lake = match resolved.relay.prune {
        true => Some(CommittedOffsets::new(&mut resolved)?),
        false => None,
    };
    let settings = resolved.relay;
    let (store, log) = open(database, settings.reading).await.map_err(failure)?;
    let broker = Arc::new(KafkaBroker::new(settings.kafka));
    let registry = Arc::new(resolved.registry);
    let relay = Relay::open(store, settings.entities, broker, registry).await;
    let relay = relay.map_err(relay_failure)?;
    let mut relay = relay.with_limits(settings.limits);
    if let Some(lake) = lake {
        relay = relay.with_lake(Arc::new(lake));
    }
    if settings.transactions {
        relay = relay.with_transactions(&settings.service);
    }
    Ok((relay, log))
}

async fn open(
    database: &Database,
    reading: OutboxReading,
) -> Result<(Box<dyn OutboxStore>, Option<Arc<OutboxProgress>>), OutboxError> {
    Ok(match database {
        Database::Sqlite(path) => (Box::new(SqliteOutbox::open(path).await?), None),
        Database::Postgres(url) => {
            let store = ReplicatedOutbox::open(url, reading).await?;
            let progress = store.progress();
            (Box::new(store), Some(progress))
        }
    })
}

async fn create(database: &Database, service: &str) -> Result<(), Failure> {
    let source = match database {
        Database::Sqlite(path) => SqliteOutbox::create(path, service).await,
        Database::Postgres(url) => PostgresOutbox::create(url, service).await,
    };
    info!(source = source.map_err(failure)?, "the outbox is there");
    Ok(())
}

/// The last sequence of the outbox, and the end of its database's log.
async fn end(database: &Database) -> Result<(i64, Lsn), OutboxError> {
    match database {
        Database::Sqlite(path) => {
            let sequence = SqliteOutbox::open(path).await?.end().await?;
            Ok((sequence, Lsn::default()))
        }
        Database::Postgres(url) => {
            let reading = OutboxReading::default();
            ReplicatedOutbox::open(url, reading).await?.end().await
        }
    }
}

/// Whether everything before the end is published, by the log where that is read.
fn is_at(
    progress: &RelayProgress,
    log: Option<&OutboxProgress>,
    (sequence, end): (i64, Lsn),
) -> bool {
    match log {
        Some(log) if !log.is_polled() => log.confirmed() >= end,
        _ => progress.confirmed() >= sequence,
    }
}

/// Says how far the relay has come, until it has come to `end`.
async fn until(progress: &RelayProgress, log: Option<&OutboxProgress>, end: Option<(i64, Lsn)>) {
    let mut told = (progress.published(), progress.parked_rows());
    let mut tell_at = tokio::time::Instant::now() + REPORT_INTERVAL;
    while end.is_none_or(|end| !is_at(progress, log, end)) {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let now = (progress.published(), progress.parked_rows());
        if now != told && tokio::time::Instant::now() >= tell_at {
            report(progress);
            told = now;
            tell_at = tokio::time::Instant::now() + REPORT_INTERVAL;
        }
    }
}

fn report(progress: &RelayProgress) {
    info!(
        published = progress.published(),
        confirmed = progress.confirmed(),
        parked_keys = progress.parked_keys(),
        parked_rows = progress.parked_rows(),
        pruned = progress.pruned(),
        "the outbox"
    );
}

fn failure(error: OutboxError) -> Failure {
    Failure::unreachable(error)
}

fn relay_failure(error: RelayError) -> Failure {
    match error {
        RelayError::KafkaRefused(_) | RelayError::Contract { .. } => Failure::usage(error),
        error => Failure::failed(error),
    }
}
