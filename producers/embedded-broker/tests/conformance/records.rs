//! Records: what is sent is what comes back, once and in order.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::FutureRecord;

use crate::client::{
    PATIENCE, Received, assigned, consumer_with, create_topic, producer, producer_with, receive,
    receive_all, send, send_numbers,
};

type Record<'a> = FutureRecord<'a, [u8], [u8]>;

pub(crate) async fn records_come_back_as_they_were_sent(servers: String) {
    let topic = create_topic(&servers, "as-sent", 1).await;
    let headers = OwnedHeaders::new()
        .insert(Header {
            key: "ce_id",
            value: Some("1"),
        })
        .insert(Header {
            key: "binary",
            value: Some(&[0_u8, 255, 10, 13]),
        })
        .insert(Header {
            key: "ce_id",
            value: Some("again"),
        })
        .insert(Header {
            key: "empty",
            value: Some(""),
        })
        .insert(Header::<&str> {
            key: "null",
            value: None,
        });
    let producer = producer(&servers);
    let full = Record::to(&topic)
        .key(b"\x00key\xff")
        .payload(b"\x00value\xff")
        .timestamp(1_357_020_000_123)
        .headers(headers);
    assert_eq!(send(&producer, full).await, (0, 0));
    let tombstone = Record::to(&topic).key(b"gone").timestamp(1_357_020_000_122);
    assert_eq!(send(&producer, tombstone).await, (0, 1));
    let empty = Record::to(&topic).key(b"").payload(b"").timestamp(5);
    assert_eq!(send(&producer, empty).await, (0, 2));
    let keyless = Record::to(&topic).payload(b"value").timestamp(1);
    assert_eq!(send(&producer, keyless).await, (0, 3));

    let received = receive_all(&servers, &topic, 0, 4);
    let bytes = |bytes: &[u8]| Some(bytes.to_vec());
    let headers = [
        ("ce_id", bytes(b"1")),
        ("binary", bytes(&[0, 255, 10, 13])),
        ("ce_id", bytes(b"again")),
        ("empty", bytes(b"")),
        ("null", None),
    ];
    let full = Received {
        offset: 0,
        timestamp: Some(1_357_020_000_123),
        key: bytes(b"\x00key\xff"),
        value: bytes(b"\x00value\xff"),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec(),
        ..Received::default()
    };
    assert_eq!(received[0], full);
    assert_eq!(
        (&received[1].key, &received[1].value),
        (&bytes(b"gone"), &None)
    );
    assert_eq!(received[1].timestamp, Some(1_357_020_000_122));
    assert_eq!(
        (&received[2].key, &received[2].value),
        (&bytes(b""), &bytes(b""))
    );
    assert_eq!(
        (&received[3].key, &received[3].value),
        (&None, &bytes(b"value"))
    );
    assert_eq!(received[3].timestamp, Some(1));
}

pub(crate) async fn every_compression_is_kept(servers: String) {
    let compressions = ["none", "snappy", "lz4", "zstd"];
    let topic = create_topic(&servers, "compressed", compressions.len() as i32).await;
    for (partition, compression) in (0..).zip(compressions) {
        let producer = producer_with(&servers, &[("compression.type", compression)]);
        send_numbers(&producer, &topic, partition, 0..2000).await;
        let received = receive_all(&servers, &topic, partition, 2000);
        for (number, record) in received.iter().enumerate() {
            assert_eq!(record.text(), number.to_string(), "{compression}");
        }
    }
}

pub(crate) async fn order_is_kept_per_partition(servers: String) {
    const COUNT: usize = 40_000;
    let topic = create_topic(&servers, "order", 4).await;
    let settings = [
        ("compression.type", "lz4"),
        ("linger.ms", "2"),
        ("queue.buffering.max.messages", "100000"),
    ];
    let producer = producer_with(&servers, &settings);
    let mut sent = Vec::with_capacity(COUNT);
    let texts: Vec<_> = (0..COUNT).map(|number| number.to_string()).collect();
    for (number, text) in texts.iter().enumerate() {
        let key = (number % 97).to_string();
        let record = Record::to(&topic)
            .key(key.as_bytes())
            .payload(text.as_bytes());
        let delivery = producer.send_result(record);
        sent.push(delivery.map_err(|(error, _)| error).unwrap());
    }
    let mut acknowledged: BTreeMap<i32, BTreeMap<i64, usize>> = BTreeMap::new();
    for (number, delivery) in sent.into_iter().enumerate() {
        let delivered = delivery.await.unwrap().map_err(|(error, _)| error).unwrap();
        let partition = acknowledged.entry(delivered.partition).or_default();
        assert_eq!(partition.insert(delivered.offset, number), None);
    }

    let from: Vec<_> = (0..4)
        .map(|partition| (partition, Offset::Beginning))
        .collect();
    let received = receive(&assigned(&servers, &topic, &from), COUNT);
    let mut found: BTreeMap<i32, BTreeMap<i64, usize>> = BTreeMap::new();
    for record in &received {
        let partition = found.entry(record.partition).or_default();
        // Delivered in the order of the offsets, without a gap.
        assert_eq!(record.offset, partition.len() as i64);
        partition.insert(record.offset, record.text().parse().unwrap());
    }
    assert_eq!(found, acknowledged);
    assert!(found.values().all(|numbers| numbers.values().is_sorted()));
    let consumer = consumer_with(&servers, &[]);
    for (partition, numbers) in found {
        let watermarks = consumer.fetch_watermarks(&topic, partition, PATIENCE);
        assert_eq!(watermarks.unwrap(), (0, numbers.len() as i64));
    }
}

pub(crate) async fn producers_do_not_disturb_each_other(servers: String) {
    const COUNT: usize = 300;
    let topic = create_topic(&servers, "together", 2).await;
    let tasks: Vec<_> = (0..6)
        .map(|who| {
            let (servers, topic) = (servers.clone(), topic.clone());
            tokio::spawn(async move {
                let producer = producer_with(&servers, &[("linger.ms", "0")]);
                for number in 0..COUNT {
                    let text = format!("{who}/{number}");
                    let record = Record::to(&topic)
                        .partition((number % 2) as i32)
                        .payload(text.as_bytes());
                    send(&producer, record).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let from = [(0, Offset::Beginning), (1, Offset::Beginning)];
    let received = receive(&assigned(&servers, &topic, &from), 6 * COUNT);
    let mut next: BTreeMap<(i32, String), usize> = BTreeMap::new();
    for record in &received {
        let (who, number) = record.text().split_once('/').unwrap();
        let expected = next
            .entry((record.partition, who.to_owned()))
            .or_insert(record.partition as usize);
        assert_eq!(number.parse(), Ok(*expected));
        *expected += 2;
    }
}

pub(crate) async fn a_large_record_passes(servers: String) {
    let topic = create_topic(&servers, "large", 1).await;
    let mut state = 1_u32;
    let value: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(900_000)
    .collect();
    let producer = producer(&servers);
    for _ in 0..5 {
        send(&producer, Record::to(&topic).payload(&value)).await;
    }
    let received = receive_all(&servers, &topic, 0, 5);
    assert!(
        received
            .iter()
            .all(|record| record.value.as_ref() == Some(&value))
    );
}

pub(crate) async fn a_record_too_large_is_refused(servers: String) {
    let topic = create_topic(&servers, "too-large", 1).await;
    let settings = [("message.max.bytes", "40000000")];
    let producer = producer_with(&servers, &settings);
    let value = vec![7; 20_000_000];
    let record = Record::to(&topic).payload(&value);
    let (error, _) = producer.send(record, PATIENCE).await.unwrap_err();
    assert_eq!(
        error,
        KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)
    );
    let consumer = consumer_with(&servers, &[]);
    assert_eq!(
        consumer.fetch_watermarks(&topic, 0, PATIENCE).unwrap(),
        (0, 0)
    );
}

pub(crate) async fn a_waiting_consumer_is_woken(servers: String) {
    let topic = create_topic(&servers, "woken", 1).await;
    // A consumer that is not woken waits for longer than this test.
    let settings = [
        ("fetch.wait.max.ms", "280000"),
        ("socket.timeout.ms", "300000"),
    ];
    let consumer = consumer_with(&servers, &settings);
    let mut assignment = rdkafka::TopicPartitionList::new();
    assignment
        .add_partition_offset(&topic, 0, Offset::Beginning)
        .unwrap();
    consumer.assign(&assignment).unwrap();
    let producer = producer_with(&servers, &[("linger.ms", "0")]);
    send(&producer, Record::to(&topic).payload(b"first")).await;
    assert!(consumer.poll(PATIENCE).is_some());
    // Now its fetch waits at the broker.
    assert!(consumer.poll(Duration::from_millis(1000)).is_none());
    send(&producer, Record::to(&topic).payload(b"second")).await;
    let message = consumer.poll(PATIENCE).unwrap().unwrap();
    assert_eq!(Received::from(message).text(), "second");
}
