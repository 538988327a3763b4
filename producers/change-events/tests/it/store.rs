//! What the relay may rely on, whichever database it reads.

use change_events::{ParkedRow, Position};
use schemas::TopicPartition;

use crate::relay::services;

fn parked(sequence: i64, key: &str, why: &str) -> ParkedRow {
    ParkedRow {
        sequence,
        entity: "cabin.seat".into(),
        key_id: key.as_bytes().to_vec(),
        key: key.into(),
        why: why.into(),
    }
}

#[tokio::test]
async fn rows_come_in_order_and_no_more_than_asked_for() {
    for mut service in services("rows_come_in_order_and_no_more_than_asked_for").await {
        service.change(7, 3).await;
        let mut store = service.store().await;
        assert!(store.claim().await.unwrap());
        assert_eq!(store.source().await.unwrap(), service.source);
        let sequences = |batch: &change_events::OutboxBatch| {
            let rows = batch.rows.iter().map(|row| row.sequence);
            rows.collect::<Vec<_>>()
        };
        let first = store.rows_after(0, 3).await.unwrap();
        assert_eq!(sequences(&first), [1, 2, 3]);
        assert_eq!((first.safe, first.read_through(3)), (7, 3));
        let rest = store.rows_after(3, 100).await.unwrap();
        assert_eq!(sequences(&rest), [4, 5, 6, 7]);
        let none = store.rows_after(7, 100).await.unwrap();
        assert_eq!((none.rows.len(), none.read_through(100)), (0, 7));
    }
}

#[tokio::test]
async fn a_position_moves_forward_only_and_is_found_again() {
    for service in services("a_position_moves_forward_only_and_is_found_again").await {
        let mut store = service.store().await;
        assert_eq!(store.position().await.unwrap(), Position::new(0, 0));
        let at = |partition| TopicPartition::new("cabin.seat", partition);
        let mut position = Position::new(5, 9);
        position.offsets.insert(at(0), 3);
        position.offsets.insert(at(7), 1);
        store.save(&position).await.unwrap();
        store.save(&Position::new(4, 11)).await.unwrap();
        let mut later = Position::new(5, 5);
        later.offsets.insert(at(0), 2);
        later.offsets.insert(at(7), Position::UNKNOWN);
        store.save(&later).await.unwrap();
        position.released = 11;
        position.offsets.insert(at(7), Position::UNKNOWN);
        let mut store = service.store().await;
        assert_eq!(store.position().await.unwrap(), position);
    }
}

#[tokio::test]
async fn the_first_cluster_and_its_partition_counts_are_kept() {
    for service in services("the_first_cluster_and_its_partition_counts_are_kept").await {
        let mut store = service.store().await;
        assert_eq!(store.cluster().await.unwrap(), None);
        store.set_cluster("first").await.unwrap();
        assert_eq!(store.topic_partitions("a", 4).await.unwrap(), 4);
        assert_eq!(store.topic_partitions("a", 8).await.unwrap(), 4);
        let mut position = Position::new(0, 0);
        let place = TopicPartition::new("a", 0);
        position.offsets.insert(place, 3);
        store.save(&position).await.unwrap();
        store.set_cluster("second").await.unwrap();
        assert_eq!(store.cluster().await.unwrap().as_deref(), Some("second"));
        assert_eq!(store.topic_partitions("a", 8).await.unwrap(), 8);
        assert!(store.position().await.unwrap().offsets.is_empty());
    }
}

#[tokio::test]
async fn parked_rows_wait_by_key_and_are_tried_in_order() {
    for mut service in services("parked_rows_wait_by_key_and_are_tried_in_order").await {
        service.change(6, 6).await;
        let mut store = service.store().await;
        let rows = [
            parked(2, "a", "bad"),
            parked(3, "b", "bad"),
            parked(5, "a", "waits"),
        ];
        store.park(&rows).await.unwrap();
        store.park(&[parked(2, "a", "other")]).await.unwrap();
        let keys = store.parked_keys(10).await.unwrap();
        let keys: Vec<_> = keys
            .iter()
            .map(|key| (&*key.key_id, key.first, key.last, key.rows))
            .collect();
        assert_eq!(keys, [(&b"a"[..], 2, 5, 2), (&b"b"[..], 3, 3, 1)]);
        assert!(store.retries(10).await.unwrap().is_empty());
        // A wish for a row that is not its key's first is none.
        let wish = "UPDATE {}outbox_parked SET retry = (1 = 1) WHERE sequence = ";
        service.run(&format!("{wish}5")).await;
        assert!(store.retries(10).await.unwrap().is_empty());
        service.run(&format!("{wish}2")).await;
        let found = store.retries(10).await.unwrap();
        let found: Vec<_> = found.iter().map(|retry| retry.row.sequence).collect();
        assert_eq!(found, [2, 5]);

        let numbers = store.number_retries(&found).await.unwrap();
        assert_eq!(numbers, [(2, 1), (5, 2)]);
        assert_eq!(store.number_retries(&found).await.unwrap(), numbers);
        store.unpark(&[2]).await.unwrap();
        let again = store.retries(10).await.unwrap();
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].retry_sequence, Some(2));
        store.park_again(&[parked(5, "a", "worse")]).await.unwrap();
        assert!(store.retries(10).await.unwrap().is_empty());
        service.run(&format!("{wish}5")).await;
        assert_eq!(store.number_retries(&[5]).await.unwrap(), [(5, 3)]);
        assert_eq!(store.number_retries(&[2]).await.unwrap(), []);
    }
}

#[tokio::test]
async fn pruning_leaves_what_is_parked_and_what_comes_later() {
    for mut service in services("pruning_leaves_what_is_parked_and_what_comes_later").await {
        service.change(8, 8).await;
        let mut store = service.store().await;
        store.park(&[parked(3, "a", "bad")]).await.unwrap();
        assert_eq!(store.prune(6, 2).await.unwrap(), 2);
        assert_eq!(store.prune(6, 100).await.unwrap(), 3);
        assert_eq!(store.prune(6, 100).await.unwrap(), 0);
        let left = "SELECT sequence FROM {}outbox ORDER BY sequence";
        assert_eq!(service.numbers(left).await, [3, 7, 8]);
        // A sequence is never given twice.
        service.change(1, 1).await;
        assert_eq!(service.end().await, 9);
    }
}
