//! The first copy, and where the stream takes over.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::road::Road;

const TABLE: &str = "
    CREATE TABLE seat (id int PRIMARY KEY, holder text, changed int);
    ALTER TABLE seat REPLICA IDENTITY FULL;
    INSERT INTO seat SELECT n, 'row ' || n, 0 FROM generate_series(1, 3000) n";

/// Of one writer. What is to be copied and caught up with follows it and not how fast the machine is: a copy
/// in chunks of 40 rows is as slow as the disk, and a table that grows unbounded meanwhile is never copied.
const ROUNDS_PER_SECOND: u64 = 50;

/// Writes to a table until it is stopped: updates, deletes, inserts, changed keys, two statements a
/// transaction.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<u64>>,
}

impl Writers {
    pub(crate) async fn start(road: &Road, key: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for writer in 0..2_u64 {
            let (client, stop) = (road.owner.connect().await, Arc::clone(&stop));
            tasks.push(tokio::spawn(async move {
                let mut round = 0_u64;
                let mut pace =
                    tokio::time::interval(Duration::from_millis(1000 / ROUNDS_PER_SECOND));
                pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while !stop.load(Ordering::Relaxed) {
                    pace.tick().await;
                    round += 1;
                    // Writers never touch one another's rows: no deadlock.
                    let pick = |salt: u64| {
                        (round.wrapping_mul(2_654_435_761) + salt * 97) % 2000 * 2 + writer
                    };
                    let (a, b, new) = (pick(1), pick(2), 10_000 + round * 2 + writer);
                    let key = |number: u64| key.replace('$', &number.to_string());
                    let sql = format!(
                        "BEGIN; UPDATE seat SET changed = {round} WHERE id = {a};
                         DELETE FROM seat WHERE id = {b}; COMMIT;
                         INSERT INTO seat VALUES ({new}, 'new', {round});
                         UPDATE seat SET id = {moved} WHERE id = {new}",
                        a = key(a),
                        b = key(b),
                        new = key(new),
                        moved = key(new + 1_000_000),
                    );
                    client.batch_execute(&sql).await.unwrap();
                }
                round
            }));
        }
        Self { stop, tasks }
    }

    /// How many rounds were written.
    pub(crate) async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let mut rounds = 0;
        for task in self.tasks {
            rounds += task.await.unwrap();
        }
        rounds
    }
}

/// The landed events leave what the table holds, and each event fits what was before it.
pub(crate) async fn assert_equal(road: &Road) {
    let view = road.view("seat").await;
    let expected: serde_json::Value = serde_json::from_str(
        &road
            .owner
            .text("SELECT coalesce(json_object_agg(json_build_object('id', id)::text, row_to_json(seat)), '{}') FROM seat")
            .await,
    )
    .unwrap();
    let rows = view.rows();
    let expected = expected.as_object().unwrap();
    assert_eq!(rows.len(), expected.len());
    for (key, row) in expected {
        let key = key.replace(" : ", ":");
        assert_eq!(rows.get(&key), Some(row), "{key}");
    }
    let mut now = std::collections::BTreeMap::new();
    for event in view.landed() {
        let key = event.key.to_string();
        let (before, after) = (event.value["before"].clone(), event.value["after"].clone());
        match event.op() {
            "r" | "c" => assert_eq!(now.insert(key, after), None, "{event:?}"),
            "u" => assert_eq!(now.insert(key, after), Some(before), "{event:?}"),
            _ => assert_eq!(now.remove(&key), Some(before), "{event:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_copied_while_it_is_written_to() {
    let Some(mut road) = Road::new(TABLE, &["public.seat"]).await else {
        return;
    };
    road.settings.limits.chunk_rows_max = 50;
    let writers = Writers::start(&road, "$").await;
    let running = road.start().await;
    running
        .wait("it streams", |progress| progress.is_streaming())
        .await;
    let rounds = writers.stop().await;
    running.wait_confirmed(road.owner.wal_end().await).await;
    running.stop().await;
    assert!(rounds > 0);
    let view = road.view("seat").await;
    assert!(view.events.iter().filter(|event| event.op() == "r").count() > 1000);
    assert_equal(&road).await;
}

async fn killed_again_and_again(sql: &str, key: &'static str, limits: impl Fn(u64) -> u64) {
    let Some(mut road) = Road::new(sql, &["public.seat"]).await else {
        return;
    };
    road.settings.limits.chunk_rows_max = 40;
    let writers = Writers::start(&road, key).await;
    // Each run is ended a little later in its copy, in the middle of a chunk or between two.
    for kill in 0..6 {
        let running = road.start().await;
        let most = limits(kill);
        running
            .wait("some rows are published", |progress| {
                progress.published() > most || progress.is_streaming()
            })
            .await;
        running.kill().await;
    }
    let running = road.start().await;
    running
        .wait("it streams", |progress| progress.is_streaming())
        .await;
    writers.stop().await;
    running.wait_confirmed(road.owner.wal_end().await).await;
    running.stop().await;
    assert_equal(&road).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_killed_goes_on_behind_what_it_published() {
    killed_again_and_again(TABLE, "$", |kill| 10 + 70 * kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_texts_are_copied_in_an_order_of_both_sides() {
    // In this order "10" comes before "9", and upper case before lower.
    let sql = "
        CREATE TABLE seat (id text PRIMARY KEY, holder text, changed int);
        ALTER TABLE seat REPLICA IDENTITY FULL;
        INSERT INTO seat SELECT CASE WHEN n % 3 = 0 THEN 'K' ELSE 'k' END || n, 'ü' || n, 0 FROM generate_series(1, 3000) n";
    killed_again_and_again(sql, "'k$'", |kill| 20 + 60 * kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_added_is_copied_and_the_others_are_not_again() {
    let sql = "CREATE TABLE gate (name text PRIMARY KEY); ALTER TABLE gate REPLICA IDENTITY FULL;
        INSERT INTO gate VALUES ('A1'), ('B2')";
    let Some(mut road) = Road::new(&format!("{TABLE}; {sql}"), &["public.seat"]).await else {
        return;
    };
    road.capture_all().await;
    road.owner
        .run("UPDATE seat SET changed = 1 WHERE id < 10; INSERT INTO gate VALUES ('C3')")
        .await;
    let entity = format!("{}.gate", road.service).parse().unwrap();
    let table = capture::CapturedTable::new("public", "gate", entity);
    road.settings.tables.push(table);
    let running = road.start().await;
    running
        .wait("it streams", |progress| progress.is_streaming())
        .await;
    road.owner.run("INSERT INTO gate VALUES ('D4')").await;
    running.wait_confirmed(road.owner.wal_end().await).await;
    running.stop().await;
    assert_eq!(road.view("gate").await.rows().len(), 4);
    assert_equal(&road).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_written_anew_before_its_turn_is_copied_whole() {
    let sql = format!(
        "{TABLE}; CREATE TABLE gate (number int PRIMARY KEY, name text); ALTER TABLE gate REPLICA IDENTITY FULL;
         INSERT INTO gate SELECT n, 'G' || n FROM generate_series(1, 10) n"
    );
    let Some(mut road) = Road::new(&sql, &["public.seat", "public.gate"]).await else {
        return;
    };
    // Many: the second table's turn comes late.
    road.settings.limits.chunk_rows_max = 8;
    let running = road.start().await;
    running
        .wait("the first table is being copied", |progress| {
            progress.published() > 20
        })
        .await;
    // To snapshots of before it is empty, and nothing of it is in the log.
    road.owner
        .run("ALTER TABLE gate ALTER COLUMN number TYPE bigint")
        .await;
    assert!(running.progress.copied_rows() < 3000, "it came too late");
    running
        .wait("it streams", |progress| progress.is_streaming())
        .await;
    road.owner.run("INSERT INTO gate VALUES (11, 'G11')").await;
    running.wait_confirmed(road.owner.wal_end().await).await;
    running.stop().await;
    assert_eq!(road.view("gate").await.rows().len(), 11);
    assert_equal(&road).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_that_ends_while_its_slot_is_made_starts_again() {
    let Some(mut road) = Road::new(TABLE, &["public.seat"]).await else {
        return;
    };
    road.settings.limits.chunk_rows_max = 20;
    let slow = road.owner.connect().await;
    slow.batch_execute("BEGIN; INSERT INTO seat VALUES (9001, 'slow', 1)")
        .await
        .unwrap();
    let running = road.start().await;
    road.wait_slot("bool_and(confirmed_flush_lsn IS NULL)")
        .await;
    running.kill().await;
    let running = road.start().await;
    road.wait_sessions(5).await;
    slow.batch_execute("COMMIT").await.unwrap();
    running
        .wait("it copies", |progress| progress.published() > 20)
        .await;
    running.kill().await;
    road.capture_all().await;
    assert_equal(&road).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_is_bounded_by_its_own_rows_and_not_by_those_before() {
    let sql = "CREATE TABLE seat (id int PRIMARY KEY, holder text);
        ALTER TABLE seat REPLICA IDENTITY FULL;
        INSERT INTO seat SELECT n, repeat('x', 300) FROM generate_series(1, 9000) n;
        INSERT INTO seat SELECT n, repeat('y', 100000) FROM generate_series(9001, 9400) n";
    let Some(mut road) = Road::new(sql, &["public.seat"]).await else {
        return;
    };
    let bytes_max = road.settings.limits.chunk_bytes as u64 + (1 << 20);
    // Less than a chunk: it waits for room.
    road.settings.limits.in_flight_bytes_max = 1 << 20;
    let file = road.state_directory().join("chunk");
    let running = road.start().await;
    let largest = Cell::new(0);
    running
        .wait("it streams", |progress| {
            let bytes = std::fs::metadata(&file).map_or(0, |file| file.len());
            largest.set(bytes.max(largest.get()));
            progress.is_streaming()
        })
        .await;
    running.stop().await;
    let largest = largest.get();
    assert!(largest > 0 && largest < bytes_max, "{largest} bytes");
    assert_eq!(road.view("seat").await.rows().len(), 9400);
}
