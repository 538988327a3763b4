//! `lakehead dev`: broker, schema registry, lake-writer and SQL in one process, for a user's own
//! services.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use tokio::sync::watch;

use crate::config::LakePlace;
use crate::embedded::{Embedded, EmbeddedSettings};
use crate::failure::Failure;
use crate::stop;

mod copying;
mod greeting;
mod prompt;
mod topics;

use copying::Copying;
use prompt::Prompt;
use topics::{NamedTopic, Road};

/// The ports that clients of Kafka and of a registry try by themselves.
const KAFKA_PORT: u16 = 9092;
const REGISTRY_PORT: u16 = 8081;

/// Run Kafka, a schema registry, the lake-writer and SQL in one process, for your own services
#[derive(Debug, Args)]
#[command(after_help = "\
Your services connect to it as to a real Kafka and a real (Confluent) schema registry, on 127.0.0.1
and without authentication. A topic comes to be when somebody produces to it, and every topic whose
name is service.entity is copied into a Delta table below DIR/lake, each record exactly once: Avro,
key and value; the value is the row, and a null value deletes it, unless --topic or --config says
otherwise. On a terminal it asks for SQL; `lakehead sql --lake DIR/lake` works beside it, from any
shell. Killed at any moment and started again, it goes on where it stopped.

Examples:
  lakehead dev                                    everything below ./lakehead-dev
  lakehead dev --topic shop.order:avro:debezium --topic shop.click:json
  lakehead dev --topic shop.cart:json:upsert:cart
  lakehead dev --config lakehead.toml             [writer] and [[topic]] of a configuration
  lakehead dev --kafka-port 0 --registry-port 0 --dir try

docs/dev.md leads through it, with a service in Python.

Exit codes: 0 stopped, 1 failed (a port or the directory is taken), 2 wrong usage or configuration,
3 the lake cannot be opened, 130 stopped at once.")]
pub(crate) struct DevArgs {
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = "lakehead-dev")]
    dir: PathBuf,

    /// Kafka's port on 127.0.0.1; 0 for the last one, or any
    #[arg(long, value_name = "N", default_value_t = KAFKA_PORT)]
    kafka_port: u16,

    /// The schema registry's port on 127.0.0.1; 0 for the last one, or any
    #[arg(long, value_name = "N", default_value_t = REGISTRY_PORT)]
    registry_port: u16,

    /// Partitions of a topic that comes to be when somebody produces to it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=1000))]
    partitions: i32,

    /// How a topic is read; may be given several times. FORMAT is avro (the default) or json, whose
    /// columns are those of its first records; SHAPE is upsert (the value is the row, null deletes;
    /// avro's default), append (json's) or debezium; KEY is the fields of the key, FIELD[,FIELD],
    /// where the records' keys do not say them
    #[arg(long = "topic", value_name = "NAME[:FORMAT[:SHAPE[:KEY]]]")]
    topics: Vec<NamedTopic>,

    /// Take [writer] and [[topic]] from this configuration, and copy what it names; the rest of it
    /// must be left out
    #[arg(long, value_name = "FILE", conflicts_with = "topics")]
    config: Option<PathBuf>,
}

/// Runs until a signal, or until the prompt is left.
pub(crate) async fn run(args: DevArgs) -> Result<(), Failure> {
    let asks = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    // At a prompt, Ctrl-C is a word to the statement.
    let mut stop = if asks {
        stop::on_terminate()?
    } else {
        stop::on_signal()?
    };
    let road = Road::of(&args)?;
    std::fs::create_dir_all(&args.dir)
        .with_context(|| format!("cannot make {}", args.dir.display()))
        .map_err(Failure::failed)?;
    let settings = EmbeddedSettings {
        kafka_port: args.kafka_port,
        registry_port: args.registry_port,
        partitions_on_demand: Some(args.partitions),
    };
    let embedded = Embedded::start(&args.dir, settings).await?;
    let result = serve(&args.dir, road, &embedded, asks, &mut stop).await;
    embedded.stop().await;
    result
}

/// Copies and answers until it is enough, then commits what was read.
async fn serve(
    directory: &Path,
    road: Road,
    embedded: &Embedded,
    asks: bool,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), Failure> {
    let directory_of_lake = directory.join("lake").display().to_string();
    let lake = LakePlace::at(&directory_of_lake).open(true)?;
    lake.check().await?;
    greeting::greet(directory, &directory_of_lake, embedded, &road);
    let copying = Copying::new(lake.clone(), road, embedded)?;
    let (enough, following) = watch::channel(false);
    let copying = tokio::spawn(copying.run(following));
    if asks {
        Prompt::start(lake)?.until_left_or(stop).await;
    } else {
        // The sender lives as long as the program.
        stop.wait_for(|asked| *asked).await.ok();
    }
    enough.send_replace(true);
    copying.await.map_err(Failure::failed)
}
