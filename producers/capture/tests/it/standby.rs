//! A server that became a standby, or a standby behind the primary's address.

use std::time::{Duration, Instant};

use crate::owner::Owner;
use crate::road::{PATIENCE, Road};
use crate::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_answers_is_waited_for() {
    let Some(server) = Server::start() else {
        return;
    };
    let owner = Owner::create_at(&server.url).await;
    let sql = "CREATE TABLE seat (id int PRIMARY KEY, holder text); ALTER TABLE seat REPLICA IDENTITY FULL";
    let Some(mut road) = Road::of(owner, sql, &["public.seat"]).await else {
        return;
    };
    let running = road.start().await;
    running
        .wait("it streams", |progress| progress.is_streaming())
        .await;
    road.owner.run("INSERT INTO seat VALUES (1, 'a')").await;
    running.wait_confirmed(road.owner.wal_end().await).await;

    server.stop();
    let tries = || {
        server
            .log()
            .matches("application_name=lakehead-capture")
            .count()
    };
    let before = tries();
    server.become_standby();
    // It is asked again and again.
    let deadline = Instant::now() + PATIENCE;
    while tries() < before + 5 {
        assert!(Instant::now() < deadline && !running.task.is_finished());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!running.progress.is_streaming());

    server.promote();
    road.owner.reconnect().await;
    road.owner.run("INSERT INTO seat VALUES (2, 'b')").await;
    running.wait_confirmed(road.owner.wal_end().await).await;
    running.stop().await;
    assert_eq!(road.view("seat").await.rows().len(), 2);
}
