//! Data files: from Arrow batches to Parquet in the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
#[cfg(test)]
use bytes::Bytes;
use chrono::NaiveDate;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use uuid::Uuid;

use crate::action::Add;
use crate::layout::{EVENT_DATE, EVENT_ID, EVENT_TIME, OFFSET};

mod nan;
mod pieces;
mod row_groups;
mod statistics;

pub(crate) use pieces::InPieces;
use row_groups::RowGroups;
pub(crate) use statistics::of as statistics_of;

/// Distinct values of a column, in bytes, above which a row group stores them plainly. Far below
/// Parquet's default: a column that is mostly unique is found out before its dictionary is large.
const DICTIONARY_BYTES_MAX: usize = 128 << 10;

/// Lineage columns that have one value for long runs of rows, which the differences of a column
/// say in next to nothing, without a look into a dictionary for each row.
const STEADY: [&str; 4] = ["_partition", "_generation", "_schema_id", "_ingest_time"];

/// A file that is encoded and not yet uploaded.
#[derive(Debug)]
pub struct DataFile {
    payload: PutPayload,
    path: Path,
    partition_values: BTreeMap<String, Option<String>>,
    statistics: String,
}

/// A file that grows in memory, batch by batch: Parquet as the tables of changes have it.
pub struct DataFileWriter {
    rows: RowGroups,
    path: Path,
    partition_values: BTreeMap<String, Option<String>>,
}

impl std::fmt::Debug for DataFileWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataFileWriter")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl DataFileWriter {
    /// A file of one event date (days since 1970-01-01), or of an unpartitioned table.
    ///
    /// `name` is to be random: a file belongs to a table only once a commit refers to it, and no
    /// two attempts ever share a name.
    pub fn new(name: Uuid, day: Option<i32>, schema: SchemaRef) -> Result<Self, ParquetError> {
        let date = day.map(date_text).transpose()?;
        let values = date.map(|date| (EVENT_DATE.to_owned(), Some(date)));
        Self::in_partition(name, values.into_iter().collect(), schema)
    }

    /// A file of these partition values.
    pub(crate) fn in_partition(
        name: Uuid,
        partition_values: BTreeMap<String, Option<String>>,
        schema: SchemaRef,
    ) -> Result<Self, ParquetError> {
        let properties = properties(&schema)?.build();
        Self::with_properties(name, partition_values, schema, properties)
    }

    /// A file of these partition values whose rows come in the order of these columns, so that
    /// readers find a page by the first of them. A single one gets a bloom filter besides.
    pub(crate) fn sorted(
        name: Uuid,
        partition_values: BTreeMap<String, Option<String>>,
        schema: &SchemaRef,
        by: &[String],
    ) -> Result<Self, ParquetError> {
        let mut properties = properties(schema)?;
        if let Some(first) = by.first() {
            let path = ColumnPath::from(first.as_str());
            properties = properties
                .set_column_bloom_filter_enabled(path.clone(), by.len() == 1)
                .set_column_statistics_enabled(path, EnabledStatistics::Page);
        }
        let properties = properties.build();
        Self::with_properties(name, partition_values, SchemaRef::clone(schema), properties)
    }

    fn with_properties(
        name: Uuid,
        partition_values: BTreeMap<String, Option<String>>,
        schema: SchemaRef,
        properties: WriterProperties,
    ) -> Result<Self, ParquetError> {
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            // The Arrow schema of the batches (dictionaries and the like) is not the table's.
            .with_skip_arrow_metadata(true);
        Ok(Self {
            rows: RowGroups::new(schema, options)?,
            path: path_of(name, &partition_values),
            partition_values,
        })
    }

    /// Appends rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        self.rows.write(batch)
    }

    /// Adds words of ours to the footer.
    pub(crate) fn note(&mut self, name: &str, words: String) {
        self.rows.note(KeyValue::new(name.to_owned(), words));
    }

    /// Memory held, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes()
    }

    /// About as many bytes as the file would have if it ended here.
    pub(crate) fn encoded_bytes(&self) -> usize {
        self.rows.encoded_bytes()
    }

    /// Ends the file.
    pub fn finish(self) -> Result<DataFile, ParquetError> {
        let (footer, pieces) = self.rows.finish()?;
        Ok(DataFile {
            payload: pieces.into_payload(),
            path: self.path,
            partition_values: self.partition_values,
            statistics: statistics::of(&footer),
        })
    }
}

/// A file of these batches.
pub(crate) fn encode(
    name: Uuid,
    day: Option<i32>,
    batches: &[RecordBatch],
) -> Result<DataFile, ParquetError> {
    let first = batches.first();
    let first = first.ok_or_else(|| ParquetError::General("a file needs a batch".to_owned()))?;
    let mut writer = DataFileWriter::new(name, day, first.schema())?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()
}

impl DataFile {
    /// Bytes of the file.
    pub fn size_bytes(&self) -> usize {
        self.payload.content_length()
    }

    /// The file's bytes, where they are.
    pub(crate) fn to_read(&self) -> InPieces {
        InPieces::from(&self.payload)
    }

    /// The file's bytes, copied into one piece.
    #[cfg(test)]
    pub(crate) fn to_bytes(&self) -> Bytes {
        self.payload.clone().into()
    }

    /// Uploads the file; the action that makes it part of a table.
    pub(crate) async fn upload(
        &self,
        store: &Arc<dyn ObjectStore>,
        now_us: i64,
    ) -> object_store::Result<Add> {
        // The bytes are shared, not copied, so that an upload that failed can be tried again.
        store.put(&self.path, self.payload.clone()).await?;
        Ok(self.add(now_us))
    }

    /// Uploads the file unless one of its name is there; `None` if one is, perhaps this one.
    pub(crate) async fn create(
        &self,
        store: &Arc<dyn ObjectStore>,
        now_us: i64,
    ) -> object_store::Result<Option<Add>> {
        let options = PutOptions::from(PutMode::Create);
        match store
            .put_opts(&self.path, self.payload.clone(), options)
            .await
        {
            Ok(_) => Ok(Some(self.add(now_us))),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same file under another name.
    pub(crate) fn renamed(self, name: Uuid) -> Self {
        Self {
            path: path_of(name, &self.partition_values),
            ..self
        }
    }

    fn add(&self, now_us: i64) -> Add {
        Add {
            path: self.path.to_string(),
            partition_values: self.partition_values.clone(),
            size: i64::try_from(self.size_bytes()).unwrap_or(i64::MAX),
            modification_time: now_us / 1000,
            data_change: true,
            stats: Some(self.statistics.clone()),
        }
    }
}

/// Where a file of this name and these partition values is in its table.
pub(crate) fn path_of(name: Uuid, partition_values: &BTreeMap<String, Option<String>>) -> Path {
    let mut path = String::new();
    for (column, value) in partition_values {
        let value = value.as_deref().unwrap_or_default();
        path.push_str(&format!("{column}={value}/"));
    }
    path.push_str(&format!("part-{name}.zstd.parquet"));
    Path::from(path)
}

/// The random part of a data file's path, if it is one that [`DataFileWriter`] gives: folders of
/// partition values, then the name.
pub(crate) fn name_of(path: &Path) -> Option<Uuid> {
    let mut parts: Vec<_> = path.parts().collect();
    let file = parts.pop()?;
    let name = file.as_ref().strip_prefix("part-")?;
    let name = name.strip_suffix(".zstd.parquet")?;
    let in_values = parts.iter().all(|folder| folder.as_ref().contains('='));
    (in_values && name.len() == 36)
        .then(|| name.parse().ok())
        .flatten()
}

fn properties(schema: &SchemaRef) -> Result<WriterPropertiesBuilder, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_created_by(concat!("lakehead version ", env!("CARGO_PKG_VERSION")).to_owned());
    // Of the former every row has its own: a dictionary would only be built to be thrown away.
    for column in [OFFSET, EVENT_TIME, EVENT_ID].into_iter().chain(STEADY) {
        let Ok(field) = schema.field_with_name(column) else {
            continue;
        };
        let path = ColumnPath::from(column);
        properties = properties.set_column_dictionary_enabled(path.clone(), false);
        if field.data_type().is_primitive() {
            properties = properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
    }
    Ok(properties)
}

fn date_text(day: i32) -> Result<String, ArrowError> {
    let from_epoch = chrono::TimeDelta::try_days(i64::from(day));
    let date = from_epoch.and_then(|days| NaiveDate::default().checked_add_signed(days));
    let date =
        date.ok_or_else(|| ArrowError::ComputeError(format!("day {day} is out of range")))?;
    Ok(date.format("%Y-%m-%d").to_string())
}
