//! A data file that is read: some of its columns, some of its rows, in the columns of the newest
//! layout.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use columnar::adapt;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::ParquetError;

use super::error::FoldError;
use crate::batch_rows::batch_rows;
use crate::data_file::InPieces;

/// A Parquet file in memory.
#[derive(Clone, Debug)]
pub(crate) struct RowFile {
    bytes: InPieces,
    metadata: ArrowReaderMetadata,
}

/// Rows of a file, batch by batch. A batch is of one row group, for each has rows of another size.
#[derive(Debug)]
pub(crate) struct Rows {
    file: RowFile,
    /// Row groups that are not begun yet.
    groups: Range<usize>,
    mask: ProjectionMask,
    /// Of the row groups, if not all rows are wanted.
    selection: Option<RowSelection>,
    /// The columns that rows get; `None`: those of the file.
    columns: Option<SchemaRef>,
    group: Option<ParquetRecordBatchReader>,
}

impl RowFile {
    pub(crate) fn open(bytes: impl Into<InPieces>) -> Result<Self, ParquetError> {
        let bytes = bytes.into();
        let metadata = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new())?;
        Ok(Self { bytes, metadata })
    }

    /// How many rows each row group has.
    pub(crate) fn row_groups(&self) -> Vec<usize> {
        let groups = self.metadata.metadata().row_groups().iter();
        groups
            .map(|group| usize::try_from(group.num_rows()).unwrap_or(0))
            .collect()
    }

    /// How many rows of a row group are decoded at a time, of these columns.
    pub(crate) fn batch_rows(&self, group: usize, columns: &SchemaRef) -> usize {
        batch_rows(
            self.metadata.metadata().row_group(group),
            &self.mask(columns),
        )
    }

    /// All rows, in the columns that the file has.
    pub(crate) fn whole(&self) -> Rows {
        Rows {
            file: self.clone(),
            groups: 0..self.metadata.metadata().num_row_groups(),
            mask: ProjectionMask::all(),
            selection: None,
            columns: None,
            group: None,
        }
    }

    /// All rows, in these columns.
    pub(crate) fn all(&self, columns: &SchemaRef) -> Rows {
        Rows {
            mask: self.mask(columns),
            columns: Some(SchemaRef::clone(columns)),
            ..self.whole()
        }
    }

    /// The rows of one row group.
    pub(crate) fn of_group(&self, group: usize, columns: &SchemaRef) -> Rows {
        Rows {
            groups: group..group + 1,
            ..self.all(columns)
        }
    }

    /// The rows at these places of a row group, in ascending order.
    pub(crate) fn at(&self, group: usize, places: &[usize], columns: &SchemaRef) -> Rows {
        let total = self.row_groups().get(group).copied().unwrap_or(0);
        let each = places.iter().map(|place| *place..*place + 1);
        let selection = || RowSelection::from_consecutive_ranges(each, total);
        Rows {
            selection: (places.len() < total).then(selection),
            ..self.of_group(group, columns)
        }
    }

    /// Those of the file's columns that are among these.
    fn mask(&self, columns: &SchemaRef) -> ProjectionMask {
        let roots = self.metadata.schema().fields().iter().enumerate();
        let wanted = roots
            .filter(|(_, field)| columns.fields().find(field.name()).is_some())
            .map(|(index, _)| index);
        ProjectionMask::roots(self.metadata.parquet_schema(), wanted)
    }
}

impl Rows {
    fn begin(&self, group: usize) -> Result<ParquetRecordBatchReader, ParquetError> {
        let (bytes, metadata) = (self.file.bytes.clone(), self.file.metadata.clone());
        let rows = batch_rows(metadata.metadata().row_group(group), &self.mask);
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata)
            .with_projection(self.mask.clone())
            .with_row_groups(vec![group])
            .with_batch_size(rows);
        if let Some(selection) = &self.selection {
            builder = builder.with_row_selection(selection.clone());
        }
        builder.build()
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, FoldError> {
        loop {
            if let Some(batch) = self.group.as_mut().and_then(Iterator::next) {
                let batch = batch?;
                return Ok(Some(match &self.columns {
                    Some(columns) => adapt(&batch, columns)?,
                    None => batch,
                }));
            }
            let Some(group) = self.groups.next() else {
                return Ok(None);
            };
            self.group = Some(self.begin(group)?);
        }
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, FoldError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::batch_rows::BATCH_BYTES;
    use crate::data_file::encode;

    /// 40 KB each, which are the same in all rows: the file is small.
    fn large_rows(from: i64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 500));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(40_000); 500]));
        RecordBatch::try_from_iter([("n", numbers), ("s", texts)]).unwrap()
    }

    #[test]
    fn few_large_rows_are_in_memory_at_a_time_however_small_the_file() {
        let file = encode(uuid::Uuid::nil(), None, &[large_rows(0), large_rows(500)]).unwrap();
        assert!(file.size_bytes() < 1 << 20);
        let file = RowFile::open(file.to_bytes()).unwrap();
        let columns = large_rows(0).schema();
        for rows in [file.whole(), file.all(&columns), file.of_group(0, &columns)] {
            let mut next = 0;
            for batch in rows {
                let batch = batch.unwrap();
                assert!(batch.get_array_memory_size() as u64 <= 2 * BATCH_BYTES);
                for number in batch.column(0).as_primitive::<Int64Type>().values() {
                    assert_eq!(*number, next);
                    next += 1;
                }
            }
            assert_eq!(next, 1000);
        }
        // Columns that are not asked for take no room.
        let numbers = Arc::new(columns.project(&[0]).unwrap());
        assert_eq!(file.all(&numbers).count(), 1);
    }
}
