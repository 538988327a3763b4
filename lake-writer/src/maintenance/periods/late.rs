//! Which snapshots are due: first ones, and those that changes came late for.
//!
//! Each is made once no change of before its period's end has come for a while; where they never cease,
//! some time after the first of them that is in none. What watermarks say to be complete is not waited
//! with: everything is there that its owner had committed.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use lake_store::CHANGES_SINCE_PROPERTY;
use tracing::info;

use super::arrivals::{Arrivals, Quiet, Unrest};
use super::due::Over;
use super::noted::Looked;
use super::{Periods, micros};
use crate::delta_log::{DeltaLog, DeltaLogError, TableState};
use crate::maintenance::error::FoldError;
use crate::maintenance::period::Period;
use crate::maintenance::reached::{Found, Reached};
use crate::maintenance::register::{Known, Made, NO_ROWS};

/// What a look at all periods came to.
#[derive(Debug, Default)]
pub(super) struct Looks {
    pub(super) due: BTreeMap<Period, Due>,
    /// How far was looked, where nothing is due.
    pub(super) looked: BTreeMap<Period, Looked>,
}

/// A snapshot that is to be made, unless it would be the one there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) until_us: i64,
    /// How far was looked if it is the one there is; `None` if there is none.
    pub(super) looked: Option<Looked>,
    /// How far was looked if it cannot be made, with what it is due for: the next round goes on from
    /// there. `None` where watermarks say it.
    pub(super) unmade: Option<Looked>,
}

/// A period that a snapshot may be due of.
#[derive(Debug)]
struct Sought {
    until_us: i64,
    /// Since when it could be made.
    from_us: i64,
    /// The newest revision; `None` if there is none, not even an empty one.
    revision: Option<i64>,
    /// How far was looked. `None`: nobody knows, or it was among other changes.
    looked: Option<Looked>,
}

/// What is to be done for a period.
#[derive(Debug)]
enum Verdict {
    Right,
    Waits(Unrest),
    /// For what has come, or because nobody knows what has.
    Due(Unrest),
}

/// The changes that periods are judged by.
#[derive(Debug)]
struct Seen {
    /// After the first version up to which somebody has looked.
    later: Arrivals,
    /// Of late, for periods of which nobody has.
    lately: Arrivals,
    quiet: Quiet,
}

impl Periods {
    /// What is due, of the periods that are over and of those that were looked at before.
    pub(super) async fn look(
        &self,
        changes: &TableState,
        known: &Known,
        over: &BTreeMap<Period, Over>,
    ) -> Result<Looks, FoldError> {
        let sought = self.sought(changes, known, over).await?;
        let seen = self.seen(changes, &sought).await?;
        let mut looks = self.judged(changes.version, &sought, &seen).await?;
        for (period, over) in over.iter().filter(|(_, over)| over.is_told) {
            let due = Due {
                until_us: over.until_us,
                looked: None,
                unmade: None,
            };
            looks.due.insert(*period, due);
        }
        looks.hold_back();
        for (period, over) in over {
            if looks.due.contains_key(period) {
                self.tell(*period, over);
            }
        }
        Ok(looks)
    }

    /// The moment that a period's next revision is of. That it had no rows is of whatever calendar:
    /// its first snapshot is of the one that is set.
    pub(super) fn until_of(&self, period: Period, made: &Made) -> Result<i64, FoldError> {
        match made.revision {
            NO_ROWS => self.end_of(period),
            _ => Ok(made.until_us),
        }
    }

    /// How far was looked for each period, but for those that watermarks say to be complete.
    async fn sought(
        &self,
        changes: &TableState,
        known: &Known,
        over: &BTreeMap<Period, Over>,
    ) -> Result<BTreeMap<Period, Sought>, FoldError> {
        let mut others = Others::new(&self.changes.log, changes.version);
        let mut all = BTreeMap::new();
        for (period, over) in over {
            if over.is_told {
                continue;
            }
            let looked = self.looked.get(period).copied();
            let looked = looked.filter(|looked| looked.revision.is_none());
            let sought = Sought {
                until_us: over.until_us,
                from_us: over.from_us,
                revision: None,
                looked: others.still(looked).await?,
            };
            all.insert(*period, sought);
        }
        // What has passed its retention cannot be folded again: snapshots of it stay as they are.
        let properties = &changes.metadata.configuration;
        if properties.contains_key(CHANGES_SINCE_PROPERTY) {
            return Ok(all);
        }
        let now_us = self.means.clock.now_us();
        for (period, made) in &known.made {
            let until_us = self.until_of(*period, made)?;
            let is_moved = until_us != made.until_us;
            // In another time zone than it was looked at in, it may not be over yet.
            if is_moved && until_us > now_us {
                continue;
            }
            let looked = self.right_up_to(*period, made).await?;
            // Up to another moment nobody has looked, but for what is waited with since.
            let looked = looked.filter(|looked| !is_moved || looked.unrest.is_some());
            let sought = Sought {
                until_us,
                from_us: until_us,
                revision: Some(made.revision),
                looked: others.still(looked).await?,
            };
            all.insert(*period, sought);
        }
        Ok(all)
    }

    /// The version of the changes up to which a period's newest revision has all that are in time:
    /// what it was made of, or how far somebody has looked since. What is not registered the snapshot
    /// says itself.
    async fn right_up_to(&self, period: Period, made: &Made) -> Result<Option<Looked>, FoldError> {
        let noted = self.noted(period, made);
        if noted.is_some() {
            return Ok(noted);
        }
        let told = self.told(period, made.revision).await?;
        Ok(told.as_ref().map(Looked::at))
    }

    async fn seen(
        &self,
        changes: &TableState,
        sought: &BTreeMap<Period, Sought>,
    ) -> Result<Seen, FoldError> {
        let settings = &self.means.settings;
        let quiet = Quiet {
            now_us: self.means.clock.now_us(),
            age_us: micros(settings.late_changes_quiet_age),
            wait_max_us: micros(settings.late_changes_wait_max),
        };
        let looked = sought.values().filter_map(|sought| sought.looked);
        let first = looked.map(|looked| looked.reached.version).min();
        let later = match first {
            Some(first) => Arrivals::since(&self.changes.log, first, changes).await?,
            None => Arrivals::default(),
        };
        let anew = sought.values().filter(|sought| sought.looked.is_none());
        let until_us = anew.map(|sought| sought.until_us).max();
        let lately = match until_us {
            Some(until_us) => Arrivals::lately(&self.changes.log, changes, until_us, quiet).await?,
            None => Arrivals::default(),
        };
        Ok(Seen {
            later,
            lately,
            quiet,
        })
    }

    async fn judged(
        &self,
        newest: u64,
        sought: &BTreeMap<Period, Sought>,
        seen: &Seen,
    ) -> Result<Looks, FoldError> {
        // Where the changes were put back, and come to that version again, what was reached stays so
        // until there is more: then it is seen that they are others.
        let at_newest = |sought: &Sought| {
            let reached = sought.looked.map(|looked| looked.reached);
            reached.filter(|reached| reached.version == newest)
        };
        let now = match sought.values().all(|sought| at_newest(sought).is_some()) {
            true => None,
            false => Some(Reached::at(&self.changes.log, newest).await?),
        };
        let mut looks = Looks::default();
        for (period, sought) in sought {
            let Some(reached) = at_newest(sought).or(now) else {
                continue;
            };
            let looked = |unrest| Looked {
                revision: sought.revision,
                reached,
                unrest,
            };
            match seen.verdict(sought) {
                Verdict::Right => {
                    looks.looked.insert(*period, looked(None));
                }
                Verdict::Waits(unrest) => {
                    self.tell_wait(*period, sought);
                    looks.looked.insert(*period, looked(Some(unrest)));
                }
                Verdict::Due(unrest) => {
                    let due = Due {
                        until_us: sought.until_us,
                        looked: sought.revision.map(|_| looked(None)),
                        unmade: Some(looked(Some(unrest))),
                    };
                    looks.due.insert(*period, due);
                }
            }
        }
        Ok(looks)
    }

    /// Says once that a snapshot is waited with.
    fn tell_wait(&self, period: Period, sought: &Sought) {
        if sought.looked.is_none_or(|looked| looked.unrest.is_none()) {
            info!(table = %self.table, %period,
                "changes of before its end are still coming: the period's snapshot is made once none has \
                 come for late_changes_quiet_age");
        }
    }
}

impl Looks {
    /// Whoever comes next goes on from the newest first snapshot of a length. So none is made before an
    /// earlier one that is waited with.
    fn hold_back(&mut self) {
        let Self { due, looked } = self;
        due.retain(|period, due| {
            let mut looked = looked.iter();
            due.looked.is_some()
                || !looked.any(|(earlier, looked)| {
                    looked.revision.is_none()
                        && earlier.length() == period.length()
                        && earlier < period
                })
        });
    }
}

impl Seen {
    fn verdict(&self, sought: &Sought) -> Verdict {
        let unrest = match sought.looked {
            Some(looked) => {
                let since = looked.reached.version;
                let unrest = self.later.unrest(sought.until_us, since, looked.unrest);
                if unrest.is_none() && !self.later.lacks(since) {
                    return Verdict::Right;
                }
                unrest
            }
            // The changes after that version are not those that are new. Or nobody has noted anything,
            // and the snapshot is gone, or there is none yet.
            None => {
                let unrest = self.lately.last_unrest(sought.until_us, self.quiet);
                unrest.map(|unrest| unrest.not_before(sought.from_us))
            }
        };
        match unrest {
            Some(unrest) if !self.quiet.is_over(unrest) => Verdict::Waits(unrest),
            Some(unrest) => Verdict::Due(unrest),
            None => Verdict::Due(Unrest::LONG_OVER),
        }
    }
}

/// Whether the changes are others than those that periods were looked at in. Each version is asked for
/// once: most periods have the same.
struct Others<'a> {
    log: &'a DeltaLog,
    newest: u64,
    known: BTreeMap<u64, (Reached, bool)>,
}

impl<'a> Others<'a> {
    fn new(log: &'a DeltaLog, newest: u64) -> Self {
        Self {
            log,
            newest,
            known: BTreeMap::new(),
        }
    }

    /// How far was looked, unless it was among others.
    async fn still(&mut self, looked: Option<Looked>) -> Result<Option<Looked>, DeltaLogError> {
        match looked {
            Some(looked) if self.are_at(looked.reached).await? => Ok(None),
            looked => Ok(looked),
        }
    }

    async fn are_at(&mut self, reached: Reached) -> Result<bool, DeltaLogError> {
        let known = self.known.get(&reached.version);
        if let Some((_, are)) = known.filter(|(known, _)| *known == reached) {
            return Ok(*are);
        }
        let are = match reached.version.cmp(&self.newest) {
            Ordering::Less => reached.found_in(self.log).await? == Found::Other,
            // Not asked until there is something new: nothing is missed before.
            Ordering::Equal => false,
            // There are not so many any more: they were put back, or made again.
            Ordering::Greater => true,
        };
        self.known.insert(reached.version, (reached, are));
        Ok(are)
    }
}
