//! Which files of a table of changes hold what a derived table does not cover yet.

use std::ops::RangeInclusive;

use chrono::{DateTime, NaiveDate};
use serde_json::Value;

use super::covered::Covered;
use super::error::FoldError;
use super::tail::Wanted;
use crate::action::Add;
use crate::delta_log::{DeltaLog, TableState};
use crate::layout::{EVENT_DATE, EVENT_TIME};

/// Times that the list of files is asked for, while checkpoints come in between.
const ATTEMPTS_MAX: usize = 3;

/// Microseconds of a day.
pub(crate) const DAY_US: i64 = 86_400_000_000;

/// Files to be read, the newest first.
#[derive(Clone, Debug)]
pub(crate) struct NewChanges {
    pub(crate) files: Vec<Add>,
    pub(crate) wanted: Wanted,
}

/// The files that came after the version covered, as the entries in between tell. A file that was
/// written anew since (compacted, or in wider columns) is read in its first form, which the store
/// keeps for readers of older versions; what it was written anew as has `dataChange: false`.
///
/// `None` if the log does not have all these entries any more.
pub(crate) async fn since(
    log: &DeltaLog,
    covered: u64,
    newest: u64,
) -> Result<Option<NewChanges>, FoldError> {
    let mut files = Vec::new();
    for version in covered + 1..=newest {
        let Some(actions) = log.entry(version).await? else {
            return Ok(None);
        };
        let adds = actions.into_iter().filter_map(|action| action.add);
        files.extend(adds.filter(|add| add.data_change));
    }
    files.reverse();
    Ok(Some(NewChanges {
        files,
        wanted: Wanted::All,
    }))
}

/// The files of the newest version that may have changes that are not covered, by their statistics.
/// Only where no offsets ever began anew.
pub(crate) async fn not_covered(
    log: &DeltaLog,
    state: &mut TableState,
    covered: &Covered,
) -> Result<NewChanges, FoldError> {
    let mut changes = all(log, state).await?;
    changes.files.retain(|add| !is_covered(add, covered));
    changes.wanted = Wanted::NotCovered;
    Ok(changes)
}

/// All files of the newest version, to which `state` is brought.
pub(crate) async fn all(log: &DeltaLog, state: &mut TableState) -> Result<NewChanges, FoldError> {
    for _ in 0..ATTEMPTS_MAX {
        if let Some(mut files) = log.files_at(state.version).await? {
            files.sort_by_cached_key(|add| std::cmp::Reverse(ingested_at(add)));
            return Ok(NewChanges {
                files,
                wanted: Wanted::All,
            });
        }
        log.catch_up(state, |_, _| ()).await?;
    }
    Err(FoldError::Layout(
        "its log was checkpointed faster than it could be read; it is tried again".to_owned(),
    ))
}

fn statistics(add: &Add) -> Option<Value> {
    serde_json::from_str(add.stats.as_deref()?).ok()
}

/// When the newest row was taken in, as far as the file says so, and when the file was made.
fn ingested_at(add: &Add) -> (String, i64) {
    let statistics = statistics(add).unwrap_or_default();
    let time = statistics["maxValues"]["_ingest_time"].as_str();
    (time.unwrap_or_default().to_owned(), add.modification_time)
}

/// The days (since 1970-01-01, in UTC) on which owners committed the changes of a file: one, or any
/// if it does not say.
pub(crate) fn days(add: &Add) -> RangeInclusive<i64> {
    let date = add.partition_values.get(EVENT_DATE).cloned().flatten();
    let date: Option<NaiveDate> = date.and_then(|date| date.parse().ok());
    let day = date.map(|date| (date - NaiveDate::default()).num_days());
    day.map_or(i64::MIN..=i64::MAX, |day| day..=day)
}

/// When the first change of a file was committed by its owner, at the earliest, in microseconds since
/// 1970-01-01T00:00Z.
pub(crate) fn first_time_us(add: &Add) -> i64 {
    let statistics = statistics(add).unwrap_or_default();
    let time = statistics["minValues"][EVENT_TIME].as_str();
    let time = time.and_then(|time| DateTime::parse_from_rfc3339(time).ok());
    match time {
        Some(time) => time.timestamp_micros(),
        None => days(add).start().saturating_mul(DAY_US),
    }
}

fn is_covered(add: &Add, covered: &Covered) -> bool {
    let Some(statistics) = statistics(add) else {
        return false;
    };
    let bound = |side: &str, column: &str| statistics[side][column].as_i64();
    let partition = |side| i32::try_from(bound(side, "_partition")?).ok();
    match (
        partition("minValues"),
        partition("maxValues"),
        bound("maxValues", "_offset"),
    ) {
        (Some(first), Some(last), Some(offset)) => {
            (first..=last).all(|partition| covered.has(partition, offset))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout;

    fn add(stats: &str) -> Add {
        Add {
            path: "p".to_owned(),
            partition_values: Default::default(),
            size: 1,
            modification_time: 0,
            data_change: true,
            stats: Some(stats.to_owned()),
        }
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
            add(&format!(
                r#"{{"minValues":{{"_partition":{first}}},"maxValues":{{"_partition":{last},"_offset":{offset}}}}}"#
            ))
        };
        let covered = covered(&[(0, 10), (1, 5)]);
        assert!(is_covered(&file(0, 0, 9), &covered));
        assert!(!is_covered(&file(0, 0, 10), &covered));
        assert!(is_covered(&file(0, 1, 4), &covered));
        assert!(!is_covered(&file(0, 1, 5), &covered));
        assert!(!is_covered(&file(0, 2, 4), &covered));
        assert!(!is_covered(&add("{}"), &covered));
        assert!(!is_covered(&add("not json"), &covered));
    }

    #[test]
    fn the_newest_come_first() {
        let file = |time: &str| add(&format!(r#"{{"maxValues":{{"_ingest_time":"{time}"}}}}"#));
        let (old, new, unknown) = (
            file("2026-01-01T00:00:00.000Z"),
            file("2026-01-02T00:00:00.000Z"),
            add("{}"),
        );
        assert!(ingested_at(&new) > ingested_at(&old));
        assert!(ingested_at(&unknown) < ingested_at(&old));
    }
}
