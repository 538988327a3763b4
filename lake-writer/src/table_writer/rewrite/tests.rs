//! Pieces of a file that is written anew, and what becomes of them when somebody is killed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, StringArray};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use futures::TryStreamExt;
use lake_store::LakeStore;
use object_store::PutPayload;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::fault_store::{Fault, FaultStore};

const ROWS: i32 = 200_000;
const PIECE_BYTES: usize = 1 << 20;

#[derive(Debug)]
struct LaterClock(Duration);

impl Clock for LaterClock {
    fn now_us(&self) -> i64 {
        SystemClock.now_us() + i64::try_from(self.0.as_micros()).unwrap()
    }
}

/// A table's store whose puts fail from the `fail_from`-th on, and what a rewrite needs.
struct Place {
    store: Arc<dyn ObjectStore>,
    parts: TableParts,
    puts: Arc<AtomicUsize>,
    /// Most bytes held at a put.
    peak: Arc<AtomicUsize>,
    fail_from: Arc<AtomicUsize>,
    source: Add,
}

impl Place {
    async fn new(fault: Fault) -> Self {
        let lake = LakeStore::open("memory:///", &[], true).unwrap();
        let parts = crate::table_writer::tests::parts(lake);
        let held = Arc::clone(&parts.held);
        let inner = parts.lake.table_store("a/b/changes");
        let path = Path::from("_event_date=2026-01-02/part-0.parquet");
        let bytes = source_file();
        let size = i64::try_from(bytes.len()).unwrap();
        inner.put(&path, PutPayload::from(bytes)).await.unwrap();
        let (puts, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let fail_from = Arc::new(AtomicUsize::new(usize::MAX));
        let (counted, most, from) = (Arc::clone(&puts), Arc::clone(&peak), Arc::clone(&fail_from));
        let decide = move |_: &Path| {
            most.fetch_max(held.rewriting_bytes(), Ordering::Relaxed);
            let put = counted.fetch_add(1, Ordering::Relaxed);
            match put < from.load(Ordering::Relaxed) {
                true => Fault::None,
                false => fault,
            }
        };
        Self {
            store: Arc::new(FaultStore::new(inner, decide)),
            parts,
            puts,
            peak,
            fail_from,
            source: Add {
                path: path.to_string(),
                partition_values: [("_event_date".to_owned(), Some("2026-01-02".to_owned()))]
                    .into(),
                size,
                modification_time: 0,
                data_change: true,
                stats: None,
            },
        }
    }

    fn rewrite(&self) -> Rewrite<'_> {
        let columns = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Float64, true),
            Field::new("text", DataType::Utf8, true),
        ]));
        let mut rewrite = Rewrite::new(&self.parts, &self.store, columns, "{}");
        rewrite.piece_bytes_max = PIECE_BYTES;
        rewrite
    }

    fn puts(&self) -> usize {
        self.puts.load(Ordering::Relaxed)
    }

    /// The numbers in these files, in order.
    async fn numbers(&self, files: &[Add]) -> Vec<f64> {
        let mut numbers = Vec::new();
        for file in files {
            assert!(!file.data_change && file.path.starts_with("_event_date=2026-01-02/part-"));
            let path = Path::from(file.path.as_str());
            let bytes = self.store.get(&path).await.unwrap().bytes().await.unwrap();
            assert_eq!(bytes.len(), usize::try_from(file.size).unwrap());
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
            let told: serde_json::Value =
                serde_json::from_str(file.stats.as_ref().unwrap()).unwrap();
            assert_eq!(
                told["numRecords"],
                reader.metadata().file_metadata().num_rows()
            );
            for batch in reader.build().unwrap() {
                let batch = batch.unwrap();
                let column: &Float64Array = batch.column(0).as_primitive::<Float64Type>();
                numbers.extend(column.values());
            }
        }
        numbers
    }
}

/// One row group, as other programs' compaction makes them.
fn source_file() -> Vec<u8> {
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..ROWS));
    let texts = (0..ROWS).map(|n| {
        format!(
            "{:032x}",
            u128::from(n as u32).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060)
        )
    });
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    let batch = RecordBatch::try_from_iter([("n", numbers), ("text", texts)]).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(None);
    let mut writer =
        ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn all() -> Vec<f64> {
    (0..ROWS).map(f64::from).collect()
}

#[tokio::test]
async fn a_large_file_becomes_pieces_and_little_is_held() {
    let place = Place::new(Fault::None).await;
    let pieces = place.rewrite().pieces_of(&place.source).await.unwrap();
    assert!(pieces.len() >= 3, "{}", pieces.len());
    assert_eq!(place.numbers(&pieces).await, all());
    let peak = place.peak.load(Ordering::Relaxed);
    assert!((PIECE_BYTES / 4..PIECE_BYTES * 2).contains(&peak), "{peak}");
    assert_eq!(place.parts.held.rewriting_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_was_killed_goes_on_behind_the_pieces_that_are_there() {
    let place = Place::new(Fault::FailBefore).await;
    place.fail_from.store(2, Ordering::Relaxed);
    let killed = {
        let rewrite = place.rewrite();
        let work = rewrite.pieces_of(&place.source);
        tokio::time::timeout(Duration::from_secs(60), work).await
    };
    assert!(killed.is_err());
    place.fail_from.store(usize::MAX, Ordering::Relaxed);
    let before = place.puts();
    let pieces = place.rewrite().pieces_of(&place.source).await.unwrap();
    assert_eq!(place.puts() - before, pieces.len() - 2);
    assert_eq!(place.numbers(&pieces).await, all());
    // A third life, or another writer, finds all of them.
    let again = place.rewrite().pieces_of(&place.source).await.unwrap();
    assert_eq!(place.puts() - before, pieces.len() - 2);
    let paths =
        |pieces: &[Add]| -> Vec<String> { pieces.iter().map(|piece| piece.path.clone()).collect() };
    assert_eq!(paths(&again), paths(&pieces));
    assert_eq!(place.numbers(&again).await, all());
}

#[tokio::test(start_paused = true)]
async fn a_put_that_landed_though_an_error_came_is_found() {
    let place = Place::new(Fault::OkThenError).await;
    place.fail_from.store(0, Ordering::Relaxed);
    let pieces = place.rewrite().pieces_of(&place.source).await.unwrap();
    assert_eq!(place.numbers(&pieces).await, all());
    let objects: Vec<_> = place.store.list(None).try_collect().await.unwrap();
    assert_eq!(objects.len(), pieces.len() + 1);
}

#[tokio::test]
async fn two_at_once_make_the_same_pieces() {
    let place = Place::new(Fault::None).await;
    let (one, other) = (place.rewrite(), place.rewrite());
    let both = futures::future::join(one.pieces_of(&place.source), other.pieces_of(&place.source));
    let (one, other) = both.await;
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(place.numbers(&one).await, all());
    assert_eq!(place.numbers(&other).await, all());
}

#[tokio::test]
async fn what_is_old_or_not_ours_is_left_alone() {
    let mut place = Place::new(Fault::None).await;
    let first = place.rewrite().pieces_of(&place.source).await.unwrap();
    // Two days later a clean-up might be about to take what nothing refers to.
    place.parts.clock = Arc::new(LaterClock(Duration::from_secs(2 * 24 * 3_600)));
    let later = place.rewrite().pieces_of(&place.source).await.unwrap();
    assert_eq!(place.numbers(&later).await, all());
    assert!(
        later
            .iter()
            .all(|piece| first.iter().all(|old| old.path != piece.path))
    );

    let place = Place::new(Fault::None).await;
    let name = place.rewrite().name_of(&place.source, 0);
    let path = path_of(name, &place.source.partition_values);
    place
        .store
        .put(&path, PutPayload::from(source_file()))
        .await
        .unwrap();
    let pieces = place.rewrite().pieces_of(&place.source).await.unwrap();
    assert!(pieces[0].path != path.to_string());
    assert_eq!(place.numbers(&pieces).await, all());
}
