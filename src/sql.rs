//! `lakehead sql`: questions from the command line, answers on standard output.
//!
//! The whole input is parsed and passed through the read-only gate before any of it runs. Data goes to standard output, everything else
//! to standard error.

mod csv;
mod error;
mod json;
mod output;
mod script;
mod table;

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Instant;

use bytesize::ByteSize;
use clap::{ArgGroup, Args};
use lake_store::LakeStore;
use query_engine::{Answer, Engine, EngineSettings};

pub(crate) use error::SqlError;
use output::Output;
pub(crate) use output::OutputFormat;
pub(crate) use script::Script;

/// Bytes gathered before standard output is written to.
const STDOUT_BYTES: usize = 256 << 10;

const EXAMPLES: &str = "\
Examples:
  lakehead sql --lake lakehead-demo/lake -c 'SHOW TABLES'
  lakehead sql --lake lakehead-demo/lake -c 'SELECT count(*) FROM flights.flight' --output csv
  lakehead sql --config lakehead.toml -f report.sql --output json > report.json
  echo 'DESCRIBE flights.flight_changes' | lakehead sql --lake s3://bucket/lake

Tables (found in the lake, nothing is declared):
  <service>.<entity>          the current state, computed from the changes
  <service>.<entity>_changes  every change: _op (c, u, d, r), _event_time, _offset, ...
  system.tables               every table: version, files, changes, key, and why one cannot be read
  system.dead_letters         records that could not be read, and why
  system.gaps                 what Kafka no longer had and `lakehead resume` accepted as missing
  system.periods              entities' rows at the ends of periods, and where they are
  system.starts               where the copy of each topic partition began
  system.watermarks           up to when owners have published all they committed, with sums as evidence

Only questions are answered: SELECT, WITH, VALUES, EXPLAIN, DESCRIBE, SHOW TABLES, SHOW COLUMNS.
Several statements are separated by semicolons; what would write, or is no SQL, is refused before
the first one runs. Names with capitals are written in double quotes.

Output: a table (row count and time on standard error), csv (header, RFC 4180 quotes, LF line ends,
nulls empty) or json (an array of objects per statement, a row per line). Times are RFC 3339, binary
values hexadecimal.

Exit codes: 0 answered, 1 a statement failed or was refused, 2 wrong usage, 3 the lake cannot be
opened or reached, 130 interrupted.";

/// Ask the lake in SQL
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("where").required(true).args(["lake", "config"])))]
pub(crate) struct SqlArgs {
    /// The lake: a directory, file:// or s3:// (then AWS_* variables are read)
    #[arg(long, value_name = "DIR-or-URL")]
    pub(crate) lake: Option<String>,

    /// The configuration file whose [lake] is asked
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Statements to run; may be given several times
    #[arg(
        short = 'c',
        long = "command",
        value_name = "SQL",
        conflicts_with = "file",
        allow_hyphen_values = true
    )]
    pub(crate) commands: Vec<String>,

    /// A file of statements; without -c and -f they are read from standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// How answers are written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: OutputFormat,

    /// Memory for sorting, grouping and joining; above it they spill to disk. Default: half of what
    /// this process may use
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_max: Option<ByteSize>,

    /// Where they spill to. Default: the system's directory for temporary files
    #[arg(long, value_name = "DIR", value_parser = existing_directory)]
    pub(crate) spill_directory: Option<PathBuf>,
}

fn existing_directory(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    match path.is_dir() {
        true => Ok(path),
        false => Err("there is no such directory".to_owned()),
    }
}

impl SqlArgs {
    fn settings(&self) -> EngineSettings {
        let memory = self.memory_max.map(|size| size.as_u64());
        let memory = memory.and_then(|bytes| usize::try_from(bytes).ok());
        EngineSettings {
            spill_directory: self.spill_directory.clone(),
            ..memory.map_or_else(EngineSettings::default, EngineSettings::with_memory)
        }
    }
}

/// Runs what the arguments ask for against an open lake.
///
/// A reader of standard output that goes away (`| head`) ends it without an error.
pub(crate) async fn run(lake: LakeStore, args: &SqlArgs) -> Result<(), SqlError> {
    // Read before anything waits, so that Ctrl-C still ends the program while it reads.
    let scripts = Script::read(args)?;
    let answered = async {
        match Box::pin(answer(lake, args, &scripts)).await {
            Err(error) if error.is_broken_pipe() => Ok(()),
            other => other,
        }
    };
    tokio::select! {
        result = answered => result,
        _ = tokio::signal::ctrl_c() => Err(SqlError::Interrupted),
    }
}

async fn answer(lake: LakeStore, args: &SqlArgs, scripts: &[Script]) -> Result<(), SqlError> {
    lake.check()
        .await
        .map_err(|error| SqlError::Lake(error.into()))?;
    let session = Session::open(lake, &args.settings(), args.output)?;
    for script in scripts {
        Box::pin(session.run(script)).await?;
    }
    Ok(())
}

/// Questions to one lake, one after the other, and how their answers are written.
pub(crate) struct Session {
    engine: Engine,
    output: OutputFormat,
}

impl Session {
    pub(crate) fn open(
        lake: LakeStore,
        settings: &EngineSettings,
        output: OutputFormat,
    ) -> Result<Self, SqlError> {
        let engine = Engine::open(lake, settings).map_err(SqlError::Lake)?;
        Ok(Self { engine, output })
    }

    /// Runs a checked script and writes its answers to standard output.
    pub(crate) async fn run(&self, script: &Script) -> Result<(), SqlError> {
        let mut stdout = BufWriter::with_capacity(STDOUT_BYTES, std::io::stdout());
        for statement in script.statements() {
            let started = Instant::now();
            let named = |error| script.failed(statement, error);
            let answer = Box::pin(self.engine.run(statement)).await.map_err(named)?;
            let rows = Box::pin(write(answer, self.output, &mut stdout)).await;
            let rows = rows.map_err(|error| error.in_script(script, statement))?;
            if self.output == OutputFormat::Table {
                report(rows, started);
            }
        }
        Ok(())
    }
}

/// Writes an answer as it comes and returns its number of rows.
async fn write(
    mut answer: Answer,
    format: OutputFormat,
    to: &mut impl Write,
) -> Result<usize, output::WriteError> {
    let mut output = Output::new(format, answer.schema());
    let mut rows = 0;
    to.write_all(&output.begin()?)?;
    while let Some(batch) = answer.next().await? {
        rows += batch.num_rows();
        to.write_all(&output.rows(batch)?)?;
    }
    to.write_all(&output.end()?)?;
    to.flush()?;
    Ok(rows)
}

fn report(rows: usize, started: Instant) {
    let noun = if rows == 1 { "row" } else { "rows" };
    let seconds = started.elapsed().as_secs_f64();
    // Nobody to tell if standard error is gone.
    let _ = writeln!(std::io::stderr(), "({rows} {noun}, {seconds:.3} s)");
}
