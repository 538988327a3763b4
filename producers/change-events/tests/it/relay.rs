//! No loss and no reordering, whatever the broker does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use change_events::{Entity, Relay, RelayLimits};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::faulty_broker::{Fault, FaultyBroker};
use crate::memory_registry::MemoryRegistry;
use crate::service::{CONTRACT, Service, table};

const SEATS: usize = 7;

pub(crate) fn small_limits() -> RelayLimits {
    RelayLimits {
        batch_rows_max: 5,
        in_flight_rows_max: 12,
        shutdown_time_max: Duration::from_secs(1),
        ..RelayLimits::default()
    }
}

/// Runs relays, a new one after each kill, until everything is confirmed.
pub(crate) async fn relay_all(service: &mut Service, broker: &Arc<FaultyBroker>) {
    relay_all_with(service, broker, &small_limits()).await;
}

pub(crate) async fn relay_all_with(
    service: &mut Service,
    broker: &Arc<FaultyBroker>,
    limits: &RelayLimits,
) {
    relay_all_as(service, broker, |relay| relay.with_limits(limits.clone())).await;
}

pub(crate) async fn relay_all_as(
    service: &mut Service,
    broker: &Arc<FaultyBroker>,
    made: impl Fn(Relay) -> Relay,
) {
    let end = service.end().await;
    loop {
        let relay = service
            .relay(Arc::clone(broker) as _, "cabin.seat")
            .await
            .unwrap();
        let relay = made(relay);
        let progress = relay.progress();
        let cancel = CancellationToken::new();
        let through = async {
            while progress.confirmed() < end {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            cancel.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = relay.run(cancel.clone()) => return ended.unwrap(),
            () = through => {}
            () = broker.kill.notified() => {}
        }
    }
}

/// A service in each database there is.
pub(crate) async fn services(test: &str) -> Vec<Service> {
    let postgres = Service::postgres(test).await;
    let sqlite = Service::sqlite().await;
    [sqlite].into_iter().chain(postgres).collect()
}

pub(crate) fn in_virtual_time<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(work)
}

pub(crate) fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => (1_u8..6).prop_map(Fault::Deliver),
        1 => Just(Fault::AckLost),
        1 => Just(Fault::Refuse),
        1 => Just(Fault::LandLate),
        1 => Just(Fault::Kill),
        1 => Just(Fault::Away),
    ]
}

/// Every outbox row once, in order per partition and thereby per key.
pub(crate) fn check_landed(broker: &FaultyBroker, end: i64) {
    let landed = broker.landed();
    let mut all: Vec<i64> = landed.values().flatten().copied().collect();
    all.sort_unstable();
    assert_eq!(all, (1..=end).collect::<Vec<_>>(), "lost or doubled");
    assert!(
        landed.values().all(|log| log.is_sorted()),
        "out of order: {landed:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_broker_does_the_lake_has_every_event_once_and_in_order(
        script in proptest::collection::vec(fault(), 0..40),
        changes in 1_usize..60,
    ) {
        in_virtual_time(async {
            let mut service = Service::sqlite().await;
            service.change(changes, SEATS).await;
            let broker = Arc::new(FaultyBroker::new(script));
            relay_all(&mut service, &broker).await;
            check_landed(&broker, i64::try_from(changes).unwrap());
        });
    }
}

/// The same against Postgres, in real time and with fewer scripts.
#[tokio::test]
async fn whatever_the_broker_does_the_lake_has_every_event_of_postgres() {
    use proptest::strategy::ValueTree;
    let test = "whatever_the_broker_does_the_lake_has_every_event_of_postgres";
    let scripts = proptest::collection::vec(fault(), 0..30);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..8 {
        let Some(mut service) = Service::postgres(test).await else {
            return;
        };
        service.change(50, SEATS).await;
        let script = scripts.new_tree(&mut runner).unwrap().current();
        let broker = Arc::new(FaultyBroker::new(script));
        relay_all(&mut service, &broker).await;
        check_landed(&broker, 50);
    }
}

#[test]
fn one_key_stays_in_one_partition_and_an_event_keeps_its_sequence() {
    in_virtual_time(async {
        let mut service = Service::sqlite().await;
        service.change(30, SEATS).await;
        let script = [
            Fault::Deliver(2),
            Fault::AckLost,
            Fault::Deliver(1),
            Fault::LandLate,
        ];
        let broker = Arc::new(FaultyBroker::new(script));
        relay_all(&mut service, &broker).await;
        let mut partition_of = std::collections::HashMap::new();
        let mut sequence_of = std::collections::HashMap::new();
        let mut repeats = 0;
        for (partition, log) in broker.logs() {
            for record in log {
                assert_eq!(record.source.as_ref(), service.source);
                assert_eq!(
                    *partition_of.entry(record.key.clone()).or_insert(partition),
                    partition
                );
                let known = sequence_of.insert(record.event_id, record.sequence);
                assert!(known.is_none_or(|known| known == record.sequence));
                repeats += u32::from(known.is_some());
            }
        }
        assert_eq!(sequence_of.len(), 30);
        assert!(
            repeats > 0,
            "the script was to make the relay publish again"
        );
    });
}

#[test]
fn a_registry_that_is_away_is_waited_for() {
    in_virtual_time(async {
        let mut service = Service::sqlite().await;
        service.change(3, SEATS).await;
        let broker = Arc::new(FaultyBroker::new([]));
        let registry = Arc::new(MemoryRegistry::default());
        registry.away.store(5, Ordering::SeqCst);
        let entity = Entity::new(table(), CONTRACT.parse().unwrap());
        let relay = Relay::open(
            service.store().await,
            vec![entity],
            Arc::clone(&broker) as _,
            registry,
        )
        .await
        .unwrap();
        let progress = relay.progress();
        let cancel = CancellationToken::new();
        let running = tokio::spawn(relay.run(cancel.clone()));
        while progress.confirmed() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cancel.cancel();
        running.await.unwrap().unwrap();
        check_landed(&broker, 3);
    });
}

#[test]
fn another_cluster_and_another_partition_count_are_refused() {
    in_virtual_time(async {
        let mut service = Service::sqlite().await;
        service.change(2, SEATS).await;
        let broker = Arc::new(FaultyBroker::new([]));
        relay_all(&mut service, &broker).await;
        for (sql, words) in [
            (
                "UPDATE {}outbox_topic SET partitions = 3",
                "had 3 partitions and now 4 are known",
            ),
            ("UPDATE {}outbox_relay SET cluster = 'first'", "\"first\""),
        ] {
            service.run(sql).await;
            let relay = service
                .relay(Arc::clone(&broker) as _, "cabin.seat")
                .await
                .unwrap();
            let error = relay.run(CancellationToken::new()).await.unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    });
}
