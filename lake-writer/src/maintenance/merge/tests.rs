//! How rows of the tail come among those of a bucket.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::maintenance::covered::Covered;
use crate::maintenance::tail::tests::{Row, file_of, layout};
use crate::maintenance::tail::{Slice, Wanted};

/// The tail of these rows, and a bucket that takes all of it in.
async fn merged(rows: &[Row], texts: &[String], base: Option<Bytes>) -> Merged {
    let text = |row: &Row| texts.get(row.1 as usize % texts.len()).cloned();
    let file = file_of(rows, text).await;
    let mut tail = Tail::new(&layout(), Slice::ALL, 1 << 30, 1).unwrap();
    tail.take(file, Wanted::All, &Covered::default()).unwrap();
    let mut changed: Vec<&Entry> = tail.entries().iter().collect();
    changed.sort_by_key(|entry| tail.key(entry));
    let base = base.map(|bytes| Base {
        bytes,
        halved: None,
    });
    merge(&tail, &changed, base, 0, Uuid::nil()).unwrap()
}

fn bytes(merged: Merged) -> Bytes {
    merged.file.unwrap().to_bytes()
}

/// A batch that is encoded whole is in one row group, however large that gets.
#[tokio::test]
async fn many_rows_before_one_of_the_bucket_are_not_encoded_at_once() {
    let mut rng = StdRng::seed_from_u64(3);
    let mut character = |_: i32| char::from(rng.random_range(b'!'..=b'~'));
    let mut text = || -> String { (0..20_000).map(&mut character).collect() };
    let texts: Vec<String> = (0..100).map(|_| text()).collect();
    let last = merged(&[(i64::MAX, 0, "u")], &texts, None).await;
    let rows: Vec<Row> = (1..=3_000).map(|n| (n, n, "u")).collect();
    let merged = merged(&rows, &texts, Some(bytes(last))).await;
    assert_eq!(merged.rows, 3_001);
    let file = RowFile::open(bytes(merged)).unwrap();
    assert!(file.row_groups().len() > 1, "{:?}", file.row_groups());
    let mut ids: Vec<i64> = Vec::new();
    for batch in file.all(layout().rows()) {
        let batch = batch.unwrap();
        let id = batch.column_by_name("id").unwrap();
        ids.extend(id.as_primitive::<Int64Type>().values());
    }
    let expected = (1..=3_000).chain([i64::MAX]);
    assert_eq!(ids, expected.collect::<Vec<i64>>());
}
