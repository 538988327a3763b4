//! Finding the latest change of every key among files of changes, in as many passes as memory asks
//! for.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::covered::Covered;
use super::current_layout::CurrentLayout;
use super::error::FoldError;
use super::new_changes::{DAY_US, NewChanges, days};
use super::off_runtime::off_runtime;
use super::settings::MaintenanceSettings;
use super::tail::{Slice, Tail};
use crate::action::Add;
use crate::delta_log::DeltaLog;

/// Most buckets of a table: every one is a file, and a folder.
pub(crate) const BUCKETS_MAX: u32 = 4096;

/// Files that are fetched while one is worked on.
const FETCHES_MAX: usize = 2;

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
    pub(crate) settings: &'a MaintenanceSettings,
}

impl Fold<'_> {
    /// The latest changes of the keys of a slice, or of the part of it that fits into memory.
    /// `buckets`: how many there are, if that is known: no bucket is in two slices.
    pub(crate) async fn tail(&self, slice: Slice, buckets: Option<u32>) -> Result<Tail, FoldError> {
        let bytes_max = usize::try_from(self.settings.memory_bytes_max.as_u64());
        let (bytes_max, slices_max) = (
            bytes_max.unwrap_or(usize::MAX),
            buckets.unwrap_or(BUCKETS_MAX),
        );
        let mut tail = Tail::new(self.layout, slice, bytes_max, slices_max)?;
        let files = &self.changes.files;
        if let Some(until_us) = self.until_us {
            tail = tail.until(until_us);
            let day = until_us.div_euclid(DAY_US);
            let beyond = files.iter().filter(|file| *days(file).end() >= day);
            let look = |mut tail: Tail, bytes| tail.look_beyond(bytes).map(|()| tail);
            tail = self.over(beyond, tail, look).await?;
        }
        let day = self
            .until_us
            .map(|until_us| (until_us - 1).div_euclid(DAY_US));
        let is_before = |file: &&Add| day.is_none_or(|day| *days(file).start() <= day);
        let (wanted, covered) = (self.changes.wanted, Arc::new(self.covered.clone()));
        let take = move |mut tail: Tail, bytes| {
            tail.take(bytes, wanted, &covered)?;
            Ok(tail)
        };
        self.over(files.iter().filter(is_before), tail, take).await
    }

    /// Does something with the rows of files, one after the other.
    async fn over<'f>(
        &self,
        files: impl Iterator<Item = &'f Add>,
        mut tail: Tail,
        work: impl Fn(Tail, Bytes) -> Result<Tail, FoldError> + Clone + Send + 'static,
    ) -> Result<Tail, FoldError> {
        // An async block that borrowed the files would not be one for every lifetime.
        let paths: Vec<String> = files.map(|file| file.path.clone()).collect();
        let fetches = paths.into_iter().map(|path| async {
            let bytes = fetch(self.log, &path).await?;
            Ok::<_, FoldError>((path, bytes))
        });
        let mut fetches = stream::iter(fetches).buffered(FETCHES_MAX);
        while let Some((path, bytes)) = fetches.try_next().await? {
            let work = work.clone();
            tail =
                blocking(move || work(tail, bytes).map_err(|error| error.in_file(&path))).await?;
        }
        Ok(tail)
    }

    /// How many buckets a table of these keys gets, from the slice of its rows that is there.
    pub(crate) fn buckets_of(&self, tail: &Tail) -> u32 {
        let bytes = self.changes.files.iter().map(|file| file.size).sum::<i64>();
        let bytes = u128::from(u64::try_from(bytes).unwrap_or(0));
        let modulus = tail.slice().modulus();
        let rows = tail.live_rows() as u128 * u128::from(modulus);
        let bytes = bytes * rows / u128::from(tail.changes().max(1));
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        buckets_for(bytes, self.settings.bucket_bytes.as_u64()).max(modulus)
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
