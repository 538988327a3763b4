//! A row that cannot be published stops its key, in order, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use change_events::{RelayError, RelayLimits};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::faulty_broker::{Fault, FaultyBroker, Refusal};
use crate::relay::{relay_all, services, small_limits};
use crate::service::{Service, seat};

const DEADLINE: Duration = Duration::from_secs(60);

/// Per key the holders that the lake has, in order. A holder is `<seat>-<number>`.
fn holders(broker: &FaultyBroker) -> BTreeMap<String, Vec<String>> {
    let mut holders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in broker.landed_records() {
        let value = String::from_utf8_lossy(&record.value).into_owned();
        let (at, _) = value.match_indices('-').next().unwrap();
        let holder = value[at - 1..at + 3].to_owned();
        holders
            .entry(holder[..1].to_owned())
            .or_default()
            .push(holder);
    }
    holders
}

fn expected(seats: &[(&str, std::ops::Range<u32>)]) -> BTreeMap<String, Vec<String>> {
    let seats = seats.iter().filter(|(_, numbers)| !numbers.is_empty());
    seats
        .map(|(seat, numbers)| {
            let holders = numbers.clone().map(|number| format!("{seat}-{number:02}"));
            ((*seat).to_owned(), holders.collect())
        })
        .collect()
}

/// Three seats, ten rows each, in turn: row `3 * n + seat + 1`. Holder 4 of seat 1 is `spoiled`.
async fn three_seats(service: &mut Service, spoiled: &serde_json::Value) {
    for number in 0..10 {
        for id in 0..3 {
            let holder = if (id, number) == (1, 4) {
                spoiled.clone()
            } else {
                json!(format!("{id}-{number:02}"))
            };
            service.append(&seat(id, &holder)).await;
        }
    }
}

const PARKED: &str = "SELECT sequence FROM {}outbox_parked ORDER BY sequence";
const RETRY: &str = "UPDATE {}outbox_parked SET retry = (1 = 1)";

async fn put_right(service: &mut Service) {
    let after =
        "UPDATE {}outbox SET after = '{\"id\": 1, \"holder\": \"1-04\"}' WHERE sequence = 14";
    let payload = after.replace("after", "payload");
    let is_sqlite = matches!(service.database, crate::service::Kind::Sqlite { .. });
    let sql = if is_sqlite { after } else { &payload };
    assert_eq!(service.run(sql).await, 1);
}

/// Runs a relay until nothing is parked; `broken` connections are made again.
async fn relay_until_unparked(service: &mut Service, broker: &Arc<FaultyBroker>) {
    let started = Instant::now();
    loop {
        let relay = service.relay(Arc::clone(broker) as _, "cabin.seat").await;
        let relay = relay.unwrap().with_limits(small_limits());
        let cancel = CancellationToken::new();
        let running = relay.run(cancel.clone());
        let unparked = async {
            while !service.numbers(PARKED).await.is_empty() {
                assert!(started.elapsed() < DEADLINE, "rows stay parked");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            cancel.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = running => return ended.unwrap(),
            () = unparked => {}
            () = broker.kill.notified() => {}
        }
    }
}

#[tokio::test]
async fn a_key_is_parked_from_its_bad_row_on_and_goes_out_in_order_when_that_is_right() {
    for mut service in services("a_key_is_parked_from_its_bad_row_on").await {
        three_seats(&mut service, &json!(5)).await;
        let broker = Arc::new(FaultyBroker::new([Fault::Deliver(2), Fault::AckLost]));
        relay_all(&mut service, &broker).await;
        let before = expected(&[("0", 0..10), ("1", 0..4), ("2", 0..10)]);
        assert_eq!(holders(&broker), before);
        assert_eq!(service.numbers(PARKED).await, [14, 17, 20, 23, 26, 29]);
        let relay = service.relay(Arc::clone(&broker) as _, "cabin.seat").await;
        let progress = relay.unwrap().progress();
        assert_eq!(progress.confirmed(), 30);
        let why = "SELECT count(*) FROM {}outbox_parked WHERE why LIKE '%\"holder\"%'";
        assert_eq!(service.numbers(why).await, [1]);

        // Tried again as it is, it stays parked; put right, it goes out with those behind it,
        // whatever the broker and the process do, and before what came later.
        service.run(RETRY).await;
        service.append(&seat(1, &json!("1-10"))).await;
        relay_all(&mut service, &broker).await;
        assert_eq!(holders(&broker), before);
        put_right(&mut service).await;
        service.run(RETRY).await;
        for fault in [
            Fault::Deliver(1),
            Fault::Kill,
            Fault::Deliver(2),
            Fault::AckLost,
            Fault::LandLate,
        ] {
            broker.push(fault);
        }
        relay_until_unparked(&mut service, &broker).await;
        service.append(&seat(1, &json!("1-11"))).await;
        relay_all(&mut service, &broker).await;
        let all = expected(&[("0", 0..10), ("1", 0..12), ("2", 0..10)]);
        assert_eq!(holders(&broker), all);
    }
}

/// What a broker that is away never answers.
#[tokio::test]
async fn a_try_that_is_not_acknowledged_does_not_hold_up_the_end() {
    let test = "a_try_that_is_not_acknowledged_does_not_hold_up_the_end";
    for mut service in services(test).await {
        three_seats(&mut service, &json!(5)).await;
        let broker = Arc::new(FaultyBroker::new([]));
        relay_all(&mut service, &broker).await;
        put_right(&mut service).await;
        service.run(RETRY).await;
        broker.push(Fault::Hold);
        let relay = service.relay(Arc::clone(&broker) as _, "cabin.seat").await;
        let time_max = small_limits().shutdown_time_max;
        let relay = relay.unwrap().with_limits(small_limits());
        let cancel = CancellationToken::new();
        let running = tokio::spawn(relay.run(cancel.clone()));
        let started = Instant::now();
        // 24 of before, and the six of the key.
        while !broker.holds(30) {
            assert!(started.elapsed() < DEADLINE, "they are not tried again");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
        let ended = tokio::time::timeout(time_max + Duration::from_secs(1), running).await;
        ended.expect("it runs on").unwrap().unwrap();
        assert_eq!(service.numbers(PARKED).await, [14, 17, 20, 23, 26, 29]);
        broker.calm();
        relay_until_unparked(&mut service, &broker).await;
        let all = expected(&[("0", 0..10), ("1", 0..10), ("2", 0..10)]);
        assert_eq!(holders(&broker), all);
    }
}

#[tokio::test]
async fn a_record_that_kafka_never_takes_parks_its_key() {
    for refusal in [
        Refusal::BeforeSending,
        Refusal::ByTheBroker,
        Refusal::InCompany,
    ] {
        for mut service in services("a_record_that_kafka_never_takes_parks_its_key").await {
            three_seats(&mut service, &json!("too-large")).await;
            let broker = Arc::new(FaultyBroker::refusing("too-large", refusal));
            relay_all(&mut service, &broker).await;
            let before = expected(&[("0", 0..10), ("1", 0..4), ("2", 0..10)]);
            assert_eq!(holders(&broker), before);
            // Refused again, it waits again.
            service.run(RETRY).await;
            let waits = "SELECT count(*) FROM {}outbox_parked WHERE retry = (1 = 1)";
            service.append(&seat(0, &json!("0-10"))).await;
            relay_until(&mut service, &broker, waits, 0).await;
            assert_eq!(service.numbers(PARKED).await, [14, 17, 20, 23, 26, 29]);
            put_right(&mut service).await;
            service.run(RETRY).await;
            relay_until_unparked(&mut service, &broker).await;
            let all = expected(&[("0", 0..11), ("1", 0..10), ("2", 0..10)]);
            assert_eq!(holders(&broker), all);
        }
    }
}

/// Runs a relay until a query answers this.
async fn relay_until(service: &mut Service, broker: &Arc<FaultyBroker>, sql: &str, wanted: i64) {
    let relay = service.relay(Arc::clone(broker) as _, "cabin.seat").await;
    let cancel = CancellationToken::new();
    let running = tokio::spawn(relay.unwrap().run(cancel.clone()));
    let started = Instant::now();
    while service.numbers(sql).await != [wanted] {
        assert!(started.elapsed() < DEADLINE, "{sql}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cancel.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_outbox_that_mostly_cannot_be_published_stops_the_relay() {
    let mut service = Service::sqlite().await;
    for id in 0..6 {
        service.append(&seat(id, &json!(id))).await;
    }
    let broker = Arc::new(FaultyBroker::new([]));
    let relay = service.relay(Arc::clone(&broker) as _, "cabin.seat").await;
    let limits = RelayLimits {
        parked_rows_max: 4,
        ..RelayLimits::default()
    };
    let relay = relay.unwrap().with_limits(limits);
    let error = relay.run(CancellationToken::new()).await.unwrap_err();
    assert!(
        matches!(
            error,
            RelayError::ParkedTooMany {
                rows: 6,
                rows_max: 4,
                first: 1
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_row_that_is_given_up_holds_no_later_one() {
    for mut service in services("a_row_that_is_given_up_holds_no_later_one").await {
        three_seats(&mut service, &json!(5)).await;
        let broker = Arc::new(FaultyBroker::new([]));
        let relay = service.relay(Arc::clone(&broker) as _, "cabin.seat").await;
        let (relay, cancel) = (relay.unwrap(), CancellationToken::new());
        let progress = relay.progress();
        let running = tokio::spawn(relay.run(cancel.clone()));
        let started = Instant::now();
        while progress.confirmed() < 30 {
            assert!(started.elapsed() < DEADLINE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        service.run("DELETE FROM {}outbox_parked").await;
        while progress.parked_rows() > 0 {
            assert!(started.elapsed() < DEADLINE, "it holds what was given up");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        service.append(&seat(1, &json!("1-10"))).await;
        while progress.confirmed() < 31 {
            assert!(started.elapsed() < DEADLINE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cancel.cancel();
        running.await.unwrap().unwrap();
        assert!(service.numbers(PARKED).await.is_empty());
        let last = holders(&broker)["1"].last().cloned();
        assert_eq!(last.as_deref(), Some("1-10"));
    }
}
