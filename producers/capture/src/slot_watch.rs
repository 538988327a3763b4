//! Looks at the slot from the side: how much log Postgres keeps for it, how near its bound is, and whether
//! the stream that reads it is known to the server.

use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use crate::Lsn;
use crate::answer::{Answer, literal, text};
use crate::session::{LogAccess, Session, SessionError};

/// Shares of the bound, in percent, at which it is told how near it is.
const ALERTS: [u64; 2] = [50, 80];

/// After so many looks in vain it is told.
const FAILURES: u32 = 2;

/// What is told of a slot once, and not again until it has changed.
#[derive(Debug, Default)]
struct Told {
    /// The share of the bound.
    alert: u64,
    /// Looks in vain since the last one that was answered.
    failures: u32,
}

/// Watches the slot until it is dropped.
#[derive(Debug)]
pub(crate) struct SlotWatch {
    task: JoinHandle<()>,
}

impl SlotWatch {
    /// `see` is told how many bytes of the log are kept, and where it ends.
    pub(crate) fn start(
        access: LogAccess,
        interval: Duration,
        see: impl Fn(u64, Lsn) + Send + Sync + 'static,
    ) -> Self {
        let task = tokio::spawn(async move {
            let mut told = Told::default();
            loop {
                if let Err(error) = watch(&access, interval, &see, &mut told).await {
                    told.fail(&access.slot, &error);
                }
                tokio::time::sleep(interval).await;
            }
        });
        Self { task }
    }
}

impl Drop for SlotWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Looks again and again in one session.
async fn watch(
    access: &LogAccess,
    interval: Duration,
    see: &(impl Fn(u64, Lsn) + Sync),
    told: &mut Told,
) -> Result<(), SessionError> {
    let mut session = Session::open(access).await?;
    let question = format!(
        "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn)::bigint, \
         safe_wal_size, pg_catalog.pg_current_wal_lsn(), active FROM pg_catalog.pg_replication_slots WHERE slot_name = {}",
        literal(&access.slot)
    );
    loop {
        let rows = session.query(&question).await?;
        told.failures = 0;
        let is_read = rows.first().and_then(|row| text(row, 3)) == Some("t");
        access.unread.look(is_read);
        if let Some(row) = rows.first() {
            let answer = Answer::new(row, "a row of pg_replication_slots");
            let retained = answer.option::<i64>(0)?.unwrap_or_default();
            let retained = u64::try_from(retained).unwrap_or_default();
            see(retained, answer.number(2)?);
            if let Some(safe) = answer.option::<i64>(1)? {
                let safe = u64::try_from(safe).unwrap_or_default();
                told.alert(&access.slot, retained, safe);
            }
        }
        tokio::time::sleep(interval).await;
    }
}

impl Told {
    /// Tells once that the slot keeps more than a share of its bound, and once that it no longer does.
    fn alert(&mut self, slot: &str, retained: u64, safe: u64) {
        let share = share(retained, safe);
        let alert = ALERTS
            .into_iter()
            .rfind(|alert| share >= *alert)
            .unwrap_or_default();
        if alert > self.alert {
            warn!(
                slot,
                retained_bytes = retained,
                left_bytes = safe,
                "the slot keeps {share} percent of the log it may; beyond that Postgres drops what is not captured"
            );
        } else if alert == 0 && self.alert > 0 {
            info!(
                slot,
                retained_bytes = retained,
                "the slot is far from its bound again"
            );
        }
        self.alert = alert;
    }

    /// Where nobody answers, the stream may have broken without a word, which only an answer can tell.
    fn fail(&mut self, slot: &str, error: &SessionError) {
        self.failures += 1;
        match self.failures == FAILURES {
            true => {
                warn!(slot, %error, "the slot cannot be looked at; whether its stream lives is not known")
            }
            false => debug!(slot, %error, "the slot cannot be looked at"),
        }
    }
}

/// What is kept, in percent of what may be.
fn share(retained: u64, safe: u64) -> u64 {
    let all = retained.saturating_add(safe).max(1);
    retained.saturating_mul(100) / all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_of_kept_and_left() {
        assert_eq!(share(0, 0), 0);
        assert_eq!(share(50, 50), 50);
        assert_eq!(share(10, 0), 100);
    }
}
