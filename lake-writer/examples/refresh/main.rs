//! What it takes to refresh a current table, in CPU-seconds of this process: from nothing, after
//! changes of 1 % and of 50 % of the keys, and from all changes again.
//!
//! `refresh DIRECTORY [CHANGES [KEYS]]` copies generated changes (10 million of 1 million keys) into
//! a lake in an empty directory, with the product's own writer. Prints a JSON object for each step.

mod generated;

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use lake_store::LakeStore;
use lake_writer::{
    Entropy, Format, LakeWriter, Maintainer, MaintenanceSettings, Parts, Refreshed, Route, Routes,
    SystemClock, Until, WriterProgress, WriterSettings,
};
use schemas::{KeyFormat, Shape, TableName};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::generated::{CONTRACT, Generated, TOPIC};

/// The shipped binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run())
}

async fn run() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: i64| match arguments.get(place) {
        Some(text) => text.parse(),
        None => Ok(default),
    };
    let directory = arguments
        .first()
        .ok_or("usage: refresh DIRECTORY [CHANGES [KEYS]]")?;
    let (changes, keys) = (number(1, 10_000_000)?, number(2, 1_000_000)?);
    let lake = LakeStore::open(directory, &[], true)?;
    let table: TableName = TOPIC.parse()?;
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(Entropy::from_os()));
    let settings = MaintenanceSettings::default();
    let mut maintainer = Maintainer::new(lake.clone(), clock, entropy, settings);
    let mut full = 0.0;
    let mut until = changes;
    for (what, more) in [
        ("from nothing", 0),
        ("1 % of the keys", keys / 100),
        ("50 % of the keys", keys / 2),
    ] {
        until += more;
        copy(&lake, until, keys).await?;
        let begun = Took::begin()?;
        let mut round = maintainer.round(std::slice::from_ref(&table)).await;
        let took = begun.end()?;
        let done = round
            .refreshed
            .pop()
            .ok_or_else(|| format!("{:?}", round.failed))?;
        if more == 0 {
            full = took.cpu_s;
        }
        tell(what, &done, &took, full)?;
    }
    let begun = Took::begin()?;
    let done = maintainer.rebuild(&table).await?;
    tell("from all changes", &done, &begun.end()?, full)
}

fn tell(what: &str, done: &Refreshed, took: &Took, full: f64) -> Result<(), Failure> {
    let told = json!({
        "refresh": what, "changes": done.changes, "buckets": done.buckets,
        "buckets_written": done.buckets_written, "rows_written": done.rows_written,
        "cpu_s": took.cpu_s, "seconds": took.seconds,
        "changes_per_cpu_s": (done.changes as f64 / took.cpu_s).round(),
        "rows_written_per_cpu_s": (done.rows_written as f64 / took.cpu_s).round(),
        "of_a_full_fold": (took.cpu_s / full * 1000.0).round() / 1000.0,
        "rss_max_mib": rss_max_mib()?,
    });
    writeln!(std::io::stdout(), "{told}")?;
    Ok(())
}

/// Runs a writer until so many changes are in the lake.
async fn copy(lake: &LakeStore, changes: i64, keys: i64) -> Result<(), Failure> {
    let route = Route {
        format: Format::Json,
        key_format: KeyFormat::Json,
        shape: Shape::Upsert,
        contract: Some(CONTRACT.parse()?),
        ..Route::new(TOPIC, TOPIC.parse()?)
    };
    let routes = Routes::of(vec![route]).map_err(|problems| format!("{problems:?}"))?;
    let parts = Parts {
        lake: lake.clone(),
        registry: None,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(Entropy::from_os()),
        runtime: Handle::current(),
        progress: Arc::new(WriterProgress::default()),
    };
    let log = Generated::new(changes, keys);
    let mut writer = LakeWriter::new(
        log,
        WriterSettings::default(),
        routes,
        Until::CaughtUp,
        parts,
    );
    let (_stop, following) = watch::channel(false);
    Ok(writer.run(following).await?)
}

/// Time and CPU time of this process.
struct Took {
    seconds: f64,
    cpu_s: f64,
}

struct Begun {
    at: std::time::Instant,
    cpu_s: f64,
}

impl Took {
    fn begin() -> Result<Begun, Failure> {
        Ok(Begun {
            at: std::time::Instant::now(),
            cpu_s: cpu_seconds()?,
        })
    }
}

impl Begun {
    fn end(self) -> Result<Took, Failure> {
        Ok(Took {
            seconds: self.at.elapsed().as_millis() as f64 / 1000.0,
            cpu_s: ((cpu_seconds()? - self.cpu_s) * 100.0).round() / 100.0,
        })
    }
}

/// User and system time of this process so far (Linux: in hundredths of a second).
fn cpu_seconds() -> Result<f64, Failure> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields = text.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: Vec<f64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

/// Most memory that the process has had so far.
fn rss_max_mib() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .unwrap_or("0");
    Ok(kib.parse::<u64>()? / 1024)
}
