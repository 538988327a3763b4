//! Data files: from Arrow batches to Parquet in the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use chrono::NaiveDate;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use uuid::Uuid;

use crate::action::Add;
use crate::layout::EVENT_DATE;

mod statistics;

/// A file that is encoded and not yet uploaded.
#[derive(Debug)]
pub(crate) struct DataFile {
    bytes: Vec<u8>,
    path: Path,
    partition_values: BTreeMap<String, Option<String>>,
    statistics: String,
}

/// Encodes batches of one event date (days since 1970-01-01), or of an unpartitioned table.
///
/// `name` is to be random: a file belongs to a table only once a commit refers to it, and no two
/// attempts ever share a name.
pub(crate) fn encode(
    name: Uuid,
    day: Option<i32>,
    batches: &[RecordBatch],
) -> Result<DataFile, ParquetError> {
    let Some(first) = batches.first() else {
        return Err(ParquetError::General(
            "a data file needs a batch".to_owned(),
        ));
    };
    let options = ArrowWriterOptions::new()
        .with_properties(properties()?)
        // The Arrow schema of the batches (dictionaries and the like) is not the table's.
        .with_skip_arrow_metadata(true);
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new_with_options(&mut bytes, first.schema(), options)?;
    for batch in batches {
        writer.write(batch)?;
    }
    let statistics = statistics::of(&writer.close()?);
    let name = format!("part-{name}.zstd.parquet");
    let (path, partition_values) = match day.map(date_text).transpose()? {
        Some(date) => (
            Path::from(format!("{EVENT_DATE}={date}/{name}")),
            BTreeMap::from([(EVENT_DATE.to_owned(), Some(date))]),
        ),
        None => (Path::from(name), BTreeMap::new()),
    };
    Ok(DataFile {
        bytes,
        path,
        partition_values,
        statistics,
    })
}

impl DataFile {
    /// Uploads the file; the action that makes it part of a table.
    pub(crate) async fn upload(
        &self,
        store: &Arc<dyn ObjectStore>,
        now_us: i64,
    ) -> object_store::Result<Add> {
        // One copy is kept until the upload succeeded, so that it can be tried again.
        store.put(&self.path, self.bytes.clone().into()).await?;
        Ok(Add {
            path: self.path.to_string(),
            partition_values: self.partition_values.clone(),
            size: i64::try_from(self.bytes.len()).unwrap_or(i64::MAX),
            modification_time: now_us / 1000,
            data_change: true,
            stats: Some(self.statistics.clone()),
        })
    }
}

fn properties() -> Result<WriterProperties, ParquetError> {
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by(concat!("lakehead version ", env!("CARGO_PKG_VERSION")).to_owned())
        .build())
}

fn date_text(day: i32) -> Result<String, ArrowError> {
    let from_epoch = chrono::TimeDelta::try_days(i64::from(day));
    let date = from_epoch.and_then(|days| NaiveDate::default().checked_add_signed(days));
    let date =
        date.ok_or_else(|| ArrowError::ComputeError(format!("day {day} is out of range")))?;
    Ok(date.format("%Y-%m-%d").to_string())
}
