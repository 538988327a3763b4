//! Topics that come to be when somebody produces to them.

use embedded_broker::{EmbeddedBroker, Settings};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::FutureRecord;

use crate::client::{
    PATIENCE, consumer_with, producer, producer_with, receive_all, send, send_numbers,
};

async fn on_demand(directory: &std::path::Path, partitions: i32) -> EmbeddedBroker {
    let settings = Settings::new(directory).topics_on_demand(partitions);
    EmbeddedBroker::start(settings).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_gets_its_topic() {
    let place = tempfile::tempdir().unwrap();
    let broker = on_demand(place.path(), 3).await;
    let servers = broker.bootstrap_servers().to_owned();
    send_numbers(&producer(&servers), "shop.order", 2, 0..10).await;
    let consumer = consumer_with(&servers, &[]);
    let metadata = consumer
        .fetch_metadata(Some("shop.order"), PATIENCE)
        .unwrap();
    assert_eq!(metadata.topics()[0].partitions().len(), 3);
    assert_eq!(receive_all(&servers, "shop.order", 2, 10).len(), 10);
    broker.stop().await.unwrap();
    // It is a topic like any other: there after a restart.
    let broker = on_demand(place.path(), 1).await;
    let servers = broker.bootstrap_servers().to_owned();
    assert_eq!(receive_all(&servers, "shop.order", 2, 10).len(), 10);
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_producers_at_once_get_one_topic() {
    let place = tempfile::tempdir().unwrap();
    let broker = on_demand(place.path(), 1).await;
    let servers = broker.bootstrap_servers().to_owned();
    let sent: Vec<_> = (0..8)
        .map(|number: u8| {
            let producer = producer(&servers);
            tokio::spawn(async move {
                let payload = [number];
                let record = FutureRecord::<[u8], [u8]>::to("shop.order").payload(&payload);
                send(&producer, record).await
            })
        })
        .collect();
    for delivery in sent {
        delivery.await.unwrap();
    }
    let received = receive_all(&servers, "shop.order", 0, 8);
    let offsets: Vec<_> = received.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, (0..8).collect::<Vec<_>>());
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_create_nothing_and_impossible_names_are_refused_at_once() {
    let place = tempfile::tempdir().unwrap();
    let broker = on_demand(place.path(), 1).await;
    let servers = broker.bootstrap_servers().to_owned();
    let consumer = consumer_with(&servers, &[]);
    consumer
        .fetch_metadata(Some("only.asked"), PATIENCE)
        .unwrap();
    let all = consumer.fetch_metadata(None, PATIENCE).unwrap();
    assert!(all.topics().is_empty(), "a consumer created a topic");

    let producer = producer_with(&servers, &[("message.timeout.ms", "300000")]);
    let record = FutureRecord::<[u8], [u8]>::to("no/topic").payload(b"x");
    let (error, _) = producer.send(record, PATIENCE).await.unwrap_err();
    let invalid = KafkaError::MessageProduction(RDKafkaErrorCode::InvalidTopic);
    assert_eq!(error, invalid);
    broker.stop().await.unwrap();
}
