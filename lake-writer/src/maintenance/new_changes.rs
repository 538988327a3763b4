//! Which files of a table of changes hold what a derived table does not cover yet.

use std::ops::RangeInclusive;

use chrono::{DateTime, NaiveDate};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::covered::Covered;
use super::error::FoldError;
use super::tail::Wanted;
use crate::action::Add;
use crate::commit::Refusal;
use crate::delta_log::{DeltaLog, TableState};
use crate::layout::{EVENT_DATE, EVENT_TIME};

mod origins;

use origins::{Origins, generation_min};

/// Times that the list of files is asked for, while checkpoints come in between.
const ATTEMPTS_MAX: usize = 3;

/// Microseconds of a day.
pub(crate) const DAY_US: i64 = 86_400_000_000;

/// Entries of a log that are asked for at the same time.
const ENTRIES_AT_ONCE: usize = 8;

/// Files to be read, the newest first.
#[derive(Clone, Debug)]
pub(crate) struct NewChanges {
    pub(crate) files: Vec<NewFile>,
    /// Whether all changes of the table are among these: then nothing that comes late is missed.
    pub(crate) are_all: bool,
}

/// A file, and which of its changes count.
#[derive(Clone, Debug)]
pub(crate) struct NewFile {
    pub(crate) add: Add,
    pub(crate) wanted: Wanted,
}

impl NewChanges {
    fn new(files: impl IntoIterator<Item = Add>, wanted: Wanted, are_all: bool) -> Self {
        let file = |add| NewFile { add, wanted };
        Self {
            files: files.into_iter().map(file).collect(),
            are_all,
        }
    }

    /// The same, of the version `newest`, for a table that keeps what it has taken in: it is not to be
    /// folded again.
    pub(crate) async fn beside(
        self,
        log: &DeltaLog,
        covered: &Covered,
        newest: &TableState,
    ) -> Result<Self, FoldError> {
        let generation = Covered::by(newest, "").generation();
        let version = covered.version().unwrap_or(0);
        let origins = Origins::since(log, version, newest.version).await?;
        let merged = origins.merged(log, generation).await?.into_iter();
        let files = merged.chain(self.files.into_iter().map(|file| file.add));
        let files = files.map(|add| NewFile {
            wanted: origins.wanted(&add.path),
            add,
        });
        // What is settled is only asked whether something came too late.
        let is_needed = |file: &NewFile| generation > 0 || file.wanted != Wanted::Settled;
        Ok(Self {
            files: files.filter(is_needed).collect(),
            are_all: true,
        })
    }
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
    let mut entries = log.entries(covered.saturating_add(1)..=newest);
    let mut reached = covered;
    while let Some((version, actions)) = entries.try_next().await? {
        let adds = actions.into_iter().filter_map(|action| action.add);
        files.extend(adds.filter(|add| add.data_change));
        reached = version;
    }
    if reached < newest {
        return Ok(None);
    }
    files.reverse();
    Ok(Some(NewChanges::new(files, Wanted::All, false)))
}

/// When changes were committed by their owner that came with the versions after one.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// The log has no entries up to this version any more.
    unknown: u64,
    /// The first time of each version that has changes, at the earliest.
    first_times: Vec<(u64, i64)>,
}

impl Arrivals {
    /// After version `covered`, up to this state. The newest entries come first, so that of those that
    /// are gone only the last few are asked for.
    pub(crate) async fn since(
        log: &DeltaLog,
        covered: u64,
        newest: &TableState,
    ) -> Result<Self, FoldError> {
        let places = Covered::by(newest, "");
        let mut arrivals = Self {
            unknown: covered,
            first_times: Vec::new(),
        };
        let mut version = newest.version;
        let versions = stream::iter((covered.saturating_add(1)..=version).rev());
        let entries = versions.map(|version| log.entry(version));
        let mut entries = Box::pin(entries.buffered(ENTRIES_AT_ONCE));
        while let Some(actions) = entries.try_next().await? {
            let Some(actions) = actions else {
                arrivals.unknown = version;
                break;
            };
            let adds = actions.iter().filter_map(|action| action.add.as_ref());
            let new = adds.filter(|add| add.data_change);
            // Among changes of the past, a later one ends the time of those after it.
            let first_us = new.map(|add| match is_of_the_past(add, &places) {
                true => i64::MIN,
                false => first_time_us(add),
            });
            let first_us = first_us.min().map(|first_us| (version, first_us));
            arrivals.first_times.extend(first_us);
            version -= 1;
        }
        Ok(arrivals)
    }

    /// Whether one came after a version that may be of the time before a moment.
    pub(crate) fn any_before(&self, until_us: i64, since: u64) -> bool {
        let mut times = self.first_times.iter();
        since < self.unknown
            || times.any(|(version, first_us)| *version > since && *first_us < until_us)
    }
}

/// Whether a file has changes of an earlier generation than their partitions have here. Where
/// generations differ among the partitions of one file, it does not tell.
fn is_of_the_past(add: &Add, places: &Covered) -> bool {
    let statistics = statistics(add).unwrap_or_default();
    let bound = |side: &str| i32::try_from(statistics[side]["_partition"].as_i64()?).ok();
    let generation = i32::try_from(generation_min(add)).unwrap_or(i32::MIN);
    match (bound("minValues"), bound("maxValues")) {
        (Some(first), Some(last)) => {
            (first..=last).all(|partition| places.is_of_the_past(partition, generation))
        }
        _ => places.has_generations(),
    }
}

/// The files of the newest version that may have changes that are not covered, by their statistics.
/// Only where no offsets ever began anew.
pub(crate) async fn not_covered(
    log: &DeltaLog,
    state: &mut TableState,
    covered: &Covered,
) -> Result<NewChanges, FoldError> {
    let mut files = newest(log, state).await?;
    files.retain(|add| !is_covered(add, covered));
    Ok(NewChanges::new(files, Wanted::NotCovered, false))
}

/// All files of the newest version, to which `state` is brought.
pub(crate) async fn all(log: &DeltaLog, state: &mut TableState) -> Result<NewChanges, FoldError> {
    let files = newest(log, state).await?;
    Ok(NewChanges::new(files, Wanted::All, true))
}

async fn newest(log: &DeltaLog, state: &mut TableState) -> Result<Vec<Add>, FoldError> {
    let columns = state.metadata.schema_string.clone();
    for _ in 0..ATTEMPTS_MAX {
        if let Some(mut files) = log.files_at(state.version).await? {
            files.sort_by_cached_key(|add| std::cmp::Reverse(ingested_at(add)));
            return Ok(files);
        }
        log.catch_up(state, |_, _| ()).await?;
        if state.metadata.schema_string != columns {
            // Whoever asks, reads by the columns that there were.
            return Err(FoldError::Refused(Refusal::Overtaken));
        }
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
fn first_time_us(add: &Add) -> i64 {
    let first_us = bound_us(add, "minValues", EVENT_TIME);
    first_us.unwrap_or_else(|| days(add).start().saturating_mul(DAY_US))
}

/// The latest time of a column in a file, or a little later, in microseconds since
/// 1970-01-01T00:00Z, if the file says so.
pub(crate) fn last_time_us(add: &Add, column: &str) -> Option<i64> {
    bound_us(add, "maxValues", column)
}

fn bound_us(add: &Add, side: &str, column: &str) -> Option<i64> {
    let statistics = statistics(add)?;
    let time = DateTime::parse_from_rfc3339(statistics[side][column].as_str()?);
    Some(time.ok()?.timestamp_micros())
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
