//! Connections that break without a word: nothing comes any more, and nobody says why.

use std::time::{Duration, Instant};

use crate::proxy::Proxy;
use crate::road::{PATIENCE, Road, Running};

const TABLE: &str =
    "CREATE TABLE seat (id int PRIMARY KEY, holder text); ALTER TABLE seat REPLICA IDENTITY FULL";

/// A capture whose connections have fallen silent within a row. The server misses its stream soon.
async fn silent() -> Option<(Road, Proxy, Running)> {
    let mut road = Road::new(TABLE, &["public.seat"]).await?;
    road.settings.limits.shutdown_time_max = Duration::from_secs(1);
    road.owner
        .run(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET wal_sender_timeout = ''2s''', \
             current_database()); END $$",
        )
        .await;
    let (user, place) = road.owner.url.rsplit_once('@').unwrap();
    let (server, database) = place.split_once('/').unwrap();
    let proxy = Proxy::start(server.to_owned()).await;
    let url = format!("{user}@{}/{database}", proxy.address);
    road.settings.server = url.parse().unwrap();
    let running = road.start().await;
    running
        .wait("it streams", |progress| progress.is_streaming())
        .await;
    proxy.fall_silent_after(250_000);
    road.owner
        .run("INSERT INTO seat SELECT n, repeat('x', 65536) FROM generate_series(1, 20) n")
        .await;
    tokio::time::timeout(PATIENCE, proxy.wait_silent())
        .await
        .unwrap();
    Some((road, proxy, running))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_goes_on_when_its_connections_broke_without_a_word() {
    let Some((road, _proxy, running)) = silent().await else {
        return;
    };
    road.owner.run("INSERT INTO seat VALUES (21, 'a')").await;
    running.wait_confirmed(road.owner.wal_end().await).await;
    running.stop().await;
    let view = road.view("seat").await;
    assert_eq!((view.landed().len(), view.rows().len()), (21, 21));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_ends_in_time_when_its_connections_broke_without_a_word() {
    let Some((_road, _proxy, running)) = silent().await else {
        return;
    };
    let told = Instant::now();
    tokio::time::timeout(PATIENCE, running.stop())
        .await
        .unwrap();
    assert!(
        told.elapsed() < Duration::from_secs(10),
        "{:?}",
        told.elapsed()
    );
}
