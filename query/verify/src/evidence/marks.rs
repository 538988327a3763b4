//! The watermarks that a table has passed.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use query_engine::Engine;
use schemas::canonical::{self, EventSums, Sum};
use schemas::{Counted, TableName, TopicPartition};

use crate::VerifyError;

/// Watermarks of one source that are held beside its events; older ones make one section.
const MARKS_MAX: usize = 100_000;

/// What counts of a watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) complete_through_us: i64,
    pub(super) through: i64,
    pub(super) total: Counted,
}

/// The watermarks of a table by source, in the order of their sequences: of those that the table has
/// passed, the newest and all that were counted from the same sequence on.
pub(super) async fn marks(
    lake: &Engine,
    table: &TableName,
    next_offset: impl Fn(&TopicPartition) -> Option<i64>,
) -> Result<BTreeMap<String, Vec<Mark>>, VerifyError> {
    let version = canonical::VERSION;
    let sql = format!(
        "SELECT source, complete_through, through, total_after, total_count, total_ids, total_rows, \
         ends FROM (SELECT *, row_number() OVER (PARTITION BY source ORDER BY complete_through DESC) \
         AS age FROM system.watermarks WHERE entity = '{table}' AND canonical_version = {version}) \
         WHERE age <= {MARKS_MAX} ORDER BY source, complete_through"
    );
    let mut answer = Box::pin(lake.ask(&sql)).await?;
    let mut by_source: BTreeMap<String, Vec<Mark>> = BTreeMap::new();
    while let Some(batch) = answer.next().await? {
        let taken = take(&batch, &next_offset, &mut by_source);
        taken.map_err(|error| VerifyError::Table {
            table: TableName::watermarks(),
            why: error.to_string(),
        })?;
    }
    for marks in by_source.values_mut() {
        let newest = marks.last().map(|mark| mark.total.after);
        marks.retain(|mark| Some(mark.total.after) == newest);
        // Time goes on while nothing happens: the last of those with one sequence says it all.
        marks.reverse();
        marks.dedup_by_key(|mark| mark.through);
        marks.reverse();
    }
    Ok(by_source)
}

fn take(
    batch: &RecordBatch,
    next_offset: &impl Fn(&TopicPartition) -> Option<i64>,
    by_source: &mut BTreeMap<String, Vec<Mark>>,
) -> Result<(), ArrowError> {
    let number = |place: usize| batch.column(place).as_primitive::<Int64Type>();
    let sources = texts(batch.column(0))?;
    let times = batch.column(1).as_primitive::<TimestampMicrosecondType>();
    let (through, after, count) = (number(2), number(3), number(4));
    let (ids, rows) = (texts(batch.column(5))?, texts(batch.column(6))?);
    let ends = batch.column(7).as_list::<i32>();
    let sum =
        |text: &str| -> Result<Sum, ArrowError> { text.parse().map_err(ArrowError::ParseError) };
    for row in 0..batch.num_rows() {
        if !is_passed(ends.value(row).as_struct(), next_offset)? {
            continue;
        }
        let sums = EventSums {
            count: u64::try_from(count.value(row)).unwrap_or(0),
            ids: sum(ids.value(row))?,
            rows: sum(rows.value(row))?,
        };
        let mark = Mark {
            complete_through_us: times.value(row),
            through: through.value(row),
            total: Counted {
                after: after.value(row),
                sums,
            },
        };
        let source = sources.value(row).to_owned();
        by_source.entry(source).or_default().push(mark);
    }
    Ok(())
}

fn is_passed(
    ends: &StructArray,
    next_offset: &impl Fn(&TopicPartition) -> Option<i64>,
) -> Result<bool, ArrowError> {
    let column = |name: &str| {
        let column = ends.column_by_name(name);
        column.ok_or_else(|| ArrowError::SchemaError(format!("ends have no {name}")))
    };
    let topics = texts(column("topic")?)?;
    let partitions = column("partition")?.as_primitive::<Int64Type>();
    let offsets = column("offset")?.as_primitive::<Int64Type>();
    Ok((0..ends.len()).all(|end| {
        let (partition, offset) = (partitions.value(end), offsets.value(end));
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        let place = TopicPartition::new(topics.value(end), partition);
        offset == 0 || next_offset(&place) >= Some(offset)
    }))
}

fn texts(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let texts = cast(column, &DataType::Utf8)?;
    Ok(texts.as_string::<i32>().clone())
}
