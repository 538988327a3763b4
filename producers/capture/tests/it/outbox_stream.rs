//! An outbox that is read by replication.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use capture::{Lsn, ReadOutbox};
use change_events::{LakeProgress, OutboxStore, PostgresOutbox};
use schemas::TopicPartition;

use crate::cabin::{Cabin, Writers, emit};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_outbox_is_read_by_replication_in_the_order_of_commits() {
    let Some(mut cabin) = Cabin::new().await else {
        return;
    };
    cabin.way = ReadOutbox::Auto;
    let running = cabin.start().await;
    running.wait_for_log(&cabin.end().await).await;
    // The first one draws its sequence first and is committed last.
    let open = cabin.owner.connect().await;
    open.batch_execute("BEGIN").await.unwrap();
    emit(&open, 1, "\"open\"").await;
    let lost = cabin.owner.connect().await;
    lost.batch_execute("BEGIN").await.unwrap();
    emit(&lost, 2, "\"lost\"").await;
    for seat in 3..40 {
        cabin.emit(seat, "null").await;
    }
    lost.batch_execute("ROLLBACK").await.unwrap();
    // Nobody waits for the transaction that is open.
    running.wait_for_log(&cabin.end().await).await;
    assert_eq!(running.progress.published(), 37);
    open.batch_execute("COMMIT").await.unwrap();
    running.wait_for_log(&cabin.end().await).await;
    running.stop().await;

    let landed = cabin.assert_whole().await;
    let source = cabin
        .owner
        .text("SELECT source FROM lakehead.outbox_source")
        .await;
    let sources = landed.iter().map(|event| &event.headers["ce_source"]);
    assert!(
        sources
            .into_iter()
            .all(|of| *of == format!("{source}/log1"))
    );
    let mut places: Vec<i64> = landed.iter().map(|event| event.sequence.major).collect();
    places.sort_unstable();
    assert_eq!(places, (1..=38).collect::<Vec<_>>());
    let late = landed.iter().find(|event| event.key["id"] == 1).unwrap();
    assert_eq!(late.sequence.major, 38);
    assert_eq!(cabin.log("is_clean").await, "t");

    // A relay that only polls is told, as it would publish all of it again.
    let mut polled = PostgresOutbox::open(&cabin.owner.url).await.unwrap();
    let error = polled.claim().await.unwrap_err().to_string();
    assert!(error.contains("read by replication"), "{error}");
    cabin.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_killed_at_any_moment_loses_nothing_and_lands_once() {
    let Some(mut cabin) = Cabin::new().await else {
        return;
    };
    cabin.limits.in_flight_rows_max = 300;
    cabin.limits.batch_rows_max = 200;
    let writers = Writers::start(&cabin).await;
    let mut published = 0;
    for kill in 0..8 {
        let running = cabin.start().await;
        running
            .wait("it publishes", |relay| {
                relay.log.confirmed() > Lsn::default() && relay.progress.published() > 30 * kill
            })
            .await;
        published += running.progress.published();
        match kill % 4 {
            3 => running.stop().await,
            2 => {
                // The sessions of the relay end, and it goes on by itself.
                let before = running.progress.published();
                cabin
                    .owner
                    .run(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                         WHERE application_name = 'lakehead-relay' AND datname = current_database()",
                    )
                    .await;
                running
                    .wait("it goes on", |relay| {
                        relay.progress.published() > before + 100
                    })
                    .await;
                running.kill().await;
            }
            _ => running.kill().await,
        }
    }
    writers.stop().await;
    cabin.relay_all().await;
    let landed = cabin.assert_whole().await;
    assert!(published > 0 && landed.len() > 300, "{}", landed.len());
    cabin.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_larger_than_what_may_be_held_is_cut_nowhere() {
    let Some(mut cabin) = Cabin::new().await else {
        return;
    };
    cabin.limits.in_flight_rows_max = 500;
    cabin.limits.batch_rows_max = 100;
    cabin.relay_all().await;
    cabin.emit_many(20_000, 100).await;
    for part in 1..=2 {
        let running = cabin.start().await;
        running
            .wait("a part is published", |relay| {
                relay.progress.published() > 5_000
            })
            .await;
        running.kill().await;
        // Acknowledged in part, and the LSN before it.
        let confirmed = cabin
            .number("SELECT confirmed FROM lakehead.outbox_log")
            .await;
        assert!(confirmed > 1_000 * part, "{confirmed}");
        assert!(cabin.log("lsn_place").await.parse::<i64>().unwrap() < 10);
    }
    cabin.relay_all().await;
    assert_eq!(cabin.assert_whole().await.len(), 20_000);
    cabin.close().await;
}

/// The other sessions of the relay go on: only the stream tells that it has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_ends_inside_a_transaction_is_read_again() {
    let Some(mut cabin) = Cabin::new().await else {
        return;
    };
    cabin.limits.in_flight_rows_max = 500;
    cabin.limits.batch_rows_max = 100;
    cabin.relay_all().await;
    // More than the sockets between Postgres and the relay hold.
    cabin.emit_many(20_000, 2_000).await;
    let running = cabin.start().await;
    running
        .wait("a part is published", |relay| {
            relay.progress.published() > 2_000
        })
        .await;
    let ended = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots \
        JOIN lakehead.outbox_log ON slot = slot_name";
    assert_eq!(cabin.owner.text(ended).await, "t");
    running.wait_for_log(&cabin.end().await).await;
    running.stop().await;
    assert_eq!(cabin.assert_whole().await.len(), 20_000);
    cabin.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_does_not_fit_parks_its_key_and_is_tried_again() {
    let Some(cabin) = Cabin::new().await else {
        return;
    };
    cabin.relay_all().await;
    let running = cabin.start().await;
    for (seat, holder) in [(1, "\"a\""), (1, "2"), (2, "\"b\""), (1, "\"c\"")] {
        cabin.emit(seat, holder).await;
    }
    running.wait_for_log(&cabin.end().await).await;
    assert_eq!(running.progress.parked_rows(), 2);
    let parked = "SELECT string_agg(sequence::text, ',') FROM lakehead.outbox_parked";
    assert_eq!(cabin.owner.text(parked).await, "2,4");
    running.kill().await;
    let running = cabin.start().await;
    cabin
        .owner
        .run(
            "UPDATE lakehead.outbox SET payload = '{\"id\": 1, \"holder\": \"b\"}' WHERE sequence = 2; \
             UPDATE lakehead.outbox_parked SET retry = true",
        )
        .await;
    running
        .wait("nothing is parked", |relay| {
            relay.progress.published() >= 2 && relay.progress.parked_rows() == 0
        })
        .await;
    cabin.emit(1, "\"d\"").await;
    running.wait_for_log(&cabin.end().await).await;
    running.stop().await;
    let landed = cabin.assert_whole().await;
    let of_key = landed.iter().filter(|event| event.key["id"] == 1);
    let holders: Vec<_> = of_key
        .map(|event| event.value["after"]["holder"].to_string())
        .collect();
    let expected = ["a", "b", "c", "d"];
    assert!(
        expected
            .iter()
            .zip(&holders)
            .all(|(one, found)| found.contains(one))
            && holders.len() == 4,
        "{holders:?}"
    );
    cabin.close().await;
}

/// A lake that has everything.
#[derive(Debug)]
struct Whole;

#[async_trait]
impl LakeProgress for Whole {
    async fn committed(
        &self,
        topics: &[String],
    ) -> Result<BTreeMap<TopicPartition, i64>, Box<dyn Error + Send + Sync>> {
        let places = topics.iter().flat_map(|topic| {
            (0..3).map(|partition| (TopicPartition::new(topic.as_str(), partition), i64::MAX - 1))
        });
        Ok(places.collect())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outbox_is_pruned_up_to_what_is_decided() {
    let Some(mut cabin) = Cabin::new().await else {
        return;
    };
    cabin.lake = Some(Arc::new(Whole));
    cabin.limits.prune_interval = Duration::from_millis(50);
    let running = cabin.start().await;
    running.wait_for_log(&cabin.end().await).await;
    for seat in 0..5 {
        cabin.emit(seat, "null").await;
    }
    let open = cabin.owner.connect().await;
    open.batch_execute("BEGIN").await.unwrap();
    emit(&open, 9, "null").await;
    for seat in 0..5 {
        cabin.emit(seat, "null").await;
    }
    running
        .wait("what came before is pruned", |relay| {
            relay.progress.pruned() >= 5
        })
        .await;
    running.wait_for_log(&cabin.end().await).await;
    let left = "SELECT string_agg(sequence::text, ',' ORDER BY sequence) FROM lakehead.outbox";
    assert_eq!(cabin.owner.text(left).await, "7,8,9,10,11");
    open.batch_execute("COMMIT").await.unwrap();
    running
        .wait("all of it is pruned", |relay| relay.progress.pruned() == 11)
        .await;
    assert_eq!(
        cabin
            .number("SELECT count(*) FROM lakehead.outbox_ahead")
            .await,
        0
    );
    running.stop().await;
    assert_eq!(cabin.landed().await.len(), 11);
    cabin.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_follows_a_log_in_which_nothing_of_the_outbox_happens() {
    let Some(cabin) = Cabin::new().await else {
        return;
    };
    let running = cabin.start().await;
    running.wait_for_log(&cabin.end().await).await;
    let before = cabin.end().await;
    let sql = "CREATE TABLE IF NOT EXISTS other (t text); INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 5000)";
    cabin.owner.run(sql).await;
    running.wait_for_log(&cabin.end().await).await;
    let slot = cabin.log("slot").await;
    let behind = format!(
        "SELECT confirmed_flush_lsn < '{}'::pg_lsn + 1000000 FROM pg_replication_slots WHERE slot_name = '{slot}'",
        before.1
    );
    let deadline = std::time::Instant::now() + crate::road::PATIENCE;
    while cabin.owner.text(&behind).await == "t" {
        assert!(
            std::time::Instant::now() < deadline,
            "the slot stands still"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.stop().await;
    cabin.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watermark_does_not_pass_a_transaction_that_is_open() {
    let Some(mut cabin) = Cabin::new().await else {
        return;
    };
    cabin.limits.watermark_interval = Some(Duration::from_millis(50));
    let running = cabin.start().await;
    running.wait_for_log(&cabin.end().await).await;
    let open = cabin.owner.connect().await;
    open.batch_execute("BEGIN").await.unwrap();
    emit(&open, 1, "null").await;
    let begun = "SELECT (extract(epoch FROM min(xact_start)) * 1000000)::bigint FROM pg_stat_activity \
        WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()";
    let begun = cabin.number(begun).await;
    let complete = "SELECT coalesce(max(complete_through_us), 0) FROM lakehead.outbox_counted";
    for seat in 2..30 {
        cabin.emit(seat, "null").await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(cabin.number(complete).await <= begun);
    }
    open.batch_execute("COMMIT").await.unwrap();
    let deadline = std::time::Instant::now() + crate::road::PATIENCE;
    while cabin.number(complete).await <= begun {
        assert!(std::time::Instant::now() < deadline, "no watermark comes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.stop().await;
    assert_eq!(
        cabin
            .number("SELECT events FROM lakehead.outbox_counted")
            .await,
        29
    );
    cabin.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_say_which_transaction_wrote_them_and_the_last_one_its_counts() {
    let Some(cabin) = Cabin::new().await else {
        return;
    };
    cabin.relay_all().await;
    cabin.wait_idle_slot().await;
    let other = cabin.owner.connect().await;
    other.batch_execute("BEGIN").await.unwrap();
    emit(&other, 1, "null").await;
    cabin.emit(2, "null").await;
    emit(&other, 3, "null").await;
    other.batch_execute("COMMIT").await.unwrap();
    let mut store = cabin.store().await;
    assert!(store.claim().await.unwrap());
    let after = store.position().await.unwrap().confirmed;
    let deadline = std::time::Instant::now() + crate::road::PATIENCE;
    let rows = loop {
        let rows = store.rows_after(after, 10).await.unwrap().rows;
        if rows.len() == 3 {
            break rows;
        }
        assert!(std::time::Instant::now() < deadline, "{rows:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let told = rows.iter().map(|row| {
        let place = row.transaction.as_ref().unwrap();
        let ended = place.ended.as_ref().map(|counts| counts["cabin.seat"]);
        (row.sequence, row.place - after, place.total_order, ended)
    });
    let told: Vec<_> = told.collect();
    assert_eq!(
        told,
        [(2, 1, 1, Some(1)), (1, 2, 1, None), (3, 3, 2, Some(2))]
    );
    let row = store.row(after + 2).await.unwrap().unwrap();
    assert_eq!((row.sequence, row.place), (1, after + 2));
    store.close().await.unwrap();
    cabin.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_larger_than_what_may_be_held_is_parked() {
    let Some(cabin) = Cabin::new().await else {
        return;
    };
    let large = |seat: u32| {
        format!(
            "SELECT lakehead.emit('cabin.seat', 'c', key => json_build_object('id', {seat}), \
             after => json_build_object('id', {seat}, 'holder', repeat('x', 9 << 20)));"
        )
    };
    cabin.owner.run(&large(1)).await;
    // The first of a transaction that goes on.
    let small = large(3).replace("9 << 20", "1");
    cabin.owner.run(&format!("{} {small}", large(2))).await;
    cabin.relay_all().await;
    // Those before were polled; these are read from the slot.
    cabin.owner.run(&large(4)).await;
    let small = large(6).replace("9 << 20", "1");
    cabin.owner.run(&format!("{} {small}", large(5))).await;
    cabin.relay_all().await;
    let parked =
        "SELECT string_agg(sequence::text, ',' ORDER BY sequence) FROM lakehead.outbox_parked";
    assert_eq!(cabin.owner.text(parked).await, "1,2,4,5");
    assert_eq!(cabin.landed().await.len(), 2);
    cabin.close().await;
}
