//! Rows encoded column by column, until they are many enough to join the file as a row group.
//!
//! It is what Parquet's own [`ArrowWriter`] does, except that a column with a NaN gets no bounds.
//! That one passes over NaN when it looks for the smallest and the largest value, and engines that take NaN for
//! the largest of all (Spark, DuckDB, DataFusion) would leave out a row group that has what they look for.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves,
};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::statistics::Statistics;
use parquet::file::writer::SerializedFileWriter;

use super::nan;
use super::pieces::Pieces;

/// Encoded bytes that a row group may take in memory before it is closed.
const BYTES_MAX: usize = 32 << 20;

/// Rows of a row group, however small they are.
const ROWS_MAX: usize = 1 << 20;

/// A file, and the row group that is to join it next.
pub(super) struct RowGroups {
    file: SerializedFileWriter<Pieces>,
    factory: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    open: Option<RowGroup>,
}

impl RowGroups {
    pub(super) fn new(
        schema: SchemaRef,
        options: ArrowWriterOptions,
    ) -> Result<Self, ParquetError> {
        let pieces = Pieces::default();
        let writer = ArrowWriter::try_new_with_options(pieces, SchemaRef::clone(&schema), options)?;
        let (file, factory) = writer.into_serialized_writer()?;
        Ok(Self {
            file,
            factory,
            schema,
            open: None,
        })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        let mut row = 0;
        while row < batch.num_rows() {
            let open = match &mut self.open {
                Some(open) => open,
                none => none.insert(RowGroup::new(
                    &self.factory,
                    self.file.flushed_row_groups().len(),
                )?),
            };
            let rows = open.room().min(batch.num_rows() - row);
            open.write(&self.schema, &batch.slice(row, rows))?;
            row += rows;
            if open.room() == 0 {
                self.close()?;
            }
        }
        Ok(())
    }

    pub(super) fn note(&mut self, words: KeyValue) {
        self.file.append_key_value_metadata(words);
    }

    /// Memory held, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let open = self.open.as_ref().map_or(0, RowGroup::memory_bytes);
        open + self.file.inner().memory_bytes()
    }

    /// About as many bytes as the file would have if it ended here.
    pub(super) fn encoded_bytes(&self) -> usize {
        let open = self.open.as_ref().map_or(0, RowGroup::encoded_bytes);
        self.file.bytes_written() + open
    }

    /// Ends the file.
    pub(super) fn finish(mut self) -> Result<(ParquetMetaData, Pieces), ParquetError> {
        self.close()?;
        let footer = self.file.finish()?;
        Ok((footer, std::mem::take(self.file.inner_mut())))
    }

    fn close(&mut self) -> Result<(), ParquetError> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let mut group = self.file.next_row_group()?;
        for (column, has_nan) in open.columns.into_iter().zip(open.have_nan) {
            let mut chunk = column.close()?;
            if has_nan {
                forget_bounds(chunk.close_mut())?;
            }
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
        Ok(())
    }
}

/// A row group that grows in memory.
struct RowGroup {
    columns: Vec<ArrowColumnWriter>,
    /// Which columns have a NaN.
    have_nan: Vec<bool>,
    rows: usize,
}

impl RowGroup {
    fn new(factory: &ArrowRowGroupWriterFactory, number: usize) -> Result<Self, ParquetError> {
        let columns = factory.create_column_writers(number)?;
        Ok(Self {
            have_nan: vec![false; columns.len()],
            columns,
            rows: 0,
        })
    }

    /// How many rows more it may have, if they are like those that it has.
    fn room(&self) -> usize {
        let bytes = self.encoded_bytes();
        if bytes >= BYTES_MAX {
            return 0;
        }
        let bytes_of_row = bytes.checked_div(self.rows).unwrap_or(0);
        let by_bytes = (BYTES_MAX - bytes).checked_div(bytes_of_row);
        by_bytes.unwrap_or(ROWS_MAX).min(ROWS_MAX - self.rows)
    }

    fn write(&mut self, schema: &SchemaRef, batch: &RecordBatch) -> Result<(), ParquetError> {
        let (mut columns, mut have_nan) = (self.columns.iter_mut(), self.have_nan.iter_mut());
        for (field, array) in schema.fields().iter().zip(batch.columns()) {
            let leaves = compute_leaves(field, array)?;
            nan::mark(array, &mut have_nan.by_ref().take(leaves.len()));
            for (leaf, column) in leaves.iter().zip(columns.by_ref()) {
                column.write(leaf)?;
            }
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        let columns = self.columns.iter();
        columns.map(ArrowColumnWriter::memory_size).sum()
    }

    fn encoded_bytes(&self) -> usize {
        let columns = self.columns.iter();
        columns
            .map(ArrowColumnWriter::get_estimated_total_bytes)
            .sum()
    }
}

/// The column's values are counted, and nothing is said of what they are.
fn forget_bounds(closed: &mut ColumnCloseResult) -> Result<(), ParquetError> {
    closed.column_index = None;
    let nulls = closed
        .metadata
        .statistics()
        .and_then(Statistics::null_count_opt);
    let counted = match closed.metadata.statistics() {
        Some(Statistics::Float(_)) => Statistics::float(None, None, None, nulls, false),
        Some(Statistics::Double(_)) => Statistics::double(None, None, None, nulls, false),
        _ => return Ok(()),
    };
    let metadata = closed.metadata.clone().into_builder();
    closed.metadata = metadata.set_statistics(counted).build()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::{DataType, Field, Schema};
    use parquet::file::properties::WriterProperties;

    use super::*;

    #[test]
    fn a_row_group_is_closed_when_it_is_large_enough() {
        let field = Field::new("n", DataType::Int64, false);
        let schema = Arc::new(Schema::new(vec![field]));
        let properties = WriterProperties::builder().set_dictionary_enabled(false);
        let options = ArrowWriterOptions::new().with_properties(properties.build());
        let mut groups = RowGroups::new(Arc::clone(&schema), options).unwrap();
        let (rows, batches) = (3_000_000, 3);
        for _ in 0..batches {
            let numbers = (0..rows).map(|n: i64| n.wrapping_mul(0x5851_f42d_4c95_7f2d));
            let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![numbers]).unwrap();
            groups.write(&batch).unwrap();
            assert!(groups.open.as_ref().is_none_or(|open| open.rows < ROWS_MAX));
        }
        let (footer, pieces) = groups.finish().unwrap();
        assert_eq!(footer.file_metadata().num_rows(), rows * batches);
        let sizes = footer.row_groups().iter().map(|group| group.num_rows());
        assert!(
            sizes.clone().all(|rows| rows <= 1 << 20),
            "{:?}",
            sizes.collect::<Vec<_>>()
        );
        let whole = bytes::Bytes::from(pieces.into_payload());
        assert!(whole.ends_with(b"PAR1"));
    }
}
