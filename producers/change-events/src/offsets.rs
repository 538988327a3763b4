//! Where in Kafka the acknowledged records are.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::{PartitionEnd, TopicPartition};

use crate::Position;

/// Per topic partition the offset after the last acknowledged record, and what of it is saved.
#[derive(Debug, Default)]
pub struct Offsets {
    topics: Vec<(Arc<str>, Vec<Next>)>,
    /// How many partitions a topic has, as it was when the connection was made.
    partitions: BTreeMap<String, i32>,
}

/// What a record's place says of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Noted {
    /// Behind those of the records before it.
    Next,
    /// Before that of a record that came before it: the topic is another one of the same name. Where the
    /// partition ends is not known from now on.
    FellBack,
    /// In a partition that was added while we are connected, which librdkafka sends to: its key's earlier
    /// events are elsewhere, and no watermark would name where that partition ends. It is not noted.
    Added {
        /// How many partitions there were.
        known: i32,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Next {
    offset: i64,
    saved: i64,
}

impl Offsets {
    /// Goes on from what was saved, in topics of so many partitions. A topic without a count may have any.
    pub fn of(saved: &BTreeMap<TopicPartition, i64>, partitions: BTreeMap<String, i32>) -> Self {
        let mut offsets = Self {
            topics: Vec::new(),
            partitions,
        };
        for (place, &offset) in saved {
            if let Some(next) = offsets.next(&place.topic, place.partition) {
                *next = Next {
                    offset,
                    saved: offset,
                };
            }
        }
        offsets
    }

    /// Notes a record's place.
    pub fn note(&mut self, topic: &Arc<str>, partition: i32, offset: i64) -> Noted {
        match self.partitions.get(&**topic) {
            Some(&known) if partition >= known => return Noted::Added { known },
            _ => {}
        }
        match self.next(topic, partition) {
            Some(next) if next.offset == Position::UNKNOWN => Noted::Next,
            Some(next) if offset < next.offset => {
                next.offset = Position::UNKNOWN;
                Noted::FellBack
            }
            Some(next) => {
                next.offset = offset + 1;
                Noted::Next
            }
            None => Noted::Next,
        }
    }

    /// What is to be saved; it counts as saved from now on.
    pub fn take_changed(&mut self) -> BTreeMap<TopicPartition, i64> {
        let mut changed = BTreeMap::new();
        for (topic, partitions) in &mut self.topics {
            for (partition, next) in (0..).zip(partitions) {
                if next.offset != next.saved {
                    next.saved = next.offset;
                    let place = TopicPartition::new(Arc::clone(topic), partition);
                    changed.insert(place, next.offset);
                }
            }
        }
        changed
    }

    /// What is saved, of the partitions that had records; [`Position::UNKNOWN`] where offsets fell back, saved or
    /// not.
    pub fn saved(&self) -> BTreeMap<TopicPartition, i64> {
        let mut saved = BTreeMap::new();
        for (topic, partitions) in &self.topics {
            for (partition, next) in (0..).zip(partitions) {
                let end = match next.offset {
                    Position::UNKNOWN => Position::UNKNOWN,
                    _ => next.saved,
                };
                if end > 0 {
                    let place = TopicPartition::new(Arc::clone(topic), partition);
                    saved.insert(place, end);
                }
            }
        }
        saved
    }

    /// Where each of a topic's partitions ends, 0 where nothing was published; `None` if that is not
    /// known of one, or how many there are.
    pub fn ends(&self, topic: &str) -> Option<Vec<PartitionEnd>> {
        let partitions = *self.partitions.get(topic)?;
        let known = self.topics.iter().find(|(known, _)| **known == *topic);
        let known = known.map_or(&[][..], |(_, partitions)| partitions.as_slice());
        let end = |partition: i32| {
            let place = usize::try_from(partition).ok()?;
            let offset = known.get(place).map_or(0, |next| next.offset);
            (offset != Position::UNKNOWN).then(|| PartitionEnd {
                topic: topic.to_owned(),
                partition,
                offset,
            })
        };
        (0..partitions).map(end).collect()
    }

    fn next(&mut self, topic: &Arc<str>, partition: i32) -> Option<&mut Next> {
        let known = self
            .topics
            .iter()
            .position(|(known, _)| Arc::ptr_eq(known, topic) || known == topic);
        let index = known.unwrap_or_else(|| {
            self.topics.push((Arc::clone(topic), Vec::new()));
            self.topics.len() - 1
        });
        let (_, partitions) = self.topics.get_mut(index)?;
        let partition = usize::try_from(partition).ok()?;
        if partitions.len() <= partition {
            partitions.resize(partition + 1, Next::default());
        }
        partitions.get_mut(partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_once_and_an_offset_that_falls_back_is_never_known_again() {
        let topic: Arc<str> = "cabin.seat".into();
        let at = |partition| TopicPartition::new(Arc::clone(&topic), partition);
        let mut position = Position::new(7, 7);
        position.offsets.insert(at(0), 5);
        let counts = BTreeMap::from([("cabin.seat".to_owned(), 4)]);
        let mut offsets = Offsets::of(&position.offsets, counts);
        assert_eq!(offsets.note(&topic, 0, 5), Noted::Next);
        assert_eq!(offsets.note(&topic, 2, 0), Noted::Next);
        assert_eq!(offsets.note(&topic, 4, 0), Noted::Added { known: 4 });
        assert_eq!(offsets.note(&"cabin.meal".into(), 4, 0), Noted::Next);
        let changed = offsets.take_changed();
        let of_meal = TopicPartition::new("cabin.meal", 4);
        assert_eq!(
            changed,
            BTreeMap::from([(at(0), 6), (at(2), 1), (of_meal, 1)])
        );
        assert_eq!(offsets.saved(), changed);
        let ends = offsets.ends("cabin.seat").unwrap();
        let ends: Vec<i64> = ends.iter().map(|end| end.offset).collect();
        assert_eq!(ends, [6, 0, 1, 0]);
        assert_eq!(offsets.ends("cabin.meal"), None);
        assert!(offsets.take_changed().is_empty());

        assert_eq!(offsets.note(&topic, 0, 3), Noted::FellBack);
        assert_eq!(offsets.note(&topic, 0, 900), Noted::Next);
        assert_eq!(offsets.saved()[&at(0)], Position::UNKNOWN);
        assert_eq!(
            offsets.take_changed(),
            BTreeMap::from([(at(0), Position::UNKNOWN)])
        );
        assert_eq!(offsets.ends("cabin.seat"), None);
    }
}
