//! What is missing between a table and its topic, and where the table may go on.

use std::fmt;
use std::sync::Arc;

use schemas::{Shape, TopicPartition};

use super::{PartitionStand, Stand};
use crate::record_log::mark_time_ms;

/// Why a table cannot go on where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// Kafka has dropped records that were not copied.
    Retention,
    /// The topic was deleted and made again, or is one of another cluster.
    TopicReplaced,
    /// Kafka has lost the end of the partition, which is in the table.
    OffsetsRegressed,
    /// The topic has another number of partitions than its table was written from.
    PartitionsChanged,
    /// The partition is not there any more: the topic was made again with fewer.
    PartitionGone,
    /// The topic is of another cluster than its table was written from.
    ClusterChanged,
}

impl GapReason {
    /// Later ones come last: a place here is kept in the lake.
    const ALL: [Self; 6] = [
        Self::Retention,
        Self::TopicReplaced,
        Self::OffsetsRegressed,
        Self::PartitionsChanged,
        Self::PartitionGone,
        Self::ClusterChanged,
    ];

    /// The reason's stable word, as in `system.gaps`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::TopicReplaced => "topic_replaced",
            Self::OffsetsRegressed => "offsets_regressed",
            Self::PartitionsChanged => "partitions_changed",
            Self::PartitionGone => "partition_gone",
            Self::ClusterChanged => "cluster_changed",
        }
    }

    /// The reason's number in `txn`s.
    pub(super) fn number(self) -> i64 {
        let place = Self::ALL.iter().position(|reason| *reason == self);
        i64::try_from(place.unwrap_or_default()).unwrap_or_default()
    }

    pub(super) fn of_number(number: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// Where to go on when that cannot be told from what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// At the first record kept: all of them are new.
    Start,
    /// At the end: what is there was copied before.
    End,
}

/// A gap: the table was to go on at one offset and can only go on at another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition; `None`: the topic as a whole.
    pub partition: Option<i32>,
    /// The offset the table was to go on at; of a topic: how many partitions it had.
    pub from: i64,
    /// The offset it goes on at when the gap is accepted; of a topic: how many partitions it has.
    /// `None`: that cannot be told, see [`Restart`].
    pub to: Option<i64>,
    /// Why.
    pub reason: GapReason,
    /// It was recorded in the lake already, and not passed yet.
    pub(super) recorded: bool,
}

impl Gap {
    /// How many records are missing, if that is known: those of a topic that is gone are not.
    pub fn records(&self) -> Option<i64> {
        match self.reason {
            GapReason::Retention => Some(self.to? - self.from),
            GapReason::PartitionsChanged | GapReason::ClusterChanged => Some(0),
            _ => None,
        }
    }

    /// What is counted by: the partition, or the topic.
    pub(super) fn place(&self) -> String {
        match self.partition {
            Some(partition) => format!("{}/{partition}", self.topic),
            None => self.topic.to_string(),
        }
    }

    pub(super) fn topic_partition(&self) -> Option<TopicPartition> {
        Some(TopicPartition::new(
            Arc::clone(&self.topic),
            self.partition?,
        ))
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from, self.to);
        let to = to.map_or_else(|| "?".to_owned(), |to| to.to_string());
        write!(f, "{}: ", self.place())?;
        match self.reason {
            GapReason::Retention => write!(
                f,
                "offsets {from} to {to} ({} records) were dropped by kafka before they were copied",
                self.records().unwrap_or_default()
            ),
            GapReason::TopicReplaced => write!(
                f,
                "the topic is another one than was copied up to offset {from}; what the earlier one \
                 held from there on is not known; the new one is read from offset {to}"
            ),
            GapReason::OffsetsRegressed => write!(
                f,
                "kafka ends before offset {from}, up to which was copied; reading goes on at {to}"
            ),
            GapReason::PartitionsChanged => write!(
                f,
                "the topic has {to} partitions, the table was written from {from}; changes of one \
                 key may lie in two of them, in no order"
            ),
            GapReason::ClusterChanged => write!(
                f,
                "another cluster answers than the table was written from; its topic has {to} \
                 partitions, the earlier one had {from}"
            ),
            GapReason::PartitionGone => write!(
                f,
                "the partition, copied up to offset {from}, is not there any more; should it come \
                 again, it is read from offset {to}"
            ),
        }
    }
}

impl Stand {
    /// All gaps, as far as Kafka and the table tell. `restart` decides where they do not.
    pub fn gaps(&self, restart: Option<Restart>) -> Vec<Gap> {
        let is_known = self.kafka_error.is_none() && !self.topic_forbidden;
        let Some(now @ 1..) = self.partitions_now.filter(|_| is_known) else {
            return Vec::new();
        };
        let elsewhere = self.is_elsewhere();
        let mut gaps: Vec<Gap> = self
            .partitions
            .iter()
            .filter_map(|partition| {
                let (reason, to) = match elsewhere {
                    true => partition.gap_elsewhere()?,
                    false => partition.gap(restart)?,
                };
                Some(self.gap(
                    Some(partition.partition),
                    partition.next_offset?,
                    to,
                    reason,
                ))
            })
            .collect();
        let before = self.partitions_before.unwrap_or(now.into());
        if elsewhere {
            gaps.push(self.gap(None, before, Some(now.into()), GapReason::ClusterChanged));
        } else if before != i64::from(now) && self.feed.shape != Shape::Append {
            gaps.push(self.gap(None, before, Some(now.into()), GapReason::PartitionsChanged));
        }
        gaps
    }

    pub(super) fn gap(
        &self,
        partition: Option<i32>,
        from: i64,
        to: Option<i64>,
        reason: GapReason,
    ) -> Gap {
        Gap {
            topic: Arc::clone(&self.feed.topic),
            partition,
            from,
            to,
            reason,
            recorded: false,
        }
    }
}

impl PartitionStand {
    /// Why the table cannot go on here, and where it could.
    fn gap(&self, restart: Option<Restart>) -> Option<(GapReason, Option<i64>)> {
        let next_offset = self.next_offset?;
        let Some((first, end)) = self.kept else {
            // Offset 0 says that it was passed over already.
            return (next_offset > 0).then_some((GapReason::PartitionGone, Some(0)));
        };
        if next_offset < first {
            return Some((GapReason::Retention, Some(first)));
        }
        let replaced = match (self.mark, self.mark_now) {
            (Some(mark), Some(now)) => mark != now,
            _ => false,
        };
        if next_offset <= end && !replaced {
            return None;
        }
        let shown = (replaced || self.all_is_newer(first, end)).then_some(Restart::Start);
        Some(match shown.or(restart) {
            Some(Restart::Start) => (GapReason::TopicReplaced, Some(first)),
            Some(Restart::End) => (GapReason::OffsetsRegressed, Some(end)),
            None => (GapReason::OffsetsRegressed, None),
        })
    }

    /// The same where another cluster answers: it goes on only after the very record that was copied
    /// last, as a mirror with the same offsets would have it.
    fn gap_elsewhere(&self) -> Option<(GapReason, Option<i64>)> {
        let next_offset = self.next_offset?;
        let Some((first, _)) = self.kept else {
            return (next_offset > 0).then_some((GapReason::PartitionGone, Some(0)));
        };
        let is_mirror = self.mark.is_some() && self.mark == self.mark_now;
        (!is_mirror && next_offset != first).then_some((GapReason::TopicReplaced, Some(first)))
    }

    /// Whether every record that is there was written after the last one that was copied, so that
    /// none of them can have been copied.
    fn all_is_newer(&self, first: i64, end: i64) -> bool {
        match (self.mark, self.first_mark) {
            _ if first == end => true,
            (Some(mark), Some(first)) => mark_time_ms(first) > mark_time_ms(mark),
            _ => false,
        }
    }
}
