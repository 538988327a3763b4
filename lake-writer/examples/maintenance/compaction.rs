//! What compaction takes.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lake_store::LakeStore;
use lake_writer::{Compaction, CompactionSettings, Entropy, SystemClock, WriterSettings};
use serde_json::json;

use crate::Failure;
use crate::copied::copy;
use crate::flights::FLIGHTS;
use crate::took::Took;

/// Rows of a file.
const FILE_ROWS: usize = 25_000;

/// Compacts copies of the lake at a directory, which is filled if it is empty.
pub(crate) async fn measure(
    directory: &str,
    changes: Option<i64>,
    times: Option<i64>,
) -> Result<(), Failure> {
    let (changes, original) = (
        changes.unwrap_or(1_000_000),
        Path::new(directory).join("lake"),
    );
    if !original.exists() {
        fill(&original, changes).await?;
    }
    let copied = Path::new(directory).join("copy");
    for _ in 0..times.unwrap_or(5) {
        std::fs::remove_dir_all(&copied).or_else(unless_absent)?;
        copy_folder(&original, &copied)?;
        compact(&copied).await?;
    }
    std::fs::remove_dir_all(&copied)?;
    Ok(())
}

async fn fill(folder: &Path, changes: i64) -> Result<(), Failure> {
    let settings = WriterSettings {
        flush_rows_max: FILE_ROWS,
        ..WriterSettings::default()
    };
    copy(
        &open(folder, true)?,
        FLIGHTS,
        (changes, changes / 4),
        settings,
    )
    .await
}

async fn compact(folder: &Path) -> Result<(), Failure> {
    let settings = CompactionSettings {
        quiet_age: Duration::ZERO,
        hot_files_max: 4,
        ..CompactionSettings::default()
    };
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(Entropy::from_os()));
    let (lake, table) = (open(folder, false)?, FLIGHTS.topic.parse()?);
    let compaction = Compaction::new(&lake, &table, settings, clock, entropy);
    let began = Took::begin()?;
    let done = compaction.run().await?;
    let took = began.end()?;
    let mb = done.bytes_removed as f64 / 1e6;
    let told = json!({
        "compacted": done.rows, "files": done.files_removed, "files_added": done.files_added,
        "mb": (mb * 10.0).round() / 10.0, "bytes_added": done.bytes_added,
        "cpu_s": took.cpu_s, "mb_per_cpu_s": (mb / took.cpu_s * 10.0).round() / 10.0,
        "seconds": took.seconds, "rss_before_mib": began.rss_mib, "rss_max_mib": took.rss_max_mib,
    });
    Ok(writeln!(std::io::stdout(), "{told}")?)
}

fn open(folder: &Path, is_new: bool) -> Result<LakeStore, Failure> {
    let folder = folder.to_str().ok_or("the directory's name is no text")?;
    Ok(LakeStore::open(folder, &[], is_new)?)
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let from = entry?.path();
        let to = to.join(from.file_name().unwrap_or_default());
        match from.is_dir() {
            true => copy_folder(&from, &to)?,
            false => std::fs::copy(&from, &to).map(drop)?,
        }
    }
    Ok(())
}

fn unless_absent(error: std::io::Error) -> std::io::Result<()> {
    match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}
