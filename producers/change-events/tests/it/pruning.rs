//! The outbox is pruned only behind what the lake has committed.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use change_events::{ChangeEvent, Entity, LakeProgress, Relay, RelayLimits, RelayProgress};
use schemas::{TopicPartition, WATERMARKS_TOPIC, Watermark};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::faulty_broker::{Fault, FaultyBroker};
use crate::memory_registry::MemoryRegistry;
use crate::relay::{relay_all, relay_all_with, services};
use crate::said::Said;
use crate::service::{CONTRACT, Service, seat};

const DEADLINE: Duration = Duration::from_secs(60);
const LEFT: &str = "SELECT sequence FROM {}outbox ORDER BY sequence";

/// A lake that has committed what it is told, and counts how often it is asked.
#[derive(Debug, Default)]
struct ToldLake {
    committed: Mutex<BTreeMap<TopicPartition, i64>>,
    asked: Mutex<u64>,
}

#[async_trait]
impl LakeProgress for ToldLake {
    async fn committed(
        &self,
        topics: &[String],
    ) -> Result<BTreeMap<TopicPartition, i64>, Box<dyn Error + Send + Sync>> {
        assert!(topics.iter().any(|topic| topic == "cabin.seat"));
        let mut asked = self.asked.lock().unwrap();
        *asked += 1;
        // A lake that is away is asked again.
        if asked.is_multiple_of(3) {
            return Err("away".into());
        }
        let committed = self.committed.lock().unwrap().clone().into_iter();
        let is_asked = |place: &TopicPartition| topics.iter().any(|topic| **topic == *place.topic);
        Ok(committed.filter(|(place, _)| is_asked(place)).collect())
    }
}

impl ToldLake {
    /// Commits all that is in Kafka.
    fn catch_up(&self, broker: &FaultyBroker) {
        self.catch_up_with("cabin.seat", broker);
    }

    fn catch_up_with(&self, topic: &str, broker: &FaultyBroker) {
        let mut committed = self.committed.lock().unwrap();
        for (partition, log) in broker.logs() {
            let next = i64::try_from(log.len()).unwrap();
            committed.insert(TopicPartition::new(topic, partition), next);
        }
    }

    async fn is_asked_again(&self) {
        let before = *self.asked.lock().unwrap();
        let started = Instant::now();
        // The first of them may have been on its way.
        while *self.asked.lock().unwrap() < before + 4 {
            assert!(started.elapsed() < DEADLINE, "the lake is not asked");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

struct Running {
    cancel: CancellationToken,
    relay: JoinHandle<Result<(), change_events::RelayError>>,
    progress: Arc<RelayProgress>,
}

impl Running {
    async fn start(service: &Service, broker: &Arc<FaultyBroker>, lake: &Arc<ToldLake>) -> Self {
        let relay = service.relay(Arc::clone(broker) as _, "cabin.seat").await;
        Self::of(relay.unwrap(), lake)
    }

    fn of(relay: Relay, lake: &Arc<ToldLake>) -> Self {
        let relay = relay.with_limits(RelayLimits {
            prune_interval: Duration::from_millis(5),
            ..RelayLimits::default()
        });
        let relay = relay.with_lake(Arc::clone(lake) as _);
        let (cancel, progress) = (CancellationToken::new(), relay.progress());
        let relay = tokio::spawn(relay.run(cancel.clone()));
        Self {
            cancel,
            relay,
            progress,
        }
    }

    async fn confirmed(&self, sequence: i64) {
        let started = Instant::now();
        while self.progress.confirmed() < sequence {
            assert!(started.elapsed() < DEADLINE, "{sequence} is not confirmed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Rows go before they are counted.
    async fn pruned(&self, rows: u64) {
        let started = Instant::now();
        while self.progress.pruned() != rows {
            assert!(started.elapsed() < DEADLINE, "{rows} are not pruned");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.relay.await.unwrap().unwrap();
    }
}

async fn left_are(service: &mut Service, sequences: &[i64]) {
    let started = Instant::now();
    loop {
        let left = service.numbers(LEFT).await;
        if left == sequences {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "{left:?} are left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_lake_that_is_always_behind_lets_go_of_what_it_has() {
    for mut service in services("a_lake_that_is_always_behind").await {
        service.change(20, 5).await;
        let broker = Arc::new(FaultyBroker::new([Fault::Deliver(1)]));
        let lake = Arc::new(ToldLake::default());
        let running = Running::start(&service, &broker, &lake).await;
        running.confirmed(20).await;
        lake.is_asked_again().await;
        let had = ToldLake::default();
        had.catch_up(&broker);
        service.change(20, 5).await;
        running.confirmed(40).await;
        *lake.committed.lock().unwrap() = had.committed.into_inner().unwrap();
        let started = Instant::now();
        while running.progress.pruned() == 0 {
            assert!(started.elapsed() < DEADLINE, "nothing is pruned");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        lake.is_asked_again().await;
        assert!(running.progress.pruned() <= 20);
        running.stop().await;
    }
}

#[tokio::test]
async fn rows_go_when_the_lake_has_them_and_parked_ones_stay() {
    for mut service in services("rows_go_when_the_lake_has_them").await {
        service.change(20, 5).await;
        service.append(&seat(9, &json!(9))).await;
        let broker = Arc::new(FaultyBroker::new([Fault::Deliver(1)]));
        let lake = Arc::new(ToldLake::default());
        let running = Running::start(&service, &broker, &lake).await;
        running.confirmed(21).await;
        lake.is_asked_again().await;
        assert_eq!(service.numbers(LEFT).await.len(), 21);
        // All but the last record of one partition.
        lake.catch_up(&broker);
        let place = lake
            .committed
            .lock()
            .unwrap()
            .keys()
            .next()
            .unwrap()
            .clone();
        *lake.committed.lock().unwrap().get_mut(&place).unwrap() -= 1;
        lake.is_asked_again().await;
        assert_eq!(service.numbers(LEFT).await.len(), 21);
        running.stop().await;

        // A relay that starts anew knows from its database where the records are.
        let running = Running::start(&service, &broker, &lake).await;
        lake.is_asked_again().await;
        assert_eq!(service.numbers(LEFT).await.len(), 21);
        lake.catch_up(&broker);
        left_are(&mut service, &[21]).await;
        running.pruned(20).await;
        service.change(3, 3).await;
        running.confirmed(24).await;
        lake.catch_up(&broker);
        left_are(&mut service, &[21]).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn a_topic_that_was_made_again_stops_the_pruning() {
    for mut service in services("a_topic_that_was_made_again_stops_the_pruning").await {
        service.change(20, 5).await;
        let broker = Arc::new(FaultyBroker::new([]));
        let lake = Arc::new(ToldLake::default());
        let running = Running::start(&service, &broker, &lake).await;
        running.confirmed(20).await;
        lake.catch_up(&broker);
        left_are(&mut service, &[]).await;
        // The lake still has the offsets of the first topic.
        broker.forget();
        service.change(5, 5).await;
        running.confirmed(25).await;
        lake.is_asked_again().await;
        assert_eq!(service.numbers(LEFT).await.len(), 5);
        running.stop().await;
        let running = Running::start(&service, &broker, &lake).await;
        lake.is_asked_again().await;
        assert_eq!(service.numbers(LEFT).await.len(), 5);
        running.stop().await;
    }
}

/// What it lacked of the first topic is found in the second, at the same offsets.
#[tokio::test]
async fn a_topic_that_was_made_again_before_the_lake_had_it_stops_the_pruning() {
    for mut service in services("a_topic_that_was_made_again_before").await {
        service.change(20, 5).await;
        let broker = Arc::new(FaultyBroker::new([]));
        let lake = Arc::new(ToldLake::default());
        let running = Running::start(&service, &broker, &lake).await;
        running.confirmed(20).await;
        lake.is_asked_again().await;
        broker.forget();
        service.change(20, 5).await;
        running.confirmed(40).await;
        lake.catch_up(&broker);
        lake.is_asked_again().await;
        assert_eq!(service.numbers(LEFT).await.len(), 40);
        running.stop().await;
    }
}

/// The documented `DELETE`, or a position of before offsets were kept: what the partitions held then
/// is below their ends.
#[tokio::test]
async fn rows_whose_offsets_were_forgotten_stay_until_the_lake_has_the_partitions_ends() {
    for mut service in services("rows_whose_offsets_were_forgotten_stay").await {
        service.change(20, 5).await;
        let broker = Arc::new(FaultyBroker::new([]));
        let lake = Arc::new(ToldLake::default());
        let running = Running::start(&service, &broker, &lake).await;
        running.confirmed(20).await;
        running.stop().await;
        service.run("DELETE FROM {}outbox_partition").await;
        service.run("DELETE FROM {}outbox_topic").await;
        // The lake has nothing, of no partition.
        let running = Running::start(&service, &broker, &lake).await;
        lake.is_asked_again().await;
        assert_eq!(service.numbers(LEFT).await.len(), 20);
        lake.catch_up(&broker);
        left_are(&mut service, &[]).await;
        running.stop().await;
    }
}

/// Its offsets are kept, and the lake may have its rows or never get them.
#[tokio::test]
async fn an_entity_that_is_left_out_holds_up_only_what_the_lake_lacks_and_is_named() {
    let said = Said::listen();
    for mut service in services("an_entity_that_is_left_out_holds_up").await {
        service.change(20, 5).await;
        let (meal, row) = ("cabin.meal", json!({"id": 1, "holder": "fish"}));
        let key = json!({"id": 1});
        let event = ChangeEvent::create(&meal.parse().unwrap(), 1_357_034_400_000_000, &key, &row);
        service.append(&event.unwrap()).await;
        let broker = Arc::new(FaultyBroker::new([]));
        let lake = Arc::new(ToldLake::default());
        let entity = |name: &str| Entity::new(name.parse().unwrap(), CONTRACT.parse().unwrap());
        let relay = Relay::open(
            service.store().await,
            vec![entity("cabin.seat"), entity(meal)],
            Arc::clone(&broker) as _,
            Arc::new(MemoryRegistry::default()),
        );
        let running = Running::of(relay.await.unwrap(), &lake);
        running.confirmed(21).await;
        running.stop().await;
        assert_eq!(said.of(meal), [""; 0]);

        let running = Running::start(&service, &broker, &lake).await;
        lake.catch_up(&broker);
        lake.is_asked_again().await;
        assert_eq!(service.numbers(LEFT).await.len(), 21);
        let warnings = said.of("WHERE topic = 'cabin.meal'");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        lake.catch_up_with(meal, &broker);
        left_are(&mut service, &[]).await;
        running.stop().await;
        said.forget();
    }
}

/// A partition's end is as unknown as its offsets while the brokers do not tell it.
#[tokio::test]
async fn watermarks_name_ends_that_are_above_what_was_forgotten() {
    for mut service in services("watermarks_name_ends_that_are_above").await {
        service.change(20, 5).await;
        let broker = Arc::new(FaultyBroker::new([]));
        relay_all(&mut service, &broker).await;
        service.run("DELETE FROM {}outbox_partition").await;
        service.change(1, 1).await;
        let limits = RelayLimits {
            watermark_interval: Some(Duration::from_millis(5)),
            ..RelayLimits::default()
        };
        relay_all_with(&mut service, &broker, &limits).await;
        let logs = broker.logs();
        let records = logs.values().flatten();
        let mark = records
            .rev()
            .find(|record| *record.topic == *WATERMARKS_TOPIC);
        let mark = Watermark::from_json(&mark.unwrap().value).unwrap();
        for (partition, log) in &logs {
            let seats = log
                .iter()
                .rposition(|record| *record.topic == *"cabin.seat");
            let end = mark.ends.iter().find(|end| end.partition == *partition);
            let end = usize::try_from(end.unwrap().offset).unwrap();
            assert!(seats.is_none_or(|last| end > last), "{mark:?}");
        }
    }
}
