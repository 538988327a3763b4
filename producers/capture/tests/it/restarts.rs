//! Kills, at any moment, and what is there afterwards.

use std::time::Duration;

use crate::copy::{Writers, assert_equal};
use crate::road::Road;

const TABLE: &str = "
    CREATE TABLE seat (id int PRIMARY KEY, holder text, changed int);
    ALTER TABLE seat REPLICA IDENTITY FULL;
    INSERT INTO seat SELECT n, 'row ' || n, 0 FROM generate_series(1, 500) n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_killed_loses_nothing_and_lands_once() {
    let Some(mut road) = Road::new(TABLE, &["public.seat"]).await else {
        return;
    };
    // Confirmed rarely, so that much is published again.
    road.settings.limits.confirm_interval = Duration::from_millis(400);
    road.settings.limits.in_flight_rows_max = 30;
    let writers = Writers::start(&road, "$").await;
    for kill in 0..8 {
        let running = road.start().await;
        running
            .wait("it publishes", |progress| {
                progress.is_streaming() && progress.published() > 20 * kill
            })
            .await;
        running.kill().await;
    }
    writers.stop().await;
    road.capture_all().await;
    let view = road.view("seat").await;
    assert!(
        view.events.len() > view.landed().len(),
        "nothing was published twice: the kills came too late"
    );
    assert_equal(&road).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_larger_than_what_may_be_held_is_cut_nowhere() {
    let Some(mut road) = Road::new(TABLE, &["public.seat"]).await else {
        return;
    };
    road.settings.limits.in_flight_rows_max = 100;
    road.settings.limits.in_flight_bytes_max = 64 << 10;
    let running = road.start().await;
    running
        .wait("it streams", |progress| progress.is_streaming())
        .await;
    road.owner
        .run("BEGIN; INSERT INTO seat SELECT n, repeat('x', 100), 0 FROM generate_series(1001, 41000) n;
              UPDATE seat SET changed = 1 WHERE id % 2 = 0; COMMIT")
        .await;
    let end = road.owner.wal_end().await;
    // Killed in the middle of it, twice: nothing of it is confirmed before all of it is published.
    running
        .wait("a part is published", |progress| {
            progress.published() > 5_000
        })
        .await;
    assert!(running.progress.confirmed() < end);
    running.kill().await;
    let running = road.start().await;
    running
        .wait("a part is published", |progress| {
            progress.published() > 20_000
        })
        .await;
    running.kill().await;
    road.capture_all().await;
    assert_equal(&road).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_postgres_ends_is_opened_again() {
    let Some(road) = Road::new(TABLE, &["public.seat"]).await else {
        return;
    };
    let writers = Writers::start(&road, "$").await;
    let running = road.start().await;
    for _ in 0..5 {
        running
            .wait("it streams", |progress| progress.is_streaming())
            .await;
        road.owner
            .run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE application_name = 'lakehead-capture' AND datname = current_database()",
            )
            .await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    writers.stop().await;
    running.wait_confirmed(road.owner.wal_end().await).await;
    running.stop().await;
    assert_equal(&road).await;
}
