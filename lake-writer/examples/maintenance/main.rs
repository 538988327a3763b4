//! What the lake's care takes, in CPU-seconds of this process.
//!
//! `maintenance DIRECTORY [CHANGES [KEYS]]` copies generated changes (10 million of 1 million keys)
//! with the product's own writer into lakes below an empty directory, and prints a JSON object for
//! each step:
//!
//! - a current table refreshed: from nothing, after changes of 1 % and of 50 % of the keys, and from
//!   all changes again;
//! - a fifth of the changes, in commits of 5,000 rows, compacted;
//! - a fifth of the changes written alone, and beside a maintainer that begins a round every second
//!   and compacts all it can.

mod generated;
mod took;

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lake_store::LakeStore;
use lake_writer::{
    Compaction, CompactionSettings, Entropy, Format, LakeWriter, Maintainer, MaintenanceSettings,
    Parts, Refreshed, Route, Routes, SystemClock, Until, WriterProgress, WriterSettings,
};
use schemas::{KeyFormat, Shape};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::generated::{CONTRACT, Generated, TOPIC};
use crate::took::{Took, rss_max_mib};

/// The shipped binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn Error + Send + Sync>;

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
        .ok_or("usage: maintenance DIRECTORY [CHANGES [KEYS]]")?;
    let (directory, changes, keys) = (
        Path::new(directory),
        number(1, 10_000_000)?,
        number(2, 1_000_000)?,
    );
    refresh(&lake(directory, "refresh")?, changes, keys).await?;
    compact(&lake(directory, "compaction")?, changes / 5, keys).await?;
    let alone = write(&lake(directory, "alone")?, changes / 5, keys, false).await?;
    let beside = write(&lake(directory, "beside")?, changes / 5, keys, true).await?;
    tell(&json!({
        "writer": "beside maintenance, as a part of its rows/s alone",
        "alone_s": alone.seconds, "beside_s": beside.seconds,
        "ratio": thousandths(alone.seconds / beside.seconds),
        "alone_cpu_s": alone.cpu_s, "beside_cpu_s": beside.cpu_s,
    }))
}

async fn refresh(lake: &LakeStore, changes: i64, keys: i64) -> Result<(), Failure> {
    let mut maintainer = maintainer(
        lake,
        MaintenanceSettings {
            compaction: CompactionSettings {
                enabled: false,
                ..CompactionSettings::default()
            },
            ..MaintenanceSettings::default()
        },
    );
    let table = TOPIC.parse()?;
    let (mut full, mut until) = (0.0, changes);
    for (what, more) in [
        ("from nothing", 0),
        ("1 % of the keys", keys / 100),
        ("50 % of the keys", keys / 2),
    ] {
        until += more;
        copy(lake, until, keys, WriterSettings::default()).await?;
        let begun = Took::begin()?;
        let mut round = maintainer.round(std::slice::from_ref(&table)).await;
        let took = begun.end()?;
        let done = round.refreshed.pop();
        let done = done.ok_or_else(|| format!("{:?}", round.failed))?;
        if more == 0 {
            full = took.cpu_s;
        }
        tell(&told(what, &done, &took, full)?)?;
    }
    let begun = Took::begin()?;
    let done = maintainer.rebuild(&table).await?;
    tell(&told("from all changes", &done, &begun.end()?, full)?)
}

fn told(what: &str, done: &Refreshed, took: &Took, full: f64) -> Result<Value, Failure> {
    Ok(json!({
        "refresh": what, "changes": done.changes, "buckets": done.buckets,
        "buckets_written": done.buckets_written, "rows_written": done.rows_written,
        "cpu_s": took.cpu_s, "seconds": took.seconds,
        "changes_per_cpu_s": (done.changes as f64 / took.cpu_s).round(),
        "rows_written_per_cpu_s": (done.rows_written as f64 / took.cpu_s).round(),
        "of_a_full_fold": thousandths(took.cpu_s / full),
        "rss_max_mib": rss_max_mib()?,
    }))
}

async fn compact(lake: &LakeStore, changes: i64, keys: i64) -> Result<(), Failure> {
    let settings = WriterSettings {
        flush_rows_max: 5_000,
        ..WriterSettings::default()
    };
    copy(lake, changes, keys, settings).await?;
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(Entropy::from_os()));
    let compaction = Compaction::new(lake, &TOPIC.parse()?, eager(), clock, entropy);
    let begun = Took::begin()?;
    let report = compaction.run().await?;
    let took = begun.end()?;
    let mb = report.bytes_removed as f64 / 1e6;
    tell(&json!({
        "compaction": "of commits of 5,000 rows; MB are 10^6 bytes of Parquet that is read",
        "files_in": report.files_removed, "files_out": report.files_added, "rows": report.rows,
        "mb_in": thousandths(mb), "mb_out": thousandths(report.bytes_added as f64 / 1e6),
        "cpu_s": took.cpu_s, "seconds": took.seconds,
        "mb_per_cpu_s": thousandths(mb / took.cpu_s),
        "rows_per_cpu_s": (report.rows as f64 / took.cpu_s).round(),
    }))
}

async fn write(
    lake: &LakeStore,
    changes: i64,
    keys: i64,
    is_beside: bool,
) -> Result<Took, Failure> {
    let settings = WriterSettings {
        flush_rows_max: 20_000,
        ..WriterSettings::default()
    };
    let (enough, following) = watch::channel(false);
    let mut maintainer = maintainer(
        lake,
        MaintenanceSettings {
            interval: Duration::from_secs(1),
            housekeeping_interval: Duration::from_secs(1),
            compaction: eager(),
            ..MaintenanceSettings::default()
        },
    );
    let begun = Took::begin()?;
    let care = is_beside.then(|| tokio::spawn(async move { maintainer.run(&[], following).await }));
    copy(lake, changes, keys, settings).await?;
    let took = begun.end()?;
    enough.send_replace(true);
    if let Some(care) = care {
        care.await?;
    }
    Ok(took)
}

fn eager() -> CompactionSettings {
    CompactionSettings {
        files_min: 16,
        quiet_age: Duration::ZERO,
        hot_files_max: 16,
        ..CompactionSettings::default()
    }
}

fn maintainer(lake: &LakeStore, settings: MaintenanceSettings) -> Maintainer {
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(Entropy::from_os()));
    Maintainer::new(lake.clone(), clock, entropy, settings)
}

/// Runs a writer until so many changes are in the lake.
async fn copy(
    lake: &LakeStore,
    changes: i64,
    keys: i64,
    settings: WriterSettings,
) -> Result<(), Failure> {
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
    let mut writer = LakeWriter::new(log, settings, routes, Until::CaughtUp, parts);
    let (_stop, following) = watch::channel(false);
    Ok(writer.run(following).await?)
}

fn lake(directory: &Path, name: &str) -> Result<LakeStore, Failure> {
    let path = directory.join(name);
    let path = path.to_str().ok_or("the directory's name is no UTF-8")?;
    Ok(LakeStore::open(path, &[], true)?)
}

fn tell(what: &Value) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{what}")?;
    Ok(())
}

fn thousandths(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
