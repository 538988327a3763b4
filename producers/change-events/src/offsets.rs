//! Where in Kafka the acknowledged records are.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::{PartitionEnd, TopicPartition};

use crate::Position;

/// Per topic partition the offset after the last acknowledged record, and what of it is saved.
#[derive(Debug, Default)]
pub struct Offsets {
    topics: Vec<(Arc<str>, Vec<Next>)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Next {
    offset: i64,
    saved: i64,
}

impl Offsets {
    /// Goes on from what was saved.
    pub fn of(saved: &BTreeMap<TopicPartition, i64>) -> Self {
        let mut offsets = Self::default();
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

    /// Notes a record's place. False if records came before it in time and behind it in place: the
    /// topic is another one of the same name.
    pub fn note(&mut self, topic: &Arc<str>, partition: i32, offset: i64) -> bool {
        let Some(next) = self.next(topic, partition) else {
            return true;
        };
        if next.offset == Position::UNKNOWN {
            return true;
        }
        let fell_back = offset < next.offset;
        next.offset = if fell_back {
            Position::UNKNOWN
        } else {
            offset + 1
        };
        !fell_back
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

    /// What is saved, of the partitions that had records.
    pub fn saved(&self) -> BTreeMap<TopicPartition, i64> {
        let mut saved = BTreeMap::new();
        for (topic, partitions) in &self.topics {
            for (partition, next) in (0..).zip(partitions) {
                if next.saved > 0 {
                    let place = TopicPartition::new(Arc::clone(topic), partition);
                    saved.insert(place, next.saved);
                }
            }
        }
        saved
    }

    /// Where each of a topic's partitions ends, 0 where nothing was published; `None` if that is not
    /// known of one.
    pub fn ends(&self, topic: &str, partitions: i32) -> Option<Vec<PartitionEnd>> {
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
        let mut offsets = Offsets::of(&position.offsets);
        assert!(offsets.note(&topic, 0, 5));
        assert!(offsets.note(&topic, 2, 0));
        let changed = offsets.take_changed();
        assert_eq!(changed, BTreeMap::from([(at(0), 6), (at(2), 1)]));
        assert_eq!(offsets.saved(), changed);
        let ends = offsets.ends("cabin.seat", 4).unwrap();
        let ends: Vec<i64> = ends.iter().map(|end| end.offset).collect();
        assert_eq!(ends, [6, 0, 1, 0]);
        assert_eq!(offsets.ends("cabin.meal", 1).unwrap().len(), 1);
        assert!(offsets.take_changed().is_empty());

        assert!(!offsets.note(&topic, 0, 3));
        assert!(offsets.note(&topic, 0, 900));
        assert_eq!(
            offsets.take_changed(),
            BTreeMap::from([(at(0), Position::UNKNOWN)])
        );
        assert_eq!(offsets.ends("cabin.seat", 4), None);
    }
}
