//! What the lake has committed of a relay's topics, read off the tables' logs.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use change_events::LakeProgress;
use lake_writer::{Entropy, Feed, KafkaSettings, Observer, Start, SystemClock};
use schemas::{Shape, TopicPartition};

use crate::config::{LakePlace, ResolvedRelay};
use crate::failure::Failure;

/// The tables of the relay's entities.
#[derive(Debug)]
pub(super) struct CommittedOffsets {
    place: LakePlace,
    pipeline: String,
    kafka: KafkaSettings,
    /// Opened with the first question: a relay may be there before the lake is.
    observer: OnceLock<Observer>,
    feeds: Vec<Feed>,
}

impl CommittedOffsets {
    /// Finds the tables. A topic whose `[[topic]]` is not in the configuration has the table of its
    /// entity.
    pub(super) fn new(resolved: &mut ResolvedRelay) -> Result<Self, Failure> {
        let mut feeds = Vec::with_capacity(resolved.relay.entities.len());
        for entity in &resolved.relay.entities {
            let routes = resolved.routes.as_mut();
            let routed = routes.and_then(|routes| routes.route(&entity.topic));
            let (table, start) = match routed {
                Some(route) => {
                    let route = route.map_err(Failure::usage)?;
                    (route.table, route.start)
                }
                None => (entity.table.clone(), Start::Earliest),
            };
            feeds.push(Feed {
                topic: entity.topic.as_str().into(),
                table,
                shape: Shape::Debezium,
                start,
            });
        }
        Ok(Self {
            place: resolved.lake.clone(),
            pipeline: resolved.pipeline.clone(),
            kafka: resolved.kafka.clone(),
            observer: OnceLock::new(),
            feeds,
        })
    }

    fn observer(&self) -> Result<&Observer, Failure> {
        if let Some(observer) = self.observer.get() {
            return Ok(observer);
        }
        let opened = Observer::new(
            self.place.open(false)?,
            &self.pipeline,
            &self.kafka,
            Arc::new(SystemClock),
            Arc::new(Entropy::from_os()),
        )?;
        Ok(self.observer.get_or_init(|| opened))
    }
}

#[async_trait]
impl LakeProgress for CommittedOffsets {
    async fn committed(
        &self,
        topics: &[String],
    ) -> Result<BTreeMap<TopicPartition, i64>, Box<dyn Error + Send + Sync>> {
        let observer = self.observer()?;
        let mut committed = BTreeMap::new();
        for topic in topics {
            let of_entity = self.feeds.iter().find(|feed| *feed.topic == **topic);
            let Some(feed) = of_entity.cloned().or_else(|| of_before(topic)) else {
                continue;
            };
            for stand in observer.look_in_lake(&feed).await?.partitions {
                if let Some(next_offset) = stand.next_offset {
                    let place = TopicPartition::new(Arc::clone(&feed.topic), stand.partition);
                    committed.insert(place, next_offset);
                }
            }
        }
        Ok(committed)
    }
}

/// A topic that no entity has now is one of its own entity's name, or its table is not known.
fn of_before(topic: &str) -> Option<Feed> {
    Some(Feed {
        topic: topic.into(),
        table: topic.parse().ok()?,
        shape: Shape::Debezium,
        start: Start::Earliest,
    })
}
