//! Rows in the order of their event dates, in one batch.

use std::ops::Range;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;

use crate::layout::EVENT_TIME;

const DAY_US: i64 = 86_400_000_000;

/// Rows sorted by event date (days since 1970-01-01); those of one date in the order they came.
/// However many dates there are, they take the memory of one batch.
pub(super) struct DatedRows {
    batch: RecordBatch,
    days: Vec<(i32, Range<usize>)>,
}

impl DatedRows {
    /// Sorts the rows of these batches, which have the columns of a table of changes. A single
    /// batch whose rows are in order is not copied.
    pub(super) fn new(batches: Vec<RecordBatch>) -> Result<Self, ArrowError> {
        let mut runs = Vec::new();
        for (number, batch) in batches.iter().enumerate() {
            runs.extend(day_runs(batch)?.map(|(day, rows)| (day, number, rows)));
        }
        let in_order = runs.is_sorted_by_key(|(day, _, _)| *day);
        runs.sort_by_key(|(day, _, _)| *day);
        let mut days: Vec<(i32, Range<usize>)> = Vec::new();
        let mut end = 0;
        for (day, _, rows) in &runs {
            let start = end;
            end += rows.len();
            match days.last_mut() {
                Some((last, range)) if last == day => range.end = end,
                _ => days.push((*day, start..end)),
            }
        }
        let batch = match <[RecordBatch; 1]>::try_from(batches) {
            Ok([batch]) if in_order => batch,
            Ok(batches) => sorted(&batches, &runs)?,
            Err(batches) => sorted(&batches, &runs)?,
        };
        Ok(Self { batch, days })
    }

    /// The dates, in order, and how many rows each has.
    pub(super) fn days(&self) -> impl Iterator<Item = (i32, usize)> {
        self.days.iter().map(|(day, rows)| (*day, rows.len()))
    }

    /// The rows of a date; not copied.
    pub(super) fn of(&self, day: i32) -> Option<RecordBatch> {
        let place = self.days.binary_search_by_key(&day, |(day, _)| *day).ok()?;
        let rows = &self.days.get(place)?.1;
        Some(self.batch.slice(rows.start, rows.len()))
    }

    /// Only the rows of these dates, in memory of their own.
    pub(super) fn only(&self, mut wanted: impl FnMut(i32) -> bool) -> Result<Self, ArrowError> {
        let kept = self.days.iter().filter(|(day, _)| wanted(*day));
        let runs: Vec<_> = kept.map(|(day, rows)| (*day, 0, rows.clone())).collect();
        let mut end = 0;
        let days = runs.iter().map(|(day, _, rows)| {
            let start = end;
            end += rows.len();
            (*day, start..end)
        });
        Ok(Self {
            days: days.collect(),
            batch: sorted(std::slice::from_ref(&self.batch), &runs)?,
        })
    }

    /// Memory held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.batch.get_array_memory_size()
    }
}

/// The date that all rows of a batch have, if they do.
pub(super) fn only_day(batch: &RecordBatch) -> Result<Option<i32>, ArrowError> {
    let mut runs = day_runs(batch)?;
    let first = runs.next().map(|(day, _)| day);
    Ok(first.filter(|_| runs.next().is_none()))
}

/// Stretches of rows of one date.
fn day_runs(batch: &RecordBatch) -> Result<impl Iterator<Item = (i32, Range<usize>)>, ArrowError> {
    let times = batch.column_by_name(EVENT_TIME);
    let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    let times = times.ok_or_else(|| {
        ArrowError::SchemaError(format!("{EVENT_TIME} is not a column of microseconds"))
    })?;
    let mut start = 0;
    let same = |a: &i64, b: &i64| a.div_euclid(DAY_US) == b.div_euclid(DAY_US);
    Ok(times.values().chunk_by(same).map(move |run| {
        let day = run.first().map_or(0, |time| time.div_euclid(DAY_US));
        let rows = start..start + run.len();
        start = rows.end;
        // Event times lie in the years 1 to 9999.
        (i32::try_from(day).unwrap_or_default(), rows)
    }))
}

fn sorted(
    batches: &[RecordBatch],
    runs: &[(i32, usize, Range<usize>)],
) -> Result<RecordBatch, ArrowError> {
    let rows = runs.iter();
    let rows = rows.flat_map(|(_, batch, rows)| rows.clone().map(move |row| (*batch, row)));
    let places: Vec<(usize, usize)> = rows.collect();
    let batches: Vec<&RecordBatch> = batches.iter().collect();
    interleave_record_batch(&batches, &places)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn batch(rows: &[(i64, i64)]) -> RecordBatch {
        let times = rows.iter().map(|(day, _)| day * DAY_US + 5);
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(times));
        let numbers: ArrayRef =
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
        RecordBatch::try_from_iter([(EVENT_TIME, times), ("n", numbers)]).unwrap()
    }

    fn numbers(rows: &DatedRows, day: i32) -> Vec<i64> {
        let batch = rows.of(day).unwrap();
        batch
            .column(1)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    }

    #[test]
    fn rows_of_a_date_stay_in_the_order_they_came() {
        let batches = vec![batch(&[(3, 1), (-1, 2), (3, 3)]), batch(&[(-1, 4), (3, 5)])];
        let rows = DatedRows::new(batches).unwrap();
        assert_eq!(rows.days().collect::<Vec<_>>(), [(-1, 2), (3, 3)]);
        assert_eq!(
            (numbers(&rows, -1), numbers(&rows, 3)),
            (vec![2, 4], vec![1, 3, 5])
        );
        assert!(rows.of(0).is_none());
        let rest = rows.only(|day| day == 3).unwrap();
        assert_eq!(rest.days().collect::<Vec<_>>(), [(3, 3)]);
        assert_eq!(numbers(&rest, 3), [1, 3, 5]);
    }

    #[test]
    fn a_batch_in_order_is_not_copied() {
        let one = batch(&[(1, 1), (1, 2), (2, 3)]);
        let rows = DatedRows::new(vec![one.clone()]).unwrap();
        assert!(
            one.column(1)
                .to_data()
                .ptr_eq(&rows.batch.column(1).to_data())
        );
        assert_eq!(only_day(&one).unwrap(), None);
        assert_eq!(only_day(&one.slice(0, 2)).unwrap(), Some(1));
    }
}
