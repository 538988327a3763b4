//! `lakehead status`: how every table stands, from the lake and Kafka, whether a writer runs or not.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use clap::{Args, ValueEnum};
use lake_store::LakeStore;
use lake_writer::{Clock, Entropy, Feed, Observer, Stand, SystemClock};
use query_engine::{Engine, EngineSettings};

use crate::config::{Config, Http};
use crate::failure::Failure;
use crate::http::Report;

mod table;

use table::TableStatus;

/// Longest wait for the writer's own answer.
const WRITER_WAIT_MAX: Duration = Duration::from_secs(2);

/// Show how every table stands
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lakehead status --config lakehead.toml
  lakehead status --config lakehead.toml --output json

Reads the lake and Kafka and writes nothing. The writer need not run; if it does and [http] says
where, what it says of stopped tables is shown too.

  lag records    offsets between what is committed and the end
  lag            age of the last copied record where there is lag: an upper bound of the age of what
                 is not copied yet
  state          ok, no table yet, or why the table cannot go on (docs/operations.md)

Exit codes: 0 every table goes on, 1 failed, 2 configuration, 3 the lake or Kafka cannot be reached
(what the other one says is shown), 5 a table is stopped or a topic cannot be read.")]
pub(crate) struct StatusArgs {
    /// The configuration file of the writer
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// How the answer is written
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    output: StatusFormat,
}

/// How the status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StatusFormat {
    /// A box, for reading
    Table,
    /// One JSON object, with all partitions
    Json,
}

/// Looks at all tables and tells.
pub(crate) async fn run(args: StatusArgs) -> Result<(), Failure> {
    let mut config = Config::read(&args.config)?.resolve(&args.config)?;
    let lake = config.lake.open(false)?;
    lake.check().await?;
    let observer = Observer::new(
        lake.clone(),
        &config.writer.pipeline,
        &config.kafka,
        Arc::new(SystemClock),
        Arc::new(Entropy::from_os()),
    )?;
    let (feeds, refused) = observer.feeds(&mut config.routes)?;
    let report = report_of(config.http.as_ref()).await;
    let letters = dead_letters(&lake).await?;
    let mut tables = Vec::with_capacity(feeds.len());
    let mut kafka_error = None;
    for feed in &feeds {
        let (table, error) = status_of(&observer, feed, report.as_ref(), &letters).await?;
        tables.push(table);
        kafka_error = kafka_error.or(error);
    }
    let text = match args.output {
        StatusFormat::Table => table::boxed(&tables, &refused)?,
        StatusFormat::Json => table::json(&tables, &refused, report.as_ref())?,
    };
    write(&text)?;
    if let Some(error) = kafka_error {
        return Err(Failure::unreachable(anyhow::anyhow!(error)));
    }
    let stopped = tables.iter().filter(|table| table.is_stopped()).count();
    if stopped + refused.len() > 0 {
        return Err(Failure::partly(format!(
            "tables that are stopped: {stopped}, topics that are not read: {}; \
             docs/operations.md says what each state means, `lakehead resume --config {}` what is missing",
            refused.len(),
            args.config.display()
        )));
    }
    Ok(())
}

/// One table, and what Kafka said if it did not answer.
async fn status_of(
    observer: &Observer,
    feed: &Feed,
    report: Option<&Report>,
    letters: &HashMap<String, i64>,
) -> Result<(TableStatus, Option<String>), Failure> {
    let stand = observer.look(feed).await?;
    let gaps = observer.with_recorded(&stand, stand.gaps(None)).await?;
    let name = feed.table.to_string();
    let told = report.and_then(|report| report.stopped.get(&name));
    let letters = letters.get(&name).copied().unwrap_or(0);
    let now_ms = SystemClock.now_us() / 1000;
    let Stand { kafka_error, .. } = &stand;
    let error = kafka_error.clone();
    Ok((TableStatus::of(&stand, &gaps, told, letters, now_ms), error))
}

/// Dead letters by table, of all times.
async fn dead_letters(lake: &LakeStore) -> Result<HashMap<String, i64>, Failure> {
    let engine = Engine::open(lake.clone(), &EngineSettings::default()).map_err(Failure::failed)?;
    let sql = "select \"table\", count(*) from system.dead_letters group by \"table\"";
    let answer = engine.ask(sql).await.map_err(Failure::failed)?;
    let mut letters = HashMap::new();
    for batch in answer.collect().await.map_err(Failure::failed)? {
        let names = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8);
        let names = names.map_err(Failure::failed)?;
        let counts = batch.column(1).as_primitive::<Int64Type>().values();
        for (name, count) in names.as_string::<i32>().iter().zip(counts) {
            letters.insert(name.unwrap_or_default().to_owned(), *count);
        }
    }
    Ok(letters)
}

/// What the running writer says of itself, if it runs and says where.
async fn report_of(settings: Option<&Http>) -> Option<Report> {
    let address = settings?.listen;
    let client = reqwest::Client::builder().timeout(WRITER_WAIT_MAX).build();
    let answer = client.ok()?.get(format!("http://{address}/readyz")).send();
    answer.await.ok()?.json().await.ok()
}

/// Standard output, where a reader that has gone is no failure.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Failure::failed),
    }
}
