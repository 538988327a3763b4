//! What a data file holds, as far as a check needs it.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Int32Type, Int64Type, TimestampMicrosecondType,
};
use futures::TryStreamExt;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use schemas::TopicPartition;

use super::Place;
use crate::stored_file::StoredFile;

/// A dead letter's place.
pub(super) struct Letter {
    pub(super) partition: TopicPartition,
    pub(super) offset: i64,
    pub(super) ingest_time_us: i64,
}

/// The offsets of a file of changes by topic partition and generation.
pub(super) async fn offsets(file: &StoredFile) -> Result<Vec<(Place, Vec<i64>)>, ParquetError> {
    let mut places: BTreeMap<Place, Vec<i64>> = BTreeMap::new();
    let columns = ["_topic", "_partition", "_generation", "_offset"];
    read(file, &columns, |batch| {
        let topics = texts(batch, "_topic")?;
        let partitions = numbers::<Int32Type>(batch, "_partition")?;
        let generations = numbers::<Int32Type>(batch, "_generation")?;
        let offsets = numbers::<Int64Type>(batch, "_offset")?;
        let mut last: Option<(Place, Vec<i64>)> = None;
        for row in 0..batch.num_rows() {
            let (topic, partition) = (topics.value(row), partitions.value(row));
            let generation = i64::from(generations.value(row));
            let same = last.as_ref().is_some_and(|((of, generation_of), _)| {
                *of.topic == *topic && of.partition == partition && *generation_of == generation
            });
            if !same {
                flush(&mut places, last.take());
                let place = (TopicPartition::new(topic, partition), generation);
                last = Some((place, Vec::new()));
            }
            if let Some((_, of_place)) = &mut last {
                of_place.push(offsets.value(row));
            }
        }
        flush(&mut places, last);
        Ok(())
    })
    .await?;
    Ok(places.into_iter().collect())
}

fn flush(places: &mut BTreeMap<Place, Vec<i64>>, found: Option<(Place, Vec<i64>)>) {
    if let Some((place, offsets)) = found {
        places.entry(place).or_default().extend(offsets);
    }
}

/// The places of one table's dead letters.
pub(super) async fn letters(file: &StoredFile, table: &str) -> Result<Vec<Letter>, ParquetError> {
    let mut letters = Vec::new();
    let columns = ["_topic", "_partition", "_offset", "_ingest_time", "table"];
    read(file, &columns, |batch| {
        let topics = texts(batch, "_topic")?;
        let tables = texts(batch, "table")?;
        let partitions = numbers::<Int32Type>(batch, "_partition")?;
        let offsets = numbers::<Int64Type>(batch, "_offset")?;
        let times = numbers::<TimestampMicrosecondType>(batch, "_ingest_time")?;
        let rows = (0..batch.num_rows()).filter(|row| tables.value(*row) == table);
        letters.extend(rows.map(|row| Letter {
            partition: TopicPartition::new(topics.value(row), partitions.value(row)),
            offset: offsets.value(row),
            ingest_time_us: times.value(row),
        }));
        Ok(())
    })
    .await?;
    Ok(letters)
}

/// The gaps of one table's partitions: from one offset to before another.
pub(super) async fn gaps(
    file: &StoredFile,
    table: &str,
) -> Result<Vec<(TopicPartition, i64, i64)>, ParquetError> {
    let mut gaps = Vec::new();
    let columns = ["table", "topic", "partition", "from_offset", "to_offset"];
    read(file, &columns, |batch| {
        let (tables, topics) = (texts(batch, "table")?, texts(batch, "topic")?);
        let partitions = numbers::<Int32Type>(batch, "partition")?;
        let from = numbers::<Int64Type>(batch, "from_offset")?;
        let to = numbers::<Int64Type>(batch, "to_offset")?;
        let known = |row: &usize| {
            let whole = partitions.is_valid(*row) && from.is_valid(*row) && to.is_valid(*row);
            whole && tables.value(*row) == table
        };
        gaps.extend((0..batch.num_rows()).filter(known).map(|row| {
            let partition = TopicPartition::new(topics.value(row), partitions.value(row));
            (partition, from.value(row), to.value(row))
        }));
        Ok(())
    })
    .await?;
    Ok(gaps)
}

/// Hands some columns of a file to `each`, batch by batch.
async fn read(
    file: &StoredFile,
    columns: &[&str],
    mut each: impl FnMut(&RecordBatch) -> Result<(), ParquetError>,
) -> Result<(), ParquetError> {
    let footer = file.footer().await?;
    let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(file.clone(), footer);
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let mut batches = builder.with_projection(mask).build()?;
    while let Some(batch) = batches.try_next().await? {
        each(&batch)?;
    }
    Ok(())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ParquetError> {
    let column = batch.column_by_name(name);
    column.ok_or_else(|| ParquetError::General(format!("it has no column {name}")))
}

fn numbers<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a PrimitiveArray<T>, ParquetError> {
    let column = column(batch, name)?;
    let numbers = column.as_primitive_opt::<T>();
    numbers.ok_or_else(|| {
        let data_type = column.data_type();
        ParquetError::General(format!("its column {name} is {data_type}"))
    })
}

/// Other writers may have chosen another layout for texts.
fn texts(batch: &RecordBatch, name: &str) -> Result<StringArray, ParquetError> {
    let texts = cast(column(batch, name)?, &DataType::Utf8)?;
    let texts = texts.as_string_opt::<i32>();
    let odd = || ParquetError::General(format!("its column {name} holds no texts"));
    texts.cloned().ok_or_else(odd)
}
