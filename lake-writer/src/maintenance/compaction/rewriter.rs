//! From the files of a group to files of the target size, with the same rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use columnar::adapt;

use super::CompactionSettings;
use super::kind::Order;
use super::row_order::in_order;
use super::row_sum::RowSum;
use crate::data_file::{DataFile, DataFileWriter};
use crate::entropy::Entropy;
use crate::maintenance::row_file::RowFile;

pub(super) struct Rewriter {
    columns: SchemaRef,
    order: Order,
    partition_values: BTreeMap<String, Option<String>>,
    target_bytes: usize,
    sort_bytes_max: usize,
    entropy: Arc<Entropy>,
    /// Rows that are yet to be put in order.
    held: Vec<RecordBatch>,
    held_bytes: usize,
    open: Option<DataFileWriter>,
    done: Vec<DataFile>,
    read: RowSum,
}

impl Rewriter {
    pub(super) fn new(
        (columns, order): (SchemaRef, Order),
        partition_values: BTreeMap<String, Option<String>>,
        settings: &CompactionSettings,
        entropy: Arc<Entropy>,
    ) -> Self {
        let bytes = |size: bytesize::ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        Self {
            columns,
            order,
            partition_values,
            target_bytes: bytes(settings.target_bytes),
            sort_bytes_max: bytes(settings.sort_bytes_max),
            entropy,
            held: Vec::new(),
            held_bytes: 0,
            open: None,
            done: Vec::new(),
            read: RowSum::default(),
        }
    }

    /// Takes in a file's rows, in the columns that the table has by now.
    pub(super) fn append(&mut self, file: Bytes) -> Result<(), String> {
        for batch in RowFile::open(file).map_err(text)?.whole() {
            let batch = batch.map_err(text)?;
            let batch = adapt(&batch, &self.columns).map_err(text)?;
            self.read.add(&batch).map_err(text)?;
            match self.order {
                Order::Places => self.hold(batch)?,
                Order::Arrival => self.write(&batch)?,
            }
        }
        Ok(())
    }

    /// Ends the last file; the files, and how many rows they have.
    pub(super) fn finish(mut self) -> Result<(Vec<DataFile>, u64), String> {
        self.write_held()?;
        if let Some(writer) = self.open.take() {
            self.done.push(writer.finish().map_err(text)?);
        }
        let mut written = RowSum::default();
        for file in &self.done {
            for batch in RowFile::open(file.to_read()).map_err(text)?.whole() {
                written.add(&batch.map_err(text)?).map_err(text)?;
            }
        }
        if written != self.read {
            return Err(format!(
                "the compacted files hold other rows than the files that were read ({written:?}, \
                 not {:?}); nothing is committed. This is a bug, please report it",
                self.read
            ));
        }
        Ok((self.done, written.rows()))
    }

    fn hold(&mut self, batch: RecordBatch) -> Result<(), String> {
        self.held_bytes += batch.get_array_memory_size();
        self.held.push(batch);
        match self.held_bytes >= self.sort_bytes_max {
            true => self.write_held(),
            false => Ok(()),
        }
    }

    fn write_held(&mut self) -> Result<(), String> {
        let held = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        for batch in in_order(held).map_err(text)? {
            self.write(&batch.map_err(text)?)?;
        }
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let mut writer = match self.open.take() {
            Some(writer) => writer,
            None => DataFileWriter::in_partition(
                self.entropy.uuid(),
                self.partition_values.clone(),
                Arc::clone(&self.columns),
            )
            .map_err(text)?,
        };
        writer.write(batch).map_err(text)?;
        match writer.encoded_bytes() >= self.target_bytes {
            true => self.done.push(writer.finish().map_err(text)?),
            false => self.open = Some(writer),
        }
        Ok(())
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
