//! Watermarks add up to exactly what was published.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use schemas::canonical::{EventSums, JsonRow, RowWriter};
use schemas::{Contract, WATERMARKS_TOPIC, Watermark};

use crate::copy::Writers;
use crate::road::{PATIENCE, Road};
use crate::view::consume;

const TABLE: &str = "
    CREATE TABLE seat (id int PRIMARY KEY, holder text, changed int);
    ALTER TABLE seat REPLICA IDENTITY FULL;
    INSERT INTO seat SELECT n, 'row ' || n, 0 FROM generate_series(1, 500) n";

const CONTRACT: &str = r#"{"type":"record","name":"Seat","fields":[{"name":"id","type":"int"},
    {"name":"holder","type":["null","string"]},{"name":"changed","type":["null","int"]}]}"#;

/// What was published of the road's table, in its order, by source.
pub(crate) async fn marks(road: &Road) -> BTreeMap<String, Vec<Watermark>> {
    let brokers = road.brokers.clone();
    let raw = tokio::task::spawn_blocking(move || consume(&brokers, WATERMARKS_TOPIC));
    let mut marks: BTreeMap<String, Vec<Watermark>> = BTreeMap::new();
    for (_, _, _, value) in raw.await.unwrap() {
        let mark = Watermark::from_json(&value).unwrap();
        if mark.entity.service() == road.service {
            marks.entry(mark.source.clone()).or_default().push(mark);
        }
    }
    marks
}

/// What landed adds up to, by source.
async fn landed(road: &Road) -> BTreeMap<String, EventSums> {
    let contract: Contract = CONTRACT.parse().unwrap();
    let (row, mut writer) = (JsonRow::new(&contract), RowWriter::default());
    let mut sums: BTreeMap<String, EventSums> = BTreeMap::new();
    for event in road.view("seat").await.landed() {
        let image = if event.op() == "d" {
            writer.clear();
            writer.null();
            writer.hash()
        } else {
            let json = event.value["after"].to_string();
            row.hash(&json, &mut writer).unwrap()
        };
        let of_source = sums.entry(event.headers["ce_source"].clone()).or_default();
        of_source.add(&event.headers["ce_id"], image);
    }
    sums
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_counts_once_over_kills() {
    let Some(mut road) = Road::new(TABLE, &["public.seat"]).await else {
        return;
    };
    road.settings.watermark_interval = Some(Duration::from_millis(100));
    road.settings.limits.confirm_interval = Duration::from_millis(200);
    road.settings.limits.chunk_rows_max = 100;
    let writers = Writers::start(&road, "$").await;
    for kill in 0..6 {
        let running = road.start().await;
        running
            .wait("it publishes", |progress| progress.published() > 60 * kill)
            .await;
        running.kill().await;
    }
    let running = road.start().await;
    running.wait_confirmed(road.owner.wal_end().await).await;
    writers.stop().await;
    running.wait_confirmed(road.owner.wal_end().await).await;
    let before_the_end = marks(&road).await;
    running.stop().await;

    let (marks, landed) = (marks(&road).await, landed(&road).await);
    assert_eq!(marks.len(), 2, "of the copy and of the changes: {marks:?}");
    for (source, marks) in &marks {
        assert!(marks.len() > before_the_end.get(source).map_or(0, Vec::len));
        assert!(marks.is_sorted_by(|a, b| a.complete_through_us < b.complete_through_us));
        assert!(marks.is_sorted_by_key(|mark| (mark.through, mark.total.sums.count)));
        let last = marks.last().unwrap();
        assert_eq!(last.total.sums, landed[source], "{last:?}");
        let ends: i64 = last.ends.iter().map(|end| end.offset).sum();
        assert_eq!(ends, road.view("seat").await.events.len() as i64);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_passes_the_start_of_a_transaction_that_is_open() {
    let Some(mut road) = Road::new(TABLE, &["public.seat"]).await else {
        return;
    };
    road.settings.watermark_interval = Some(Duration::from_millis(50));
    let running = road.start().await;
    // The copy's slot waits for the transactions that run.
    running
        .wait("it streams", |progress| progress.is_streaming())
        .await;
    let slow = road.owner.connect().await;
    slow.batch_execute("BEGIN; INSERT INTO seat VALUES (1000, 'slow', 1)")
        .await
        .unwrap();
    let began = slow
        .query_one(
            "SELECT (extract(epoch FROM xact_start) * 1000000)::bigint FROM pg_stat_activity
              WHERE pid = pg_backend_pid()",
            &[],
        )
        .await
        .unwrap();
    let began: i64 = began.get(0);
    let newest = async || {
        let marks = marks(&road).await;
        let times = marks
            .values()
            .flatten()
            .map(|mark| mark.complete_through_us);
        times.max().unwrap_or_default()
    };
    let deadline = Instant::now() + PATIENCE;
    let change = "UPDATE seat SET changed = changed + 1 WHERE id = 1";
    while newest().await < began - 1 {
        assert!(Instant::now() < deadline && !running.task.is_finished());
        road.owner.run(change).await;
    }
    // Many intervals later.
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        road.owner.run(change).await;
        assert!(
            newest().await < began,
            "a watermark has passed what is open"
        );
    }
    slow.batch_execute("COMMIT").await.unwrap();
    while newest().await <= began {
        assert!(Instant::now() < deadline && !running.task.is_finished());
    }
    running.stop().await;
}
