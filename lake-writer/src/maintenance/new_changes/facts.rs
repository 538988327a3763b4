//! What is asked of a file of changes, in numbers: a table may have a million of them, and their
//! statistics would be most of what is held.

use std::ops::RangeInclusive;

use chrono::{DateTime, NaiveDate};
use serde_json::Value;

use super::DAY_US;
use crate::action::Add;
use crate::layout::{EVENT_DATE, EVENT_TIME, GENERATION, OFFSET, PARTITION};
use crate::maintenance::covered::Covered;

/// A file's size and dates, and what its statistics say of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) size: u64,
    /// Days since 1970-01-01, in UTC.
    days: (i64, i64),
    /// Topic partitions, the first and the last.
    partitions: Option<(i32, i32)>,
    offset_max: Option<i64>,
    generation_min: Option<i64>,
    /// When the newest row was taken in, as far as the file says so, and when the file was made.
    pub(super) ingested_at: (Option<i64>, i64),
}

impl Facts {
    pub(crate) fn of(add: &Add) -> Self {
        let statistics = statistics(add).unwrap_or_default();
        let bound = |side: &str, column: &str| statistics[side][column].as_i64();
        let partition = |side| i32::try_from(bound(side, PARTITION)?).ok();
        let days = days(add);
        Self {
            size: add.size.unsigned_abs(),
            days: (*days.start(), *days.end()),
            partitions: partition("minValues").zip(partition("maxValues")),
            offset_max: bound("maxValues", OFFSET),
            generation_min: bound("minValues", GENERATION),
            ingested_at: (
                time_us(&statistics, "maxValues", "_ingest_time"),
                add.modification_time,
            ),
        }
    }

    /// The days on which owners committed its changes: one, or any if the file does not say.
    pub(crate) fn days(&self) -> RangeInclusive<i64> {
        self.days.0..=self.days.1
    }

    /// The earliest generation of its changes, as far as it says so.
    pub(super) fn generation_min(&self) -> i64 {
        self.generation_min.unwrap_or(i64::MIN)
    }

    /// Whether all its changes are covered, by what it says. Only where no offsets ever began anew.
    pub(super) fn is_covered(&self, covered: &Covered) -> bool {
        match (self.partitions, self.offset_max) {
            (Some((first, last)), Some(offset)) => {
                (first..=last).all(|partition| covered.has(partition, offset))
            }
            _ => false,
        }
    }

    /// Whether it has changes of an earlier generation than their partitions have here. Where
    /// generations differ among the partitions of one file, it does not tell.
    pub(super) fn is_of_the_past(&self, places: &Covered) -> bool {
        let generation = i32::try_from(self.generation_min()).unwrap_or(i32::MIN);
        match self.partitions {
            Some((first, last)) => {
                (first..=last).all(|partition| places.is_of_the_past(partition, generation))
            }
            None => places.has_generations(),
        }
    }
}

/// When the first change of a file was committed by its owner, at the earliest, in microseconds since
/// 1970-01-01T00:00Z.
pub(super) fn first_time_us(add: &Add) -> i64 {
    let statistics = statistics(add).unwrap_or_default();
    let first_us = time_us(&statistics, "minValues", EVENT_TIME);
    first_us.unwrap_or_else(|| days(add).start().saturating_mul(DAY_US))
}

/// The latest time of a column in a file, or a little later, in microseconds since
/// 1970-01-01T00:00Z, if the file says so.
pub(crate) fn last_time_us(add: &Add, column: &str) -> Option<i64> {
    time_us(&statistics(add)?, "maxValues", column)
}

fn statistics(add: &Add) -> Option<Value> {
    serde_json::from_str(add.stats.as_deref()?).ok()
}

fn time_us(statistics: &Value, side: &str, column: &str) -> Option<i64> {
    let time = DateTime::parse_from_rfc3339(statistics[side][column].as_str()?);
    Some(time.ok()?.timestamp_micros())
}

fn days(add: &Add) -> RangeInclusive<i64> {
    let date = add.partition_values.get(EVENT_DATE).cloned().flatten();
    let date: Option<NaiveDate> = date.and_then(|date| date.parse().ok());
    let day = date.map(|date| (date - NaiveDate::default()).num_days());
    day.map_or(i64::MIN..=i64::MAX, |day| day..=day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta_log::TableState;
    use crate::layout;

    fn facts(stats: &str) -> Facts {
        Facts::of(&Add {
            path: "p".to_owned(),
            partition_values: Default::default(),
            size: 1,
            modification_time: 0,
            data_change: true,
            stats: Some(stats.to_owned()),
        })
    }

    fn covered(ends: &[(i32, i64)]) -> Covered {
        let schema = std::sync::Arc::new(arrow::datatypes::Schema::empty());
        let metadata = layout::system_metadata(&schema, uuid::Uuid::nil(), 0).unwrap();
        let txns = ends
            .iter()
            .map(|(partition, end)| (format!("p/t/{partition}"), *end));
        let state = TableState {
            version: 0,
            protocol: crate::action::Protocol::PLAIN,
            metadata,
            txns: txns.collect(),
        };
        Covered::by(&state, "a/b/current")
    }

    #[test]
    fn a_file_is_passed_over_only_if_its_statistics_say_so() {
        let file = |first: i32, last: i32, offset: i64| {
            facts(&format!(
                r#"{{"minValues":{{"_partition":{first}}},"maxValues":{{"_partition":{last},"_offset":{offset}}}}}"#
            ))
        };
        let covered = covered(&[(0, 10), (1, 5)]);
        assert!(file(0, 0, 9).is_covered(&covered));
        assert!(!file(0, 0, 10).is_covered(&covered));
        assert!(file(0, 1, 4).is_covered(&covered));
        assert!(!file(0, 1, 5).is_covered(&covered));
        assert!(!file(0, 2, 4).is_covered(&covered));
        assert!(!facts("{}").is_covered(&covered));
        assert!(!facts("not json").is_covered(&covered));
    }

    #[test]
    fn the_newest_come_first() {
        let file = |time: &str| facts(&format!(r#"{{"maxValues":{{"_ingest_time":"{time}"}}}}"#));
        let (old, new, unknown) = (
            file("2026-01-01T00:00:00.000Z"),
            file("2026-01-02T00:00:00.000Z"),
            facts("{}"),
        );
        assert!(new.ingested_at > old.ingested_at);
        assert!(unknown.ingested_at < old.ingested_at);
    }

    /// A table of a million files is listed in some hundred megabytes.
    #[test]
    fn what_is_held_of_a_file_is_small_whatever_its_statistics() {
        let path = "_event_date=2013-01-02/part-20e451dc-1dd0-4a1b-8674-6d867a0f4e7e.zstd.parquet";
        let held = std::mem::size_of::<super::super::NewFile>() + path.len();
        assert!(held < 256, "{held}");
    }
}
