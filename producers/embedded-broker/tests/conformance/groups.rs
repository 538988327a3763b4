//! Consumer groups and committed offsets.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{
    PATIENCE, consumer_with, create_topic, producer, receive, send_numbers, unique,
};

pub(crate) async fn a_group_resumes_where_it_committed(servers: String) {
    let topic = create_topic(&servers, "group", 3).await;
    let group = unique("resumes");
    let producer = producer(&servers);
    for partition in 0..3 {
        send_numbers(&producer, &topic, partition, 0..100).await;
    }
    let first = member(&servers, &topic, &group);
    receive(&first, 300);
    let mut offsets = TopicPartitionList::new();
    for (partition, offset) in [(0, 100), (1, 40), (2, 99)] {
        offsets
            .add_partition_offset(&topic, partition, Offset::Offset(offset))
            .unwrap();
    }
    first.commit(&offsets, CommitMode::Sync).unwrap();
    let committed = first.committed(PATIENCE).unwrap();
    assert_eq!(committed.to_topic_map(), offsets.to_topic_map());
    // A list that came from a consumer must go before it: librdkafka waits for it, for ever.
    drop(committed);
    drop(first);

    let second = member(&servers, &topic, &group);
    let received = receive(&second, 61);
    let count = |partition| {
        let mut records = received
            .iter()
            .filter(|record| record.partition == partition);
        (
            records.next().map(|record| record.offset),
            1 + records.count(),
        )
    };
    assert_eq!(count(1), (Some(40), 60));
    assert_eq!(count(2), (Some(99), 1));
}

pub(crate) async fn two_members_share_the_partitions(servers: String) {
    let topic = create_topic(&servers, "shared", 4).await;
    let group = unique("shared");
    let members = [(); 2].map(|()| member(&servers, &topic, &group));
    share(&members.each_ref(), &[2, 2]);
    // Each reads its own partitions, and commits them as a member.
    let producer = producer(&servers);
    for partition in 0..4 {
        send_numbers(&producer, &topic, partition, 0..10).await;
    }
    for member in &members {
        receive(member, 20);
        member.commit_consumer_state(CommitMode::Sync).unwrap();
    }
}

pub(crate) async fn the_members_that_stay_share_what_one_left(servers: String) {
    let topic = create_topic(&servers, "left", 4).await;
    let group = unique("left");
    let [first, second, third] = [(); 3].map(|()| member(&servers, &topic, &group));
    share(&[&first, &second, &third], &[1, 1, 2]);
    drop(first);
    share(&[&second, &third], &[2, 2]);
    drop(third);
    share(&[&second], &[4]);
}

pub(crate) async fn a_member_that_vanishes_is_replaced(servers: String) {
    let topic = create_topic(&servers, "vanished", 2).await;
    let group = unique("vanished");
    // Whoever waits for its session to end waits for longer than this test.
    let settings = [
        ("group.instance.id", "one"),
        ("group.id", &group),
        ("session.timeout.ms", "280000"),
        ("max.poll.interval.ms", "300000"),
    ];
    let vanishing = consumer_with(&servers, &settings);
    vanishing.subscribe(&[&topic]).unwrap();
    share(&[&vanishing], &[2]);
    // A static member does not leave when it ends: the next of its name takes its place.
    drop(vanishing);
    let again = consumer_with(&servers, &settings);
    again.subscribe(&[&topic]).unwrap();
    share(&[&again], &[2]);
}

/// Waits until so many partitions are with these members, in any order.
fn share(members: &[&BaseConsumer], expected: &[usize]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut counts: Vec<_> = members.iter().map(|member| partitions(member)).collect();
        counts.sort_unstable();
        if counts == expected {
            break;
        }
        assert!(Instant::now() < deadline, "partitions: {counts:?}");
    }
}

pub(crate) async fn offsets_are_committed_without_a_subscription(servers: String) {
    let topic = create_topic(&servers, "committed", 2).await;
    let group = unique("assigned");
    send_numbers(&producer(&servers), &topic, 1, 0..10).await;
    let consumer = consumer_with(&servers, &[("group.id", &group)]);
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(&topic, 1, Offset::Offset(7))
        .unwrap();
    consumer.commit(&offsets, CommitMode::Sync).unwrap();

    let other = consumer_with(&servers, &[("group.id", &group)]);
    let mut asked = TopicPartitionList::new();
    asked.add_partition(&topic, 0);
    asked.add_partition(&topic, 1);
    let committed = other.committed_offsets(asked, PATIENCE).unwrap();
    let offset = |partition| {
        committed
            .find_partition(&topic, partition)
            .unwrap()
            .offset()
    };
    assert_eq!(offset(0), Offset::Invalid);
    assert_eq!(offset(1), Offset::Offset(7));
}

fn member(servers: &str, topic: &str, group: &str) -> BaseConsumer {
    let settings = [("group.id", group), ("session.timeout.ms", "6000")];
    let consumer = consumer_with(servers, &settings);
    consumer.subscribe(&[topic]).unwrap();
    consumer
}

/// How many partitions a member has, after it was given a moment.
fn partitions(member: &BaseConsumer) -> usize {
    let _ = member.poll(Duration::from_millis(100));
    member.assignment().unwrap().count()
}
