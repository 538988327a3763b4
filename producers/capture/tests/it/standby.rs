//! A server that became a standby, or a standby behind the primary's address.

use std::time::{Duration, Instant};

use capture::ReadOutbox;

use crate::cabin::Cabin;
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
    become_standby(&server, "lakehead-capture", || running.task.is_finished()).await;
    assert!(!running.progress.is_streaming());

    server.promote();
    road.owner.reconnect().await;
    road.owner.run("INSERT INTO seat VALUES (2, 'b')").await;
    running.wait_confirmed(road.owner.wal_end().await).await;
    running.stop().await;
    assert_eq!(road.view("seat").await.rows().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_waits_for_the_primary_behind_a_standby() {
    for way in [ReadOutbox::Polling, ReadOutbox::Replication] {
        let Some(server) = Server::start() else {
            return;
        };
        let owner = Owner::create_at(&server.url).await;
        let Some(mut cabin) = Cabin::of(owner).await else {
            return;
        };
        cabin.way = way;
        let running = cabin.start().await;
        cabin.emit(1, "null").await;
        let end = cabin.end().await;
        match way {
            ReadOutbox::Polling => running.wait_polled(&end).await,
            _ => running.wait_for_log(&end).await,
        }

        server.stop();
        become_standby(&server, "lakehead-relay", || running.task.is_finished()).await;
        server.stop();
        server.become_primary();
        cabin.owner.reconnect().await;
        cabin.emit(2, "null").await;
        let end = cabin.end().await;
        match way {
            ReadOutbox::Polling => running.wait_polled(&end).await,
            _ => running.wait_for_log(&end).await,
        }
        running.stop().await;
        assert_eq!(cabin.assert_whole().await.len(), 2);
    }
}

/// Starts a server that was stopped as a standby, until an application has asked it again and again.
async fn become_standby(server: &Server, application: &str, is_finished: impl Fn() -> bool) {
    let name = format!("application_name={application}");
    let tries = || server.log().matches(&name).count();
    let before = tries();
    server.become_standby();
    let deadline = Instant::now() + PATIENCE;
    while tries() < before + 5 {
        assert!(Instant::now() < deadline && !is_finished());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
