//! The latest change of every key, whatever order files come in and however little memory there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, Int32Array, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Int64Type};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use schemas::{Contract, Shape};

use super::*;
use crate::data_file::DataFileWriter;

const CONTRACT: &str = r#"{"type":"record","name":"R","lakehead.key":["id"],"fields":[
    {"name":"id","type":"long"},{"name":"n","type":["null","long"]},
    {"name":"text","type":["null","string"]}]}"#;

pub(in crate::maintenance) fn layout() -> CurrentLayout {
    CurrentLayout::of(CONTRACT.parse().unwrap(), Shape::Upsert).unwrap()
}

/// (id, offset, op): the value of the row is its offset.
pub(in crate::maintenance) type Row = (i64, i64, &'static str);

async fn file(rows: &[Row]) -> Bytes {
    file_of(rows, |_| None).await
}

/// Rows with texts.
pub(in crate::maintenance) async fn file_of(
    rows: &[Row],
    text: impl Fn(&Row) -> Option<String>,
) -> Bytes {
    let contract: Contract = CONTRACT.parse().unwrap();
    let schema = columnar::ChangeSchema::new(&contract).table_schema();
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .filter(|field| field.name() != "_event_date")
        .cloned()
        .collect();
    let schema = Arc::new(arrow::datatypes::Schema::new(columns));
    let longs = |long: fn(&Row) -> i64| {
        Arc::new(
            rows.iter()
                .map(|row| Some(long(row)))
                .collect::<Int64Array>(),
        ) as arrow::array::ArrayRef
    };
    let column = |name: &str, of: &DataType| -> arrow::array::ArrayRef {
        match name {
            "id" => longs(|row| row.0),
            "n" | "_offset" => longs(|row| row.1),
            "text" => Arc::new(rows.iter().map(&text).collect::<StringArray>()),
            "_op" => Arc::new(rows.iter().map(|row| Some(row.2)).collect::<StringArray>()),
            "_topic" => Arc::new(rows.iter().map(|_| Some("t")).collect::<StringArray>()),
            "_partition" | "_generation" => Arc::new(Int32Array::from(vec![0; rows.len()])),
            "_event_time" | "_ingest_time" => {
                arrow::compute::cast(&longs(|row| row.1), of).unwrap()
            }
            _ => new_null_array(of, rows.len()),
        }
    };
    let arrays = schema
        .fields()
        .iter()
        .map(|field| column(field.name(), field.data_type()));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect()).unwrap();
    let mut writer = DataFileWriter::new(uuid::Uuid::nil(), Some(0), schema).unwrap();
    writer.write(&batch).unwrap();
    let store: Arc<dyn object_store::ObjectStore> = Arc::new(object_store::memory::InMemory::new());
    let add = writer.finish().unwrap().upload(&store, 0).await.unwrap();
    use object_store::ObjectStoreExt;
    store
        .get(&add.path.as_str().into())
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap()
}

fn found(tail: &Tail) -> BTreeMap<i64, Option<i64>> {
    let mut found = BTreeMap::new();
    for entry in tail.entries() {
        if entry.is_delete {
            // The first column of a key is a byte that tells nulls and eight of a long.
            let key: [u8; 8] = tail.key(entry)[1..].try_into().unwrap();
            found.insert(i64::from_be_bytes(key) ^ i64::MIN, None);
            continue;
        }
        let (batch, row) = entry.place();
        let value = |name: &str| {
            tail.batches()[batch]
                .column_by_name(name)
                .unwrap()
                .as_primitive::<Int64Type>()
                .value(row)
        };
        assert_eq!(
            (value("_offset"), value("n")),
            (entry.order.offset, entry.order.offset)
        );
        found.insert(value("id"), Some(value("n")));
    }
    found
}

fn tail(slice: Slice, bytes_max: usize) -> Tail {
    Tail::new(&layout(), slice, bytes_max, 1 << 10).unwrap()
}

/// So many random changes of so many keys.
fn some_rows(count: i64, keys: i64) -> Vec<Row> {
    let mut rng = StdRng::seed_from_u64(7);
    let row = |offset| {
        let id = rng.random_range(0..keys);
        let op = if rng.random_bool(0.3) { "d" } else { "u" };
        (id, offset, op)
    };
    (0..count).map(row).collect()
}

/// What is to be found of rows, which are in the order of their offsets.
fn latest(rows: &[Row]) -> BTreeMap<i64, Option<i64>> {
    let value = |(id, offset, op): &Row| (*id, (*op != "d").then_some(*offset));
    rows.iter().map(value).collect()
}

/// What is found in so little memory, and in how many passes.
fn folded(files: &[Bytes], bytes_max: usize) -> (BTreeMap<i64, Option<i64>>, usize) {
    let (mut slices, mut all, mut passes) = (vec![Slice::ALL], BTreeMap::new(), 0);
    while let Some(slice) = slices.pop() {
        let mut tail = tail(slice, bytes_max);
        for file in files {
            tail.take(file.clone(), Wanted::All, &Covered::default())
                .unwrap();
        }
        slices.extend(tail.take_left());
        for (id, value) in found(&tail) {
            assert!(all.insert(id, value).is_none(), "{id} is in two slices");
        }
        passes += 1;
    }
    (all, passes)
}

#[tokio::test]
async fn the_latest_counts_in_whatever_order_files_come() {
    let rows = some_rows(600, 90);
    let mut files = Vec::new();
    for part in rows.chunks(7) {
        files.push(file(part).await);
    }
    for order in 0..3 {
        match order {
            0 => files.reverse(),
            1 => files.sort_by_key(|file| file.len() * 7 % 13),
            _ => {}
        }
        let (all, passes) = folded(&files, 14 << 10);
        assert_eq!(all, latest(&rows));
        assert!(passes > 1, "it all went into so little memory");
    }
}

/// It goes on with fewer keys while some of its keys are not looked at yet, and while some of its rows
/// are not read yet.
#[tokio::test]
async fn a_row_group_that_does_not_fit_is_divided_in_its_middle() {
    for (rows, keys, text_bytes, bytes_max) in [
        (20_000, 12_000, 0, 256 << 10),
        (2_000, 1_200, 20_000, 2 << 20),
    ] {
        let rows = some_rows(rows, keys);
        let text = |row: &Row| Some(format!("{:>text_bytes$}", row.1));
        let file = file_of(&rows, text).await;
        assert_eq!(RowFile::open(file.clone()).unwrap().row_groups().len(), 1);
        let (all, passes) = folded(&[file], bytes_max);
        assert_eq!(all, latest(&rows));
        assert!(passes > 4, "{passes}");
    }
}

/// They are next to nothing in their file. The tail may not be divided, so it stays as it is when it has
/// more than it may.
#[tokio::test]
async fn few_large_rows_are_taken_in_before_it_is_seen_that_they_do_not_fit() {
    let rows: Vec<Row> = (0..1_000).map(|offset| (offset, offset, "u")).collect();
    let file = file_of(&rows, |_| Some("x".repeat(40_000))).await;
    assert!(file.len() < 1 << 20);
    for bytes_max in [1 << 20, 16 << 20] {
        let mut tail = Tail::new(&layout(), Slice::ALL, bytes_max, 1).unwrap();
        tail.take(file.clone(), Wanted::All, &Covered::default())
            .unwrap();
        assert!(tail.is_overfull());
        let held = tail.batch_bytes as u64;
        assert!(held <= bytes_max as u64 + 2 * BATCH_BYTES, "{held}");
    }
}

#[tokio::test]
async fn rows_are_put_together_to_batches_that_are_not_too_large() {
    let rows: Vec<Row> = (0..600).map(|offset| (offset, offset, "u")).collect();
    let file = file_of(&rows, |_| Some("x".repeat(40_000))).await;
    let mut tail = tail(Slice::ALL, 1 << 30);
    tail.take(file, Wanted::All, &Covered::default()).unwrap();
    tail.put_together().unwrap();
    for batch in tail.batches() {
        assert!(batch.get_array_memory_size() as u64 <= 2 * BATCH_BYTES);
    }
    assert_eq!((tail.rows, found(&tail)), (600, latest(&rows)));
}

#[tokio::test]
async fn rows_that_do_not_count_are_let_go() {
    let covered = Covered::default();
    // Every file updates all keys, and the oldest come first: the worst of orders.
    let mut tail = tail(Slice::ALL, 64 << 10);
    for round in 0..200 {
        let rows: Vec<Row> = (0..50).map(|id| (id, round * 50 + id, "u")).collect();
        tail.take(file(&rows).await, Wanted::All, &covered).unwrap();
    }
    assert_eq!(tail.take_left(), []);
    assert_eq!(
        (tail.entries().len(), tail.live_share().1, tail.changes()),
        (50, 50, 10_000)
    );
    assert!(tail.rows < 5_000, "{} rows are held", tail.rows);
    assert_eq!(found(&tail).get(&7), Some(&Some(199 * 50 + 7)));
}
