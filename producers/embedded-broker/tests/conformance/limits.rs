//! What the embedded broker refuses, it refuses at once and by name.

use embedded_broker::{EmbeddedBroker, Error, LIMITS, Settings};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{FutureProducer, Producer as _};

use crate::client::{PATIENCE, producer_with};

fn is_listed(start: &str) -> bool {
    LIMITS.iter().any(|limit| limit.starts_with(start))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_are_refused() {
    assert!(is_listed("transactions"));
    let place = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::start(Settings::new(place.path()))
        .await
        .unwrap();
    let settings = [
        ("transactional.id", "writer"),
        ("transaction.timeout.ms", "120000"),
    ];
    let producer: FutureProducer = producer_with(broker.bootstrap_servers(), &settings);
    let error = producer.init_transactions(PATIENCE).unwrap_err();
    assert_eq!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed)
    );
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_served_once_and_a_port_listened_on_once() {
    let place = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::start(Settings::new(place.path()))
        .await
        .unwrap();
    let address = broker.bootstrap_servers().to_owned();
    let again = EmbeddedBroker::start(Settings::new(place.path())).await;
    assert!(matches!(again, Err(Error::InUse { .. })), "{again:?}");

    let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let taken = EmbeddedBroker::start(Settings::new(elsewhere.path()).port(port)).await;
    assert!(matches!(taken, Err(Error::Listen { .. })), "{taken:?}");

    let cluster = broker.cluster_id().to_owned();
    broker.stop().await.unwrap();
    let restarted = EmbeddedBroker::start(Settings::new(place.path()))
        .await
        .unwrap();
    assert_eq!(restarted.bootstrap_servers(), address);
    assert_eq!(restarted.cluster_id(), cluster);
    restarted.stop().await.unwrap();
}
