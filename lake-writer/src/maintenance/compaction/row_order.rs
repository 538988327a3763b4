//! Rows in the order `_partition`, `_generation`, `_offset`.
//!
//! A file of the writer has a chunk of one topic partition after a chunk of another, each in order.
//! Such stretches are put in order as they are, without touching a row; only where they are short
//! or overlap are rows copied one by one.

use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type};
use arrow::error::ArrowError;

use crate::layout::{GENERATION, OFFSET, PARTITION};
use crate::maintenance::row_parts::{row_bytes, row_parts};

/// Rows of a stretch, on average, from which on slices are cheaper than copies.
const STRETCH_ROWS_MIN: usize = 256;

/// Partition, generation, offset.
type Place = (i32, i32, i64);

/// Rows of one batch and one partition that follow each other in the order.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    first: Place,
    last: Place,
    batch: usize,
    start: usize,
    rows: usize,
}

/// The batches' rows in order.
pub(super) fn in_order(
    batches: Vec<RecordBatch>,
) -> Result<Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>, ArrowError> {
    let mut stretches = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        stretches_of(index, batch, &mut stretches)?;
    }
    stretches.sort_by_key(|stretch| (stretch.first, stretch.last, stretch.batch));
    let apart = stretches.is_sorted_by(|a, b| a.last <= b.first);
    let rows: usize = stretches.iter().map(|stretch| stretch.rows).sum();
    if apart && rows >= STRETCH_ROWS_MIN * stretches.len() {
        let slice = move |of: Stretch| Ok(batches[of.batch].slice(of.start, of.rows));
        return Ok(Box::new(stretches.into_iter().map(slice)));
    }
    let mut order: Vec<(usize, usize)> = Vec::with_capacity(rows);
    for stretch in &stretches {
        let rows = stretch.start..stretch.start + stretch.rows;
        order.extend(rows.map(|row| (stretch.batch, row)));
    }
    if !apart {
        let places: Vec<Places<'_>> = batches.iter().map(Places::of).collect::<Result<_, _>>()?;
        order.sort_by_key(|(batch, row)| places[*batch].at(*row));
    }
    let sizes: Vec<u64> = batches.iter().map(row_bytes).collect();
    let parts = row_parts(&sizes, &order);
    Ok(Box::new(parts.into_iter().map(move |part| {
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        interleave_record_batch(&batches, &order[part])
    })))
}

/// The columns that say where a batch's rows belong.
struct Places<'a> {
    partitions: &'a [i32],
    generations: &'a [i32],
    offsets: &'a [i64],
}

impl<'a> Places<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        Ok(Self {
            partitions: column::<Int32Type>(batch, PARTITION)?.values(),
            generations: column::<Int32Type>(batch, GENERATION)?.values(),
            offsets: column::<Int64Type>(batch, OFFSET)?.values(),
        })
    }

    fn at(&self, row: usize) -> Place {
        (
            self.partitions[row],
            self.generations[row],
            self.offsets[row],
        )
    }
}

fn column<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a PrimitiveArray<T>, ArrowError> {
    let column = batch.column_by_name(name);
    let column = column.and_then(|column| column.as_primitive_opt::<T>());
    column
        .filter(|column| column.null_count() == 0)
        .ok_or_else(|| ArrowError::SchemaError(format!("no column {name} of places of rows")))
}

fn stretches_of(
    index: usize,
    batch: &RecordBatch,
    into: &mut Vec<Stretch>,
) -> Result<(), ArrowError> {
    let places = Places::of(batch)?;
    let mut open: Option<Stretch> = None;
    for row in 0..batch.num_rows() {
        let place = places.at(row);
        match &mut open {
            // Of one partition only: the chunks of two would lie across those of another file.
            Some(stretch) if stretch.last.0 == place.0 && stretch.last <= place => {
                stretch.last = place;
                stretch.rows += 1;
            }
            _ => {
                into.extend(open.replace(Stretch {
                    first: place,
                    last: place,
                    batch: index,
                    start: row,
                    rows: 1,
                }));
            }
        }
    }
    into.extend(open);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    fn batch(places: &[Place]) -> RecordBatch {
        let partitions = Int32Array::from_iter_values(places.iter().map(|place| place.0));
        let generations = Int32Array::from_iter_values(places.iter().map(|place| place.1));
        let offsets = Int64Array::from_iter_values(places.iter().map(|place| place.2));
        let names = StringArray::from_iter_values(places.iter().map(|place| format!("{place:?}")));
        let columns: [(&str, ArrayRef); 4] = [
            (PARTITION, Arc::new(partitions)),
            (GENERATION, Arc::new(generations)),
            (OFFSET, Arc::new(offsets)),
            ("name", Arc::new(names)),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    /// The places in the order of the rows; each row's name must be its place's.
    fn ordered(batches: &[Vec<Place>]) -> Vec<Place> {
        let batches = batches.iter().map(|places| batch(places)).collect();
        let mut found = Vec::new();
        for batch in in_order(batches).unwrap() {
            let batch = batch.unwrap();
            let places = Places::of(&batch).unwrap();
            let names = batch.column(3).as_string::<i32>();
            for row in 0..batch.num_rows() {
                assert_eq!(names.value(row), format!("{:?}", places.at(row)));
                found.push(places.at(row));
            }
        }
        found
    }

    fn sorted(batches: &[Vec<Place>]) -> Vec<Place> {
        let mut all: Vec<Place> = batches.concat();
        all.sort_unstable();
        all
    }

    #[test]
    fn long_stretches_are_put_in_order_as_they_are() {
        let stretch = |partition, from: i64| (from..from + 1000).map(move |n| (partition, 0, n));
        for (first, second) in [(0, 1), (1, 0)] {
            let batches: Vec<Vec<Place>> = vec![
                stretch(first, 0).chain(stretch(second, 500)).collect(),
                stretch(first, 1000).chain(stretch(second, 1500)).collect(),
            ];
            assert_eq!(ordered(&batches), sorted(&batches));
            let rows = batches.iter().map(|places| batch(places)).collect();
            assert_eq!(in_order(rows).unwrap().count(), 4);
        }
    }

    #[test]
    fn long_stretches_that_overlap_are_merged() {
        let even: Vec<Place> = (0..20_000).map(|n| (0, 0, 2 * n)).collect();
        let odd: Vec<Place> = (0..20_000).map(|n| (0, 0, 2 * n + 1)).collect();
        let batches = vec![odd, even];
        assert_eq!(ordered(&batches), sorted(&batches));
    }

    #[test]
    fn nothing_is_in_order() {
        assert!(ordered(&[]).is_empty());
        assert!(ordered(&[Vec::new()]).is_empty());
    }

    proptest! {
        #[test]
        fn any_rows_come_out_in_order(
            batches in proptest::collection::vec(
                proptest::collection::vec((0..3i32, 0..2i32, 0..50i64), 0..60), 0..6)
        ) {
            prop_assert_eq!(ordered(&batches), sorted(&batches));
        }
    }
}
