//! Which snapshots changes came late for.

use std::collections::BTreeMap;

use tokio::sync::Mutex;

use super::Periods;
use crate::delta_log::{DeltaLog, DeltaLogError, TableState};
use crate::maintenance::error::FoldError;
use crate::maintenance::new_changes::Arrivals;
use crate::maintenance::period::Period;
use crate::maintenance::reached::{Found, Reached};
use crate::maintenance::register::{Known, Made, Register};
use crate::maintenance::snapshot::Snapshot;

/// Versions of the changes after which it is registered up to where they were looked at.
const NOTED_INTERVAL: u64 = 1000;

/// Time after which it is, too, in microseconds: before the log loses the entries of a table that seldom
/// changes.
const NOTED_AGE_US: i64 = 24 * 3_600_000_000;

/// How far late changes of a period were looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Looked {
    /// The revision that all of them are in.
    revision: i64,
    reached: Reached,
}

impl Periods {
    /// Periods that changes came late for, perhaps, each with its end.
    pub(super) async fn late(
        &self,
        changes: &TableState,
        known: &Known,
    ) -> Result<BTreeMap<Period, i64>, FoldError> {
        let (mut late, mut sought) = (BTreeMap::new(), Vec::new());
        let mut others = Others::new(&self.changes.log, changes.version);
        for (period, made) in &known.made {
            match self.right_up_to(*period, made).await? {
                Some(reached) if !others.are_at(reached).await? => {
                    sought.push((*period, made.until_us, reached.version));
                }
                // The changes after that version are not those that are new. Or nobody has noted
                // anything, and the snapshot is gone.
                _ => drop(late.insert(*period, made.until_us)),
            }
        }
        let Some(first) = sought.iter().map(|(_, _, version)| *version).min() else {
            return Ok(late);
        };
        let arrivals = Arrivals::since(&self.changes.log, first, changes).await?;
        let found = sought.into_iter();
        let found = found.filter(|(_, until_us, since)| arrivals.any_before(*until_us, *since));
        late.extend(found.map(|(period, until_us, _)| (period, until_us)));
        Ok(late)
    }

    /// The version of the changes up to which a period's newest revision has all that are in time:
    /// what it was made of, or how far somebody has looked since. What is not registered the snapshot
    /// says itself.
    async fn right_up_to(&self, period: Period, made: &Made) -> Result<Option<Reached>, FoldError> {
        let reached = self.noted(period, made);
        if reached.is_some() {
            return Ok(reached);
        }
        let told = self.told(period, made.revision).await?;
        Ok(told.map(|told| told.reached()))
    }

    /// The same as far as it is registered, or known to this process.
    fn noted(&self, period: Period, made: &Made) -> Option<Reached> {
        let looked = self.looked.get(&period);
        let looked = looked.filter(|looked| looked.revision == made.revision);
        let looked = looked.map(|looked| looked.reached);
        let both = looked.into_iter().chain(made.reached);
        both.max_by_key(|reached| reached.version)
    }

    /// Keeps in mind that all periods were looked at, and registers it now and then.
    pub(super) async fn note(
        &mut self,
        newest: u64,
        known: &Known,
        made: &[Snapshot],
        register: &Mutex<Register>,
    ) -> Result<(), FoldError> {
        if known.made.is_empty() && made.is_empty() {
            return Ok(());
        }
        let looked = |revision, reached| Looked { revision, reached };
        // Where the changes were put back, what was reached stays so: they come to it again, and then it
        // is seen that they are others.
        let reached = |period: &Period, made: &Made| {
            let noted = self.noted(*period, made);
            noted.filter(|reached| reached.version >= newest)
        };
        let mut periods = known.made.iter();
        let now = match periods.all(|(period, made)| reached(period, made).is_some()) {
            true => None,
            false => Some(Reached::at(&self.changes.log, newest).await?),
        };
        let same = known.made.iter().filter_map(|(period, made)| {
            let reached = reached(period, made).or(now)?;
            Some((*period, looked(made.revision, reached)))
        });
        let mut all: BTreeMap<Period, Looked> = same.collect();
        all.extend(made.iter().map(|made| {
            let looked = looked(made.revision, made.reached());
            (made.period, looked)
        }));
        let now_us = self.means.clock.now_us();
        let is_time = self
            .noted_us
            .is_none_or(|noted_us| now_us.saturating_sub(noted_us) >= NOTED_AGE_US);
        let versions = if is_time { 1 } else { NOTED_INTERVAL };
        let is_far = |made: &Made| {
            let noted = made.reached;
            noted.is_none_or(|noted| newest >= noted.version.saturating_add(versions))
        };
        if known.made.values().any(is_far) {
            let noted = all.iter();
            let noted = noted.map(|(period, looked)| (*period, looked.revision, looked.reached));
            let noted: Vec<(Period, i64, Reached)> = noted.collect();
            let mut register = register.lock().await;
            register.note(&self.table, &noted, &self.means).await?;
            drop(register);
            self.noted_us = Some(now_us);
        }
        self.looked = all;
        Ok(())
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

    /// Not asked until there is something new: nothing is missed before.
    async fn are_at(&mut self, reached: Reached) -> Result<bool, DeltaLogError> {
        let known = self.known.get(&reached.version);
        if let Some((_, are)) = known.filter(|(known, _)| *known == reached) {
            return Ok(*are);
        }
        let are =
            reached.version < self.newest && reached.found_in(self.log).await? == Found::Other;
        self.known.insert(reached.version, (reached, are));
        Ok(are)
    }
}
