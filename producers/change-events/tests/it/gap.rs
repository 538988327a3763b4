//! Sequences become visible out of order in Postgres; none may be passed over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use change_events::{Outbox, OutboxStore, PostgresOutbox};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::time::sleep;

use crate::postgres::Database;
use crate::service::seat;

const WRITERS: u64 = 16;
const READERS: usize = 4;
const TRANSACTIONS: usize = 60;
const DEADLINE: Duration = Duration::from_secs(120);

async fn created(test: &str) -> Option<Database> {
    let database = Database::create(test).await?;
    let mut connection = database.connect().await;
    Outbox::create(&mut connection, "cabin").await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE seat (id bigint PRIMARY KEY, version bigint NOT NULL); \
         INSERT INTO seat SELECT id, 0 FROM generate_series(0, 6) AS id",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    Some(database)
}

async fn sequences(store: &mut PostgresOutbox, position: i64) -> Vec<i64> {
    let batch = store.rows_after(position, 1_000).await.unwrap();
    batch.rows.iter().map(|row| row.sequence).collect()
}

#[tokio::test]
async fn a_sequence_is_not_read_before_a_smaller_one_is_decided() {
    let test = "a_sequence_is_not_read_before_a_smaller_one_is_decided";
    let Some(database) = created(test).await else {
        return;
    };
    let (mut one, mut two) = (database.connect().await, database.connect().await);
    let mut store = PostgresOutbox::open(&database.url).await.unwrap();
    let event = || seat(1, &json!("Ann"));

    let mut first = one.begin().await.unwrap();
    assert_eq!(Outbox::append(&mut first, &event()).await.unwrap(), 1);
    assert_eq!(Outbox::append(&mut two, &event()).await.unwrap(), 2);
    assert!(sequences(&mut store, 0).await.is_empty());
    first.commit().await.unwrap();
    assert_eq!(sequences(&mut store, 0).await, [1, 2]);

    // One that is rolled back is a gap that nobody waits for; a savepoint takes its lock along.
    let mut first = one.begin().await.unwrap();
    let mut inner = first.begin().await.unwrap();
    assert_eq!(Outbox::append(&mut inner, &event()).await.unwrap(), 3);
    assert_eq!(Outbox::append(&mut two, &event()).await.unwrap(), 4);
    assert!(sequences(&mut store, 2).await.is_empty());
    inner.rollback().await.unwrap();
    assert_eq!(sequences(&mut store, 2).await, [4]);
    assert_eq!(Outbox::append(&mut first, &event()).await.unwrap(), 5);
    assert_eq!(Outbox::append(&mut two, &event()).await.unwrap(), 6);
    assert!(sequences(&mut store, 4).await.is_empty());
    first.rollback().await.unwrap();
    assert_eq!(sequences(&mut store, 4).await, [6]);

    // A transaction that is prepared holds what it drew until it is decided.
    let mut first = one.begin().await.unwrap();
    assert_eq!(Outbox::append(&mut first, &event()).await.unwrap(), 7);
    sqlx::raw_sql("PREPARE TRANSACTION 'held'")
        .execute(&mut *first)
        .await
        .unwrap();
    drop(first);
    assert_eq!(Outbox::append(&mut two, &event()).await.unwrap(), 8);
    assert!(sequences(&mut store, 6).await.is_empty());
    sqlx::raw_sql("COMMIT PREPARED 'held'")
        .execute(&mut two)
        .await
        .unwrap();
    assert_eq!(sequences(&mut store, 6).await, [7, 8]);
}

/// A writer that is descheduled between looking at the last sequence and taking its lock on it.
#[tokio::test]
async fn what_is_safe_may_fall_and_is_told_with_the_rows() {
    let test = "what_is_safe_may_fall_and_is_told_with_the_rows";
    let Some(database) = created(test).await else {
        return;
    };
    let (mut slow, mut quick) = (database.connect().await, database.connect().await);
    let mut store = PostgresOutbox::open(&database.url).await.unwrap();
    let event = || seat(1, &json!("Ann"));
    Outbox::append(&mut quick, &event()).await.unwrap();
    let mut held = slow.begin().await.unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT lakehead.outbox_drawn()")
        .fetch_one(&mut *held)
        .await
        .unwrap();
    Outbox::append(&mut quick, &event()).await.unwrap();
    Outbox::append(&mut quick, &event()).await.unwrap();
    let drawn = store.horizon().await.unwrap().unwrap().drawn;
    let before = store.rows_after(1, 10).await.unwrap();
    assert_eq!((drawn, before.safe, before.rows.len()), (3, 3, 2));
    assert_eq!(before.read_through(10), 3);
    sqlx::query("SELECT pg_advisory_xact_lock_shared(26728::bigint << 48 | $1)")
        .bind(seen)
        .execute(&mut *held)
        .await
        .unwrap();
    // Short, and nothing is said of rows 2 and 3.
    let fallen = store.rows_after(1, 10).await.unwrap();
    assert_eq!((fallen.safe, fallen.rows.len()), (1, 0));
    assert!(fallen.read_through(10) < drawn);
    held.rollback().await.unwrap();
    assert_eq!(store.rows_after(1, 10).await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_lose_nothing_and_keep_the_order_of_their_row() {
    let test = "many_writers_lose_nothing_and_keep_the_order_of_their_row";
    let Some(database) = created(test).await else {
        return;
    };
    let done = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for seed in 0..WRITERS {
        let connection = database.connect().await;
        writers.push(tokio::spawn(write(connection, seed)));
    }
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let store = PostgresOutbox::open(&database.url).await.unwrap();
        readers.push(tokio::spawn(read(store, Arc::clone(&done))));
    }
    let mut committed = BTreeSet::new();
    for writer in writers {
        committed.extend(writer.await.unwrap());
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        let read = reader.await.unwrap();
        assert!(read.is_sorted_by(|(one, _), (two, _)| one < two));
        let found: BTreeSet<i64> = read.iter().map(|(sequence, _)| *sequence).collect();
        assert_eq!(found, committed, "lost or made up");
        // Per seat the versions rise: the order of the row's own changes.
        for id in 0..7 {
            let of_seat = read.iter().filter_map(|(_, after)| {
                let after: serde_json::Value = serde_json::from_str(after).unwrap();
                (after["id"] == id).then(|| after["holder"].as_str().unwrap().parse().unwrap())
            });
            let versions: Vec<i64> = of_seat.collect();
            assert!(versions.is_sorted_by(|one, two| one < two), "{versions:?}");
        }
    }
}

/// Transactions of one to four events that change their seat first; some wait, some roll back, some
/// to a savepoint. Answers what was committed.
async fn write(mut connection: PgConnection, seed: u64) -> Vec<i64> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut committed = Vec::new();
    for _ in 0..TRANSACTIONS {
        let mut drawn = Vec::new();
        let mut transaction = connection.begin().await.unwrap();
        // Seats in rising order, so that no two writers wait for each other.
        let mut id = 0;
        for _ in 0..random.random_range(1..=4) {
            id = random.random_range(id..7);
            let mut inner = transaction.begin().await.unwrap();
            let sql = "UPDATE seat SET version = version + 1 WHERE id = $1 RETURNING version";
            let version: i64 = sqlx::query_scalar(sql)
                .bind(id)
                .fetch_one(&mut *inner)
                .await
                .unwrap();
            if random.random_bool(0.3) {
                sleep(Duration::from_millis(random.random_range(0..5))).await;
            }
            let event = seat(id, &json!(version.to_string()));
            let sequence = Outbox::append(&mut inner, &event).await.unwrap();
            if random.random_bool(0.1) {
                inner.rollback().await.unwrap();
            } else {
                inner.commit().await.unwrap();
                drawn.push(sequence);
            }
        }
        if random.random_bool(0.3) {
            sleep(Duration::from_millis(random.random_range(0..10))).await;
        }
        if random.random_bool(0.2) {
            transaction.rollback().await.unwrap();
        } else {
            transaction.commit().await.unwrap();
            committed.extend(drawn);
        }
    }
    committed
}

/// Reads on until the writers are done and nothing is left.
async fn read(mut store: PostgresOutbox, done: Arc<AtomicBool>) -> Vec<(i64, String)> {
    let started = Instant::now();
    let mut read = Vec::new();
    loop {
        assert!(started.elapsed() < DEADLINE, "the readers do not end");
        let was_done = done.load(Ordering::Acquire);
        let position = read.last().map_or(0, |(sequence, _)| *sequence);
        let rows = store.rows_after(position, 50).await.unwrap().rows;
        if rows.is_empty() && was_done {
            return read;
        }
        read.extend(
            rows.into_iter()
                .map(|row| (row.sequence, row.after.unwrap())),
        );
    }
}
