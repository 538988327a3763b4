//! How fast small files are compacted, and what compaction costs a writer that goes on beside it.
//!
//! `compact DIRECTORY RECORDS ROWS_PER_COMMIT` writes so many JSON records (a flight's, about 300
//! bytes) from memory through the real writer into a lake below the directory: once alone, once with
//! compaction and vacuum running in a loop in the same process, beginning again each time they are
//! through. Then the small files of the first lake are compacted. Prints one JSON object; MB are
//! 10^6 bytes of Parquet that is read.

mod flights;

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use lake_store::LakeStore;
use lake_writer::{
    Compaction, CompactionReport, CompactionSettings, Entropy, Format, LakeWriter, Parts, Route,
    Routes, SystemClock, Until, Vacuum, VacuumSettings, WriterProgress, WriterSettings,
};
use schemas::{KeyFormat, Shape, TableName};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::flights::{CONTRACT, Flights, TOPIC};

/// The shipped binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Done<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, records, rows] = &arguments[..] else {
        return Err("usage: compact DIRECTORY RECORDS ROWS_PER_COMMIT".into());
    };
    let (records, rows): (i64, usize) = (records.parse()?, rows.parse()?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let alone = write(
        &runtime,
        Path::new(directory),
        "alone",
        (records, rows),
        false,
    )?;
    let beside = write(
        &runtime,
        Path::new(directory),
        "beside",
        (records, rows),
        true,
    )?;
    let lake = lake(Path::new(directory), "alone")?;
    let (before, begun) = (cpu_seconds()?, Instant::now());
    let report = runtime.block_on(compaction(&lake, &eager())?.run())?;
    let (cpu_s, wall_s) = (cpu_seconds()? - before, begun.elapsed().as_secs_f64());
    let mb = report.bytes_removed as f64 / 1e6;
    let told = json!({
        "records": records,
        "compaction": {
            "files_in": report.files_removed, "files_out": report.files_added, "rows": report.rows,
            "mb_in": mb, "mb_out": report.bytes_added as f64 / 1e6, "cpu_s": cpu_s, "wall_s": wall_s,
            "mb_per_cpu_s": mb / cpu_s,
        },
        "writer_alone": alone.told(records),
        "writer_beside_maintenance": beside.told(records),
        "writer_ratio": alone.wall_s / beside.wall_s,
    });
    writeln!(std::io::stdout(), "{told:#}")?;
    Ok(())
}

/// One run of the writer.
struct Written {
    wall_s: f64,
    cpu_s: f64,
    commits: u64,
    compacted: CompactionReport,
}

impl Written {
    fn told(&self, records: i64) -> serde_json::Value {
        json!({
            "wall_s": self.wall_s, "cpu_s": self.cpu_s, "commits": self.commits,
            "records_per_s": records as f64 / self.wall_s,
            "compacted_mb": self.compacted.bytes_removed as f64 / 1e6,
            "compacted_files": self.compacted.files_removed,
        })
    }
}

/// Writes all records into a new lake, with or without maintenance beside it.
fn write(
    runtime: &Runtime,
    directory: &Path,
    name: &str,
    (records, rows): (i64, usize),
    maintain: bool,
) -> Done<Written> {
    let lake = lake(directory, name)?;
    let progress = Arc::new(WriterProgress::default());
    let parts = Parts {
        lake: lake.clone(),
        registry: None,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(Entropy::from_os()),
        runtime: runtime.handle().clone(),
        progress: Arc::clone(&progress),
    };
    let settings = WriterSettings {
        flush_rows_max: rows,
        flush_age_max: Duration::from_secs(3600),
        ..WriterSettings::default()
    };
    let route = Route {
        format: Format::Json,
        key_format: KeyFormat::Json,
        shape: Shape::Append,
        contract: Some(CONTRACT.parse()?),
        ..Route::new(TOPIC, table()?)
    };
    let routes = Routes::of(vec![route])?;
    let mut writer = LakeWriter::new(
        Flights::new(records),
        settings,
        routes,
        Until::CaughtUp,
        parts,
    );
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let (before, begun) = (cpu_seconds()?, Instant::now());
    let maintenance = maintain.then(|| {
        let (lake, stopping) = (lake.clone(), stopping.clone());
        runtime.spawn(async move { keep_house(&lake, &stopping).await })
    });
    let reader = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    reader.block_on(writer.run(stopping))?;
    let (wall_s, cpu_s) = (begun.elapsed().as_secs_f64(), cpu_seconds()? - before);
    stop.send_replace(true);
    let compacted = match maintenance {
        Some(task) => runtime.block_on(task)??,
        None => CompactionReport::default(),
    };
    let commits = progress.commits();
    Ok(Written {
        wall_s,
        cpu_s,
        commits,
        compacted,
    })
}

/// Compacts and vacuums until it is told to stop; what was compacted.
async fn keep_house(
    lake: &LakeStore,
    stopping: &tokio::sync::watch::Receiver<bool>,
) -> Done<CompactionReport> {
    let mut sum = CompactionReport::default();
    let settings = CompactionSettings {
        files_min: 16,
        hot_files_max: 16,
        ..eager()
    };
    let vacuum = Vacuum::new(
        lake,
        &table()?.changes_path(),
        VacuumSettings::default(),
        Arc::new(SystemClock),
        Arc::new(Entropy::from_os()),
    );
    while !*stopping.borrow() {
        let report = compaction(lake, &settings)?.run().await?;
        sum.bytes_removed += report.bytes_removed;
        sum.files_removed += report.files_removed;
        vacuum.run().await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(sum)
}

fn compaction(lake: &LakeStore, settings: &CompactionSettings) -> Done<Compaction> {
    let entropy = Arc::new(Entropy::from_os());
    let (table, settings) = (table()?, settings.clone());
    Ok(Compaction::new(
        lake,
        &table,
        settings,
        Arc::new(SystemClock),
        entropy,
    ))
}

fn eager() -> CompactionSettings {
    CompactionSettings {
        target_bytes: ByteSize::mib(64),
        files_min: 2,
        quiet_age: Duration::ZERO,
        ..CompactionSettings::default()
    }
}

fn lake(directory: &Path, name: &str) -> Done<LakeStore> {
    let path = directory.join(name);
    let path = path.to_str().ok_or("the directory's name is no UTF-8")?;
    Ok(LakeStore::open(path, &[], true)?)
}

fn table() -> Done<TableName> {
    Ok(TOPIC.parse()?)
}

/// User and system time of this process so far (Linux: in hundredths of a second).
fn cpu_seconds() -> Done<f64> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields = text.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: Vec<f64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
