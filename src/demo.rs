//! `lakehead demo`: the whole road in one process, over the flights that left New York in 2013.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use airline::{FlightInventory, Period};
use anyhow::Context;
use change_events::KafkaSettings;
use clap::{Args, Subcommand};
use lake_store::LakeStore;
use schemas::{HttpRegistry, SchemaRegistry};

use crate::config::{Config, LakePlace};
use crate::failure::Failure;
use crate::sql::{self, SqlArgs};
use crate::stop;

mod lake_side;
mod owner_side;
mod parts;
mod progress;

use owner_side::Owner;
use parts::Parts;
use progress::Display;

/// See the whole road at work: a service, Kafka, the lake and SQL in one process
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
A service owns a SQLite database and replays the real flights of January 2013 in the order of their
times; every change goes to its table and its outbox in one transaction, from there to Kafka, and
from Kafka to a Delta table. Then a few questions are answered in SQL. Killed at any moment and run
again, it goes on where it stopped.

Examples:
  lakehead demo                                  everything embedded, below ./lakehead-demo
  lakehead demo --full                           the whole year
  lakehead demo --kafka 127.0.0.1:9092 --registry http://127.0.0.1:8081
  lakehead demo produce --kafka 127.0.0.1:9092 --registry http://127.0.0.1:8081
                                                 the service and its relay only
  lakehead demo produce --config lakehead.toml   the same, with the TLS, SASL and registry
                                                 credentials of a configuration")]
pub(crate) struct DemoArgs {
    #[command(subcommand)]
    part: Option<Part>,

    #[command(flatten)]
    place: Place,

    /// Brokers of a real Kafka instead of the embedded one
    #[arg(long, value_name = "BROKERS", requires = "registry")]
    kafka: Option<String>,

    /// A real schema registry instead of the embedded one
    #[arg(long, value_name = "URL", requires = "kafka")]
    registry: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Run the service and its relay only, against a real Kafka and registry
    Produce {
        #[command(flatten)]
        place: Place,

        /// Brokers of a real Kafka
        #[arg(
            long,
            value_name = "BROKERS",
            requires = "registry",
            required_unless_present = "config"
        )]
        kafka: Option<String>,

        /// A real schema registry
        #[arg(long, value_name = "URL", requires = "kafka")]
        registry: Option<String>,

        /// Kafka and registry, and how they let us in, from a configuration file
        #[arg(long, value_name = "FILE", conflicts_with_all = ["kafka", "registry"])]
        config: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = "lakehead-demo")]
    dir: PathBuf,

    /// Replay the whole year instead of January
    #[arg(long)]
    full: bool,
}

impl Place {
    fn period(&self) -> Period {
        if self.full {
            Period::Year
        } else {
            Period::January
        }
    }

    fn make(&self) -> Result<(), Failure> {
        std::fs::create_dir_all(&self.dir)
            .with_context(|| format!("cannot make {}", self.dir.display()))
            .map_err(Failure::failed)
    }
}

/// Runs the demo or a part of it.
pub(crate) async fn run(args: DemoArgs) -> Result<(), Failure> {
    let stop = stop::on_signal()?;
    if let Some(Part::Produce {
        place,
        kafka,
        registry,
        config,
    }) = args.part
    {
        let (kafka, registry) = match (kafka, registry, config) {
            (_, _, Some(file)) => clients_of(&file)?,
            (Some(kafka), Some(registry), None) => {
                let registry = HttpRegistry::new(&registry).map_err(Failure::usage)?;
                (KafkaSettings::new(kafka), registry)
            }
            _ => return Err(Failure::usage("--kafka and --registry, or --config")),
        };
        place.make()?;
        let owner = Owner::open(&place.dir, place.period(), kafka, Arc::new(registry)).await?;
        let display = Display::start(owner.watch(), None);
        let result = owner.run(stop).await;
        display.stop();
        return result;
    }
    args.place.make()?;
    let parts = Parts::start(&args.place.dir, args.kafka, args.registry).await?;
    let result = travel(&args.place, &parts, stop).await;
    parts.stop().await;
    let lake = result?;
    answer(&args.place, lake).await
}

/// The producer's way to the Kafka and the registry of a configuration file.
fn clients_of(file: &Path) -> Result<(KafkaSettings, HttpRegistry), Failure> {
    let resolved = Config::read(file)?.resolve(file)?;
    let missing = || Failure::usage(format!("{}: registry.url is missing", file.display()));
    let mut kafka = KafkaSettings::new(&resolved.kafka.bootstrap_servers);
    kafka.properties = resolved.kafka.connection_properties();
    Ok((kafka, resolved.registry.ok_or_else(missing)?))
}

/// Brings every change from the service's table to the lake.
async fn travel(
    place: &Place,
    parts: &Parts,
    stop: tokio::sync::watch::Receiver<bool>,
) -> Result<LakeStore, Failure> {
    let registry: Arc<dyn SchemaRegistry> =
        Arc::new(HttpRegistry::new(parts.registry_url()).map_err(Failure::usage)?);
    let lake = LakePlace::at(&lake_directory(&place.dir)).open(true)?;
    let owner = Owner::open(
        &place.dir,
        place.period(),
        KafkaSettings::new(parts.bootstrap_servers()),
        Arc::clone(&registry),
    )
    .await?;
    let writing =
        lake_side::Writing::new(lake.clone(), parts.bootstrap_servers(), registry).await?;
    let display = Display::start(owner.watch(), Some(writing.watch()));
    let result = writing.follow(owner, stop).await;
    display.stop();
    result.map(|()| lake)
}

/// Answers the demo's questions and says how to go on.
async fn answer(place: &Place, lake: LakeStore) -> Result<(), Failure> {
    let directory = lake_directory(&place.dir);
    for question in airline::demo_questions(place.period()) {
        eprintln!("\n{}", question.title);
        let args = SqlArgs {
            lake: Some(directory.clone()),
            config: None,
            commands: vec![question.sql],
            file: None,
            output: sql::OutputFormat::Table,
            memory_max: None,
            spill_directory: None,
        };
        sql::run(lake.clone(), &args).await?;
    }
    let directory = shell_quoted(&directory);
    eprintln!(
        "\nGo on with:\n  \
         lakehead sql --lake {directory} -c \"select count(*) from flights.flight\"\n  \
         lakehead sql --lake {directory} -c \"select _op, count(*) from flights.flight_changes group by _op\"\n  \
         lakehead sql --lake {directory} -c \"show tables\"\n  \
         python3 -c \"import deltalake, sys; print(deltalake.DeltaTable(sys.argv[1]).version())\" {directory}/flights/flight/changes\n\
         (from a checkout: cargo run --release -- sql …)"
    );
    Ok(())
}

/// As a shell takes it for one word.
fn shell_quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte);
    match text.bytes().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

fn lake_directory(directory: &Path) -> String {
    directory.join("lake").display().to_string()
}

/// The inventory's own directory is the demo's.
async fn open_inventory(directory: &Path, period: Period) -> Result<FlightInventory, Failure> {
    FlightInventory::open(directory, period)
        .await
        .map_err(Failure::failed)
}
