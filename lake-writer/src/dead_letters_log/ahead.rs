//! Letters that are committed already though their table has not passed them: a crash came between
//! their commit and the table's, or there is no table yet.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use futures::TryStreamExt;
use object_store::path::Path;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use schemas::TopicPartition;
use serde_json::Value;

use crate::action::Add;
use crate::delta_log::{DeltaLog, DeltaLogError};
use crate::offset_ranges::OffsetRanges;
use crate::stored_file::StoredFile;

/// The columns that tell whose letter a row is.
const COLUMNS: [&str; 4] = ["_topic", "_partition", "_offset", "_ingest_time"];

/// Which letters are looked for.
#[derive(Clone, Debug)]
pub(crate) struct Ahead {
    pub(crate) partition: TopicPartition,
    /// The lowest offset that counts.
    pub(crate) first: i64,
    /// When the partition's letters began to be of the topic that is there now, in microseconds;
    /// those that were taken in earlier do not count.
    pub(crate) since_us: i64,
}

/// The offsets of each of `ahead`. Files whose statistics exclude them are not read, and of the
/// others only the columns that matter.
pub(super) async fn read(
    log: &DeltaLog,
    ahead: &[Ahead],
) -> Result<Vec<OffsetRanges>, DeltaLogError> {
    let mut found = vec![OffsetRanges::default(); ahead.len()];
    let files = log.files(|add| may_hold(add, ahead)).await?;
    for file in files {
        let bytes = u64::try_from(file.size).unwrap_or(0);
        let file = StoredFile::new(log.store(), Path::from(file.path), bytes);
        let read = read_file(&file, ahead, &mut found).await;
        read.map_err(|error| file.blame(error))?;
    }
    Ok(found)
}

async fn read_file(
    file: &StoredFile,
    ahead: &[Ahead],
    found: &mut [OffsetRanges],
) -> Result<(), ParquetError> {
    let footer = file.footer().await?;
    let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(file.clone(), footer);
    let mask = ProjectionMask::columns(builder.parquet_schema(), COLUMNS);
    let mut batches = builder.with_projection(mask).build()?;
    while let Some(batch) = batches.try_next().await? {
        for (ahead, found) in ahead.iter().zip(&mut *found) {
            take(&batch, ahead, found)?;
        }
    }
    Ok(())
}

/// Adds the offsets of a batch that are looked for.
fn take(batch: &RecordBatch, ahead: &Ahead, found: &mut OffsetRanges) -> Result<(), ParquetError> {
    let odd = |name: &str| ParquetError::General(format!("{name} is not a column of its type"));
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| odd(name));
    let topics = column("_topic")?.as_string_opt::<i32>();
    let partitions = column("_partition")?.as_primitive_opt::<Int32Type>();
    let offsets = column("_offset")?.as_primitive_opt::<Int64Type>();
    let times = column("_ingest_time")?.as_primitive_opt::<TimestampMicrosecondType>();
    let topics = topics.ok_or_else(|| odd("_topic"))?;
    let partitions = partitions.ok_or_else(|| odd("_partition"))?;
    let offsets = offsets.ok_or_else(|| odd("_offset"))?;
    let times = times.ok_or_else(|| odd("_ingest_time"))?;
    let mut run = 0..0;
    for row in 0..batch.num_rows() {
        let offset = offsets.value(row);
        let counts = offset >= ahead.first
            && partitions.value(row) == ahead.partition.partition
            && times.value(row) >= ahead.since_us
            && topics.value(row) == ahead.partition.topic.as_ref();
        if !counts {
            continue;
        }
        if run.end != offset {
            found.insert(std::mem::replace(&mut run, offset..offset));
        }
        run.end = offset + 1;
    }
    found.insert(run);
    Ok(())
}

/// Whether a file may hold a letter that is looked for, by what the log says of it.
fn may_hold(file: &Add, ahead: &[Ahead]) -> bool {
    let told = file.stats.as_deref();
    let told: Option<Value> = told.and_then(|told| serde_json::from_str(told).ok());
    let Some(told) = told else { return true };
    let (least, most) = (&told["minValues"], &told["maxValues"]);
    ahead.iter().any(|ahead| {
        let topic = ahead.partition.topic.as_ref();
        let partition = i64::from(ahead.partition.partition);
        let text = |bounds: &Value| bounds["_topic"].as_str().map(|text| text.cmp(topic));
        let number = |value: &Value, than: i64| value.as_i64().map(|number| number.cmp(&than));
        // What is not told may be anything.
        text(least).is_none_or(|least| least.is_le())
            && text(most).is_none_or(|most| most.is_ge())
            && number(&least["_partition"], partition).is_none_or(|least| least.is_le())
            && number(&most["_partition"], partition).is_none_or(|most| most.is_ge())
            && number(&most["_offset"], ahead.first).is_none_or(|most| most.is_ge())
    })
}
