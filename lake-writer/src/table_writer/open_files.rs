//! The data files of one flush while they grow, one per event date.

use std::collections::BTreeMap;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use parquet::errors::ParquetError;

use crate::data_file::{self, DataFile, DataFileWriter};
use crate::entropy::Entropy;

/// Rows of a date are kept as they are up to so many bytes: an open Parquet file takes about that
/// much for itself, which a table with thousands of dates could not afford.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// Files that grow.
#[derive(Default)]
pub(super) struct OpenFiles {
    days: BTreeMap<i32, OpenFile>,
    rows: usize,
}

enum OpenFile {
    Waiting {
        batches: Vec<RecordBatch>,
        bytes: usize,
    },
    Growing(Box<DataFileWriter>),
}

impl OpenFiles {
    /// Adds rows of one event date (days since 1970-01-01), `bytes` in memory. `shared`: they are
    /// a part of a larger batch.
    pub(super) fn append(
        &mut self,
        day: i32,
        batch: RecordBatch,
        (bytes, shared): (usize, bool),
        entropy: &Entropy,
    ) -> Result<(), ParquetError> {
        self.rows += batch.num_rows();
        let file = self.days.entry(day).or_insert_with(|| OpenFile::Waiting {
            batches: Vec::new(),
            bytes: 0,
        });
        match file {
            OpenFile::Growing(writer) => return writer.write(&batch),
            OpenFile::Waiting {
                batches,
                bytes: held,
            } if *held + bytes <= WAITING_BYTES_MAX => {
                // A part that waits would keep the whole batch in memory.
                batches.push(if shared { copied(&batch)? } else { batch });
                *held += bytes;
            }
            OpenFile::Waiting { batches, .. } => {
                let schema = batch.schema();
                let mut writer = DataFileWriter::new(entropy.uuid(), Some(day), schema)?;
                for waiting in batches.iter().chain([&batch]) {
                    writer.write(waiting)?;
                }
                *file = OpenFile::Growing(Box::new(writer));
            }
        }
        Ok(())
    }

    /// How many rows they hold.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Memory held, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let held = self.days.values().map(|file| match file {
            OpenFile::Waiting { bytes, .. } => *bytes,
            OpenFile::Growing(writer) => writer.memory_bytes(),
        });
        held.sum()
    }

    /// Ends all files.
    pub(super) fn finish(self, entropy: &Entropy) -> Result<Vec<DataFile>, ParquetError> {
        let finish = |(day, file)| match file {
            OpenFile::Growing(writer) => DataFileWriter::finish(*writer),
            OpenFile::Waiting { batches, .. } => {
                data_file::encode(entropy.uuid(), Some(day), &batches)
            }
        };
        self.days.into_iter().map(finish).collect()
    }
}

/// The rows of a slice in memory of their own.
fn copied(batch: &RecordBatch) -> Result<RecordBatch, ParquetError> {
    let rows =
        u32::try_from(batch.num_rows()).map_err(|error| ParquetError::External(error.into()))?;
    Ok(take_record_batch(
        batch,
        &UInt32Array::from_iter_values(0..rows),
    )?)
}
