//! The lake's events beside what the owner's publisher counted.
//!
//! A watermark in the lake says how many events of a source there are up to a sequence, and what
//! their ids and after-images add up to. Here the same is added up from the table of changes. Where
//! the two part, the watermarks before and after say between which sequences.

mod letters;
mod marks;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use columnar::CanonicalRows;
use query_engine::{Engine, Snapshot};
use schemas::canonical::{EventSums, RowWriter};
use schemas::{Contract, Op, TableName, TopicPartition};

use crate::VerifyError;

use letters::Letters;
use marks::{Mark, marks};

/// What a source's newest watermark says of a table, and what the table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The source.
    pub source: String,
    /// The owner's time up to which everything is there, if nothing parts, in microseconds since
    /// 1970-01-01 UTC.
    pub complete_through_us: i64,
    /// The sequence up to which events are counted.
    pub through: i64,
    /// What the publisher counted.
    pub published: EventSums,
    /// What the lake holds: rows and dead letters.
    pub landed: EventSums,
    /// Dead letters among them. They have ids but no rows, so with one the sums of rows cannot meet.
    pub dead_letters: u64,
    /// Where the two part: after one sequence, up to another.
    pub parts: Vec<(i64, i64)>,
}

impl Evidence {
    /// Whether the lake holds exactly what was published.
    pub fn is_whole(&self) -> bool {
        let (ours, theirs) = (self.landed, self.published);
        let same_rows = ours.rows == theirs.rows || self.dead_letters > 0;
        (ours.count, ours.ids) == (theirs.count, theirs.ids) && same_rows
    }
}

/// Holds a table against the watermarks that its progress has passed, for every source that has one.
/// Watermarks of another version of the canonical form are left out. Nothing can be held against a
/// table of which changes have passed their retention.
///
/// # Errors
/// The lake cannot be read.
pub async fn evidence(
    lake: &Engine,
    table: &TableName,
    next_offset: impl Fn(&TopicPartition) -> Option<i64>,
) -> Result<Vec<Evidence>, VerifyError> {
    let by_source = marks(lake, table, next_offset).await?;
    let snapshot = lake.snapshot();
    let entity = snapshot.entity(table).await?;
    let Some(entity) = entity.filter(|entity| entity.changes_since.is_none()) else {
        return Ok(Vec::new());
    };
    let letters = match by_source.is_empty() {
        true => Letters::default(),
        false => Letters::read(lake, table).await?,
    };
    let mut found = Vec::new();
    for (source, marks) in &by_source {
        let mut sections = Sections::of(marks);
        sections
            .read(&snapshot, table, &entity.contract, source)
            .await?;
        letters.of(source).for_each(|(sequence, id)| {
            sections.bury(sequence, id);
        });
        found.extend(sections.evidence(source));
    }
    Ok(found)
}

/// The events of a source, cut at its watermarks.
struct Sections<'a> {
    /// In the order of their sequences, all counted from the same one on.
    marks: &'a [Mark],
    /// What lies between each and the one before.
    landed: Vec<EventSums>,
    dead_letters: Vec<u64>,
}

impl<'a> Sections<'a> {
    fn of(marks: &'a [Mark]) -> Self {
        Self {
            marks,
            landed: vec![EventSums::default(); marks.len()],
            dead_letters: vec![0; marks.len()],
        }
    }

    fn place(&self, sequence: i64) -> Option<usize> {
        let first = self.marks.first()?;
        let place = self.marks.partition_point(|mark| mark.through < sequence);
        (sequence > first.total.after && place < self.marks.len()).then_some(place)
    }

    /// Adds up the rows of the table of changes.
    async fn read(
        &mut self,
        snapshot: &Snapshot,
        table: &TableName,
        contract: &Contract,
        source: &str,
    ) -> Result<(), VerifyError> {
        let (Some(first), Some(last)) = (self.marks.first(), self.marks.last()) else {
            return Ok(());
        };
        let names = contract.fields().iter().map(|field| field.name.as_str());
        let columns: Vec<&str> = ["_op", "_event_id", SEQUENCE]
            .into_iter()
            .chain(names)
            .collect();
        let condition = format!(
            "_source['name'] = '{}' AND _source['sequence'] > {} AND _source['sequence'] <= {}",
            source.replace('\'', "''"),
            first.total.after,
            last.through
        );
        let changes = snapshot.changes(table, &columns, &condition);
        let mut answer = Box::pin(changes).await?;
        while let Some(batch) = answer.next().await? {
            let taken = self.take(&batch);
            taken.map_err(|error| VerifyError::Table {
                table: table.clone(),
                why: error.to_string(),
            })?;
        }
        Ok(())
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<(), arrow::error::ArrowError> {
        let text = |place: usize| cast(batch.column(place), &DataType::Utf8);
        let (ops, ids) = (text(0)?, text(1)?);
        let (ops, ids) = (ops.as_string::<i32>(), ids.as_string::<i32>());
        let source = batch.column(2).as_struct();
        let sequences = source.column_by_name("sequence").ok_or_else(|| {
            arrow::error::ArrowError::SchemaError("_source has no sequence".to_owned())
        })?;
        let sequences = sequences.as_primitive::<Int64Type>();
        let places: Vec<usize> = (3..batch.num_columns()).collect();
        let rows = CanonicalRows::new(batch, &places)?;
        let mut writer = RowWriter::default();
        for row in 0..batch.num_rows() {
            let Some(place) = self.place(sequences.value(row)) else {
                continue;
            };
            writer.clear();
            if ops.value(row) == Op::Delete.letter() {
                writer.null();
            } else {
                rows.write(row, &mut writer);
            }
            let id = if ids.is_null(row) { "" } else { ids.value(row) };
            self.landed[place].add(id, writer.hash());
        }
        Ok(())
    }

    /// Adds a dead letter: its id alone.
    fn bury(&mut self, sequence: i64, id: &str) {
        if let Some(place) = self.place(sequence) {
            let rows = self.landed[place].rows;
            self.landed[place].add(id, 0);
            self.landed[place].rows = rows;
            self.dead_letters[place] += 1;
        }
    }

    fn evidence(&self, source: &str) -> Option<Evidence> {
        let last = self.marks.last()?;
        let (mut landed, mut dead_letters) = (EventSums::default(), 0);
        let has_letters = self.dead_letters.iter().any(|letters| *letters > 0);
        let (mut before, mut apart) = (last.total.after, (0, 0, 0));
        let mut parts = Vec::new();
        for (place, mark) in self.marks.iter().enumerate() {
            landed.join(&self.landed[place]);
            dead_letters += self.dead_letters[place];
            let difference = difference(&landed, &mark.total.sums, has_letters);
            if difference != apart {
                parts.push((before, mark.through));
            }
            apart = difference;
            before = mark.through;
        }
        Some(Evidence {
            source: source.to_owned(),
            complete_through_us: last.complete_through_us,
            through: last.through,
            published: last.total.sums,
            landed,
            dead_letters,
            parts,
        })
    }
}

/// By how much two sums part; rows are left out where some events have none.
fn difference(landed: &EventSums, published: &EventSums, no_rows: bool) -> (u64, u128, u128) {
    let rows = match no_rows {
        true => 0,
        false => landed.rows.number().wrapping_sub(published.rows.number()),
    };
    (
        landed.count.wrapping_sub(published.count),
        landed.ids.number().wrapping_sub(published.ids.number()),
        rows,
    )
}

/// The column that holds source and sequence.
const SEQUENCE: &str = "_source";

#[cfg(test)]
mod tests;
