//! What is in the lake, read by a plain Delta replay, against what should be.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use futures::TryStreamExt;
use lake_store::{DEAD_LETTERS_PATH, LakeStore};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::delta_log::DeltaLog;

const CHANGES_PATH: &str = "sim/row/changes";
const CURRENT_PATH: &str = "sim/row/current";

/// How a record ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Landed {
    Row { op: String, id: i64, n: Option<i64> },
    Dead(String),
}

/// Everything in the lake, by partition and offset. Panics on a record that is there twice.
pub(super) async fn landed(lake: &LakeStore) -> BTreeMap<(i32, i64), Landed> {
    let mut landed = BTreeMap::new();
    let mut insert = |place, how| {
        let before = landed.insert(place, how);
        assert!(before.is_none(), "{place:?} landed twice");
    };
    for batch in batches(lake, CHANGES_PATH).await {
        let text = |name: &str, row: usize| {
            batch
                .column_by_name(name)
                .unwrap()
                .as_string::<i32>()
                .value(row)
                .to_owned()
        };
        let ids = batch
            .column_by_name("id")
            .unwrap()
            .as_primitive::<Int64Type>();
        let numbers = batch
            .column_by_name("n")
            .unwrap()
            .as_primitive::<Int64Type>();
        for (row, place) in places(&batch).into_iter().enumerate() {
            let n = numbers.is_valid(row).then(|| numbers.value(row));
            insert(
                place,
                Landed::Row {
                    op: text("_op", row),
                    id: ids.value(row),
                    n,
                },
            );
        }
    }
    for batch in batches(lake, DEAD_LETTERS_PATH).await {
        let codes = batch
            .column_by_name("error_code")
            .unwrap()
            .as_string::<i32>();
        for (row, place) in places(&batch).into_iter().enumerate() {
            insert(place, Landed::Dead(codes.value(row).to_owned()));
        }
    }
    landed
}

/// A row of the current table: the place of its change, and its number.
pub(super) type Current = BTreeMap<i64, ((i32, i64), Option<i64>)>;

/// The current table by key. Panics on a key that is there twice.
pub(super) async fn current(lake: &LakeStore) -> Current {
    let mut current = Current::new();
    for batch in batches(lake, CURRENT_PATH).await {
        let longs = |name: &str| {
            let column = batch.column_by_name(name).unwrap();
            column.as_primitive::<Int64Type>().clone()
        };
        let (ids, numbers) = (longs("id"), longs("n"));
        for (row, place) in places(&batch).into_iter().enumerate() {
            let n = numbers.is_valid(row).then(|| numbers.value(row));
            let before = current.insert(ids.value(row), (place, n));
            assert!(before.is_none(), "{} is there twice", ids.value(row));
        }
    }
    current
}

/// What the current table should be: a key's changes are in one partition, the last one counts.
pub(super) fn fold(landed: &BTreeMap<(i32, i64), Landed>) -> Current {
    let mut current = Current::new();
    for (place, how) in landed {
        match how {
            Landed::Row { op, id, .. } if op == "d" => drop(current.remove(id)),
            Landed::Row { id, n, .. } => drop(current.insert(*id, (*place, *n))),
            Landed::Dead(_) => {}
        }
    }
    current
}

fn places(batch: &RecordBatch) -> Vec<(i32, i64)> {
    let partitions = batch
        .column_by_name("_partition")
        .unwrap()
        .as_primitive::<Int32Type>();
    let offsets = batch
        .column_by_name("_offset")
        .unwrap()
        .as_primitive::<Int64Type>();
    partitions
        .values()
        .iter()
        .copied()
        .zip(offsets.values().iter().copied())
        .collect()
}

async fn batches(lake: &LakeStore, table: &str) -> Vec<RecordBatch> {
    let log = DeltaLog::new(lake.table_store(table));
    let mut batches = Vec::new();
    for file in log.files(|_| true).await.unwrap() {
        let bytes = log
            .store()
            .get(&Path::from(file.path))
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .unwrap()
            .build()
            .unwrap();
        batches.extend(reader.map(Result::unwrap));
    }
    batches
}

/// Every object of the tables, with its size in bytes.
pub(super) async fn objects(lake: &LakeStore) -> Vec<(String, u64)> {
    let mut objects = Vec::new();
    for table in [CHANGES_PATH, CURRENT_PATH, DEAD_LETTERS_PATH] {
        let found: Vec<_> = lake
            .table_store(table)
            .list(None)
            .try_collect()
            .await
            .unwrap();
        let named = found.into_iter();
        objects.extend(named.map(|object| (format!("{table}/{}", object.location), object.size)));
    }
    objects.sort();
    objects
}

pub(super) fn compare(
    seed: u64,
    expected: &BTreeMap<(i32, i64), Landed>,
    landed: &BTreeMap<(i32, i64), Landed>,
) {
    let lost: Vec<_> = expected
        .keys()
        .filter(|place| !landed.contains_key(place))
        .collect();
    assert!(lost.is_empty(), "seed {seed}: lost {lost:?}");
    for (place, found) in landed {
        assert_eq!(expected.get(place), Some(found), "seed {seed}: {place:?}");
    }
}
