//! Topics and their metadata.

use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;

use crate::client::{
    PATIENCE, admin, consumer_with, create_topic, producer, receive_all, send_numbers, unique,
};

pub(crate) async fn topics_have_the_partitions_asked_for(servers: String) {
    let topic = create_topic(&servers, "partitions", 7).await;
    let consumer = consumer_with(&servers, &[]);
    let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE).unwrap();
    assert_eq!(metadata.topics()[0].name(), topic);
    let partitions = metadata.topics()[0].partitions();
    let mut ids: Vec<_> = partitions.iter().map(|partition| partition.id()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2, 3, 4, 5, 6]);
    let everything = consumer.fetch_metadata(None, PATIENCE).unwrap();
    assert!(
        everything
            .topics()
            .iter()
            .any(|found| found.name() == topic)
    );

    let again = NewTopic::new(&topic, 7, TopicReplication::Fixed(1));
    let refused = admin(&servers)
        .create_topics([&again], &AdminOptions::new())
        .await
        .unwrap();
    assert_eq!(
        refused,
        [Err((topic, RDKafkaErrorCode::TopicAlreadyExists))]
    );
}

pub(crate) async fn a_missing_topic_is_named_as_missing(servers: String) {
    let topic = unique("missing");
    let consumer: BaseConsumer = consumer_with(&servers, &[]);
    let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE).unwrap();
    assert_eq!(
        metadata.topics()[0].error(),
        Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
    );
    assert!(consumer.fetch_watermarks(&topic, 0, PATIENCE).is_err());
}

pub(crate) async fn a_topic_that_cannot_be_is_refused(servers: String) {
    let new = NewTopic::new("no/topic", 1, TopicReplication::Fixed(1));
    let refused = admin(&servers)
        .create_topics([&new], &AdminOptions::new())
        .await
        .unwrap();
    let name = "no/topic".to_owned();
    assert_eq!(refused, [Err((name, RDKafkaErrorCode::InvalidTopic))]);
}

pub(crate) async fn a_topic_deleted_and_created_again_is_empty(servers: String) {
    let topic = create_topic(&servers, "again", 2).await;
    send_numbers(&producer(&servers), &topic, 1, 0..50).await;
    let admin = admin(&servers);
    let deleted = admin.delete_topics(&[&topic], &AdminOptions::new()).await;
    assert_eq!(deleted.unwrap(), [Ok(topic.clone())]);

    let consumer = consumer_with(&servers, &[]);
    let deadline = std::time::Instant::now() + PATIENCE;
    let new = NewTopic::new(&topic, 2, TopicReplication::Fixed(1));
    // A real Kafka deletes in its own time.
    loop {
        let created = admin.create_topics([&new], &AdminOptions::new()).await;
        if created.unwrap() == [Ok(topic.clone())] {
            break;
        }
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    send_numbers(&producer(&servers), &topic, 1, 0..3).await;
    assert_eq!(
        consumer.fetch_watermarks(&topic, 1, PATIENCE).unwrap(),
        (0, 3)
    );
    let received = receive_all(&servers, &topic, 1, 3);
    assert_eq!(received[0].text(), "0");
}
