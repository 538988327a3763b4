//! A database that goes away is waited for, and one relay at a time has an outbox.

use std::sync::Arc;
use std::time::{Duration, Instant};

use change_events::{CountedEvents, Counting, RelayLimits};
use tokio_util::sync::CancellationToken;

use crate::faulty_broker::{Fault, FaultyBroker};
use crate::relay::{check_landed, relay_all};
use crate::service::Service;

const DEADLINE: Duration = Duration::from_secs(60);

const END_SESSIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
    WHERE application_name = 'lakehead-relay' AND datname = current_database()";

const SESSIONS: &str = "SELECT pid::bigint FROM pg_stat_activity \
    WHERE application_name = 'lakehead-relay' AND datname = current_database() ORDER BY backend_start DESC";

#[tokio::test]
async fn a_session_that_ends_is_made_again() {
    let test = "a_session_that_ends_is_made_again";
    let Some(mut service) = Service::postgres(test).await else {
        return;
    };
    let broker = Arc::new(FaultyBroker::new([]));
    let relay = service.relay(Arc::clone(&broker) as _, "cabin.seat").await;
    let relay = relay.unwrap();
    let (progress, cancel) = (relay.progress(), CancellationToken::new());
    let running = tokio::spawn(relay.run(cancel.clone()));
    let started = Instant::now();
    for end in [20, 40, 60] {
        service.change(20, 7).await;
        service.run(END_SESSIONS).await;
        while progress.confirmed() < end {
            assert!(!running.is_finished(), "{:?}", running.await);
            assert!(started.elapsed() < DEADLINE, "{end} is not confirmed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    cancel.cancel();
    running.await.unwrap().unwrap();
    check_landed(&broker, 60);
}

#[tokio::test]
async fn a_server_that_may_have_gone_back_in_time_is_refused() {
    let test = "a_server_that_may_have_gone_back_in_time_is_refused";
    let Some(mut service) = Service::postgres(test).await else {
        return;
    };
    service.change(3, 3).await;
    let broker = Arc::new(FaultyBroker::new([]));
    relay_all(&mut service, &broker).await;
    service
        .run("UPDATE {}outbox_relay SET server = '7/00000001'")
        .await;
    let relay = service.relay(Arc::clone(&broker) as _, "cabin.seat").await;
    let running = relay.unwrap().run(CancellationToken::new());
    let error = running.await.unwrap_err().to_string();
    assert!(
        error.contains("up to 3 from the server 7/00000001"),
        "{error}"
    );
    // What the error says where nothing was lost.
    service.run("UPDATE {}outbox_relay SET server = NULL").await;
    service.change(3, 3).await;
    relay_all(&mut service, &broker).await;
    check_landed(&broker, 6);
}

#[tokio::test]
async fn a_second_relay_waits_and_takes_over() {
    let test = "a_second_relay_waits_and_takes_over";
    let Some(mut service) = Service::postgres(test).await else {
        return;
    };
    service.change(10, 3).await;
    let (one, two) = (FaultyBroker::new([]), FaultyBroker::new([]));
    let (one, two) = (Arc::new(one), Arc::new(two));
    let cancel = CancellationToken::new();
    let first = service.relay(Arc::clone(&one) as _, "cabin.seat").await;
    let first = first.unwrap();
    let progress = first.progress();
    let running = tokio::spawn(first.run(cancel.clone()));
    let started = Instant::now();
    while progress.confirmed() < 10 {
        assert!(started.elapsed() < DEADLINE, "not confirmed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = service.relay(Arc::clone(&two) as _, "cabin.seat").await;
    let second = second.unwrap();
    let (progress, end) = (second.progress(), CancellationToken::new());
    let waiting = tokio::spawn(second.run(end.clone()));
    service.change(10, 3).await;
    let started = Instant::now();
    while one.logs().values().flatten().count() < 20 {
        assert!(started.elapsed() < DEADLINE, "not published");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(two.logs().is_empty());
    cancel.cancel();
    running.await.unwrap().unwrap();
    service.change(10, 3).await;
    while progress.confirmed() < 30 {
        assert!(started.elapsed() < DEADLINE, "not taken over");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    end.cancel();
    waiting.await.unwrap().unwrap();
    assert_eq!(two.logs().values().flatten().count(), 10);
}

/// The first relay's session ends while its records are in flight; it hears of them when another one
/// is further already.
#[tokio::test]
async fn a_relay_that_lost_its_session_saves_nothing() {
    let test = "a_relay_that_lost_its_session_saves_nothing";
    let Some(mut service) = Service::postgres(test).await else {
        return;
    };
    service.change(10, 3).await;
    let broker = Arc::new(FaultyBroker::new([Fault::Hold]));
    let limits = RelayLimits {
        watermark_interval: Some(Duration::from_millis(10)),
        shutdown_time_max: DEADLINE,
        ..RelayLimits::default()
    };
    let relay = service.relay(Arc::clone(&broker) as _, "cabin.seat").await;
    let relay = relay.unwrap().with_limits(limits);
    let cancel = CancellationToken::new();
    let running = tokio::spawn(relay.run(cancel.clone()));
    let started = Instant::now();
    while !broker.holds(10) {
        assert!(started.elapsed() < DEADLINE, "not sent");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let first = service.numbers(SESSIONS).await;
    let mut second = service.store().await;
    assert!(!second.claim().await.unwrap());
    let end = format!("SELECT pg_terminate_backend({})", first[0]);
    assert_eq!(service.run(&end).await, 1);
    while !second.claim().await.unwrap() {
        assert!(started.elapsed() < DEADLINE, "not taken over");
    }
    let mut position = second.position().await.unwrap();
    (position.confirmed, position.released) = (20, 20);
    let mut counted = CountedEvents::default();
    counted.sums.count = 20;
    position.counting = Some(Counting {
        through: 20,
        entities: [("cabin.seat".to_owned(), counted)].into(),
    });
    second.save(&position).await.unwrap();
    broker.go_on();
    cancel.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(second.position().await.unwrap(), position);
}
