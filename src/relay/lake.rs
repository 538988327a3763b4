//! What the lake has committed of a relay's topics, read off the tables' logs.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use change_events::LakeProgress;
use lake_writer::{Entropy, Feed, Observer, Start, SystemClock};
use schemas::{Shape, TopicPartition};

use crate::config::ResolvedRelay;
use crate::failure::Failure;

/// The tables of the relay's entities.
#[derive(Debug)]
pub(super) struct CommittedOffsets {
    observer: Observer,
    feeds: Vec<Feed>,
}

impl CommittedOffsets {
    /// Opens the lake. A topic whose `[[topic]]` is not in the configuration has the table of its
    /// entity.
    pub(super) fn new(resolved: &mut ResolvedRelay) -> Result<Self, Failure> {
        let observer = Observer::new(
            resolved.lake.open(false)?,
            &resolved.pipeline,
            &resolved.kafka,
            Arc::new(SystemClock),
            Arc::new(Entropy::from_os()),
        )?;
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
        Ok(Self { observer, feeds })
    }
}

#[async_trait]
impl LakeProgress for CommittedOffsets {
    async fn committed(
        &self,
        topics: &[String],
    ) -> Result<BTreeMap<TopicPartition, i64>, Box<dyn Error + Send + Sync>> {
        let mut committed = BTreeMap::new();
        let feeds = self.feeds.iter();
        for feed in feeds.filter(|feed| topics.iter().any(|topic| **topic == *feed.topic)) {
            for stand in self.observer.look_in_lake(feed).await?.partitions {
                if let Some(next_offset) = stand.next_offset {
                    let place = TopicPartition::new(Arc::clone(&feed.topic), stand.partition);
                    committed.insert(place, next_offset);
                }
            }
        }
        Ok(committed)
    }
}
