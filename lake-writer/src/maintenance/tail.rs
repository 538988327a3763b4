//! The tail: the latest change of every key among changes that a table does not cover yet.
//!
//! Files come newest first, so that most changes that do not count are found out by their key
//! alone, and the other columns of a row are read only if it is the latest so far.
//!
//! Memory is bounded: when the tail holds more than it may, it goes on with half of the keys (by
//! their hash), and says which are left for another pass over the same files. Where that would
//! divide a bucket it is overfull, and the table must get more buckets.

use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use super::covered::Covered;
use super::current_layout::CurrentLayout;
use super::error::FoldError;
use super::fold::BUCKETS_MAX;
use super::key::KeyCodec;
use super::log_order::{LogOrder, Orders};
use super::row_file::RowFile;

mod horizon;
mod index;
mod slice;

use horizon::{Horizon, times};
pub(crate) use index::Entry;
use index::{KeyIndex, Place};
pub(crate) use slice::Slice;

/// Batches that rows may lie in before they are put together.
const BATCHES_MAX: usize = 512;

/// Rows that are put together into one batch.
const TOGETHER_ROWS: usize = 65_536;

/// So few keys are not divided, however much they take.
const KEYS_MIN: usize = 8;

/// Which of the changes in a file count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All. The file has none but new ones.
    All,
    /// Those that are not covered, by their places. No offsets ever began anew.
    NotCovered,
    /// None: all are covered. They tell which of the others are too late to count.
    Settled,
    /// Those that are not covered, by their places; the others are settled.
    Mixed,
}

/// The latest changes of the keys of one slice.
#[derive(Debug)]
pub(crate) struct Tail {
    layout: CurrentLayout,
    codec: KeyCodec,
    slice: Slice,
    /// Slices of the keys that were left out.
    left: Vec<Slice>,
    bytes_max: usize,
    /// More slices than a table has buckets cannot be folded one by one.
    slices_max: u32,
    index: KeyIndex,
    batches: Vec<RecordBatch>,
    batch_bytes: usize,
    /// Rows in the batches, those too that are not the latest any more.
    rows: usize,
    changes: u64,
    looked_at: u64,
    has_late: bool,
    is_overfull: bool,
    horizon: Option<Horizon>,
}

impl Tail {
    pub(crate) fn new(
        layout: &CurrentLayout,
        slice: Slice,
        bytes_max: usize,
        slices_max: u32,
    ) -> Result<Self, FoldError> {
        Ok(Self {
            codec: KeyCodec::new(layout.key(), layout.rows())?,
            layout: layout.clone(),
            slice,
            left: Vec::new(),
            bytes_max,
            slices_max,
            index: KeyIndex::default(),
            batches: Vec::new(),
            batch_bytes: 0,
            rows: 0,
            changes: 0,
            looked_at: 0,
            has_late: false,
            is_overfull: false,
            horizon: None,
        })
    }

    /// Only of changes that their owner committed before this moment, in microseconds since
    /// 1970-01-01T00:00Z.
    pub(crate) fn until(mut self, time_us: i64) -> Self {
        self.horizon = Some(Horizon::at(time_us));
        self
    }

    /// Takes in the changes of a file.
    pub(crate) fn take(
        &mut self,
        file: Bytes,
        wanted: Wanted,
        covered: &Covered,
    ) -> Result<(), FoldError> {
        let file = RowFile::open(file)?;
        for group in (0..file.row_groups().len()).rev() {
            self.take_group(&file, group, wanted, covered)?;
            self.fit_into_memory()?;
        }
        Ok(())
    }

    /// Finds where the histories of keys end that go on after the horizon. To be done for all files
    /// that have such changes, before any is taken in.
    pub(crate) fn look_beyond(&mut self, file: Bytes) -> Result<(), FoldError> {
        let (file, columns) = (RowFile::open(file)?, self.lookup());
        let Some(horizon) = &mut self.horizon else {
            return Ok(());
        };
        for batch in file.all(&columns) {
            let batch = batch?;
            let (keys, hashes) = self.codec.hashed(&batch)?;
            let (orders, times) = (Orders::of(&batch)?, times(&batch)?);
            for (row, hash) in hashes.into_iter().enumerate() {
                if self.slice.has(hash) && horizon.is_after(times.value(row)) {
                    horizon.ends(keys.row(row).as_ref(), hash, orders.at(row));
                }
            }
        }
        self.fit_into_memory()
    }

    /// The keys that it holds.
    pub(crate) fn slice(&self) -> Slice {
        self.slice
    }

    /// The keys that were left out, to be folded one slice after the other.
    pub(crate) fn take_left(&mut self) -> Vec<Slice> {
        std::mem::take(&mut self.left)
    }

    /// How many changes counted, those of other slices too.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Of how many rows that were read how many are the latest of a key that is not deleted, reckoned
    /// for all slices.
    pub(crate) fn live_share(&self) -> (u64, u64) {
        let live = self.index.entries().iter().filter(|entry| entry.has_row());
        let live = u64::try_from(live.count()).unwrap_or(u64::MAX);
        let of_all = live.saturating_mul(u64::from(self.slice.modulus()));
        (self.looked_at, of_all)
    }

    /// Whether it holds more than it may, and cannot be divided: it is not to be gone on with.
    pub(crate) fn is_overfull(&self) -> bool {
        self.is_overfull
    }

    /// Whether there was a change of an earlier generation than is covered already: it may be earlier
    /// than a delete that no row tells of any more.
    pub(crate) fn has_late(&self) -> bool {
        self.has_late
    }

    /// Every key's latest change.
    pub(crate) fn entries(&self) -> &[Entry] {
        self.index.entries()
    }

    pub(crate) fn key(&self, entry: &Entry) -> &[u8] {
        self.index.key(entry)
    }

    pub(crate) fn codec(&self) -> &KeyCodec {
        &self.codec
    }

    pub(crate) fn layout(&self) -> &CurrentLayout {
        &self.layout
    }

    /// What entries' places point into.
    pub(crate) fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    fn take_group(
        &mut self,
        file: &RowFile,
        group: usize,
        wanted: Wanted,
        covered: &Covered,
    ) -> Result<(), FoldError> {
        // Rows that are the latest so far, as they are met, and what the index knows them by.
        let mut met: Vec<(usize, u32)> = Vec::new();
        let (columns, mut first) = (self.lookup(), 0);
        for batch in file.of_group(group, &columns) {
            let batch = batch?;
            let (keys, hashes) = self.codec.hashed(&batch)?;
            let orders = Orders::of(&batch)?;
            let times = self.horizon.as_ref().map(|_| times(&batch)).transpose()?;
            for (row, hash) in hashes.into_iter().enumerate() {
                let order = orders.at(row);
                let is_settled = match wanted {
                    Wanted::All => false,
                    Wanted::Settled => true,
                    Wanted::NotCovered | Wanted::Mixed => covered.reaches(order),
                };
                if is_settled && wanted == Wanted::NotCovered {
                    continue;
                }
                self.changes += u64::from(!is_settled);
                let key = keys.row(row);
                if !self.slice.has(hash) || !self.is_in_time(key.as_ref(), hash, order, times, row)
                {
                    continue;
                }
                self.has_late |= wanted == Wanted::All
                    && covered.is_of_the_past(order.partition, order.generation);
                let place = Place::open(first + row);
                let mut change = Entry::new(hash, order, place, orders.is_delete(row));
                change.is_settled = is_settled;
                if let Some(number) = self.index.offer(key.as_ref(), change) {
                    met.push((first + row, number));
                }
            }
            first += batch.num_rows();
        }
        self.looked_at += first as u64;
        // A later row of the group may have come after an earlier one; a delete needs no columns.
        let index = &mut self.index;
        met.retain(|(row, number)| {
            index
                .get(*number)
                .is_some_and(|entry| entry.place == Place::open(*row) && entry.has_row())
        });
        self.keep(file, group, &met)
    }

    fn lookup(&self) -> SchemaRef {
        SchemaRef::clone(match self.horizon {
            None => self.layout.lookup(),
            Some(_) => self.layout.timed_lookup(),
        })
    }

    fn is_in_time(
        &self,
        key: &[u8],
        hash: u32,
        order: LogOrder,
        times: Option<&TimestampMicrosecondArray>,
        row: usize,
    ) -> bool {
        match (&self.horizon, times) {
            (Some(horizon), Some(times)) => {
                !horizon.is_after(times.value(row)) && horizon.has(key, hash, order)
            }
            _ => true,
        }
    }

    /// Reads all columns of the rows that count.
    fn keep(
        &mut self,
        file: &RowFile,
        group: usize,
        rows: &[(usize, u32)],
    ) -> Result<(), FoldError> {
        if rows.is_empty() {
            return Ok(());
        }
        let places: Vec<usize> = rows.iter().map(|(row, _)| *row).collect();
        let mut numbers = rows.iter().map(|(_, number)| *number);
        for batch in file.at(group, &places, self.layout.rows()) {
            let batch = batch?;
            for (row, number) in (0..batch.num_rows()).zip(numbers.by_ref()) {
                self.index
                    .settle(number, Place::new(self.batches.len(), row));
            }
            self.push(batch);
        }
        match numbers.next() {
            None => Ok(()),
            Some(_) => Err(FoldError::Internal(
                "a file gave fewer rows than it has".to_owned(),
            )),
        }
    }

    fn push(&mut self, batch: RecordBatch) {
        self.batch_bytes += batch.get_array_memory_size();
        self.rows += batch.num_rows();
        self.batches.push(batch);
    }

    fn fit_into_memory(&mut self) -> Result<(), FoldError> {
        let bytes = |tail: &Self| {
            let horizon = tail.horizon.as_ref().map_or(0, Horizon::memory_bytes);
            tail.batch_bytes + tail.index.memory_bytes() + horizon
        };
        let is_full = bytes(self) > self.bytes_max;
        let is_scattered = self.batches.len() > BATCHES_MAX;
        if is_scattered || (is_full && self.rows > 2 * self.index.entries().len()) {
            self.put_together()?;
        }
        while bytes(self) > self.bytes_max && self.keys() > KEYS_MIN {
            if self.slice.modulus() >= self.slices_max {
                self.is_overfull = self.slices_max < BUCKETS_MAX;
                return Ok(());
            }
            let (kept, left) = self.slice.halves();
            self.slice = kept;
            self.left.push(left);
            self.index.retain(|entry| kept.has(entry.hash));
            if let Some(horizon) = &mut self.horizon {
                horizon.retain(|hash| kept.has(hash));
            }
            self.put_together()?;
        }
        Ok(())
    }

    fn keys(&self) -> usize {
        let ended = self.horizon.as_ref().map_or(0, Horizon::keys);
        self.index.entries().len().max(ended)
    }

    /// Lets go of the rows that do not count any more.
    fn put_together(&mut self) -> Result<(), FoldError> {
        let live = self.index.entries().iter().enumerate();
        let live: Vec<(u32, Place)> = live
            .filter(|(_, entry)| entry.has_row())
            .map(|(number, entry)| (u32::try_from(number).unwrap_or(u32::MAX), entry.place))
            .collect();
        let batches = std::mem::take(&mut self.batches);
        let sources: Vec<&RecordBatch> = batches.iter().collect();
        (self.batch_bytes, self.rows) = (0, 0);
        for part in live.chunks(TOGETHER_ROWS) {
            let rows: Vec<(usize, usize)> = part.iter().map(|(_, place)| place.indices()).collect();
            let batch = interleave_record_batch(&sources, &rows)?;
            for (row, (number, _)) in part.iter().enumerate() {
                self.index
                    .settle(*number, Place::new(self.batches.len(), row));
            }
            self.push(batch);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
