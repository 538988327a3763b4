//! The buckets of a table, written anew where keys changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use lake_store::bucket_of;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tracing::warn;
use uuid::Uuid;

use super::current::Means;
use super::error::FoldError;
use super::fold::{blocking, fetch};
use super::merge::{Base, Merged, merge};
use super::tail::{Entry, Tail};
use crate::action::Add;
use crate::delta_log::DeltaLog;

/// Bytes that a file takes whatever it holds.
pub(crate) const FILE_BYTES_MIN: u64 = 16 << 10;

/// The buckets that a table has.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    /// The file of each; those without rows have none.
    pub(crate) files: BTreeMap<u32, Add>,
    /// How many they were written as.
    pub(crate) count: u32,
    /// All are to be written anew, whether keys changed or not.
    pub(crate) rewrites: bool,
}

/// What was written.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) added: Vec<Add>,
    /// Buckets of before whose rows are in the new files.
    pub(crate) replaced: BTreeSet<u32>,
    pub(crate) buckets: usize,
    pub(crate) rows: usize,
    /// Tells which changes the tails' rows are, in whatever order and in how many parts.
    pub(crate) fingerprint: i64,
}

impl Written {
    /// Deletes the files, which nothing refers to, nor ever will.
    pub(crate) async fn discard(self, table: &DeltaLog) {
        for file in self.added {
            let path = Path::from(file.path);
            match table.store().delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => warn!(%path, %error, "a file that is not needed stays"),
            }
        }
    }
}

impl Buckets {
    /// What the rows take.
    pub(crate) fn bytes(&self) -> u64 {
        let sizes = self.files.values().map(|file| file.size);
        let sizes = sizes.map(|size| u64::try_from(size).unwrap_or(0));
        sizes.map(|size| size.saturating_sub(FILE_BYTES_MIN)).sum()
    }

    /// Writes those of `to` buckets anew that have keys of the tail, and uploads them to a table.
    pub(crate) async fn write(
        &self,
        tail: Tail,
        to: u32,
        (table, means): (&DeltaLog, &Means),
        written: &mut Written,
    ) -> Result<(), FoldError> {
        written.fingerprint = written.fingerprint.wrapping_add(fingerprint_of(&tail));
        let (tail, mut held) = (Arc::new(tail), None);
        for ((from, bucket), numbers) in self.touched(&tail, to) {
            let base = match self.files.get(&from) {
                None => None,
                Some(file) => {
                    written.replaced.insert(from);
                    let bytes = self.bytes_of(from, file, table, &mut held).await?;
                    let halved = (to != self.count).then_some(to);
                    Some((file.path.clone(), Base { bytes, halved }))
                }
            };
            let (tail, name) = (Arc::clone(&tail), means.entropy.uuid());
            let merged = blocking(move || merged(&tail, &numbers, base, bucket, name)).await?;
            written.buckets += 1;
            written.rows += merged.rows;
            if let Some(file) = merged.file {
                let add = file.upload(table.store(), means.clock.now_us()).await?;
                written.added.push(add);
            }
        }
        Ok(())
    }

    /// The file of a bucket, which is held until that of another one is asked for.
    async fn bytes_of(
        &self,
        bucket: u32,
        file: &Add,
        table: &DeltaLog,
        held: &mut Option<(u32, Bytes)>,
    ) -> Result<Bytes, FoldError> {
        if let Some((_, bytes)) = held.as_ref().filter(|(of, _)| *of == bucket) {
            return Ok(bytes.clone());
        }
        *held = None;
        let bytes = fetch(table, &file.path).await?;
        *held = Some((bucket, bytes.clone()));
        Ok(bytes)
    }

    /// The buckets to be written, each behind the one that its rows are in and with the numbers of its
    /// entries. More buckets are made of one each by halving.
    fn touched(&self, tail: &Tail, to: u32) -> BTreeMap<(u32, u32), Vec<usize>> {
        let place = |bucket: u32| (bucket % self.count.max(1), bucket);
        let mut touched: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
        let entries = tail.entries().iter().enumerate();
        for (number, entry) in entries.filter(|(_, entry)| !entry.is_settled) {
            let bucket = touched.entry(place(bucket_of(entry.hash, to)));
            bucket.or_default().push(number);
        }
        let grows = to != self.count && !self.files.is_empty();
        if self.rewrites || grows {
            for bucket in tail.slice().buckets(to) {
                touched.entry(place(bucket)).or_default();
            }
        }
        touched
    }
}

fn fingerprint_of(tail: &Tail) -> i64 {
    let rows = tail.entries().iter().filter(|entry| entry.has_row());
    rows.fold(0, |sum: i64, entry| sum.wrapping_add(entry.order.mixed()))
}

/// One bucket's rows: those it has, and the tail's entries of these numbers.
fn merged(
    tail: &Tail,
    numbers: &[usize],
    base: Option<(String, Base)>,
    bucket: u32,
    name: Uuid,
) -> Result<Merged, FoldError> {
    let entries = tail.entries();
    let changed = numbers.iter().filter_map(|number| entries.get(*number));
    let mut changed: Vec<&Entry> = changed.collect();
    changed.sort_unstable_by(|a, b| tail.key(a).cmp(tail.key(b)));
    let (path, base) = base.unzip();
    merge(tail, &changed, base, bucket, name)
        .map_err(|error| error.in_file(&path.unwrap_or_else(|| format!("bucket {bucket}"))))
}
