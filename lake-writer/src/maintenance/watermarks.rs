//! What owners' publishers say to be complete: the table of watermarks, `_system/watermarks`.
//!
//! Which sources an entity has, and how far each has come, is told by the table's progress: a watermark
//! is an event of its own source whose sequence is the time. Only when all that are waited for have
//! come far enough, rows are read: those that say where in its topic an entity must be read up to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use bytes::Bytes;
use columnar::ChangeSchema;
use lake_store::LakeStore;
use schemas::{PartitionEnd, TableName, TopicPartition, WATERMARKS_TOPIC};

use super::error::FoldError;
use super::fold::{blocking, fetch};
use super::kept_table::KeptTable;
use super::new_changes::{self, last_time_us};
use super::row_file::RowFile;
use crate::app_id::AppIds;
use crate::delta_log::{DeltaLog, TableState};
use crate::layout;

const ENTITY: &str = "entity";
const SOURCE: &str = "source";
const COMPLETE_THROUGH: &str = "complete_through";
const ENDS: &str = "ends";

/// How an entity stands to a moment of its owner's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has no watermarks that one could wait for.
    None,
    /// Everything that its owner committed before the moment is among the changes.
    Passed,
    /// Not yet, as far as is known, for this is not there.
    Awaited(String),
}

/// The table, which is looked at once for all entities of a round.
#[derive(Debug)]
pub(crate) struct Watermarks {
    table: KeptTable,
    seen: Option<Seen>,
}

/// What a look found.
#[derive(Debug, Default)]
struct Seen {
    state: Option<TableState>,
    /// Up to when all of an entity is complete, by its sources.
    complete_us: HashMap<String, BTreeMap<String, i64>>,
    /// By a moment, what says that this moment is complete.
    marks: HashMap<i64, Marks>,
}

/// By entity and source.
type Marks = HashMap<(String, String), Span>;

/// The first and the last of some watermarks of a source. Ends grow, so the first is passed first; but
/// after a topic was made again only the last can be.
#[derive(Debug)]
struct Span {
    first: Mark,
    last: Mark,
}

#[derive(Clone, Debug)]
struct Mark {
    complete_us: i64,
    ends: Vec<PartitionEnd>,
}

impl Watermarks {
    pub(crate) fn new(lake: &LakeStore) -> Self {
        let path = TableName::watermarks().changes_path();
        let log = DeltaLog::new(lake.table_store(&path));
        Self {
            table: KeptTable::new(path, log),
            seen: None,
        }
    }

    /// Who asks next, looks again.
    pub(crate) fn forget(&mut self) {
        self.seen = None;
    }

    /// Whether these changes of an entity are complete up to `end_us`, in microseconds since
    /// 1970-01-01T00:00Z. A source that has said nothing of any time at or after `since_us` is taken
    /// for one that is no more.
    pub(crate) async fn stand(
        &mut self,
        table: &TableName,
        (since_us, end_us): (i64, i64),
        changes: &TableState,
    ) -> Result<Standing, FoldError> {
        let entity = table.to_string();
        let seen = self.look().await?;
        let sources = seen.complete_us.get(&entity).into_iter().flatten();
        let heard: Vec<(String, i64)> = sources
            .filter(|(_, complete_us)| **complete_us >= since_us)
            .map(|(source, complete_us)| (source.clone(), *complete_us))
            .collect();
        if heard.is_empty() {
            return Ok(Standing::None);
        }
        if let Some((source, _)) = heard.iter().find(|(_, complete_us)| *complete_us < end_us) {
            return Ok(Standing::Awaited(format!("a watermark of {source}")));
        }
        let marks = self.marks(end_us).await?;
        let progress = progress(changes);
        for (source, _) in heard {
            let awaited = format!("the changes before the watermark of {source}");
            let span = marks.get(&(entity.clone(), source));
            if !span.is_some_and(|span| span.is_passed(&progress)) {
                return Ok(Standing::Awaited(awaited));
            }
        }
        Ok(Standing::Passed)
    }

    async fn look(&mut self) -> Result<&mut Seen, FoldError> {
        let seen = match self.seen.take() {
            Some(seen) => seen,
            None => Seen::at(self.table.newest().await?),
        };
        Ok(self.seen.insert(seen))
    }

    /// What says that a moment is complete.
    async fn marks(&mut self, end_us: i64) -> Result<&Marks, FoldError> {
        let log = self.table.log.clone();
        let seen = self.look().await?;
        if let Some(state) = seen
            .state
            .as_mut()
            .filter(|_| !seen.marks.contains_key(&end_us))
        {
            let found = read(&log, state, end_us).await?;
            seen.marks.insert(end_us, found);
        }
        Ok(seen.marks.entry(end_us).or_default())
    }
}

impl Seen {
    fn at(state: Option<TableState>) -> Self {
        let mut complete_us: HashMap<String, BTreeMap<String, i64>> = HashMap::new();
        for (app_id, time_us) in state.iter().flat_map(|state| &state.txns) {
            let Some((WATERMARKS_TOPIC, source)) = AppIds::source_of(app_id) else {
                continue;
            };
            if let Some((source, entity)) = source.rsplit_once("/watermarks/") {
                let sources = complete_us.entry(entity.to_owned()).or_default();
                let known_us = sources.entry(source.to_owned()).or_insert(*time_us);
                *known_us = (*known_us).max(*time_us);
            }
        }
        Self {
            state,
            complete_us,
            marks: HashMap::new(),
        }
    }
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

    fn is_passed(&self, progress: &HashMap<TopicPartition, i64>) -> bool {
        let is_passed = |mark: &Mark| {
            mark.ends.iter().all(|end| {
                let partition = TopicPartition::new(end.topic.as_str(), end.partition);
                end.is_passed(progress.get(&partition).copied())
            })
        };
        is_passed(&self.first) || is_passed(&self.last)
    }
}

/// The next offset of each partition.
fn progress(changes: &TableState) -> HashMap<TopicPartition, i64> {
    let mut progress = HashMap::new();
    for (app_id, offset) in &changes.txns {
        if let Some(partition) = AppIds::partition_of(app_id) {
            let known = progress.entry(partition).or_insert(*offset);
            *known = (*known).max(*offset);
        }
    }
    progress
}

/// The watermarks that are complete through this moment.
async fn read(log: &DeltaLog, state: &mut TableState, end_us: i64) -> Result<Marks, FoldError> {
    let columns = columns(state).map_err(FoldError::Layout)?;
    let mut marks = Marks::new();
    let files = new_changes::all(log, state).await?.files.into_iter();
    let may_have = |time_us: Option<i64>| time_us.is_none_or(|time_us| time_us >= end_us);
    for file in files.filter(|file| may_have(last_time_us(&file.add, COMPLETE_THROUGH))) {
        let bytes = fetch(log, &file.add.path).await?;
        let columns = Arc::clone(&columns);
        marks = blocking(move || {
            let taken = take(marks, bytes, &columns, end_us);
            taken.map_err(|error| error.in_file(&file.add.path))
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
    for batch in RowFile::open(file)?.all(columns)? {
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
