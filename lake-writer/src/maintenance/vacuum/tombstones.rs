//! How long a table's log keeps the tombstones of files, and since when: two table properties.
//!
//! `delta.deletedFileRetentionDuration` says for how long, which whoever writes a checkpoint keeps to.
//! When that is made longer, what was forgotten before is still unknown; so
//! `lakehead.tombstones_since` says from which time on the tombstone of every file that left the
//! table is there that should be.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};

use crate::maintenance::asked;

/// Delta's property.
pub(super) const TOMBSTONES_KEPT: &str = "delta.deletedFileRetentionDuration";

/// Ours.
const TOMBSTONES_SINCE: &str = "lakehead.tombstones_since";

/// Delta's default.
const DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a log knows of the files that left its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tombstones {
    kept: Duration,
    /// In microseconds since 1970-01-01T00:00Z.
    since_us: i64,
    /// Whether the table says since when.
    is_told: bool,
}

impl Tombstones {
    /// What a table's properties say. If they do not say since when, it is as long as every table's
    /// log has kept them from its begin.
    pub(super) fn of(properties: &BTreeMap<String, String>, now_us: i64) -> Result<Self, String> {
        let kept = asked::interval(properties, TOMBSTONES_KEPT)?.unwrap_or(DEFAULT);
        let told_us = match properties.get(TOMBSTONES_SINCE) {
            None => None,
            Some(text) => {
                let told = DateTime::parse_from_rfc3339(text);
                let told =
                    told.map_err(|_| asked::odd(TOMBSTONES_SINCE, text, "2026-11-29T12:00:00Z"))?;
                Some(told.timestamp_micros())
            }
        };
        Ok(Self {
            kept,
            since_us: match told_us {
                None => before(now_us, kept.min(DEFAULT)),
                Some(told_us) => told_us.max(before(now_us, kept)),
            },
            is_told: told_us.is_some(),
        })
    }

    /// What a log knows that keeps them for at least so long from now on.
    pub(super) fn kept_for(self, retention: Duration, now_us: i64) -> Self {
        let is_whole = self.are_whole_since(before(now_us, retention));
        if self.kept >= retention && (self.is_told || is_whole) {
            return self;
        }
        Self {
            kept: self.kept.max(retention),
            is_told: true,
            ..self
        }
    }

    /// Whether every file that left the table since this time has its tombstone.
    pub(super) fn are_whole_since(self, time_us: i64) -> bool {
        self.since_us <= time_us
    }

    /// A table's properties with what is known, in full seconds.
    pub(super) fn told_in(self, properties: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut properties = properties.clone();
        let seconds = self.kept.as_secs() + u64::from(self.kept.subsec_nanos() > 0);
        let kept = format!("interval {seconds} seconds");
        properties.insert(TOMBSTONES_KEPT.to_owned(), kept);
        let since = DateTime::from_timestamp_micros(self.since_us).unwrap_or_default();
        let since = since.to_rfc3339_opts(SecondsFormat::Micros, true);
        properties.insert(TOMBSTONES_SINCE.to_owned(), since);
        properties
    }
}

/// The time so long ago, in microseconds as the time now is.
pub(super) fn before(now_us: i64, age: Duration) -> i64 {
    now_us.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_US: i64 = 1_800_000_000_000_000;

    fn days(days: u64) -> Duration {
        Duration::from_secs(days * 24 * 3600)
    }

    fn said(property: &str, text: &str) -> BTreeMap<String, String> {
        [(property.to_owned(), text.to_owned())].into()
    }

    #[test]
    fn the_property_is_read_as_delta_writes_it() {
        let kept = |text| {
            Tombstones::of(&said(TOMBSTONES_KEPT, text), NOW_US).map(|tombstones| tombstones.kept)
        };
        assert_eq!(kept("interval 2 weeks"), Ok(days(14)));
        assert_eq!(kept("INTERVAL 1 hour"), Ok(Duration::from_secs(3600)));
        let nothing = Tombstones::of(&BTreeMap::new(), NOW_US).unwrap();
        assert_eq!(nothing.kept, days(7));
        for odd in [
            "7 days",
            "interval -1 day",
            "interval 1 month",
            "interval 1 day 2 hours",
        ] {
            assert!(kept(odd).unwrap_err().contains(odd));
        }
        let error = Tombstones::of(&said(TOMBSTONES_SINCE, "long ago"), NOW_US).unwrap_err();
        assert!(error.contains("long ago"), "{error}");
        let set = nothing.kept_for(days(30), NOW_US).told_in(&BTreeMap::new());
        let set = Tombstones::of(&set, NOW_US).unwrap();
        assert_eq!(
            (set.kept, set.since_us),
            (days(30), before(NOW_US, days(7)))
        );
    }

    #[test]
    fn what_was_forgotten_before_they_were_kept_longer_stays_unknown() {
        let later = |days_on: u64| NOW_US + i64::try_from(days(days_on).as_micros()).unwrap();
        let is_whole = |tombstones: Tombstones, now_us, retention| {
            tombstones.are_whole_since(before(now_us, days(retention)))
        };
        let first = Tombstones::of(&BTreeMap::new(), NOW_US).unwrap();
        assert_eq!(first.kept_for(days(7), NOW_US), first);
        assert!(is_whole(first, NOW_US, 7));
        let longer = first.kept_for(days(30), NOW_US);
        assert!(longer != first && !is_whole(longer, NOW_US, 30));
        let properties = longer.told_in(&BTreeMap::new());
        let at = |days_on| Tombstones::of(&properties, later(days_on)).unwrap();
        assert_eq!(at(22).kept_for(days(30), later(22)), at(22));
        assert!(!is_whole(at(22), later(22), 30) && is_whole(at(23), later(23), 30));
        // What is told does not grow older than what is kept.
        assert!(!is_whole(at(400), later(400), 31));
        // Somebody else asked for longer, nobody knows when.
        let foreign = said(TOMBSTONES_KEPT, "interval 30 days");
        let foreign = Tombstones::of(&foreign, NOW_US).unwrap();
        let told = foreign.kept_for(days(20), NOW_US);
        assert!(told.is_told && told.kept == days(30) && !is_whole(told, NOW_US, 20));
    }
}
