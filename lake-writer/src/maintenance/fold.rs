//! The latest change of every key among files of changes, found in as many passes as memory asks for,
//! and the buckets written anew that have them.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::buckets::{Buckets, FILE_BYTES_MIN, Written};
use super::covered::Covered;
use super::current::Means;
use super::current_layout::CurrentLayout;
use super::error::FoldError;
use super::new_changes::{DAY_US, NewChanges, NewFile};
use super::off_runtime::off_runtime;
use super::tail::{Slice, Tail, Wanted};
use crate::delta_log::DeltaLog;

/// Most buckets of a table: every one is a file, and a folder.
pub(crate) const BUCKETS_MAX: u32 = 4096;

/// Files that are fetched while one is worked on.
const FETCHES_MAX: usize = 2;

/// A table whose buckets are so many times as large as they should be gets more of them.
const OUTGROWN: u64 = 4;

/// Changes that are to be folded.
#[derive(Debug)]
pub(crate) struct Fold<'a> {
    pub(crate) log: &'a DeltaLog,
    pub(crate) changes: &'a NewChanges,
    pub(crate) layout: &'a CurrentLayout,
    /// What is not to be folded again.
    pub(crate) covered: &'a Covered,
    /// Only what owners committed before this moment, in microseconds since 1970-01-01T00:00Z.
    pub(crate) until_us: Option<i64>,
    pub(crate) means: &'a Means,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    pub(crate) written: Written,
    pub(crate) changes: u64,
    /// How many buckets the table has from now on.
    pub(crate) buckets: u32,
}

/// How a pass over all slices ended.
enum Pass {
    Done,
    /// A change came late, and what it comes after may not be among these.
    Late,
    /// The keys of a bucket do not fit into memory.
    Overfull,
}

impl Fold<'_> {
    /// Writes the buckets of `base` anew that have keys of changes, and uploads them to a table: as
    /// many as memory and the size of buckets ask for, and no fewer than there are. `None` if a change
    /// of an earlier generation came late, so that all changes must be read.
    pub(crate) async fn write(
        &self,
        base: &Buckets,
        table: &DeltaLog,
    ) -> Result<Option<Folded>, FoldError> {
        let mut buckets_min = base.count.max(1);
        loop {
            let mut folded = Folded::default();
            let passed = self.pass(base, buckets_min, table, &mut folded).await;
            if matches!(passed, Ok(Pass::Done)) {
                return Ok(Some(folded));
            }
            let buckets = folded.buckets;
            folded.written.discard(table).await;
            match passed? {
                // Rare: slices of one hash are alike, and the first one told how many there must be.
                Pass::Overfull => buckets_min = buckets.saturating_mul(2).min(BUCKETS_MAX),
                Pass::Late | Pass::Done => return Ok(None),
            }
        }
    }

    async fn pass(
        &self,
        base: &Buckets,
        buckets_min: u32,
        table: &DeltaLog,
        folded: &mut Folded,
    ) -> Result<Pass, FoldError> {
        let (mut slices, mut buckets) = (vec![Slice::ALL], None);
        while let Some(slice) = slices.pop() {
            let mut tail = self.tail(slice, buckets.unwrap_or(BUCKETS_MAX)).await?;
            if tail.has_late() && !self.changes.are_all {
                return Ok(Pass::Late);
            }
            if tail.is_overfull() {
                return Ok(Pass::Overfull);
            }
            slices.extend(tail.take_left());
            let to = *buckets.get_or_insert_with(|| self.buckets_of(base, &tail).max(buckets_min));
            (folded.changes, folded.buckets) = (tail.changes(), to);
            let into = (table, self.means);
            base.write(tail, to, into, &mut folded.written).await?;
        }
        Ok(Pass::Done)
    }

    /// The latest changes of the keys of a slice, or of the part of it that fits into memory.
    async fn tail(&self, slice: Slice, slices_max: u32) -> Result<Tail, FoldError> {
        let bytes_max = usize::try_from(self.means.settings.memory_bytes_max.as_u64());
        let bytes_max = bytes_max.unwrap_or(usize::MAX);
        let mut tail = Tail::new(self.layout, slice, bytes_max, slices_max)?;
        if let Some(until_us) = self.until_us {
            tail = tail.until(until_us);
            let day = until_us.div_euclid(DAY_US);
            let files = self.changes.files.iter();
            let beyond = files.filter(|file| *file.facts.days().end() >= day);
            let look = |mut tail: Tail, _, bytes| tail.look_beyond(bytes).map(|()| tail);
            tail = self.over(beyond, tail, look).await?;
        }
        let covered = Arc::new(self.covered.clone());
        let take = move |mut tail: Tail, wanted, bytes| {
            tail.take(bytes, wanted, &covered)?;
            Ok(tail)
        };
        self.over(self.taken(), tail, take).await
    }

    /// The files that changes are taken from.
    fn taken(&self) -> impl Iterator<Item = &NewFile> {
        let last_us = self.until_us.map(|until_us| until_us - 1);
        let day = last_us.map(|last_us| last_us.div_euclid(DAY_US));
        let files = self.changes.files.iter();
        files.filter(move |file| day.is_none_or(|day| *file.facts.days().start() <= day))
    }

    /// Does something with the rows of files, one after the other.
    async fn over<'f>(
        &self,
        files: impl Iterator<Item = &'f NewFile>,
        mut tail: Tail,
        work: impl Fn(Tail, Wanted, Bytes) -> Result<Tail, FoldError> + Clone + Send + 'static,
    ) -> Result<Tail, FoldError> {
        // An async block that borrowed the files would not be one for every lifetime.
        let files: Vec<_> = files.map(|file| (file.path.clone(), file.wanted)).collect();
        let fetches = files.into_iter().map(|(path, wanted)| async move {
            let bytes = fetch(self.log, &path).await?;
            Ok::<_, FoldError>((path, wanted, bytes))
        });
        let mut fetches = stream::iter(fetches).buffered(FETCHES_MAX);
        while let Some((path, wanted, bytes)) = fetches.try_next().await? {
            let work = work.clone();
            let work = move || work(tail, wanted, bytes).map_err(|error| error.in_file(&path));
            tail = blocking(work).await?;
            if tail.is_overfull() {
                break;
            }
        }
        Ok(tail)
    }

    /// How many buckets the table gets, from its first slice. What comes to it is taken for new keys:
    /// more cannot be.
    fn buckets_of(&self, base: &Buckets, tail: &Tail) -> u32 {
        // What is at hand of a table that is there tells its size better than many small files.
        let empty = if base.count == 0 { 0 } else { FILE_BYTES_MIN };
        let sizes = self
            .taken()
            .map(|file| file.facts.size.saturating_sub(empty));
        let (rows, live) = tail.live_share();
        let new = u128::from(sizes.sum::<u64>()) * u128::from(live) / u128::from(rows.max(1));
        let bytes = u64::try_from(new).unwrap_or(u64::MAX);
        let bytes = bytes.saturating_add(base.bytes());
        let wanted = self.means.settings.bucket_bytes.as_u64();
        let is_outgrown = bytes / u64::from(base.count.max(1)) > OUTGROWN.saturating_mul(wanted);
        let by_size = match base.count == 0 || is_outgrown {
            true => buckets_for(bytes, wanted),
            false => 1,
        };
        let modulus = tail.slice().modulus();
        // Other slices may hold a little more than the first, which just fits.
        let by_memory = match modulus > base.count.max(1) {
            true => modulus.saturating_mul(2).min(BUCKETS_MAX),
            false => 1,
        };
        by_size.max(by_memory)
    }
}

/// How many buckets hold so many bytes: a power of two, so that buckets can be halved.
pub(crate) fn buckets_for(bytes: u64, bucket_bytes: u64) -> u32 {
    let buckets = u32::try_from(bytes.div_ceil(bucket_bytes.max(1))).unwrap_or(BUCKETS_MAX);
    buckets.clamp(1, BUCKETS_MAX).next_power_of_two()
}

/// A data file as it is in the store.
pub(crate) async fn fetch(log: &DeltaLog, path: &str) -> Result<Bytes, FoldError> {
    let found = log.store().get(&Path::from(path)).await?;
    Ok(found.bytes().await?)
}

/// Work that would hold up everything else on its thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FoldError> + Send + 'static,
) -> Result<T, FoldError> {
    let done = off_runtime(work).await;
    done.map_err(|error| FoldError::Internal(error.to_string()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_powers_of_two_within_limits() {
        let of = |bytes| buckets_for(bytes, 32);
        assert_eq!([of(0), of(1), of(32), of(33), of(97)], [1, 1, 1, 2, 4]);
        assert_eq!((of(u64::MAX), buckets_for(5, 0)), (BUCKETS_MAX, 8));
    }
}
