//! A data file that is read: some of its columns, some of its rows, in the columns of the newest
//! layout.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use columnar::adapt;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::ParquetError;

use super::error::FoldError;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// A Parquet file in memory.
#[derive(Debug)]
pub(crate) struct RowFile {
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
}

/// Rows of a file, batch by batch.
#[derive(Debug)]
pub(crate) struct Rows {
    reader: ParquetRecordBatchReader,
    columns: SchemaRef,
}

impl RowFile {
    pub(crate) fn open(bytes: Bytes) -> Result<Self, ParquetError> {
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

    /// All rows, in these columns.
    pub(crate) fn all(&self, columns: &SchemaRef) -> Result<Rows, ParquetError> {
        self.rows(self.builder(columns), columns)
    }

    /// The rows of one row group.
    pub(crate) fn of_group(&self, group: usize, columns: &SchemaRef) -> Result<Rows, ParquetError> {
        let builder = self.builder(columns).with_row_groups(vec![group]);
        self.rows(builder, columns)
    }

    /// The rows at these places of a row group, in ascending order.
    pub(crate) fn at(
        &self,
        group: usize,
        places: &[usize],
        columns: &SchemaRef,
    ) -> Result<Rows, ParquetError> {
        let total = self.row_groups().get(group).copied().unwrap_or(0);
        let mut builder = self.builder(columns).with_row_groups(vec![group]);
        if places.len() < total {
            let each = places.iter().map(|place| *place..*place + 1);
            let selection = RowSelection::from_consecutive_ranges(each, total);
            builder = builder.with_row_selection(selection);
        }
        self.rows(builder, columns)
    }

    fn builder(&self, columns: &SchemaRef) -> ParquetRecordBatchReaderBuilder<Bytes> {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            self.bytes.clone(),
            self.metadata.clone(),
        );
        let roots = builder.schema().fields().iter().enumerate();
        let wanted: Vec<usize> = roots
            .filter(|(_, field)| columns.fields().find(field.name()).is_some())
            .map(|(index, _)| index)
            .collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        builder.with_projection(mask).with_batch_size(BATCH_ROWS)
    }

    fn rows(
        &self,
        builder: ParquetRecordBatchReaderBuilder<Bytes>,
        columns: &SchemaRef,
    ) -> Result<Rows, ParquetError> {
        Ok(Rows {
            reader: builder.build()?,
            columns: SchemaRef::clone(columns),
        })
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, FoldError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(
            batch
                .and_then(|batch| adapt(&batch, &self.columns))
                .map_err(FoldError::from),
        )
    }
}
