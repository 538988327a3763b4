//! The tail: the latest change of every key among changes that a table does not cover yet.
//!
//! Files come newest first, so that most changes that do not count are found out by their key
//! alone, and the other columns of a row are read only if it is the latest so far.
//!
//! Memory is bounded: when the tail holds more than it may, it goes on with half of the keys (by
//! their hash), and says which are left for another pass over the same files. Where that would
//! divide a bucket it is overfull, and the table must get more buckets. That may be in the middle of
//! a row group, for what is a few bytes in a file can be gigabytes of rows.

use std::collections::VecDeque;

use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use bytes::Bytes;

use super::covered::Covered;
use super::current_layout::CurrentLayout;
use super::error::FoldError;
use super::fold::BUCKETS_MAX;
use super::key::KeyCodec;
use super::log_order::{LogOrder, Orders};
use super::row_file::RowFile;
use super::row_parts::{row_bytes, row_parts};
use crate::batch_rows::BATCH_BYTES;

mod horizon;
mod index;
mod slice;

use horizon::{Horizon, times};
pub(crate) use index::Entry;
use index::{KeyIndex, Place};
pub(crate) use slice::Slice;

/// Batches that may come to those there are before rows are put together.
const BATCHES_MAX: usize = 512;

/// A window of rows is so small a part of what a tail may hold, unless that is less than a batch.
const WINDOWS_MIN: u64 = 8;

/// Batches of a window, at most: all its rows may be decoded at once, and a column of texts holds 2 GiB.
const WINDOW_BATCHES_MAX: u64 = 16;

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
    /// Rows of the group at hand that may be the latest and whose columns are not read yet, in order,
    /// and the numbers of their entries.
    open: VecDeque<(Place, u32)>,
    batches: Vec<RecordBatch>,
    batches_max: usize,
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
            open: VecDeque::new(),
            batches: Vec::new(),
            batches_max: BATCHES_MAX,
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
            if self.is_overfull {
                break;
            }
            self.look_at(&file, group, wanted, covered)?;
            self.read(&file, group)?;
        }
        Ok(())
    }

    /// Finds where the histories of keys end that go on after the horizon. To be done for all files
    /// that have such changes, before any is taken in.
    pub(crate) fn look_beyond(&mut self, file: Bytes) -> Result<(), FoldError> {
        let (file, columns) = (RowFile::open(file)?, self.lookup());
        for batch in file.all(&columns) {
            self.end_histories(&batch?)?;
            self.fit_into_memory()?;
            if self.is_overfull {
                break;
            }
        }
        Ok(())
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

    /// Notes of rows where they end the histories of their keys.
    fn end_histories(&mut self, batch: &RecordBatch) -> Result<(), FoldError> {
        let Some(horizon) = &mut self.horizon else {
            return Ok(());
        };
        let (keys, hashes) = self.codec.hashed(batch)?;
        let (orders, times) = (Orders::of(batch)?, times(batch)?);
        for (row, hash) in hashes.into_iter().enumerate() {
            if self.slice.has(hash) && horizon.is_after(times.value(row)) {
                horizon.ends(keys.row(row).as_ref(), hash, orders.at(row));
            }
        }
        Ok(())
    }

    /// Finds out by their keys which rows of a group are the latest so far.
    fn look_at(
        &mut self,
        file: &RowFile,
        group: usize,
        wanted: Wanted,
        covered: &Covered,
    ) -> Result<(), FoldError> {
        let (columns, mut first) = (self.lookup(), 0);
        for batch in file.of_group(group, &columns) {
            let batch = batch?;
            self.offer(&batch, first, wanted, covered)?;
            first += batch.num_rows();
            self.fit_into_memory()?;
            if self.is_overfull {
                return Ok(());
            }
        }
        self.forget_superseded();
        Ok(())
    }

    /// Takes in the keys of rows, the first of which has this place in its group.
    fn offer(
        &mut self,
        batch: &RecordBatch,
        first: usize,
        wanted: Wanted,
        covered: &Covered,
    ) -> Result<(), FoldError> {
        let (keys, hashes) = self.codec.hashed(batch)?;
        let orders = Orders::of(batch)?;
        let times = self.horizon.as_ref().map(|_| times(batch)).transpose()?;
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
            if !self.slice.has(hash) || !self.is_in_time(key.as_ref(), hash, order, times, row) {
                continue;
            }
            self.has_late |=
                wanted == Wanted::All && covered.is_of_the_past(order.partition, order.generation);
            let place = Place::open(first + row);
            let mut change = Entry::new(hash, order, place, orders.is_delete(row));
            change.is_settled = is_settled;
            let number = self.index.offer(key.as_ref(), change);
            // A delete needs no columns.
            if let Some(number) = number.filter(|_| change.has_row()) {
                self.open.push_back((place, number));
            }
        }
        self.looked_at += batch.num_rows() as u64;
        Ok(())
    }

    /// A later row of the group may have come after an earlier one.
    fn forget_superseded(&mut self) {
        let index = &self.index;
        self.open.retain(|(place, number)| {
            index
                .get(*number)
                .is_some_and(|entry| entry.place == *place && entry.has_row())
        });
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

    /// Reads all columns of the rows that count, window by window. What is left of them may be less
    /// after each, for keys may be left out.
    fn read(&mut self, file: &RowFile, group: usize) -> Result<(), FoldError> {
        let window = self.window_rows(file, group);
        while let Some((first, _)) = self.open.front().copied()
            && !self.is_overfull
        {
            self.read_until(file, group, first.row().saturating_add(window))?;
            self.fit_into_memory()?;
        }
        Ok(())
    }

    /// So many rows of a group are decoded before it is seen what they take. Those between two that
    /// count may be decoded with them, so they are windows of all rows.
    fn window_rows(&self, file: &RowFile, group: usize) -> usize {
        let batches = self.bytes_max as u64 / WINDOWS_MIN / BATCH_BYTES;
        let batches = batches.clamp(1, WINDOW_BATCHES_MAX) as usize;
        file.batch_rows(group, self.layout.rows()) * batches
    }

    /// Reads those of the rows that come before this one in the group.
    fn read_until(&mut self, file: &RowFile, group: usize, end: usize) -> Result<(), FoldError> {
        let count = self.open.partition_point(|(place, _)| place.row() < end);
        let (places, numbers): (Vec<Place>, Vec<u32>) = self.open.drain(..count).unzip();
        let places: Vec<usize> = places.into_iter().map(Place::row).collect();
        let mut numbers = numbers.into_iter();
        for batch in file.at(group, &places, self.layout.rows()) {
            let batch = compact(batch?)?;
            self.push(batch, &mut numbers);
        }
        match numbers.next() {
            None => Ok(()),
            Some(_) => Err(FoldError::Internal(
                "a file gave fewer rows than it has".to_owned(),
            )),
        }
    }

    /// Holds rows, which are those of the entries that have these numbers.
    fn push(&mut self, batch: RecordBatch, numbers: &mut impl Iterator<Item = u32>) {
        for (row, number) in (0..batch.num_rows()).zip(numbers) {
            self.index
                .settle(number, Place::new(self.batches.len(), row));
        }
        self.batch_bytes += batch.get_array_memory_size();
        self.rows += batch.num_rows();
        self.batches.push(batch);
    }

    fn memory_bytes(&self) -> usize {
        let horizon = self.horizon.as_ref().map_or(0, Horizon::memory_bytes);
        let open = self.open.len() * size_of::<(Place, u32)>();
        self.batch_bytes + self.index.memory_bytes() + horizon + open
    }

    fn fit_into_memory(&mut self) -> Result<(), FoldError> {
        let is_full = self.memory_bytes() > self.bytes_max;
        if is_full {
            self.forget_superseded();
        }
        let read = self.index.entries().len().saturating_sub(self.open.len());
        let is_scattered = self.batches.len() > self.batches_max;
        if is_scattered || (is_full && self.rows > 2 * read) {
            self.put_together()?;
        }
        while self.memory_bytes() > self.bytes_max && self.keys() > KEYS_MIN {
            if self.slice.modulus() >= self.slices_max {
                self.is_overfull = self.slices_max < BUCKETS_MAX;
                return Ok(());
            }
            self.halve()?;
        }
        Ok(())
    }

    /// Goes on with half of the keys.
    fn halve(&mut self) -> Result<(), FoldError> {
        let (kept, left) = self.slice.halves();
        self.slice = kept;
        self.left.push(left);
        self.index.retain(|entry| kept.has(entry.hash));
        // Entries have other numbers now.
        self.open = self.index.open_rows().into();
        if let Some(horizon) = &mut self.horizon {
            horizon.retain(|hash| kept.has(hash));
        }
        self.put_together()
    }

    fn keys(&self) -> usize {
        let ended = self.horizon.as_ref().map_or(0, Horizon::keys);
        self.index.entries().len().max(ended)
    }

    /// Lets go of the rows that do not count any more. Each batch goes as soon as its rows are copied, so
    /// that they are not held twice.
    fn put_together(&mut self) -> Result<(), FoldError> {
        let live = self.index.read_rows();
        let rows: Vec<(usize, usize)> = live.iter().map(|(place, _)| place.indices()).collect();
        let mut before = VecDeque::from(std::mem::take(&mut self.batches));
        (self.batch_bytes, self.rows) = (0, 0);
        let sizes: Vec<u64> = before.iter().map(row_bytes).collect();
        let parts = row_parts(&sizes, &rows);
        let mut gone = 0;
        for part in parts {
            let first = rows.get(part.start).map_or(gone, |(batch, _)| *batch);
            before.drain(..first - gone);
            gone = first;
            let here = rows[part.clone()].iter();
            let here: Vec<(usize, usize)> = here.map(|(batch, row)| (batch - gone, *row)).collect();
            let sources = here.last().map_or(0, |(batch, _)| batch + 1);
            let sources: Vec<&RecordBatch> = before.iter().take(sources).collect();
            let batch = interleave_record_batch(&sources, &here)?;
            self.push(batch, &mut live[part].iter().map(|(_, number)| *number));
        }
        self.batches_max = BATCHES_MAX + self.batches.len();
        Ok(())
    }
}

/// Few rows out of many are read into memory for many, which would count against the rows that are held.
fn compact(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter();
    let used = columns.map(|column| column.to_data().get_slice_memory_size());
    let used: usize = used.sum::<Result<_, _>>()?;
    if batch.get_array_memory_size() <= 2 * used {
        return Ok(batch);
    }
    let rows: Vec<(usize, usize)> = (0..batch.num_rows()).map(|row| (0, row)).collect();
    interleave_record_batch(&[&batch], &rows)
}

#[cfg(test)]
pub(super) mod tests;
