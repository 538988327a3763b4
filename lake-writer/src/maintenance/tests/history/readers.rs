//! Readers that stay with the version they began with, while files of its table are deleted.

use std::collections::BTreeMap;

use lake_store::LakeStore;

use crate::maintenance::tests::changes::{Placed, read_at};

/// Who reads, and what was deleted of which table.
#[derive(Default)]
pub(super) struct Readers {
    /// By the table's path and the version.
    reading: BTreeMap<(String, u64), Reading>,
    deleted: BTreeMap<String, u64>,
    /// Readers that got their rows after other files of their table were deleted.
    pub(super) outlived: usize,
}

/// One that reads.
struct Reading {
    /// What was there when it began.
    rows: Vec<Placed>,
    /// Until when its version is kept.
    until_us: i64,
    /// Files of the table that had been deleted when it began.
    deleted: u64,
}

impl Readers {
    /// Somebody begins to read the newest version of a table, which has these rows and is kept until
    /// this time.
    pub(super) fn begin(&mut self, path: &str, version: u64, rows: Vec<Placed>, until_us: i64) {
        let deleted = self.deleted(path);
        let of = (path.to_owned(), version);
        let reading = self.reading.entry(of).or_insert_with(|| Reading {
            rows,
            until_us,
            deleted,
        });
        reading.until_us = until_us;
    }

    /// Files of a table are deleted.
    pub(super) fn lose(&mut self, path: &str, files: u64) {
        *self.deleted.entry(path.to_owned()).or_default() += files;
    }

    /// How many files of a table were deleted.
    pub(super) fn deleted(&self, path: &str) -> u64 {
        self.deleted.get(path).copied().unwrap_or(0)
    }

    /// Those come to their end whose table and time say so; the versions that were not the same any
    /// more.
    pub(super) async fn end(
        &mut self,
        lake: &LakeStore,
        ends: impl Fn(&str, i64) -> bool,
    ) -> Vec<(String, u64)> {
        let reading = std::mem::take(&mut self.reading).into_iter();
        let (ending, going_on): (BTreeMap<_, _>, BTreeMap<_, _>) =
            reading.partition(|((path, _), reading)| ends(path, reading.until_us));
        self.reading = going_on;
        let mut changed = Vec::new();
        for ((path, version), reading) in ending {
            self.outlived += usize::from(self.deleted(&path) > reading.deleted);
            if read_at(lake, &path, Some(version)).await != reading.rows {
                changed.push((path, version));
            }
        }
        changed
    }
}
