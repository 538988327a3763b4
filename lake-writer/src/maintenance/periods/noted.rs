//! How far was looked for late changes, which is registered now and then.

use std::collections::BTreeMap;

use tokio::sync::Mutex;

use super::Periods;
use super::arrivals::Unrest;
use crate::maintenance::error::FoldError;
use crate::maintenance::period::Period;
use crate::maintenance::reached::Reached;
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
    /// The revision that all of them are in, but for those that are waited with. `None`: there is none
    /// yet, not even an empty one.
    pub(super) revision: Option<i64>,
    pub(super) reached: Reached,
    /// Those that are waited with, if there are any.
    pub(super) unrest: Option<Unrest>,
}

impl Looked {
    /// All changes that a snapshot is made of.
    pub(super) fn at(snapshot: &Snapshot) -> Self {
        Self {
            revision: Some(snapshot.revision),
            reached: snapshot.reached(),
            unrest: None,
        }
    }
}

impl Periods {
    /// How far somebody has looked, as far as it is registered, or known to this process.
    pub(super) fn noted(&self, period: Period, made: &Made) -> Option<Looked> {
        let own = self.looked.get(&period).copied();
        let own = own.filter(|looked| looked.revision == Some(made.revision));
        // What is waited with is known to this process only.
        if own.is_some_and(|looked| looked.unrest.is_some()) {
            return own;
        }
        let registered = made.reached.map(|reached| Looked {
            revision: Some(made.revision),
            reached,
            unrest: None,
        });
        let both = own.into_iter().chain(registered);
        both.max_by_key(|looked| looked.reached.version)
    }

    /// Keeps in mind how far was looked, and registers it now and then.
    pub(super) async fn note(
        &mut self,
        looked: BTreeMap<Period, Looked>,
        known: &Known,
        register: &Mutex<Register>,
    ) -> Result<(), FoldError> {
        let now_us = self.means.clock.now_us();
        let is_time = self
            .noted_us
            .is_none_or(|noted_us| now_us.saturating_sub(noted_us) >= NOTED_AGE_US);
        let versions = if is_time { 1 } else { NOTED_INTERVAL };
        // Whoever comes next must find what is waited with, so nothing is registered of that period.
        let settled = looked
            .iter()
            .filter(|(_, looked)| looked.unrest.is_none())
            .filter_map(|(period, looked)| Some((*period, looked.revision?, looked.reached)));
        let settled: Vec<(Period, i64, Reached)> = settled.collect();
        let is_far = |(period, _, reached): &(Period, i64, Reached)| {
            let noted = known.made.get(period).map(|made| made.reached);
            noted.is_some_and(|noted| {
                noted.is_none_or(|noted| reached.version >= noted.version.saturating_add(versions))
            })
        };
        if settled.iter().any(is_far) {
            let mut register = register.lock().await;
            register.note(&self.table, &settled, &self.means).await?;
            drop(register);
            self.noted_us = Some(now_us);
        }
        self.looked = looked;
        Ok(())
    }
}
