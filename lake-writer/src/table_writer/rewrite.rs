//! A data file of a table written anew in other columns, piece by piece.
//!
//! A piece is a file of its own whose name follows from where its rows come from. It is created
//! only if nobody has, and never changes: whoever rewrites the same file again, after a restart or
//! beside us, finds the pieces that are there and goes on behind them. So memory is bounded by a
//! piece, whatever the size of the file, and a writer that is killed has done more than it lost.
//! Until the table's commit names them all, no reader sees any.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use columnar::adapt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::errors::ParquetError;
use serde_json::json;
use uuid::Uuid;

use super::TableParts;
use crate::action::Add;
use crate::data_file::{DataFile, DataFileWriter, path_of, statistics_of};
use crate::delta_log::{DeltaLogError, patiently};
use crate::error::WriterError;
use crate::stored_file::{StoredFile, StoredRows};

/// Bytes of a piece in the making; it is about as large in the store.
const PIECE_BYTES_MAX: usize = 32 << 20;

/// A piece that was left behind is taken only if it is younger: to a program that cleans the table
/// up, it is a file that nothing refers to, and those are kept for days.
const PIECE_AGE_MAX_US: i64 = 24 * 3_600 * 1_000_000;

/// In a piece's footer: which rows it holds.
const ORIGIN: &str = "lakehead.rewritten_from";

/// What files are to become.
pub(super) struct Rewrite<'a> {
    parts: &'a TableParts,
    store: &'a Arc<dyn ObjectStore>,
    /// The columns of the new files.
    columns: SchemaRef,
    /// The table's schema in Delta's words.
    schema: &'a str,
    piece_bytes_max: usize,
}

/// A file of the table and its footer.
struct Source<'a> {
    add: &'a Add,
    file: StoredFile,
    footer: ArrowReaderMetadata,
}

/// A file that takes the place of some rows.
struct Piece {
    add: Add,
    rows: u64,
}

impl<'a> Rewrite<'a> {
    pub(super) fn new(
        parts: &'a TableParts,
        store: &'a Arc<dyn ObjectStore>,
        columns: SchemaRef,
        schema: &'a str,
    ) -> Self {
        Self {
            parts,
            store,
            columns,
            schema,
            piece_bytes_max: PIECE_BYTES_MAX,
        }
    }

    /// The files that take this one's place; none if it has no rows.
    pub(super) async fn pieces_of(&self, add: &Add) -> Result<Vec<Add>, WriterError> {
        let bytes = u64::try_from(add.size).unwrap_or(0);
        let file = StoredFile::new(self.store, Path::from(add.path.as_str()), bytes);
        let open = || async { file.footer().await.map_err(|error| file.blame(error)) };
        let footer = self.patiently(open).await?;
        let rows = rows_of(&footer);
        let source = Source { add, file, footer };
        let (mut pieces, mut row) = (Vec::new(), 0);
        while row < rows {
            let piece = self.piece(&source, row).await?;
            row += piece.rows;
            pieces.push(piece.add);
        }
        Ok(pieces)
    }

    /// A file of the rows from `row` on: the one that is there, or a new one.
    async fn piece(&self, source: &Source<'_>, row: u64) -> Result<Piece, WriterError> {
        let name = self.name_of(source.add, row);
        let find = || self.find(source.add, row, name);
        if let Some(found) = self.patiently(find).await? {
            return Ok(found);
        }
        let make = || self.make(source, row, name);
        let (mut file, rows) = self.patiently(make).await?;
        self.parts.held.set_rewriting(file.size_bytes());
        let add = loop {
            let now_us = self.parts.clock.now_us();
            let create = || async { Ok(file.create(self.store, now_us).await?) };
            match self.patiently(create).await? {
                Some(add) => break add,
                None => match self.patiently(find).await? {
                    // Our own, whose answer was lost, or another writer's.
                    Some(found) => return Ok(found),
                    None => file = file.renamed(self.parts.entropy.uuid()),
                },
            }
        };
        Ok(Piece {
            add: moved(add),
            rows,
        })
    }

    /// A piece under this name, if it is what it should be and will stay.
    async fn find(
        &self,
        source: &Add,
        row: u64,
        name: Uuid,
    ) -> Result<Option<Piece>, DeltaLogError> {
        let path = path_of(name, &source.partition_values);
        let meta = match self.store.head(&path).await {
            Ok(meta) => meta,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let made_us = meta.last_modified.timestamp_micros();
        if self.parts.clock.now_us().saturating_sub(made_us) > PIECE_AGE_MAX_US {
            return Ok(None);
        }
        let file = StoredFile::new(self.store, path.clone(), meta.size);
        let footer = file.footer().await.map_err(|error| file.blame(error))?;
        let words = footer.metadata().file_metadata().key_value_metadata();
        let mut words = words.into_iter().flatten();
        let origin = Some(origin_of(source, row));
        if !words.any(|word| word.key == ORIGIN && word.value == origin) {
            return Ok(None);
        }
        let add = Add {
            path: path.to_string(),
            partition_values: source.partition_values.clone(),
            size: i64::try_from(meta.size).unwrap_or(i64::MAX),
            modification_time: made_us / 1000,
            data_change: false,
            stats: Some(statistics_of(footer.metadata())),
        };
        let rows = rows_of(&footer);
        Ok(Some(Piece { add, rows }))
    }

    /// Encodes rows from `row` on until there are no more or they are enough; how many.
    async fn make(
        &self,
        source: &Source<'_>,
        row: u64,
        name: Uuid,
    ) -> Result<(DataFile, u64), DeltaLogError> {
        let made = self.encode(source, row, name).await;
        self.parts.held.set_rewriting(0);
        made.map_err(|error| source.file.blame(error))
    }

    async fn encode(
        &self,
        source: &Source<'_>,
        row: u64,
        name: Uuid,
    ) -> Result<(DataFile, u64), ParquetError> {
        let values: BTreeMap<_, _> = source.add.partition_values.clone();
        let mut writer = DataFileWriter::in_partition(name, values, Arc::clone(&self.columns))?;
        writer.note(ORIGIN, origin_of(source.add, row));
        let mut rows = StoredRows::from(&source.file, &source.footer, row);
        let mut count = 0;
        while writer.memory_bytes() < self.piece_bytes_max
            && let Some(batch) = rows.next().await?
        {
            let fresh = adapt(&batch, &self.columns)?;
            self.hold(&rows, [&batch, &fresh], &writer);
            writer.write(&fresh)?;
            count += batch.num_rows() as u64;
        }
        Ok((writer.finish()?, count))
    }

    fn hold(&self, rows: &StoredRows, batches: [&RecordBatch; 2], writer: &DataFileWriter) {
        let window = usize::try_from(rows.memory_bytes()).unwrap_or(usize::MAX);
        let batches = batches.iter().map(|batch| batch.get_array_memory_size());
        let bytes = window.saturating_add(batches.sum::<usize>() + writer.memory_bytes());
        self.parts.held.set_rewriting(bytes);
    }

    /// The name of the piece that begins with a row of a file, for the table's new columns. Two
    /// that are not the same are told apart by [`ORIGIN`], should their names ever meet.
    fn name_of(&self, source: &Add, row: u64) -> Uuid {
        let part = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, &source.path, row, self.schema).hash(&mut hasher);
            hasher.finish()
        };
        let (high, low) = (part(0), part(1));
        let bits = (u128::from(high) << 64) | u128::from(low);
        uuid::Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid()
    }

    async fn patiently<T, F: Future<Output = Result<T, DeltaLogError>>>(
        &self,
        work: impl Fn() -> F,
    ) -> Result<T, WriterError> {
        patiently(&self.parts.table.to_string(), &self.parts.entropy, work).await
    }
}

impl Drop for Rewrite<'_> {
    fn drop(&mut self) {
        self.parts.held.set_rewriting(0);
    }
}

fn origin_of(source: &Add, row: u64) -> String {
    json!({"path": source.path, "row": row}).to_string()
}

fn rows_of(footer: &ArrowReaderMetadata) -> u64 {
    u64::try_from(footer.metadata().file_metadata().num_rows()).unwrap_or(0)
}

/// Its rows were in the table before.
fn moved(add: Add) -> Add {
    Add {
        data_change: false,
        ..add
    }
}

#[cfg(test)]
mod tests;
