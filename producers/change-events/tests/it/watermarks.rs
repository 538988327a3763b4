//! What watermarks say is so: everything they speak of is in Kafka, and adds up.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use change_events::{CountedEvents, Counting, Outbox, Position, Record, RelayLimits};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use schemas::canonical::{EventSums, JsonRow, RowWriter};
use schemas::{WATERMARKS_TOPIC, Watermark};
use serde_json::json;
use sqlx::Connection;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::falling_store::FallingStore;
use crate::faulty_broker::FaultyBroker;
use crate::relay::{fault, in_virtual_time, relay_all_with, services, small_limits};
use crate::service::{CONTRACT, Kind, Service, connect, relay, seat};

const DEADLINE: Duration = Duration::from_secs(60);

fn limits() -> RelayLimits {
    RelayLimits {
        watermark_interval: Some(Duration::from_millis(20)),
        ..small_limits()
    }
}

fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap()
}

/// The watermarks that were published, in the order of their partition.
fn marks(broker: &FaultyBroker) -> Vec<Watermark> {
    let logs = broker.logs();
    let records = logs.values().flatten();
    let marks = records.filter(|record| *record.topic == *WATERMARKS_TOPIC);
    marks
        .map(|record| Watermark::from_json(&record.value).unwrap())
        .collect()
}

/// What the events of a service with sequences of a range add up to, from its outbox.
async fn sums(service: &Service, after: i64, through: i64) -> EventSums {
    let (mut sums, mut writer) = (EventSums::default(), RowWriter::default());
    let row = JsonRow::new(&CONTRACT.parse().unwrap());
    let mut store = service.store().await;
    for event in store.rows_after(after, 1_000).await.unwrap().rows {
        if event.sequence <= through {
            let image = row.hash(&event.after.unwrap(), &mut writer).unwrap();
            sums.add(&event.event_id, image);
        }
    }
    sums
}

/// Whether every event up to the watermark's sequence is below its ends.
fn is_whole(broker: &FaultyBroker, mark: &Watermark) -> bool {
    let logs = broker.logs();
    let is_below = |sequence: i64| {
        mark.ends.iter().any(|end| {
            let log = logs.get(&end.partition).map_or(&[][..], Vec::as_slice);
            let log = &log[..usize::try_from(end.offset).unwrap()];
            let is_it = |record: &Record| {
                *record.topic == *"cabin.seat" && record.sequence == sequence.into()
            };
            log.iter().any(is_it)
        })
    };
    (1..=mark.through).all(is_below)
}

async fn wait_for(broker: &FaultyBroker, what: &str, holds: impl Fn(&[Watermark]) -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds(&marks(broker)) {
        assert!(Instant::now() < deadline, "{what}: {:?}", marks(broker));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs a relay while `work` does its own.
async fn while_relaying(service: &Service, broker: &Arc<FaultyBroker>, work: impl Future) {
    let relay = service.relay(Arc::clone(broker) as _, "cabin.seat").await;
    let cancel = CancellationToken::new();
    let relaying = relay.unwrap().with_limits(limits()).run(cancel.clone());
    let work = async {
        work.await;
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(relaying, work);
    ended.unwrap();
}

#[tokio::test]
async fn they_count_every_event_once_over_restarts() {
    for mut service in services("they_count_every_event_once_over_restarts").await {
        let broker = Arc::new(FaultyBroker::new([]));
        service.change(30, 7).await;
        let begun = now_us();
        let all = |marks: &[Watermark]| marks.last().is_some_and(|mark| mark.through == 30);
        let waiting = wait_for(&broker, "30 events", all);
        while_relaying(&service, &broker, waiting).await;
        service.change(5, 7).await;
        let more = |marks: &[Watermark]| marks.iter().any(|mark| mark.through == 35);
        let waiting = wait_for(&broker, "35 events", more);
        while_relaying(&service, &broker, waiting).await;
        let all = marks(&broker);
        for mark in &all {
            assert_eq!(mark.source, service.source);
            assert!((begun..=now_us()).contains(&mark.complete_through_us));
            assert!(is_whole(&broker, mark));
            let (total, interval) = (mark.total, mark.interval);
            assert_eq!(total.after, 0);
            assert_eq!(total.sums, sums(&service, 0, mark.through).await);
            let events = sums(&service, interval.after, mark.through).await;
            assert_eq!(interval.sums, events);
        }
        assert!(all.is_sorted_by(|a, b| a.complete_through_us < b.complete_through_us));
        // The owner goes on: nothing is written, and time is complete nevertheless.
        let last = all.last().unwrap().complete_through_us;
        let later = move |marks: &[Watermark]| marks.last().unwrap().complete_through_us > last;
        let waiting = wait_for(&broker, "time goes on", later);
        while_relaying(&service, &broker, waiting).await;
    }
}

/// Waits while a transaction that was open and had written at `start` stays open, for many
/// intervals; no watermark passes that time.
async fn hold(broker: &FaultyBroker, start: i64) {
    let until = start + 300_000;
    wait_for(broker, "it was open for long", |_| now_us() > until).await;
    let marks = marks(broker);
    let passed = |mark: &&Watermark| mark.complete_through_us > start || mark.through > 3;
    assert_eq!(marks.iter().find(passed), None, "{start}");
}

async fn wait_for_passing(broker: &FaultyBroker, start: i64, through: i64) {
    let passed = move |marks: &[Watermark]| {
        let last = marks.last().unwrap();
        last.complete_through_us > start && last.through == through
    };
    wait_for(broker, "after the commit", passed).await;
}

#[tokio::test]
async fn none_passes_the_start_of_a_transaction_that_is_open_and_has_written() {
    let test = "none_passes_the_start_of_a_transaction_that_is_open_and_has_written";
    let some = |marks: &[Watermark]| !marks.is_empty();
    for mut service in services(test).await {
        let broker = Arc::new(FaultyBroker::new([]));
        service.change(3, 3).await;
        let (slow_event, quick_event) = (seat(9, &json!("slow")), seat(8, &json!("quick")));
        match &service.database {
            Kind::Sqlite { path, .. } => {
                let mut slow = connect(path).await;
                let work = async {
                    wait_for(&broker, "the first", some).await;
                    let mut open = slow.begin_with("BEGIN IMMEDIATE").await.unwrap();
                    let start = now_us();
                    hold(&broker, start).await;
                    Outbox::append(&mut open, &slow_event).await.unwrap();
                    open.commit().await.unwrap();
                    wait_for_passing(&broker, start, 4).await;
                };
                while_relaying(&service, &broker, work).await;
            }
            Kind::Postgres { database, .. } => {
                let (mut slow, mut quick) = (database.connect().await, database.connect().await);
                let work = async {
                    wait_for(&broker, "the first", some).await;
                    let mut open = slow.begin().await.unwrap();
                    Outbox::append(&mut open, &slow_event).await.unwrap();
                    let start = now_us();
                    // Others commit after it, and wait behind it.
                    Outbox::append(&mut quick, &quick_event).await.unwrap();
                    hold(&broker, start).await;
                    open.commit().await.unwrap();
                    wait_for_passing(&broker, start, 5).await;
                };
                while_relaying(&service, &broker, work).await;
            }
        }
    }
}

#[tokio::test]
async fn an_entity_with_parked_rows_has_none_until_they_are_published() {
    for mut service in
        services("an_entity_with_parked_rows_has_none_until_they_are_published").await
    {
        let broker = Arc::new(FaultyBroker::new([]));
        service.append(&seat(1, &json!(7))).await;
        service.append(&seat(2, &json!("Bob"))).await;
        relay_all_with(&mut service, &broker, &limits()).await;
        assert_eq!(marks(&broker), []);
        let (column, text) = match service.database {
            Kind::Sqlite { .. } => ("after", "'{\"id\":1,\"holder\":\"Ann\"}'"),
            Kind::Postgres { .. } => ("payload", "'{\"id\":1,\"holder\":\"Ann\"}'"),
        };
        let mend = format!("UPDATE {{}}outbox SET {column} = {text} WHERE sequence = 1");
        service.run(&mend).await;
        let retry = match service.database {
            Kind::Sqlite { .. } => "UPDATE {}outbox_parked SET retry = 1",
            Kind::Postgres { .. } => "UPDATE {}outbox_parked SET retry = true",
        };
        service.run(retry).await;
        let some = |marks: &[Watermark]| !marks.is_empty();
        let waiting = wait_for(&broker, "published again", some);
        while_relaying(&service, &broker, waiting).await;
        // What was parked has another source, and is not among the source's events.
        let mark = &marks(&broker)[0];
        assert_eq!(mark.total.sums, sums(&service, 1, 2).await);
    }
}

#[tokio::test]
async fn what_is_counted_is_saved_with_the_position() {
    for service in services("what_is_counted_is_saved_with_the_position").await {
        let mut store = service.store().await;
        assert_eq!(store.position().await.unwrap().counting, None);
        let mut sums = EventSums::default();
        sums.add("a", u128::MAX);
        let mut counted = CountedEvents {
            after: 2,
            sums,
            complete_through_us: 17,
        };
        let entities = [("cabin.seat".to_owned(), counted)].into();
        let mut position = Position::new(5, 9);
        position.counting = Some(Counting {
            through: 5,
            entities,
        });
        store.save(&position).await.unwrap();
        assert_eq!(store.position().await.unwrap(), position);
        // Time does not go back, and an entity that is not named stays.
        sums.add("b", 1);
        counted.sums = sums;
        counted.complete_through_us = 3;
        let entities = [
            ("cabin.meal".to_owned(), counted),
            ("cabin.seat".to_owned(), counted),
        ];
        let mut later = Position::new(6, 9);
        later.counting = Some(Counting {
            through: 6,
            entities: entities.into(),
        });
        store.save(&later).await.unwrap();
        let mut last = Position::new(7, 9);
        last.counting = Some(Counting {
            through: 7,
            entities: [].into(),
        });
        store.save(&last).await.unwrap();
        // What was counted up to no later sequence sets no sum back, but time goes on.
        let behind = CountedEvents {
            complete_through_us: 18,
            ..CountedEvents::default()
        };
        last.counting = Some(Counting {
            through: 7,
            entities: [("cabin.seat".to_owned(), behind)].into(),
        });
        store.save(&last).await.unwrap();
        let found = store.position().await.unwrap().counting.unwrap();
        assert_eq!(found.through, 7);
        assert_eq!(found.entities["cabin.meal"], counted);
        counted.complete_through_us = 18;
        assert_eq!(found.entities["cabin.seat"], counted);
    }
}

/// Everything was committed before the relay began, so a watermark is of all of it or is none.
#[tokio::test]
async fn a_read_that_fell_short_is_not_taken_for_the_end() {
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..12 {
        let reads = random.random_range(0..40);
        let safe = (0..reads).map(|_| random.random_range(0..20)).collect();
        let mut service = Service::sqlite().await;
        service.change(15, 7).await;
        let broker = Arc::new(FaultyBroker::new([]));
        let inner = service.store().await;
        let store = Box::new(FallingStore { inner, safe });
        let relay = relay(store, Arc::clone(&broker) as _, "cabin.seat").await;
        let cancel = CancellationToken::new();
        let limits = RelayLimits {
            watermark_interval: Some(Duration::from_millis(1)),
            poll_interval: Duration::from_millis(1),
            ..small_limits()
        };
        let relaying = relay.unwrap().with_limits(limits).run(cancel.clone());
        let some = |marks: &[Watermark]| !marks.is_empty();
        let work = async {
            wait_for(&broker, "a watermark", some).await;
            cancel.cancel();
        };
        let (ended, ()) = tokio::join!(relaying, work);
        ended.unwrap();
        for mark in marks(&broker) {
            assert_eq!((mark.through, mark.total.sums.count), (15, 15));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_broker_does_they_say_what_is_there(
        script in proptest::collection::vec(fault(), 0..40),
        changes in 1_usize..60,
    ) {
        in_virtual_time(async {
            let mut service = Service::sqlite().await;
            service.change(changes, 7).await;
            let broker = Arc::new(FaultyBroker::new(script));
            relay_all_with(&mut service, &broker, &limits()).await;
            // A relay that is stopped or killed may end without its last word.
            broker.calm();
            let end = i64::try_from(changes).unwrap();
            let all = |marks: &[Watermark]| marks.iter().any(|mark| mark.through == end);
            let waiting = wait_for(&broker, "all events", all);
            while_relaying(&service, &broker, waiting).await;
            for mark in marks(&broker) {
                assert!(is_whole(&broker, &mark), "{mark:?}");
                assert_eq!(mark.total.sums, sums(&service, 0, mark.through).await);
            }
        });
    }
}
