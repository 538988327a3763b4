//! From polling to replication and back, and slots that are gone.

use std::time::{Duration, Instant};

use capture::{Lsn, ReadOutbox};

use crate::cabin::{Cabin, Writers, emit};
use crate::road::PATIENCE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_is_changed_under_load_and_nothing_is_lost_or_lands_twice() {
    let Some(mut cabin) = Cabin::new().await else {
        return;
    };
    cabin.limits.batch_rows_max = 200;
    let writers = Writers::start(&cabin).await;
    let ways = [
        ReadOutbox::Polling,
        ReadOutbox::Replication,
        ReadOutbox::Polling,
        ReadOutbox::Replication,
    ];
    for way in ways {
        cabin.way = way;
        // Killed on the way there, and once more when it is there.
        for _ in 0..3 {
            let running = cabin.start().await;
            running
                .wait("it publishes", |relay| relay.progress.published() > 15)
                .await;
            running.kill().await;
        }
        let running = cabin.start().await;
        running
            .wait("it reads the way it is told to", |relay| {
                let is_log = relay.log.confirmed() > Lsn::default();
                let is_polled = relay.log.is_polled();
                let is_there = if way == ReadOutbox::Polling {
                    is_polled
                } else {
                    is_log
                };
                is_there && relay.progress.published() > 100
            })
            .await;
        let end = cabin.end().await;
        match way {
            ReadOutbox::Polling => running.wait_polled(&end).await,
            _ => running.wait_for_log(&end).await,
        }
        running.kill().await;
    }
    writers.stop().await;
    cabin.relay_all().await;
    let landed = cabin.assert_whole().await;
    let mut sources: Vec<_> = landed
        .iter()
        .map(|event| event.headers["ce_source"].clone())
        .collect();
    sources.sort_unstable();
    sources.dedup();
    assert_eq!(sources.len(), 3, "{sources:?}");
    cabin.close().await;
}

/// What is polled then are rows that are published, and the end is behind the last of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_in_which_nothing_is_left_to_publish_is_handed_back_to_its_end() {
    let Some(mut cabin) = Cabin::new().await else {
        return;
    };
    let open = cabin.owner.connect().await;
    for (seats, stays_open) in [([1, 2], false), ([3, 4], true)] {
        cabin.way = ReadOutbox::Replication;
        let running = cabin.start().await;
        running.wait_for_log(&cabin.end().await).await;
        open.batch_execute("BEGIN").await.unwrap();
        emit(&open, seats[0], "null").await;
        cabin.emit(seats[1], "null").await;
        if !stays_open {
            open.batch_execute("COMMIT").await.unwrap();
        }
        running.wait_for_log(&cabin.end().await).await;
        running.stop().await;
        cabin.way = ReadOutbox::Polling;
        let running = cabin.start().await;
        let end = cabin.end().await;
        if stays_open {
            running
                .wait("it is polled", |relay| relay.log.is_polled())
                .await;
            open.batch_execute("COMMIT").await.unwrap();
        }
        running.wait_polled(&end).await;
        running.stop().await;
    }
    assert_eq!(cabin.assert_whole().await.len(), 4);
    cabin.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_that_was_polled_stays_so_until_it_is_told_otherwise() {
    let Some(mut cabin) = Cabin::new().await else {
        return;
    };
    cabin.way = ReadOutbox::Polling;
    cabin.emit(1, "null").await;
    let running = cabin.start().await;
    running.wait_polled(&cabin.end().await).await;
    running.stop().await;
    cabin.way = ReadOutbox::Auto;
    cabin.emit(2, "null").await;
    let running = cabin.start().await;
    running.wait_polled(&cabin.end().await).await;
    running.stop().await;
    assert_eq!(cabin.log("slot").await, "");
    cabin.way = ReadOutbox::Replication;
    cabin.emit(3, "null").await;
    cabin.relay_all().await;
    // And once it is read by replication, it stays that.
    cabin.way = ReadOutbox::Auto;
    cabin.emit(4, "null").await;
    cabin.relay_all().await;
    let landed = cabin.assert_whole().await;
    let logged = landed
        .iter()
        .filter(|event| event.headers["ce_source"].ends_with("/log1"));
    assert_eq!((landed.len(), logged.count()), (4, 1));
    cabin.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_waits_for_old_transactions_while_the_relay_polls() {
    let Some(cabin) = Cabin::new().await else {
        return;
    };
    let open = cabin.owner.connect().await;
    open.batch_execute("BEGIN").await.unwrap();
    open.batch_execute("CREATE TABLE slow (id int)")
        .await
        .unwrap();
    cabin.emit(1, "null").await;
    let running = cabin.start().await;
    running.wait_polled(&cabin.end().await).await;
    cabin.emit(2, "null").await;
    running.wait_polled(&cabin.end().await).await;
    emit(&open, 3, "null").await;
    open.batch_execute("COMMIT").await.unwrap();
    running.wait_for_log(&cabin.end().await).await;
    running.stop().await;
    cabin.assert_whole().await;
    cabin.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_slot_the_outbox_is_polled_behind_what_was_published() {
    let Some(cabin) = Cabin::new().await else {
        return;
    };
    cabin.relay_all().await;
    let running = cabin.start().await;
    running.wait_for_log(&cabin.end().await).await;
    let open = cabin.owner.connect().await;
    open.batch_execute("BEGIN").await.unwrap();
    emit(&open, 1, "null").await;
    for seat in 2..20 {
        cabin.emit(seat, "null").await;
    }
    running.wait_for_log(&cabin.end().await).await;
    running.stop().await;
    cabin.wait_idle_slot().await;
    let drop = "SELECT pg_drop_replication_slot(slot) FROM lakehead.outbox_log";
    cabin.owner.run(drop).await;
    for seat in 20..30 {
        cabin.emit(seat, "null").await;
    }
    open.batch_execute("COMMIT").await.unwrap();
    cabin.relay_all().await;
    assert_eq!(cabin.log("epoch").await, "2");
    assert_eq!(cabin.assert_whole().await.len(), 29);

    // One that was moved by somebody else has lost what is in between.
    cabin.wait_idle_slot().await;
    cabin.emit(30, "null").await;
    let advance =
        "SELECT pg_replication_slot_advance(slot, pg_current_wal_lsn()) FROM lakehead.outbox_log";
    cabin.owner.run(advance).await;
    cabin.relay_all().await;
    assert_eq!(cabin.log("epoch").await, "3");
    assert_eq!(cabin.assert_whole().await.len(), 30);
    cabin.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_was_killed_and_has_lost_its_slot_asks_first() {
    let Some(cabin) = Cabin::new().await else {
        return;
    };
    let running = cabin.start().await;
    running.wait_for_log(&cabin.end().await).await;
    cabin.emit(1, "null").await;
    running.wait_for_log(&cabin.end().await).await;
    running.kill().await;
    cabin.wait_idle_slot().await;
    let drop = "SELECT pg_drop_replication_slot(slot) FROM lakehead.outbox_log";
    cabin.owner.run(drop).await;
    cabin.emit(2, "null").await;
    let error = cabin.start().await.refused().await;
    assert!(error.contains("the slot is gone"), "{error}");
    let (_, command) = error.split_once("is right): ").unwrap();
    let (command, _) = command.split_once(';').unwrap();
    cabin.owner.run(command).await;
    cabin.relay_all().await;
    assert_eq!(cabin.assert_whole().await.len(), 2);
    cabin.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_the_publication_left_out_are_missed() {
    let Some(cabin) = Cabin::new().await else {
        return;
    };
    cabin.relay_all().await;
    cabin
        .owner
        .run("ALTER PUBLICATION lakehead_outbox DROP TABLE lakehead.outbox")
        .await;
    cabin.emit(1, "null").await;
    cabin
        .owner
        .run("ALTER PUBLICATION lakehead_outbox ADD TABLE lakehead.outbox")
        .await;
    cabin.emit(2, "null").await;
    let error = cabin.start().await.refused().await;
    assert!(error.contains("publication lakehead_outbox"), "{error}");
    cabin.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_relay_waits_and_takes_over() {
    let Some(cabin) = Cabin::new().await else {
        return;
    };
    let first = cabin.start().await;
    first.wait_for_log(&cabin.end().await).await;
    let second = cabin.start().await;
    cabin.emit(1, "null").await;
    first.wait_for_log(&cabin.end().await).await;
    assert_eq!(second.log.confirmed(), Lsn::default());
    first.kill().await;
    cabin.emit(2, "null").await;
    second.wait_for_log(&cabin.end().await).await;
    second.stop().await;
    cabin.assert_whole().await;
    cabin.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_it_is_not_allowed_a_new_outbox_is_polled_and_one_is_told_why() {
    let Some(mut cabin) = Cabin::new().await else {
        return;
    };
    cabin.owner.run("DROP PUBLICATION lakehead_outbox").await;
    let error = cabin.start().await.refused().await;
    assert!(error.contains("no publication lakehead_outbox"), "{error}");
    cabin.way = ReadOutbox::Auto;
    cabin.emit(1, "null").await;
    let running = cabin.start().await;
    let deadline = Instant::now() + PATIENCE;
    running.wait_polled(&cabin.end().await).await;
    assert!(Instant::now() + Duration::from_secs(1) < deadline);
    running.stop().await;
    cabin.assert_whole().await;
}
