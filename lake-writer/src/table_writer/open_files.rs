//! The data files of one flush while they grow, one per event date.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use parquet::errors::ParquetError;

use super::dated_rows::{DatedRows, only_day};
use crate::data_file::{self, DataFile, DataFileWriter};
use crate::entropy::Entropy;

/// Rows of a date that are worth an open Parquet file, in bytes: it takes about that much for
/// itself, which a table with thousands of dates could not afford.
const FILE_BYTES_MIN: usize = 1 << 20;

/// Rows that wait as they came, in bytes, until they are sorted by date together: batch by batch,
/// a few rows of each of many dates would take more memory for their arrays than for themselves.
const FRESH_BYTES_MAX: usize = 8 << 20;

/// Files that grow.
#[derive(Default)]
pub(super) struct OpenFiles {
    /// Batches as they came.
    fresh: Vec<RecordBatch>,
    fresh_bytes: usize,
    /// Rows of dates that have few.
    sorted: Vec<DatedRows>,
    sorted_bytes: usize,
    /// Files of dates that have many.
    growing: BTreeMap<i32, DataFileWriter>,
    rows: usize,
}

impl OpenFiles {
    /// Adds rows of any event dates.
    pub(super) fn append(
        &mut self,
        batch: RecordBatch,
        entropy: &Entropy,
    ) -> Result<(), ParquetError> {
        self.rows += batch.num_rows();
        let bytes = batch.get_array_memory_size();
        if let Some(day) = only_day(&batch)?
            && (bytes >= FILE_BYTES_MIN || self.growing.contains_key(&day))
        {
            return self.write(day, &batch, entropy);
        }
        self.fresh.push(batch);
        self.fresh_bytes += bytes;
        match self.fresh_bytes >= FRESH_BYTES_MAX {
            true => self.sort(entropy),
            false => Ok(()),
        }
    }

    /// How many rows they hold.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Memory held, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let growing = self.growing.values().map(DataFileWriter::memory_bytes);
        self.fresh_bytes + self.sorted_bytes + growing.sum::<usize>()
    }

    /// Ends all files.
    pub(super) fn finish(mut self, entropy: &Entropy) -> Result<Vec<DataFile>, ParquetError> {
        let fresh = std::mem::take(&mut self.fresh);
        if !fresh.is_empty() {
            self.sorted.push(DatedRows::new(fresh)?);
        }
        let mut growing = self.growing;
        let sorted = self.sorted.iter();
        let mut days: BTreeSet<i32> = sorted
            .flat_map(DatedRows::days)
            .map(|(day, _)| day)
            .collect();
        days.extend(growing.keys());
        let mut files = Vec::with_capacity(days.len());
        for day in days {
            let rows: Vec<RecordBatch> =
                self.sorted.iter().filter_map(|rows| rows.of(day)).collect();
            files.push(match growing.remove(&day) {
                None => data_file::encode(entropy.uuid(), Some(day), &rows)?,
                Some(mut writer) => {
                    for batch in &rows {
                        writer.write(batch)?;
                    }
                    writer.finish()?
                }
            });
        }
        Ok(files)
    }

    /// Gives dates with many rows to their files and keeps the others sorted.
    fn sort(&mut self, entropy: &Entropy) -> Result<(), ParquetError> {
        let bytes = std::mem::take(&mut self.fresh_bytes);
        let fresh = std::mem::take(&mut self.fresh);
        let count: usize = fresh.iter().map(RecordBatch::num_rows).sum();
        let rows = DatedRows::new(fresh)?;
        let is_large = |rows: usize| bytes / count.max(1) * rows >= FILE_BYTES_MIN;
        let days = rows.days();
        let large = days.filter(|(day, rows)| self.growing.contains_key(day) || is_large(*rows));
        let large: BTreeSet<i32> = large.map(|(day, _)| day).collect();
        for day in &large {
            if let Some(batch) = rows.of(*day) {
                self.write(*day, &batch, entropy)?;
            }
        }
        let kept = match large.is_empty() {
            true => rows,
            false => rows.only(|day| !large.contains(&day))?,
        };
        if kept.days().next().is_some() {
            self.sorted_bytes += kept.bytes();
            self.sorted.push(kept);
        }
        Ok(())
    }

    fn write(
        &mut self,
        day: i32,
        batch: &RecordBatch,
        entropy: &Entropy,
    ) -> Result<(), ParquetError> {
        let writer = match self.growing.entry(day) {
            Entry::Occupied(writer) => writer.into_mut(),
            Entry::Vacant(place) => place.insert(DataFileWriter::new(
                entropy.uuid(),
                Some(day),
                batch.schema(),
            )?),
        };
        writer.write(batch)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};

    use super::*;
    use crate::layout::{EVENT_TIME, OFFSET};

    const DAY_US: i64 = 86_400_000_000;

    /// Rows whose dates go round, with a text of so many bytes.
    fn batch(first: i64, rows: i64, dates: i64, text: usize) -> RecordBatch {
        let offsets = first..first + rows;
        let times = offsets.clone().map(|offset| offset % dates * DAY_US);
        let texts = offsets.clone().map(|offset| format!("{offset:0text$}"));
        let columns: [(&str, ArrayRef); 3] = [
            (
                EVENT_TIME,
                Arc::new(TimestampMicrosecondArray::from_iter_values(times)),
            ),
            (OFFSET, Arc::new(Int64Array::from_iter_values(offsets))),
            ("text", Arc::new(StringArray::from_iter_values(texts))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn filled(chunks: i64, rows: i64, dates: i64, text: usize) -> OpenFiles {
        let (mut files, entropy) = (OpenFiles::default(), Entropy::seeded(1));
        for chunk in 0..chunks {
            let batch = batch(chunk * rows, rows, dates, text);
            files.append(batch, &entropy).unwrap();
        }
        files
    }

    #[test]
    fn many_dates_take_little_more_memory_than_their_rows() {
        // Of every chunk each date has one row.
        let files = filled(60, 2_000, 2_000, 100);
        let rows_bytes = 60 * 2_000 * (8 + 8 + 4 + 100);
        let held = files.memory_bytes();
        assert!((rows_bytes..rows_bytes / 4 * 5).contains(&held), "{held}");
        assert!(files.growing.is_empty());
        assert_eq!(files.rows(), 120_000);
        assert_eq!(files.finish(&Entropy::seeded(2)).unwrap().len(), 2_000);
    }

    #[test]
    fn a_date_with_many_rows_grows_a_file_and_takes_less_than_its_rows() {
        // Small chunks, three dates: rows are given to files as soon as they are enough.
        let files = filled(600, 200, 3, 200);
        assert_eq!(files.growing.len(), 3);
        assert!(files.memory_bytes() < 600 * 200 * 220 / 3 * 2);
        assert_eq!(files.finish(&Entropy::seeded(2)).unwrap().len(), 3);
    }

    #[test]
    fn one_date_in_large_chunks_is_written_at_once() {
        let files = filled(2, 10_000, 1, 200);
        assert_eq!((files.growing.len(), files.fresh.len()), (1, 0));
        assert_eq!(files.rows(), 20_000);
    }
}
