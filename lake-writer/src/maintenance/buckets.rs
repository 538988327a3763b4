//! The buckets of a table, written anew where keys changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lake_store::bucket_of;
use uuid::Uuid;

use super::current::Means;
use super::error::FoldError;
use super::fold::{blocking, fetch};
use super::merge::{Base, Merged, merge};
use super::tail::{Entry, Tail};
use crate::action::Add;
use crate::delta_log::DeltaLog;

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
}

impl Buckets {
    /// Writes those of `to` buckets anew that have keys of the tail, and uploads them to a table.
    pub(crate) async fn write(
        &self,
        tail: Tail,
        to: u32,
        (table, means): (&DeltaLog, &Means),
        written: &mut Written,
    ) -> Result<(), FoldError> {
        let tail = Arc::new(tail);
        for (bucket, numbers) in self.touched(&tail, to) {
            // More buckets are made of one each by halving.
            let from = bucket % self.count.max(1);
            let base = match self.files.get(&from) {
                None => None,
                Some(file) => {
                    written.replaced.insert(from);
                    let bytes = fetch(table, &file.path).await?;
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

    /// The buckets to be written, each with the numbers of its entries.
    fn touched(&self, tail: &Tail, to: u32) -> BTreeMap<u32, Vec<usize>> {
        let mut touched: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (number, entry) in tail.entries().iter().enumerate() {
            let bucket = touched.entry(bucket_of(entry.hash, to));
            bucket.or_default().push(number);
        }
        if self.rewrites {
            for bucket in tail.slice().buckets(to) {
                touched.entry(bucket).or_default();
            }
        }
        touched
    }
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
