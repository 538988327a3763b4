//! Which periods get their first snapshot.
//!
//! A period is complete when the watermarks of the entity's sources say so and the changes have passed
//! them. Where there are no watermarks, or one of them does not come, time decides.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tracing::warn;

use super::{Periods, Work};
use crate::maintenance::error::FoldError;
use crate::maintenance::period::Period;
use crate::maintenance::register::Known;
use crate::maintenance::watermarks::{Standing, Watermarks};

impl Periods {
    /// Periods that are complete and were not looked at: of each length the newest, and what came since
    /// the last one that was. Each with its end.
    pub(super) async fn over(
        &self,
        work: &Work,
        known: &Known,
        watermarks: &Mutex<Watermarks>,
    ) -> Result<BTreeMap<Period, i64>, FoldError> {
        let settings = &self.means.settings;
        let zone = settings.zone().map_err(FoldError::Layout)?;
        let now_us = self.means.clock.now_us();
        let mut due = BTreeMap::new();
        for length in &settings.periods {
            let Some(over) = Period::over_at(*length, now_us, zone) else {
                continue;
            };
            let made = known
                .made
                .keys()
                .filter(|period| period.length() == *length);
            let mut next = made.max().map_or(over, |last| last.next());
            while next <= over {
                let end_us = self.end_of(next)?;
                if !self.is_complete(work, (next, end_us), watermarks).await {
                    break;
                }
                due.insert(next, end_us);
                next = next.next();
            }
        }
        Ok(due)
    }

    async fn is_complete(
        &self,
        work: &Work,
        (period, end_us): (Period, i64),
        watermarks: &Mutex<Watermarks>,
    ) -> bool {
        let settings = &self.means.settings;
        let wait_us = micros(settings.watermark_wait_max);
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
        let is_complete = match stands {
            Standing::Passed => true,
            Standing::None => waited_us >= micros(settings.period_delay),
            Standing::Awaited(_) if waited_us < wait_us => false,
            Standing::Awaited(what) => {
                warn!(table = %self.table, %period, what,
                    "watermark_wait_max is over: the period's snapshot is made of what is there");
                true
            }
        };
        if is_complete {
            let gone = watermarks.gone(&self.table, since_us);
            if !gone.is_empty() {
                warn!(table = %self.table, %period, sources = ?gone,
                    "sources without a watermark for so long are taken for gone and not waited for");
            }
        }
        is_complete
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
