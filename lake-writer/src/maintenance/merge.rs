//! A bucket written anew: the rows it has, less those that changed, and the tail's in their place,
//! in the order of the keys.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::compute::{filter_record_batch, interleave_record_batch};
use bytes::Bytes;
use lake_store::{BUCKET, bucket_of};
use uuid::Uuid;

use super::error::FoldError;
use super::log_order::Orders;
use super::row_file::RowFile;
use super::row_parts::{row_bytes, row_parts};
use super::tail::{Entry, Tail};
use crate::data_file::{DataFile, DataFileWriter};

/// The file that a bucket's rows are in.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) bytes: Bytes,
    /// How many buckets there are from now on, if only some of the file's rows are the bucket's.
    pub(crate) halved: Option<u32>,
}

/// A bucket's new file.
#[derive(Debug)]
pub(crate) struct Merged {
    /// `None` if the bucket has no rows any more.
    pub(crate) file: Option<DataFile>,
    pub(crate) rows: usize,
}

/// Writes one bucket anew.
///
/// `changed`: the tail's entries of this bucket, in the order of their keys.
pub(crate) fn merge(
    tail: &Tail,
    changed: &[&Entry],
    base: Option<Base>,
    bucket: u32,
    name: Uuid,
) -> Result<Merged, FoldError> {
    let mut merge = Merge {
        tail,
        sources: tail.batches().iter().collect(),
        sizes: tail.batches().iter().map(row_bytes).collect(),
        changed,
        rows: 0,
        writer: None,
        bucket,
        name,
    };
    if let Some(base) = base {
        merge.over(base)?;
    }
    merge.rest()?;
    Ok(Merged {
        rows: merge.rows,
        file: merge.writer.map(DataFileWriter::finish).transpose()?,
    })
}

struct Merge<'a> {
    tail: &'a Tail,
    sources: Vec<&'a RecordBatch>,
    /// What a row of each source takes.
    sizes: Vec<u64>,
    /// What is not passed yet.
    changed: &'a [&'a Entry],
    rows: usize,
    writer: Option<DataFileWriter>,
    bucket: u32,
    name: Uuid,
}

impl Merge<'_> {
    /// Goes along the rows of a file.
    fn over(&mut self, base: Base) -> Result<(), FoldError> {
        for batch in RowFile::open(base.bytes)?.all(self.tail.layout().rows()) {
            let mut batch = batch?;
            if let Some(buckets) = base.halved {
                batch = self.own(&batch, buckets)?;
            }
            match self.picked(&batch)? {
                None => self.write(&batch)?,
                Some(rows) => self.copy(Some(&batch), &rows)?,
            }
        }
        Ok(())
    }

    /// The rows of a batch that are of this bucket.
    fn own(&self, batch: &RecordBatch, buckets: u32) -> Result<RecordBatch, FoldError> {
        let hashes = self.tail.codec().hashes(batch)?;
        let own = hashes
            .into_iter()
            .map(|hash| bucket_of(hash, buckets) == self.bucket);
        Ok(filter_record_batch(batch, &own.collect::<Vec<_>>().into())?)
    }

    /// Writes what comes after all rows of the file.
    fn rest(&mut self) -> Result<(), FoldError> {
        let rest = self.changed.iter().filter(|entry| !entry.is_delete);
        let rest: Vec<(usize, usize)> = rest.map(|entry| entry.place()).collect();
        self.copy(None, &rest)
    }

    /// Writes rows of the tail, and of a batch that comes last among the sources.
    fn copy(
        &mut self,
        batch: Option<&RecordBatch>,
        rows: &[(usize, usize)],
    ) -> Result<(), FoldError> {
        if rows.is_empty() {
            return Ok(());
        }
        let sources: Vec<&RecordBatch> = self.sources.iter().copied().chain(batch).collect();
        let mut sizes = self.sizes.clone();
        sizes.extend(batch.map(row_bytes));
        for part in row_parts(&sizes, rows) {
            self.write(&interleave_record_batch(&sources, &rows[part])?)?;
        }
        Ok(())
    }

    /// The rows that take the place of a batch, which comes last among the sources; `None`: it stays
    /// as it is.
    fn picked(&mut self, batch: &RecordBatch) -> Result<Option<Vec<(usize, usize)>>, FoldError> {
        let tail = self.tail;
        let keys = tail.codec().keys(batch)?;
        let Some(last) = batch.num_rows().checked_sub(1).map(|row| keys.row(row)) else {
            return Ok(None);
        };
        let end = self
            .changed
            .partition_point(|entry| tail.key(entry) <= last.as_ref());
        let (here, rest) = self.changed.split_at(end);
        if here.is_empty() {
            return Ok(None);
        }
        self.changed = rest;
        let (mut here, orders) = (here.iter().peekable(), Orders::of(batch)?);
        let mut rows = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let key = keys.row(row);
            let key: &[u8] = key.as_ref();
            let mut stays = true;
            while let Some(entry) = here.next_if(|entry| tail.key(entry) <= key) {
                if tail.key(entry) == key {
                    if entry.order < orders.at(row) {
                        continue;
                    }
                    stays = false;
                }
                if !entry.is_delete {
                    rows.push(entry.place());
                }
            }
            if stays {
                rows.push((self.sources.len(), row));
            }
        }
        Ok(Some(rows))
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), FoldError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let values = BTreeMap::from([(BUCKET.to_owned(), Some(self.bucket.to_string()))]);
                let layout = self.tail.layout();
                let writer = DataFileWriter::sorted(self.name, values, layout.rows(), layout.key());
                self.writer.insert(writer?)
            }
        };
        self.rows += batch.num_rows();
        Ok(writer.write(batch)?)
    }
}

#[cfg(test)]
mod tests;
