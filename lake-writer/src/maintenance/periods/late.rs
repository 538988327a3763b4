//! Which snapshots changes came late for.

use std::collections::BTreeMap;

use super::Periods;
use crate::delta_log::TableState;
use crate::maintenance::error::FoldError;
use crate::maintenance::new_changes::Arrivals;
use crate::maintenance::period::Period;
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
    /// The version of the changes.
    pub(super) version: u64,
}

impl Periods {
    /// Periods that changes came late for, perhaps, each with its end.
    pub(super) async fn late(
        &self,
        changes: &TableState,
        known: &Known,
    ) -> Result<BTreeMap<Period, i64>, FoldError> {
        let (mut late, mut sought) = (BTreeMap::new(), Vec::new());
        for (period, made) in &known.made {
            match self.right_up_to(*period, made).await? {
                Some(version) => sought.push((*period, made.until_us, version)),
                // Nobody has noted anything, and the snapshot is gone.
                None => drop(late.insert(*period, made.until_us)),
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
    async fn right_up_to(&self, period: Period, made: &Made) -> Result<Option<u64>, FoldError> {
        let looked = self.looked.get(&period);
        let looked = looked.filter(|looked| looked.revision == made.revision);
        let version = made.version.max(looked.map(|looked| looked.version));
        if version.is_some() {
            return Ok(version);
        }
        let told = self.told(period, made.revision).await?;
        Ok(told.map(|told| told.changes_version))
    }

    /// Keeps in mind that all periods were looked at, and registers it now and then.
    pub(super) async fn note(
        &mut self,
        newest: u64,
        known: &Known,
        made: &[Snapshot],
        register: &mut Register,
    ) -> Result<(), FoldError> {
        let looked = |revision, version| Looked { revision, version };
        let same = known.made.iter();
        let same = same.map(|(period, made)| (*period, looked(made.revision, newest)));
        let mut all: BTreeMap<Period, Looked> = same.collect();
        all.extend(made.iter().map(|made| {
            let looked = looked(made.revision, made.changes_version);
            (made.period, looked)
        }));
        let now_us = self.means.clock.now_us();
        let is_time = self
            .noted_us
            .is_none_or(|noted_us| now_us.saturating_sub(noted_us) >= NOTED_AGE_US);
        let versions = if is_time { 1 } else { NOTED_INTERVAL };
        let is_far = |made: &Made| {
            let noted = made.version;
            noted.is_none_or(|version| newest >= version.saturating_add(versions))
        };
        if known.made.values().any(is_far) {
            let noted = all.iter();
            let noted = noted.map(|(period, looked)| (*period, looked.revision, looked.version));
            let noted: Vec<(Period, i64, u64)> = noted.collect();
            register.note(&self.table, &noted, &self.means).await?;
            self.noted_us = Some(now_us);
        }
        self.looked = all;
        Ok(())
    }
}
