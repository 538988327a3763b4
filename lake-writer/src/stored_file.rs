//! A Parquet file in the store, read in parts.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, RowSelection, RowSelector,
};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use crate::batch_rows::{batch_rows, share, unsigned};
use crate::delta_log::DeltaLogError;

/// Encoded bytes that are fetched together, where the file says where its pages are.
const WINDOW_BYTES: u64 = 8 << 20;

/// Bytes between two wanted ranges that are cheaper to fetch than another request. More would
/// fetch whole row groups whose columns are small.
const GAP_BYTES_MAX: u64 = 64 << 10;

/// Bytes at the end of a file in which its footer mostly is.
const FOOTER_BYTES: usize = 64 << 10;

/// Where a file is and how long.
#[derive(Clone, Debug)]
pub(crate) struct StoredFile {
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
}

impl StoredFile {
    pub(crate) fn new(store: &Arc<dyn ObjectStore>, path: Path, bytes: u64) -> Self {
        Self {
            store: Arc::clone(store),
            path,
            bytes,
        }
    }

    /// The footer, and where the pages are if the file says so. Columns have the types of Parquet,
    /// whatever Arrow types their writer remembered.
    pub(crate) async fn footer(&self) -> Result<ArrowReaderMetadata, ParquetError> {
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        ArrowReaderMetadata::load_async(&mut self.clone(), options).await
    }

    /// What a failed reading says of the table: the store did not answer, or the file is no good.
    pub(crate) fn blame(&self, error: ParquetError) -> DeltaLogError {
        let why = match error {
            ParquetError::External(inner) => match inner.downcast::<object_store::Error>() {
                Ok(error) => return DeltaLogError::Store(*error),
                Err(other) => other.to_string(),
            },
            other => other.to_string(),
        };
        let path = self.path.clone();
        DeltaLogError::Corrupt { path, why }
    }
}

impl AsyncFileReader for StoredFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        let bytes = async move { Ok(self.store.get_range(&self.path, range).await?) };
        bytes.boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        let fetch = |range| self.store.get_range(&self.path, range);
        let all =
            async move { Ok(object_store::coalesce_ranges(&ranges, fetch, GAP_BYTES_MAX).await?) };
        all.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        let bytes = self.bytes;
        let reader = ParquetMetaDataReader::new()
            .with_prefetch_hint(Some(FOOTER_BYTES))
            .with_offset_index_policy(PageIndexPolicy::Optional);
        async move { Ok(Arc::new(reader.load_and_finish(self, bytes).await?)) }.boxed()
    }
}

/// The rows of a stored file, batch by batch.
///
/// A part of a row group is in memory at a time, of a file without an index of its pages a row
/// group.
pub(crate) struct StoredRows {
    file: StoredFile,
    footer: ArrowReaderMetadata,
    group: usize,
    /// The next row of the row group that no window covers yet.
    row: u64,
    window: Option<ParquetRecordBatchStream<StoredFile>>,
    window_bytes: u64,
}

impl StoredRows {
    /// The rows from `row` on.
    pub(crate) fn from(file: &StoredFile, footer: &ArrowReaderMetadata, row: u64) -> Self {
        Self {
            file: file.clone(),
            footer: footer.clone(),
            group: 0,
            row,
            window: None,
            window_bytes: 0,
        }
    }

    /// The next rows; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, ParquetError> {
        loop {
            if let Some(window) = &mut self.window
                && let Some(batch) = window.try_next().await?
            {
                return Ok(Some(batch));
            }
            self.window = self.next_window()?;
            if self.window.is_none() {
                return Ok(None);
            }
        }
    }

    /// Encoded bytes in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.window_bytes
    }

    fn next_window(
        &mut self,
    ) -> Result<Option<ParquetRecordBatchStream<StoredFile>>, ParquetError> {
        self.window_bytes = 0;
        let metadata = Arc::clone(self.footer.metadata());
        let groups = metadata.row_groups();
        let (group, rows) = loop {
            let Some(group) = groups.get(self.group) else {
                return Ok(None);
            };
            let rows = unsigned(group.num_rows());
            if self.row < rows {
                break (group, rows);
            }
            self.row -= rows;
            self.group += 1;
        };
        let encoded = unsigned(group.compressed_size());
        let count = match metadata.offset_index() {
            Some(_) => share(WINDOW_BYTES, rows, encoded),
            None => rows,
        };
        let count = count.min(rows - self.row);
        self.window_bytes = match metadata.offset_index() {
            Some(_) => encoded / rows * count,
            None => encoded,
        };
        let batch_rows = batch_rows(group, &ProjectionMask::all());
        let selection = [
            RowSelector::skip(size(self.row)),
            RowSelector::select(size(count)),
        ];
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(
            self.file.clone(),
            self.footer.clone(),
        );
        let window = builder
            .with_row_groups(vec![self.group])
            .with_row_selection(RowSelection::from(selection.to_vec()))
            .with_batch_size(batch_rows)
            .build()?;
        self.row += count;
        Ok(Some(window))
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
    use arrow::datatypes::Int64Type;
    use object_store::PutPayload;
    use object_store::memory::InMemory;
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;
    use crate::batch_rows::BATCH_BYTES;

    /// Two row groups of numbers that do not compress; about 24 MB.
    async fn stored(with_index: bool) -> StoredFile {
        let numbers = (0..ROWS).map(|n| n.wrapping_mul(0x5851_f42d_4c95_7f2d));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
        let batch = RecordBatch::try_from_iter([("a", Arc::clone(&numbers)), ("b", numbers)]);
        let batch = batch.unwrap();
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(1_000_000))
            .set_dictionary_enabled(false)
            .set_offset_index_disabled(!with_index)
            .set_statistics_enabled(parquet::file::properties::EnabledStatistics::None)
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties));
        let writer = writer.as_mut().unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        let bytes = std::mem::take(writer.inner_mut());
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (path, size) = (Path::from("f.parquet"), bytes.len() as u64);
        store.put(&path, PutPayload::from(bytes)).await.unwrap();
        StoredFile::new(&store, path, size)
    }

    const ROWS: i64 = 1_500_000;

    async fn read(file: &StoredFile, from: u64) -> (Vec<i64>, u64) {
        let footer = file.footer().await.unwrap();
        let mut rows = StoredRows::from(file, &footer, from);
        let (mut numbers, most) = (Vec::new(), AtomicU64::new(0));
        while let Some(batch) = rows.next().await.unwrap() {
            most.fetch_max(rows.memory_bytes(), Ordering::Relaxed);
            assert!(batch.get_array_memory_size() as u64 <= BATCH_BYTES * 2);
            numbers.extend(batch.column(1).as_primitive::<Int64Type>().values());
        }
        (numbers, most.into_inner())
    }

    #[tokio::test]
    async fn a_window_is_in_memory_and_all_rows_come_in_order() {
        let file = stored(true).await;
        for from in [0, 1, 999_999, 1_000_000, 1_200_001, 1_500_000] {
            let (numbers, most) = read(&file, from).await;
            let first = i64::try_from(from).unwrap();
            let expected = (first..ROWS).map(|n| n.wrapping_mul(0x5851_f42d_4c95_7f2d));
            assert!(numbers.into_iter().eq(expected), "from {from}");
            assert!(most <= WINDOW_BYTES + 64, "{most}");
        }
    }

    #[tokio::test]
    async fn without_an_index_of_pages_a_row_group_is_in_memory() {
        let (numbers, most) = read(&stored(false).await, 3).await;
        assert_eq!(numbers.len(), 1_499_997);
        assert!((15 << 20..17 << 20).contains(&most), "{most}");
    }

    /// Equal texts are one in the file.
    #[tokio::test]
    async fn few_large_rows_are_in_memory_at_a_time_however_small_the_file() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(40_000); 500]));
        let batch = RecordBatch::try_from_iter([("s", texts)]).unwrap();
        let encoded = crate::data_file::encode(uuid::Uuid::nil(), None, &[batch]).unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let add = encoded.upload(&store, 0).await.unwrap();
        assert!(add.size < 1 << 20);
        let file = StoredFile::new(&store, Path::from(add.path), unsigned(add.size));
        let footer = file.footer().await.unwrap();
        let (mut rows, mut found) = (StoredRows::from(&file, &footer, 0), 0);
        while let Some(batch) = rows.next().await.unwrap() {
            assert!(batch.get_array_memory_size() as u64 <= BATCH_BYTES * 2);
            found += batch.num_rows();
        }
        assert_eq!(found, 500);
    }

    #[tokio::test]
    async fn a_store_that_is_down_is_told_from_a_file_that_is_no_good() {
        let file = stored(true).await;
        let gone = StoredFile::new(&file.store, Path::from("gone"), 1_000);
        let error = gone.footer().await.unwrap_err();
        assert!(matches!(gone.blame(error), DeltaLogError::Store(_)));
        let odd = Path::from("odd");
        let bytes = PutPayload::from(vec![7_u8; 1_000]);
        file.store.put(&odd, bytes).await.unwrap();
        let odd = StoredFile::new(&file.store, odd, 1_000);
        let error = odd.footer().await.unwrap_err();
        assert!(matches!(odd.blame(error), DeltaLogError::Corrupt { .. }));
    }
}
