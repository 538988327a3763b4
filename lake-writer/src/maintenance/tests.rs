//! The current table against a fold that shares no code with it, read by delta-rs.

use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use lake_store::LakeStore;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use schemas::TableName;

use super::*;
use crate::{Entropy, SystemClock};

mod changes;
mod checkpoints;
mod golden;
mod growth;
mod history;
mod housekeeping;
mod many;
mod meanwhile;
mod periods;
mod put_back;
mod refresh;
mod retention;
mod watermarks;

use changes::{Change, Changes, Stage};

const TABLE: &str = "shop.stock";

fn table() -> TableName {
    TABLE.parse().unwrap()
}

/// A lake in a directory that goes with it.
struct Stand {
    lake: LakeStore,
    _directory: tempfile::TempDir,
}

impl Stand {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let lake = LakeStore::open(directory.path().to_str().unwrap(), &[], true).unwrap();
        Self {
            lake,
            _directory: directory,
        }
    }

    /// Buckets of so many bytes, and so much memory to fold in. Files and logs are left alone.
    fn maintainer(&self, bucket: ByteSize, memory: ByteSize) -> Maintainer {
        self.maintained(MaintenanceSettings {
            bucket_bytes: bucket,
            memory_bytes_max: memory,
            ..derived_only()
        })
    }

    /// The same, and every round compacts what there is.
    fn housekeeper(&self, bucket: ByteSize, memory: ByteSize) -> Maintainer {
        self.maintained(MaintenanceSettings {
            bucket_bytes: bucket,
            memory_bytes_max: memory,
            ..eager()
        })
    }

    fn maintained(&self, settings: MaintenanceSettings) -> Maintainer {
        maintained(&self.lake, settings)
    }
}

fn maintained(lake: &LakeStore, settings: MaintenanceSettings) -> Maintainer {
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(Entropy::from_os()));
    Maintainer::new(lake.clone(), clock, entropy, settings)
}

/// Settings by which files and logs are left alone.
fn derived_only() -> MaintenanceSettings {
    let mut settings = MaintenanceSettings::default();
    settings.compaction.enabled = false;
    settings.vacuum.enabled = false;
    settings.log.enabled = false;
    settings
}

/// Settings by which every round keeps house, and everything small is compacted.
fn eager() -> MaintenanceSettings {
    MaintenanceSettings {
        housekeeping_interval: Duration::ZERO,
        compaction: CompactionSettings {
            files_min: 2,
            quiet_age: Duration::ZERO,
            hot_files_max: 2,
            ..CompactionSettings::default()
        },
        ..MaintenanceSettings::default()
    }
}

/// Brings the one table up to date; what was done. A commit of one that was killed may still come in
/// between.
async fn refresh(maintainer: &mut Maintainer) -> Option<Refreshed> {
    loop {
        let mut round = maintainer.round(&[]).await;
        assert!(round.failed.is_empty(), "{:?}", round.failed);
        if round.overtaken.is_empty() {
            return round.refreshed.pop();
        }
    }
}

/// Random rows of changes of up to 60 keys, in one partition.
fn some_changes(rng: &mut StdRng, from: i64, count: i64) -> Vec<Change> {
    let change = |offset: i64| Change {
        offset,
        id: rng.random_range(0..30),
        region: if rng.random() { "north" } else { "süd" }.to_owned(),
        n: rng.random_bool(0.9).then(|| rng.random_range(-5..5)),
        op: if rng.random_bool(0.2) { "d" } else { "u" },
        day: rng.random_range(19_000..19_003),
        ..Change::default()
    };
    (from..from + count).map(change).collect()
}
