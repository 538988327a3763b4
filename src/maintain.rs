//! `lakehead maintain`: the care of the lake's tables, as a process or beside a writer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytesize::ByteSize;
use clap::Args;
use lake_store::LakeStore;
use lake_writer::{
    CareProgress, Entropy, Housekept, Maintainer, MaintenanceSettings, Period, Round, Snapshot,
    SystemClock,
};
use schemas::TableName;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::error;

use crate::config::Config;
use crate::failure::Failure;
use crate::status::write;
use crate::stop;

/// Keep derived tables up to date, and files and logs few
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lakehead maintain --config lakehead.toml                            until it is stopped
  lakehead maintain --config lakehead.toml --once                     one round over all tables
  lakehead maintain --config lakehead.toml --once --table shop.order

Every keyed entity has a table SERVICE/ENTITY/current in the lake, a plain Delta table with one row
for every key that there is. A round brings those up to date whose changes have grown. Once in
`housekeeping_interval` it also makes large files of small ones and deletes what no retained version
of a table needs. Kafka is not needed; a writer may run or not, and so may other `lakehead maintain`.
Killed at any moment, the next round goes on. `[maintenance] enabled = true` does the same inside
`lakehead write`; docs/maintenance.md says more.

Exit codes: 0 stopped, or one round done; 1 failed, 2 usage or configuration, 3 the lake cannot be
reached, 5 one round done, but not for every table, 130 stopped at once.")]
pub(crate) struct MaintainArgs {
    /// The configuration file of the writer
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// End after one round over the tables
    #[arg(long)]
    once: bool,

    /// Only this table; may be given several times
    #[arg(long = "table", value_name = "TABLE")]
    tables: Vec<TableName>,
}

/// Compute a derived table anew from all changes
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lakehead rebuild --config lakehead.toml shop.order                     the current table
  lakehead rebuild --config lakehead.toml shop.order --period 2026-q1    a quarter's end

The table's current state is thrown away and computed again, in one version: readers see the one or
the other, and who reads an older version keeps it. It is equal in content to what was there, unless
another program had changed that. Writers and `lakehead maintain` may run meanwhile.

A period's snapshot is never changed: if it is equal to what is computed, nothing happens; if not, or
if there is none, or another program wrote to it, the next revision is made.

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 the lake cannot be reached.")]
pub(crate) struct RebuildArgs {
    /// The configuration file of the writer
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// The entity, service.entity
    #[arg(value_name = "TABLE")]
    table: TableName,

    /// The snapshot of a period: a month (2026-01), a quarter (2026-q1) or a year (2026)
    #[arg(long, value_name = "PERIOD")]
    period: Option<Period>,
}

/// Runs until a signal, or one round.
pub(crate) async fn run(args: MaintainArgs) -> Result<(), Failure> {
    let stop = stop::on_signal()?;
    let mut maintainer = open(&args.config).await?;
    if !args.once {
        maintainer.run(&args.tables, stop).await;
        return Ok(());
    }
    let round = once(&mut maintainer, &args.tables, stop).await?;
    for done in &round.refreshed {
        write(&format!(
            "{}: current is at version {}, as of version {} of the changes\n",
            done.table, done.version, done.changes_version
        ))?;
    }
    round.snapshots.iter().try_for_each(tell_snapshot)?;
    round.housekept.iter().try_for_each(tell_housekept)?;
    complete(&round)
}

fn tell_snapshot(made: &Snapshot) -> Result<(), Failure> {
    let (table, path, rows) = (&made.table, made.path(), made.rows);
    write(&format!(
        "{table}: {} is {path}, {rows} rows, as of version {} of the changes\n",
        made.period, made.changes_version
    ))
}

fn tell_housekept(done: &Housekept) -> Result<(), Failure> {
    let (compaction, cleaned) = (&done.compaction, &done.log_cleanup);
    let mut told = Vec::new();
    if compaction.commits > 0 {
        let (from, to) = (compaction.files_removed, compaction.files_added);
        told.push(format!("{from} files became {to}"));
    }
    if !done.retention.dates.is_empty() {
        let dates = done.retention.dates.join(", ");
        told.push(format!("past their retention: {dates}"));
    }
    if done.vacuum.files > 0 {
        let (files, bytes) = (done.vacuum.files, ByteSize::b(done.vacuum.bytes));
        told.push(format!("{files} files deleted ({bytes})"));
    }
    if cleaned.entries + cleaned.checkpoints > 0 {
        let (entries, checkpoints) = (cleaned.entries, cleaned.checkpoints);
        told.push(format!(
            "{entries} log entries and {checkpoints} checkpoints deleted"
        ));
    }
    write(&format!("{}: {}\n", done.path, told.join("; ")))
}

/// One round, unless it is stopped.
async fn once(
    maintainer: &mut Maintainer,
    tables: &[TableName],
    mut stop: watch::Receiver<bool>,
) -> Result<Round, Failure> {
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => Err(Failure::interrupted()),
        round = maintainer.round(tables) => Ok(round),
    }
}

fn complete(round: &Round) -> Result<(), Failure> {
    match (round.failed.len(), round.overtaken.len()) {
        (0, 0) => Ok(()),
        (failed, overtaken) => Err(Failure::partly(format!(
            "not all is done: {failed} errors, the log says which; another process was at: \
             {overtaken} tables; run it again"
        ))),
    }
}

/// Computes one table anew.
pub(crate) async fn rebuild(args: RebuildArgs) -> Result<(), Failure> {
    let (lake, settings) = reached(&args.config).await?;
    let mut maintainer = of(lake.clone(), settings);
    if let Some(period) = args.period {
        let made = maintainer.rebuild_period(&args.table, period).await?;
        if made.is_empty() {
            let is_there = Snapshot::is_any_there(&lake, &args.table, period).await?;
            return write(&unmade(&args.table, period, is_there));
        }
        return made.iter().try_for_each(tell_snapshot);
    }
    let done = maintainer.rebuild(&args.table).await?;
    write(&format!(
        "{}: current is at version {}, computed from {} changes (their version {})\n",
        done.table, done.version, done.changes, done.changes_version
    ))
}

/// Why a rebuild made no snapshot.
fn unmade(table: &TableName, period: Period, is_there: bool) -> String {
    match is_there {
        true => format!("{table}: {period} is equal to what is there\n"),
        false => format!(
            "{table}: {period} has no snapshot, and none is made: there are no rows of before its end\n"
        ),
    }
}

/// The care beside a writer's work.
pub(crate) struct Beside(Maintainer);

impl Beside {
    /// Tells of its rounds in `progress`.
    pub(crate) fn new(
        lake: &LakeStore,
        settings: &MaintenanceSettings,
        progress: Arc<CareProgress>,
    ) -> Self {
        Self(of(lake.clone(), settings.clone()).telling(progress))
    }

    /// Rounds while a writer runs. Care that ends before costs it nothing, but is a failure in the end.
    pub(crate) async fn during(
        mut self,
        write: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(), Failure> {
        let (enough, following) = watch::channel(false);
        let care = tokio::spawn(async move { self.0.run(&[], following).await });
        beside(care, enough, write).await
    }

    /// One round when a writer has copied everything.
    pub(crate) async fn after(
        mut self,
        write: impl Future<Output = Result<(), Failure>>,
        stop: watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        write.await?;
        // Stopped before the end: what is left is for the next time.
        if *stop.borrow() {
            return Ok(());
        }
        complete(&once(&mut self.0, &[], stop).await?)
    }
}

/// Lets care and a writer go on beside each other until the writer ends, and the care with it.
async fn beside(
    care: JoinHandle<()>,
    enough: watch::Sender<bool>,
    write: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    // On a task of its own, so that it is told at once: a writer runs for months.
    let care = tokio::spawn(told(care, enough.subscribe()));
    let written = write.await;
    enough.send_replace(true);
    let cared = care.await.map_err(|error| error.to_string()).flatten();
    let failed =
        |why: String| Failure::failed(anyhow::anyhow!("the care of the lake has ended: {why}"));
    written.and(cared.map_err(failed))
}

/// Waits for the care's end. Tells at once why it ended, if that is not because somebody had enough of it.
async fn told(care: JoinHandle<()>, enough: watch::Receiver<bool>) -> Result<(), String> {
    let why = match care.await {
        Ok(()) if *enough.borrow() => return Ok(()),
        Ok(()) => "it returned".to_owned(),
        Err(error) => error.to_string(),
    };
    error!(
        why,
        "the care of the lake has ended by a bug; the writer goes on without it until it is stopped: changes \
         are copied, but no current table is refreshed, and nothing is compacted or deleted; restart this \
         process, or run `lakehead maintain` beside it, and report what is said above"
    );
    Err(why)
}

async fn open(file: &Path) -> Result<Maintainer, Failure> {
    let (lake, settings) = reached(file).await?;
    Ok(of(lake, settings))
}

/// The lake, which answers, and how it is to be cared for.
async fn reached(file: &Path) -> Result<(LakeStore, MaintenanceSettings), Failure> {
    let (place, settings) = Config::read(file)?.maintenance(file)?;
    let lake = place.open(false)?;
    lake.check().await?;
    Ok((lake, settings))
}

fn of(lake: LakeStore, settings: MaintenanceSettings) -> Maintainer {
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(Entropy::from_os()));
    Maintainer::new(lake, clock, entropy, settings)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// What is logged on this thread.
    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<u8>>>);

    impl Said {
        fn text(&self) -> String {
            String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
        }
    }

    impl Write for Said {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Copies until the log says that the care has ended.
    async fn copying(said: &Said) -> Result<(), Failure> {
        let told = async {
            while !said.text().contains("the care of the lake has ended") {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), told).await.unwrap();
        Ok(())
    }

    #[tokio::test]
    async fn care_that_dies_is_told_at_once_while_the_writer_goes_on() {
        let said = Said::default();
        let writer = said.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let (enough, _) = watch::channel(false);
        let care: JoinHandle<()> = tokio::spawn(async { panic!("a bug in the care") });
        let failure = beside(care, enough, copying(&said)).await.unwrap_err();
        let why = "a bug in the care";
        assert!(failure.text().contains(why), "{}", failure.text());
        let said = said.text();
        assert!(said.contains("ERROR") && said.contains(why), "{said}");
    }

    #[test]
    fn a_period_without_rows_is_not_called_equal() {
        let table: TableName = "shop.order".parse().unwrap();
        let period: Period = "2024".parse().unwrap();
        let equal = unmade(&table, period, true);
        assert_eq!(equal, "shop.order: 2024 is equal to what is there\n");
        let none = unmade(&table, period, false);
        assert!(none.contains("2024 has no snapshot"), "{none}");
        assert!(none.contains("no rows"), "{none}");
    }

    #[tokio::test]
    async fn care_ends_with_the_writer() {
        let (enough, mut following) = watch::channel(false);
        let care = tokio::spawn(async move {
            following.wait_for(|enough| *enough).await.ok();
        });
        beside(care, enough, async { Ok(()) }).await.unwrap();
    }
}
