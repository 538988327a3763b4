//! Which periods get their first snapshot.
//!
//! A period is complete when the watermarks of the entity's sources say so and the changes have passed
//! them. Where there are no watermarks, or one of them does not come, time decides.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::Mutex;
use tracing::warn;

use super::{Periods, Work, micros};
use crate::maintenance::error::FoldError;
use crate::maintenance::period::{Period, PeriodLength};
use crate::maintenance::register::Known;
use crate::maintenance::watermarks::{Standing, Watermarks};

/// A period that is complete as far as can be told, and has no snapshot.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) until_us: i64,
    /// Since when it is, in microseconds since 1970-01-01T00:00Z.
    pub(super) from_us: i64,
    /// Whether watermarks say so. If not, time does.
    pub(super) is_told: bool,
    /// What was waited for in vain.
    lacks: Option<String>,
    /// Sources that were taken for ones that are no more.
    gone: Vec<String>,
}

impl Periods {
    /// Periods that are complete and were not looked at: of each length the newest, what came since the
    /// last one that was, and what could not be made.
    pub(super) async fn over(
        &self,
        work: &Work,
        known: &Known,
        watermarks: &Mutex<Watermarks>,
    ) -> Result<BTreeMap<Period, Over>, FoldError> {
        let settings = &self.means.settings;
        let zone = settings.zone().map_err(FoldError::Layout)?;
        let now_us = self.means.clock.now_us();
        let mut all = BTreeMap::new();
        for length in &settings.periods {
            let Some(last) = Period::over_at(*length, now_us, zone) else {
                continue;
            };
            for period in open(known, *length, last) {
                let end_us = self.end_of(period)?;
                let over = self.complete(work, (period, end_us), watermarks).await;
                let Some(over) = over else {
                    break;
                };
                all.insert(period, over);
            }
        }
        Ok(all)
    }

    /// How a period is complete; `None` if it is not.
    async fn complete(
        &self,
        work: &Work,
        (period, end_us): (Period, i64),
        watermarks: &Mutex<Watermarks>,
    ) -> Option<Over> {
        let settings = &self.means.settings;
        let (delay_us, wait_us) = (
            micros(settings.period_delay),
            micros(settings.watermark_wait_max),
        );
        let since_us = end_us.saturating_sub(wait_us);
        // Those who come next find what is read here.
        let mut watermarks = watermarks.lock().await;
        let stands = watermarks.stand(&self.table, (since_us, end_us), &work.changes);
        let stands = stands.await.unwrap_or_else(|error| {
            warn!(table = %self.table, %period, %error,
                "_system/watermarks cannot be read: the period waits for at most watermark_wait_max");
            Standing::Awaited(format!("_system/watermarks, which cannot be read: {error}"))
        });
        let waited_us = self.means.clock.now_us().saturating_sub(end_us);
        let (after_us, is_told, lacks) = match stands {
            Standing::Passed => (0, true, None),
            Standing::None if waited_us >= delay_us => (delay_us, false, None),
            Standing::Awaited(what) if waited_us >= wait_us => (wait_us, false, Some(what)),
            Standing::None | Standing::Awaited(_) => return None,
        };
        Some(Over {
            until_us: end_us,
            from_us: end_us.saturating_add(after_us),
            is_told,
            lacks,
            gone: watermarks.gone(&self.table, since_us),
        })
    }

    /// Says what a period's snapshot is made without.
    pub(super) fn tell(&self, period: Period, over: &Over) {
        if let Some(what) = over.lacks.as_deref() {
            warn!(table = %self.table, %period, what,
                "watermark_wait_max is over: the period's snapshot is made of what is there");
        }
        if !over.gone.is_empty() {
            warn!(table = %self.table, %period, sources = ?over.gone,
                "sources without a watermark for so long are taken for gone and not waited for");
        }
    }
}

/// The periods of a length that are to be looked at, up to the last that is over.
fn open(known: &Known, length: PeriodLength, last: Period) -> BTreeSet<Period> {
    let owed = known.owed.iter().copied();
    let owed = owed.filter(|period| period.length() == length && !known.made.contains_key(period));
    let mut open: BTreeSet<Period> = owed.collect();
    let made = known.made.keys().filter(|period| period.length() == length);
    let mut next = made.max().map_or(last, |newest| newest.next());
    while next <= last {
        open.insert(next);
        next = next.next();
    }
    open
}
