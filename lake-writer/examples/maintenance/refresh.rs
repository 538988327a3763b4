//! What a refresh of a current table takes.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use bytesize::ByteSize;
use lake_store::LakeStore;
use lake_writer::{
    Entropy, Maintainer, MaintenanceSettings, Refreshed, SystemClock, WriterSettings,
};
use serde_json::json;

use crate::Failure;
use crate::copied::copy;
use crate::purchases::PURCHASES;
use crate::took::{Began, Took};

const MIB: u64 = 1 << 20;

/// Copies changes into an empty directory, and refreshes their table.
pub(crate) async fn measure(
    directory: &str,
    changes: Option<i64>,
    keys: Option<i64>,
) -> Result<(), Failure> {
    let topic = PURCHASES.topic.replace('.', "/");
    let mut bench = Bench {
        lake: LakeStore::open(directory, &[], true)?,
        folder: Path::new(directory).join(topic),
        changes: changes.unwrap_or(10_000_000),
        keys: keys.unwrap_or(1_000_000),
    };
    bench.copy(0).await?;
    bench.refresh("from nothing", 32 * MIB, false).await?;
    for bucket_bytes in [32 * MIB, 4 * MIB, MIB, MIB / 4] {
        bench
            .refresh("from all changes", bucket_bytes, true)
            .await?;
        for (what, more) in [
            ("10 keys", 10),
            ("1 % of the keys", bench.keys / 100),
            ("50 % of the keys", bench.keys / 2),
        ] {
            bench.copy(more).await?;
            bench.refresh(what, bucket_bytes, false).await?;
        }
    }
    Ok(())
}

/// A lake whose one table is refreshed.
struct Bench {
    lake: LakeStore,
    /// The entity's.
    folder: std::path::PathBuf,
    /// How many there are to be copied.
    changes: i64,
    keys: i64,
}

impl Bench {
    /// Refreshes the current table, or computes it anew, and tells what it took.
    async fn refresh(
        &self,
        what: &str,
        bucket_bytes: u64,
        is_rebuilt: bool,
    ) -> Result<(), Failure> {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(Entropy::from_os()));
        let mut settings = MaintenanceSettings {
            bucket_bytes: ByteSize::b(bucket_bytes),
            ..MaintenanceSettings::default()
        };
        settings.compaction.enabled = false;
        settings.vacuum.enabled = false;
        settings.log.enabled = false;
        let mut maintainer = Maintainer::new(self.lake.clone(), clock, entropy, settings);
        let (table, files) = (PURCHASES.topic.parse()?, self.folder.join("current"));
        let (before, began) = (bytes_below(&files), Took::begin()?);
        let done = match is_rebuilt {
            true => maintainer.rebuild(&table).await?,
            false => {
                let mut round = maintainer.round(std::slice::from_ref(&table)).await;
                let done = round.refreshed.pop();
                done.ok_or_else(|| format!("{:?}", round.failed))?
            }
        };
        self.tell(what, &done, &began, bytes_below(&files) - before)
    }

    fn tell(
        &self,
        what: &str,
        done: &Refreshed,
        began: &Began,
        bytes_written: u64,
    ) -> Result<(), Failure> {
        let took = began.end()?;
        let told = json!({
            "refresh": what, "changes": done.changes, "buckets": done.buckets,
            "buckets_written": done.buckets_written, "rows_written": done.rows_written,
            "mb_written": (bytes_written as f64 / 1e4).round() / 100.0,
            "cpu_s": took.cpu_s, "seconds": took.seconds,
            "rss_before_mib": began.rss_mib, "rss_max_mib": took.rss_max_mib,
        });
        Ok(writeln!(std::io::stdout(), "{told}")?)
    }

    /// Runs a writer until so many changes more are in the lake.
    async fn copy(&mut self, more: i64) -> Result<(), Failure> {
        self.changes += more;
        let records = (self.changes, self.keys);
        copy(&self.lake, PURCHASES, records, WriterSettings::default()).await
    }
}

/// Of all files below a folder; none if there is no such folder.
fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let bytes = entries
        .flatten()
        .map(|entry| match (entry.path(), entry.metadata()) {
            (path, Ok(found)) if found.is_dir() => bytes_below(&path),
            (_, Ok(found)) => found.len(),
            _ => 0,
        });
    bytes.sum()
}
