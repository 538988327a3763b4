//! Where a consumer starts.

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::FutureRecord;
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{
    PATIENCE, assigned, consumer_with, create_topic, producer, producer_with, receive, receive_all,
    send, send_numbers,
};

pub(crate) async fn a_consumer_resumes_inside_a_batch(servers: String) {
    const COUNT: usize = 9000;
    let topic = create_topic(&servers, "inside", 1).await;
    let settings = [("linger.ms", "200"), ("batch.num.messages", "3000")];
    send_numbers(&producer_with(&servers, &settings), &topic, 0, 0..COUNT).await;
    for offset in [0, 1, 999, 2999, 3000, 3001, 4500, 8999] {
        let consumer = assigned(&servers, &topic, &[(0, Offset::Offset(offset as i64))]);
        let received = receive(&consumer, COUNT - offset);
        let numbers = received
            .iter()
            .map(|record| record.text().parse::<usize>().unwrap());
        assert!(numbers.eq(offset..COUNT), "from {offset}");
    }
    // The same by seeking.
    let consumer = assigned(&servers, &topic, &[(0, Offset::Beginning)]);
    receive(&consumer, COUNT);
    consumer
        .seek(&topic, 0, Offset::Offset(4444), PATIENCE)
        .unwrap();
    let received = receive(&consumer, COUNT - 4444);
    assert_eq!(received[0].offset, 4444);
}

pub(crate) async fn an_offset_past_the_end_is_an_error(servers: String) {
    let topic = create_topic(&servers, "past", 1).await;
    send_numbers(&producer(&servers), &topic, 0, 0..10).await;
    let consumer = assigned(&servers, &topic, &[(0, Offset::Offset(1000))]);
    let error = consumer.poll(PATIENCE).unwrap().unwrap_err();
    let code = match error {
        KafkaError::MessageConsumption(code) | KafkaError::MessageConsumptionFatal(code) => code,
        other => panic!("{other}"),
    };
    assert!(
        matches!(
            code,
            RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset
        ),
        "{code:?}"
    );
}

pub(crate) async fn earliest_is_the_first_record_whatever_its_timestamp(servers: String) {
    let topic = create_topic(&servers, "earliest", 1).await;
    let producer = producer(&servers);
    // Each awaited, so that each is a batch of its own; one as old as the first, one older.
    for (number, timestamp) in [2000, 3000, 2000, 1000].into_iter().enumerate() {
        let text = number.to_string();
        let record = FutureRecord::<[u8], [u8]>::to(&topic)
            .payload(text.as_bytes())
            .timestamp(timestamp);
        send(&producer, record).await;
    }
    let consumer = consumer_with(&servers, &[]);
    assert_eq!(
        consumer.fetch_watermarks(&topic, 0, PATIENCE).unwrap(),
        (0, 4)
    );
    let received = receive_all(&servers, &topic, 0, 4);
    assert_eq!(received[0].text(), "0");
}

pub(crate) async fn offsets_are_found_by_time(servers: String) {
    let topic = create_topic(&servers, "by-time", 1).await;
    let producer = producer_with(
        &servers,
        &[("linger.ms", "100"), ("compression.type", "lz4")],
    );
    for start in [0, 100] {
        let sent: Vec<_> = (start..start + 100)
            .map(|number| {
                let record = FutureRecord::<[u8], [u8]>::to(&topic)
                    .payload(b"x")
                    .timestamp(1_000_000 + number * 10);
                producer
                    .send_result(record)
                    .map_err(|(error, _)| error)
                    .unwrap()
            })
            .collect();
        for delivery in sent {
            delivery.await.unwrap().unwrap();
        }
    }
    let consumer = consumer_with(&servers, &[]);
    let at = |time: i64| {
        let mut times = TopicPartitionList::new();
        times
            .add_partition_offset(&topic, 0, Offset::Offset(time))
            .unwrap();
        let found = consumer.offsets_for_times(times, PATIENCE).unwrap();
        found.elements()[0].offset()
    };
    assert_eq!(at(0), Offset::Offset(0));
    assert_eq!(at(1_000_000), Offset::Offset(0));
    assert_eq!(at(1_000_001), Offset::Offset(1));
    assert_eq!(at(1_000_505), Offset::Offset(51));
    assert_eq!(at(1_001_990), Offset::Offset(199));
    assert_eq!(at(1_001_991), Offset::End);
}
