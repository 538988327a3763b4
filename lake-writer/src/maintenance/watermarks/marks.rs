//! Where entities' topics must be read up to, for a moment to be complete.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use bytes::Bytes;
use columnar::ChangeSchema;
use schemas::{PartitionEnd, TopicPartition};

use crate::action::Add;
use crate::delta_log::{DeltaLog, TableState};
use crate::layout;
use crate::maintenance::error::FoldError;
use crate::maintenance::fold::{blocking, fetch};
use crate::maintenance::new_changes::{self, last_time_us};
use crate::maintenance::row_file::RowFile;

const ENTITY: &str = "entity";
const SOURCE: &str = "source";
const COMPLETE_THROUGH: &str = "complete_through";
const ENDS: &str = "ends";

/// By entity and source.
pub(super) type Marks = HashMap<(String, String), Span>;

/// The first and the last of some watermarks of a source. Ends grow, so the first is passed first; but
/// after a topic was made again only the last can be.
#[derive(Debug)]
pub(super) struct Span {
    first: Mark,
    last: Mark,
}

#[derive(Clone, Debug)]
struct Mark {
    complete_us: i64,
    ends: Vec<PartitionEnd>,
}

impl Span {
    fn of(mark: Mark) -> Self {
        Self {
            first: mark.clone(),
            last: mark,
        }
    }

    fn take(&mut self, mark: Mark) {
        if mark.complete_us < self.first.complete_us {
            self.first = mark;
        } else if mark.complete_us > self.last.complete_us {
            self.last = mark;
        }
    }

    pub(super) fn is_passed(&self, progress: &HashMap<TopicPartition, i64>) -> bool {
        let is_passed = |mark: &Mark| {
            mark.ends.iter().all(|end| {
                let partition = TopicPartition::new(end.topic.as_str(), end.partition);
                end.is_passed(progress.get(&partition).copied())
            })
        };
        is_passed(&self.first) || is_passed(&self.last)
    }
}

/// The watermarks that are complete through this moment.
pub(super) async fn read(
    log: &DeltaLog,
    state: &mut TableState,
    end_us: i64,
) -> Result<Marks, FoldError> {
    let columns = columns(state).map_err(FoldError::Layout)?;
    let mut marks = Marks::new();
    let may_have =
        |add: &Add| last_time_us(add, COMPLETE_THROUGH).is_none_or(|time_us| time_us >= end_us);
    for path in new_changes::paths(log, state, may_have).await? {
        let bytes = fetch(log, &path).await?;
        let columns = Arc::clone(&columns);
        marks = blocking(move || {
            let taken = take(marks, bytes, &columns, end_us);
            taken.map_err(|error| error.in_file(&path))
        })
        .await?;
    }
    Ok(marks)
}

/// The columns that are read.
fn columns(state: &TableState) -> Result<SchemaRef, String> {
    let (contract, _) = layout::contract_of_table(&state.metadata)?;
    let table = ChangeSchema::new(&contract).table_schema();
    let field = |name: &&str| {
        table
            .fields()
            .find(name)
            .map(|(_, field)| Arc::clone(field))
    };
    let names = [ENTITY, SOURCE, COMPLETE_THROUGH, ENDS];
    let fields: Vec<_> = names.iter().filter_map(field).collect();
    match fields.len() == names.len() {
        true => Ok(Arc::new(Schema::new(fields))),
        false => Err("the table of watermarks lacks columns".to_owned()),
    }
}

fn take(
    mut marks: Marks,
    file: Bytes,
    columns: &SchemaRef,
    end_us: i64,
) -> Result<Marks, FoldError> {
    for batch in RowFile::open(file)?.all(columns) {
        for (entity, source, mark) in rows(&batch?, end_us)? {
            match marks.get_mut(&(entity.clone(), source.clone())) {
                Some(span) => span.take(mark),
                None => drop(marks.insert((entity, source), Span::of(mark))),
            }
        }
    }
    Ok(marks)
}

fn rows(batch: &RecordBatch, end_us: i64) -> Result<Vec<(String, String, Mark)>, ArrowError> {
    let odd = || ArrowError::SchemaError("no watermarks".to_owned());
    let column = |name: &str| batch.column_by_name(name).ok_or_else(odd);
    let entities = column(ENTITY)?.as_string_opt::<i32>().ok_or_else(odd)?;
    let sources = column(SOURCE)?.as_string_opt::<i32>().ok_or_else(odd)?;
    let times = column(COMPLETE_THROUGH)?.as_primitive_opt::<TimestampMicrosecondType>();
    let (times, ends) = (times.ok_or_else(odd)?, column(ENDS)?.as_list_opt::<i32>());
    let ends = ends.ok_or_else(odd)?;
    let mut rows = Vec::new();
    for row in (0..batch.num_rows()).filter(|row| times.value(*row) >= end_us) {
        let of_row = ends.value(row);
        let mark = Mark {
            complete_us: times.value(row),
            ends: ends_of(of_row.as_struct_opt().ok_or_else(odd)?).ok_or_else(odd)?,
        };
        rows.push((
            entities.value(row).to_owned(),
            sources.value(row).to_owned(),
            mark,
        ));
    }
    Ok(rows)
}

fn ends_of(ends: &StructArray) -> Option<Vec<PartitionEnd>> {
    let longs = |name: &str| ends.column_by_name(name)?.as_primitive_opt::<Int64Type>();
    let topics = ends.column_by_name("topic")?.as_string_opt::<i32>()?;
    let (partitions, offsets) = (longs("partition")?, longs("offset")?);
    let end = |row: usize| {
        Some(PartitionEnd {
            topic: topics.value(row).to_owned(),
            partition: i32::try_from(partitions.value(row)).ok()?,
            offset: offsets.value(row),
        })
    };
    (0..ends.len()).map(end).collect()
}
