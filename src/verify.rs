//! `lakehead verify`: whether the lake is what its logs say, and whether it holds what an owner holds.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use lake_store::LakeStore;
use lake_writer::{AuditError, TableAudit};
use query_engine::{Engine, EngineSettings};
use schemas::{TableName, TopicPartition};
use verify::{Comparison, Evidence, Limits, Owner, VerifyError};

use crate::config::{Config, LakePlace};
use crate::failure::Failure;
use crate::status::write;

/// Differences that are written out.
const SHOWN_MAX: usize = 1000;

/// Check the lake against its logs, or against the database of a service
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lakehead verify --lake s3://bucket/lake
  lakehead verify --config lakehead.toml --table shop.purchase
  lakehead verify --config lakehead.toml --table shop.purchase --against postgres://reader@db/shop
  lakehead verify --lake dir --table flights.flight --against sqlite:///srv/flights/flights.db

Without --against, every table is checked by what the lake alone tells: its data files are there and
whole, no offset is in it twice, its progress is where its rows end, and its events are those that its
owner's watermarks counted.

With --against, the owner's table is read in one snapshot and compared with the lake's current state as
of that snapshot: counts and sums of hashes by key range, then the rows of the ranges that differ. Keys
and the names of columns are written, values are not. A password comes from PGPASSWORD or ~/.pgpass.
Nothing is written anywhere. docs/verify.md says what is proven and what is not.

Exit codes: 0 all is well, 1 failed, 2 usage, 3 the lake or the database cannot be reached, 4 something
is lost, doubled or altered, 5 the owner changed rows meanwhile.")]
#[command(group(ArgGroup::new("where").required(true).args(["lake", "config"])))]
pub(crate) struct VerifyArgs {
    /// The lake: a directory, file:// or s3:// (then AWS_* variables are read)
    #[arg(long, value_name = "DIR-or-URL")]
    lake: Option<String>,

    /// The configuration file whose [lake] is checked
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Only this table; may be given several times
    #[arg(long = "table", value_name = "TABLE")]
    tables: Vec<TableName>,

    /// The database of the table's owner: postgres://user@host/database or sqlite:///dir/file.db
    #[arg(long, value_name = "URL", requires = "tables")]
    against: Option<String>,

    /// The owner's table, if it is not named as the entity is
    #[arg(long, value_name = "NAME", requires = "against")]
    owner_table: Option<String>,

    /// Longest time that a change may be on its way to the lake: a difference that stays so long is
    /// one
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    wait_max: Duration,

    /// Rows that are held in memory to say which of them differ
    #[arg(long, value_name = "ROWS", default_value_t = Limits::default().rows_max)]
    rows_max: u64,
}

/// Checks what the arguments name.
pub(crate) async fn run(args: VerifyArgs) -> Result<(), Failure> {
    let place = match (&args.lake, &args.config) {
        (Some(location), _) => LakePlace::at(location),
        (None, Some(file)) => Config::read(file)?.place(file)?,
        (None, None) => return Err(Failure::usage("--lake or --config is needed")),
    };
    let lake = place.open(false)?;
    lake.check().await?;
    match &args.against {
        Some(address) => against(lake, address, &args).await,
        None => alone(lake, &args.tables).await,
    }
}

/// Every table by what the lake alone tells.
async fn alone(lake: LakeStore, only: &[TableName]) -> Result<(), Failure> {
    let tables = match only {
        [] => lake.tables().await?,
        only => only.to_vec(),
    };
    let engine = Engine::open(lake.clone(), &EngineSettings::default()).map_err(Failure::failed)?;
    let mut broken = 0;
    for table in &tables {
        let audit = lake_writer::audit(&lake, table).await?;
        let audit =
            audit.ok_or_else(|| Failure::usage(format!("the lake has no table {table}")))?;
        // Rows of files that are gone or broken cannot be held against anything.
        let evidence = match audit.findings.as_slice() {
            [] => evidence(&engine, &audit).await?,
            _ => Vec::new(),
        };
        let is_whole = evidence.iter().all(Evidence::is_whole);
        let is_well = audit.findings.is_empty() && is_whole;
        let entity = engine.snapshot().entity(table).await;
        let entity = entity.map_err(VerifyError::from)?;
        let since = entity.and_then(|entity| entity.changes_since);
        write(&told(&audit, &evidence, is_well))?;
        if let Some(since) = since {
            write(&format!(
                "  changes before {since} have passed their retention; watermarks are not compared\n"
            ))?;
        }
        broken += usize::from(!is_well);
    }
    match broken {
        0 => Ok(()),
        1 => Err(Failure::violated(
            "1 table is not as it must be; docs/verify.md says what each finding means",
        )),
        many => Err(Failure::violated(format!(
            "{many} tables are not as they must be; docs/verify.md says what each finding means"
        ))),
    }
}

/// The table beside the watermarks that its progress has passed.
async fn evidence(engine: &Engine, audit: &TableAudit) -> Result<Vec<Evidence>, Failure> {
    let next_offset = |partition: &TopicPartition| {
        let of_partition = audit.partitions.iter();
        let found = of_partition.filter(|one| one.partition == *partition);
        found.filter_map(|one| one.next_offset).max()
    };
    let evidence = verify::evidence(engine, &audit.table, next_offset);
    Ok(Box::pin(evidence).await?)
}

fn told(audit: &TableAudit, evidence: &[Evidence], is_well: bool) -> String {
    let TableAudit {
        table,
        version,
        files,
        rows,
        ..
    } = audit;
    let well = if is_well { "well" } else { "NOT WELL" };
    let mut text = format!("{table}: {well} at version {version}: {rows} rows in {files} files\n");
    for one in &audit.partitions {
        let next = match one.next_offset {
            Some(next) => format!("next offset {next}"),
            None => format!("generation {}, over", one.generation),
        };
        text.push_str(&format!(
            "  {}: {next}, {} rows, {} dead letters, {} offsets without a row\n",
            one.partition, one.rows, one.dead_letters, one.without_row
        ));
    }
    for finding in audit.findings.iter().take(SHOWN_MAX) {
        text.push_str(&format!("  {finding}\n"));
    }
    text.push_str(&more(audit.findings.len()));
    evidence.iter().for_each(|one| text.push_str(&shown(one)));
    text
}

/// What a source's newest watermark says, and where the table parts from it.
fn shown(evidence: &Evidence) -> String {
    let Evidence {
        source,
        complete_through_us,
        published,
        landed,
        dead_letters,
        ..
    } = evidence;
    let time = time(*complete_through_us);
    if evidence.is_whole() {
        let letters = match dead_letters {
            0 => String::new(),
            some => format!(", {some} of them dead letters, whose rows cannot be compared"),
        };
        let count = published.count;
        return format!("  {source}: complete through {time}: {count} events{letters}\n");
    }
    let mut text = format!(
        "  I8: {source}: {} events were published through {time}, {} are here{}\n",
        published.count,
        landed.count,
        match landed.count == published.count {
            true => ", and they are not the same",
            false => "",
        }
    );
    for (after, through) in evidence.parts.iter().take(SHOWN_MAX) {
        text.push_str(&format!(
            "  I8: {source}: they part between sequence {} and {through}\n",
            after + 1
        ));
    }
    text.push_str(&more(evidence.parts.len()));
    text
}

fn time(micros: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// One table beside its owner's.
async fn against(lake: LakeStore, address: &str, args: &VerifyArgs) -> Result<(), Failure> {
    let [table] = args.tables.as_slice() else {
        return Err(Failure::usage("--against takes one --table"));
    };
    let owner_table = args.owner_table.as_deref().unwrap_or(table.entity());
    let owner = Owner::new(address, owner_table)?;
    let engine = Engine::open(lake, &EngineSettings::default()).map_err(Failure::failed)?;
    let limits = Limits {
        wait_max: args.wait_max,
        rows_max: args.rows_max,
    };
    let found = Box::pin(verify::compare(&engine, table, &owner, limits)).await?;
    write(&compared(table, &found))?;
    if found.is_same() {
        return match found.unsettled {
            0 => Ok(()),
            keys => Err(Failure::partly(format!(
                "{keys} keys of {table} were changed by the owner meanwhile, of which nothing can be \
                 said; run it again"
            ))),
        };
    }
    Err(Failure::violated(format!(
        "{table} and its owner's table differ; docs/verify.md says how to find out why"
    )))
}

fn compared(table: &TableName, found: &Comparison) -> String {
    let Comparison {
        version,
        owner_rows,
        lake_rows,
        ..
    } = found;
    let well = if found.is_same() {
        "the same"
    } else {
        "NOT THE SAME"
    };
    let mut text = format!(
        "{table}: {well}: {owner_rows} rows at the owner, {lake_rows} in the lake (version {version})\n"
    );
    for (columns, side) in [
        (&found.only_lake, "the lake"),
        (&found.only_owner, "the owner"),
    ] {
        if !columns.is_empty() {
            let columns = columns.join(", ");
            text.push_str(&format!("  only in {side}, not compared: {columns}\n"));
        }
    }
    for difference in found.differences.iter().take(SHOWN_MAX) {
        text.push_str(&format!("  {difference}\n"));
    }
    text.push_str(&more(found.differences.len()));
    if found.ranges_examined < found.ranges_differing {
        text.push_str(&format!(
            "  {} of the {} ranges that differ were looked into; --rows-max allows more\n",
            found.ranges_examined, found.ranges_differing
        ));
    }
    text
}

fn more(found: usize) -> String {
    match found.saturating_sub(SHOWN_MAX) {
        0 => String::new(),
        more => format!("  and {more} more\n"),
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Address(_) => Self::usage(error),
            error if error.is_unavailable() => Self::unreachable(error),
            error => Self::failed(error),
        }
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Store { .. } => Self::unreachable(error),
            AuditError::Log { .. } => Self::failed(error),
        }
    }
}
