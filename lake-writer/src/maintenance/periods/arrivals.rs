//! When changes reached the lake, as the entries of their log tell, and whether that has come to rest.
//!
//! Times are those of the commits, so that whoever comes next finds the same. A clock of a writer that is
//! wrong by more than the quiet age makes snapshots sooner, never later.

use futures::{StreamExt, TryStreamExt, stream};

use crate::action::Action;
use crate::delta_log::{DeltaLog, TableState};
use crate::maintenance::covered::Covered;
use crate::maintenance::error::FoldError;
use crate::maintenance::new_changes::first_change_us;

/// Entries of a log that are asked for at the same time.
const ENTRIES_AT_ONCE: usize = 8;

/// For how long it is waited that no more changes come, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quiet {
    pub(super) now_us: i64,
    /// Since the last one.
    pub(super) age_us: i64,
    /// Since the first one, at most.
    pub(super) wait_max_us: i64,
}

/// Changes that have come, by their first and their last, in microseconds since 1970-01-01T00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unrest {
    began_us: i64,
    last_us: i64,
}

/// Changes that came with the versions after one.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// The log has no entries up to this version any more.
    unknown: u64,
    /// Of each version that has changes, the newest first.
    known: Vec<Arrival>,
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    version: u64,
    /// When the first of the changes was committed by its owner, at the earliest.
    first_us: i64,
    /// When they reached the lake.
    arrived_us: i64,
}

/// Up to where it is looked back for changes that came without a rest.
#[derive(Debug)]
struct Horizon {
    /// Changes of before this moment.
    until_us: i64,
    wait_max_us: i64,
    /// What came up to then does not matter.
    reach_us: i64,
    /// Nor does what came up to then, however many there are: so much earlier than the longest wait that
    /// it is known of the earliest within it whether there was one before it.
    floor_us: i64,
}

impl Quiet {
    /// Whether it is not waited any more.
    pub(super) fn is_over(self, unrest: Unrest) -> bool {
        let since_last_us = self.now_us.saturating_sub(unrest.last_us);
        let since_first_us = self.now_us.saturating_sub(unrest.began_us);
        since_last_us.saturating_abs() >= self.age_us || since_first_us >= self.wait_max_us
    }
}

impl Unrest {
    /// Of what came at a time that nobody knows, and is not waited with.
    pub(super) const LONG_OVER: Self = Self {
        began_us: i64::MIN,
        last_us: i64::MIN,
    };

    /// The same with one more.
    fn with(before: Option<Self>, arrived_us: i64) -> Self {
        match before {
            None => Self {
                began_us: arrived_us,
                last_us: arrived_us,
            },
            Some(before) => Self {
                began_us: before.began_us.min(arrived_us),
                last_us: before.last_us.max(arrived_us),
            },
        }
    }

    /// The same, which counts from this moment on.
    pub(super) fn not_before(self, time_us: i64) -> Self {
        Self {
            began_us: self.began_us.max(time_us),
            ..self
        }
    }
}

impl Arrivals {
    /// After version `covered`, up to this state.
    pub(super) async fn since(
        log: &DeltaLog,
        covered: u64,
        newest: &TableState,
    ) -> Result<Self, FoldError> {
        Self::back_to(log, newest, covered, None).await
    }

    /// Up to this state, as far back as it matters to whoever knows of no version: if no change of before
    /// `until_us` came lately, not far.
    pub(super) async fn lately(
        log: &DeltaLog,
        newest: &TableState,
        until_us: i64,
        quiet: Quiet,
    ) -> Result<Self, FoldError> {
        if quiet.age_us == 0 {
            return Ok(Self::default());
        }
        let horizon = Horizon::new(until_us, quiet);
        Self::back_to(log, newest, 0, Some(horizon)).await
    }

    /// The newest entries come first, so that of those that are gone only the last few are asked for.
    async fn back_to(
        log: &DeltaLog,
        newest: &TableState,
        covered: u64,
        mut horizon: Option<Horizon>,
    ) -> Result<Self, FoldError> {
        let places = Covered::by(newest, "");
        let mut arrivals = Self {
            unknown: covered,
            known: Vec::new(),
        };
        let mut version = newest.version;
        let versions = stream::iter((covered.saturating_add(1)..=version).rev());
        let entries = versions.map(|version| log.entry(version));
        let mut entries = Box::pin(entries.buffered(ENTRIES_AT_ONCE));
        while let Some(entry) = entries.try_next().await? {
            let Some(entry) = entry else {
                arrivals.unknown = version;
                break;
            };
            let time_us = time_us(&entry);
            let horizon = horizon.as_mut();
            if let (Some(horizon), Some(time_us)) = (&horizon, time_us)
                && !horizon.reaches(time_us)
            {
                break;
            }
            if let Some(first_us) = first_change_us(&entry, &places) {
                let arrival = Arrival {
                    version,
                    first_us,
                    arrived_us: time_us.unwrap_or(i64::MIN),
                };
                if let Some(horizon) = horizon {
                    horizon.pass(arrival);
                }
                arrivals.known.push(arrival);
            }
            version -= 1;
        }
        Ok(arrivals)
    }

    /// Whether nobody can tell any more what came after a version.
    pub(super) fn lacks(&self, since: u64) -> bool {
        since < self.unknown
    }

    /// The changes that came after a version and may be of the time before a moment, and those that were
    /// known before.
    pub(super) fn unrest(
        &self,
        until_us: i64,
        since: u64,
        before: Option<Unrest>,
    ) -> Option<Unrest> {
        let new = self.known.iter();
        let new = new.filter(|new| new.version > since && new.first_us < until_us);
        new.fold(before, |unrest, new| {
            Some(Unrest::with(unrest, new.arrived_us))
        })
    }

    /// The last changes that came and may be of the time before a moment, back to where none had come for
    /// as long as it is waited at most.
    pub(super) fn last_unrest(&self, until_us: i64, quiet: Quiet) -> Option<Unrest> {
        let mut unrest: Option<Unrest> = None;
        for one in self.known.iter().filter(|one| one.first_us < until_us) {
            let is_far = |unrest: Unrest| {
                unrest.began_us.saturating_sub(one.arrived_us) >= quiet.wait_max_us
            };
            if unrest.is_some_and(is_far) {
                break;
            }
            unrest = Some(Unrest::with(unrest, one.arrived_us));
        }
        unrest
    }
}

impl Horizon {
    fn new(until_us: i64, quiet: Quiet) -> Self {
        let back_us = quiet.wait_max_us.saturating_mul(2);
        Self {
            until_us,
            wait_max_us: quiet.wait_max_us,
            reach_us: quiet.now_us.saturating_sub(quiet.age_us),
            floor_us: quiet.now_us.saturating_sub(back_us),
        }
    }

    /// Whether what came at this time matters.
    fn reaches(&self, time_us: i64) -> bool {
        time_us > self.reach_us.max(self.floor_us)
    }

    fn pass(&mut self, arrival: Arrival) {
        if arrival.first_us < self.until_us {
            let back_us = arrival.arrived_us.saturating_sub(self.wait_max_us);
            self.reach_us = self.reach_us.min(back_us);
        }
    }
}

/// When an entry came to its log, as it says itself or the files do that it adds, in microseconds since
/// 1970-01-01T00:00Z. `None` if neither does.
fn time_us(entry: &[Action]) -> Option<i64> {
    let infos = entry
        .iter()
        .filter_map(|action| action.commit_info.as_ref());
    let committed_ms = infos.filter_map(|info| info["timestamp"].as_i64());
    let adds = entry.iter().filter_map(|action| action.add.as_ref());
    let uploaded_ms = adds.map(|add| add.modification_time);
    let last_ms = committed_ms.chain(uploaded_ms).max()?;
    Some(last_ms.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;
    use object_store::memory::InMemory;

    use super::*;
    use crate::action::Protocol;
    use crate::layout;

    const MINUTE_US: i64 = 60_000_000;

    fn us(time: &str) -> i64 {
        let time = DateTime::parse_from_rfc3339(time).unwrap();
        time.timestamp_micros()
    }

    fn quiet(now_us: i64) -> Quiet {
        Quiet {
            now_us,
            age_us: 10 * MINUTE_US,
            wait_max_us: 100 * MINUTE_US,
        }
    }

    /// A log of changes: of each version the owner's date and the minute in which it was committed.
    async fn log_of(versions: &[(&str, i64)]) -> (DeltaLog, TableState) {
        let log = DeltaLog::new(Arc::new(InMemory::new()));
        for (version, (date, minute)) in (1..).zip(versions) {
            let committed_ms = minute * MINUTE_US / 1000;
            let entry = format!(
                "{{\"commitInfo\":{{\"timestamp\":{committed_ms}}}}}\n\
                 {{\"add\":{{\"path\":\"p\",\"partitionValues\":{{\"_event_date\":\"{date}\"}},\
                 \"size\":1,\"modificationTime\":0,\"dataChange\":true}}}}\n"
            );
            log.put(version, entry.into()).await;
        }
        let schema = Arc::new(arrow::datatypes::Schema::empty());
        let newest = TableState {
            version: u64::try_from(versions.len()).unwrap(),
            protocol: Protocol::PLAIN,
            metadata: layout::system_metadata(&schema, uuid::Uuid::nil(), 0).unwrap(),
            txns: Default::default(),
        };
        (log, newest)
    }

    #[test]
    fn it_is_quiet_after_the_last_one_and_at_the_latest_so_long_after_the_first_one() {
        let is_over = |began: i64, last: i64| {
            let unrest = Unrest {
                began_us: began * MINUTE_US,
                last_us: last * MINUTE_US,
            };
            quiet(1000 * MINUTE_US).is_over(unrest)
        };
        assert!(is_over(950, 990) && !is_over(950, 991));
        assert!(is_over(900, 999) && !is_over(901, 999));
        // A clock that is ahead a little, and one that is wrong.
        assert!(!is_over(950, 1009) && is_over(950, 1010));
        let at_once = Quiet {
            age_us: 0,
            ..quiet(0)
        };
        for last_us in [-1, 0, 1] {
            let began_us = last_us;
            assert!(at_once.is_over(Unrest { began_us, last_us }));
        }
    }

    #[tokio::test]
    async fn what_came_after_a_version_is_told_by_its_owners_time() {
        let versions = [
            ("2026-06-10", 1),
            ("2026-06-30", 2),
            ("2026-07-02", 3),
            ("2026-06-30", 4),
        ];
        let (log, newest) = log_of(&versions).await;
        let arrivals = Arrivals::since(&log, 1, &newest).await.unwrap();
        assert!(!arrivals.lacks(1) && arrivals.lacks(0));
        let june_us = us("2026-07-01T00:00:00Z");
        let of = |since, before| arrivals.unrest(june_us, since, before);
        let unrest = |began: i64, last: i64| Unrest {
            began_us: began * MINUTE_US,
            last_us: last * MINUTE_US,
        };
        assert_eq!(of(1, None), Some(unrest(2, 4)));
        assert_eq!(of(2, None), Some(unrest(4, 4)));
        assert_eq!(of(4, None), None);
        assert_eq!(of(4, Some(unrest(1, 2))), Some(unrest(1, 2)));
        assert_eq!(of(2, Some(unrest(1, 2))), Some(unrest(1, 4)));
        assert_eq!(
            arrivals.unrest(us("2026-06-01T00:00:00Z"), 1, None),
            None,
            "May had ended before"
        );
    }

    /// How many versions were looked at, and the minutes of the unrest.
    async fn look(versions: &[(&str, i64)]) -> (usize, Option<(i64, i64)>) {
        let june_us = us("2026-07-01T00:00:00Z");
        let (log, newest) = log_of(versions).await;
        let quiet = quiet(1000 * MINUTE_US);
        let lately = Arrivals::lately(&log, &newest, june_us, quiet).await;
        let lately = lately.unwrap();
        let unrest = lately.last_unrest(june_us, quiet);
        let minutes = unrest.map(|of| (of.began_us / MINUTE_US, of.last_us / MINUTE_US));
        (lately.known.len(), minutes)
    }

    #[tokio::test]
    async fn it_is_looked_back_as_far_as_changes_came_without_a_rest() {
        let (june, july) = ("2026-06-30", "2026-07-01");
        assert_eq!(look(&[(june, 989), (july, 995)]).await, (1, None), "calm");
        let begun = [(june, 800), (june, 950), (july, 960), (june, 995)];
        assert_eq!(look(&begun).await, (3, Some((950, 995))));
        let trickle = [700, 790, 860, 930, 995].map(|minute| (june, minute));
        assert_eq!(look(&trickle).await, (3, Some((860, 995))));
        let (_, unrest) = look(&[(june, 850), (june, 940), (june, 995)]).await;
        assert_eq!(unrest, Some((850, 995)), "it is over");
    }
}
