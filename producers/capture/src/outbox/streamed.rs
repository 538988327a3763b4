//! A slot at work: what of it is settled, and which sequences are.

use std::sync::atomic::Ordering;
use std::time::Duration;

use change_events::{OutboxError, Position, PostgresOutbox};
use tokio::time::Instant;

use super::claim::PUBLICATION;
use super::log_reader::LogReader;
use super::{OutboxProgress, refused};
use crate::Lsn;
use crate::slot_watch::SlotWatch;

/// How often it is asked which sequences are decided.
const FLOOR_INTERVAL: Duration = Duration::from_secs(1);

/// How far the slot may lag behind a log in which nothing of the outbox happens.
const IDLE_BYTES: u64 = 1 << 20;

/// A slot at work.
#[derive(Debug)]
pub(crate) struct Streamed {
    pub(super) epoch: i64,
    pub(super) slot: String,
    pub(super) reader: LogReader,
    /// Whether it is kept that nothing is on its way, and whether nothing was at the last save.
    pub(super) is_clean: bool,
    pub(super) is_still: bool,
    /// Where the log ended when an earlier session had left something in doubt, and the place of the
    /// last row before.
    pub(super) doubt: Option<(Lsn, Option<i64>)>,
    /// The outbox is to be polled once everything before this is published.
    pub(super) leave_at: Option<Lsn>,
    pub(super) floor: Floor,
    pub(super) _watch: SlotWatch,
}

/// A floor on its way: sequences that were decided, and the end of the log after that.
#[derive(Debug)]
pub(super) struct Floor {
    ask_at: Instant,
    asked: Option<(i64, Lsn)>,
    /// The place of the last row before the end.
    place: Option<i64>,
}

impl Floor {
    /// It is asked for at once.
    pub(super) fn new() -> Self {
        Self {
            ask_at: Instant::now(),
            asked: None,
            place: None,
        }
    }
}

impl Streamed {
    /// Nothing of before is in doubt once all that was in the log then is acknowledged.
    pub(super) fn clear_doubt(&mut self) {
        let Some((end, place)) = &mut self.doubt else {
            return;
        };
        let passed = &self.reader.passed;
        if place.is_none() && self.reader.seen() >= *end {
            *place = Some(passed.place());
        }
        if place.is_some_and(|place| passed.confirmed() >= place) {
            self.doubt = None;
        }
    }

    /// Asks which sequences are decided, and raises the floor when all their rows are acknowledged.
    pub(super) async fn look_for_floor(
        &mut self,
        inner: &mut PostgresOutbox,
    ) -> Result<(), OutboxError> {
        let passed = &mut self.reader.passed;
        let now = Instant::now();
        if now >= self.floor.ask_at {
            self.floor.ask_at = now + FLOOR_INTERVAL;
            // In this order: what was decided by then is before the end. It is asked where nothing is to be
            // raised, too: a server that stops ends this session, then waits for whoever reads its log.
            let safe = inner.safe().await?;
            if self.floor.asked.is_none() && passed.has_runs() && safe > passed.floor() {
                let end = Lsn(inner.log_end().await?.unsigned_abs());
                (self.floor.asked, self.floor.place) = (Some((safe, end)), None);
            }
        }
        let Some((safe, end)) = self.floor.asked else {
            return Ok(());
        };
        if self.floor.place.is_none() && self.reader.seen() >= end {
            self.floor.place = Some(self.reader.passed.place());
        }
        let passed = &mut self.reader.passed;
        if let Some(place) = self.floor.place
            && passed.confirmed() >= place
        {
            self.floor.asked = None;
            let (floor, published) = (passed.floor(), passed.count_to(safe));
            if let Some(found) = inner.raise_floor(floor, safe, published).await? {
                return Err(refused(format!(
                    "the table has {found} rows with sequences from {} to {safe}, and the slot has given {published}: \
                     publication {} was changed meanwhile. Make it publish inserts of lakehead.outbox again, then \
                     hand the outbox over to polling and back ([relay] read)",
                    floor + 1,
                    PUBLICATION
                )));
            }
            passed.raise(safe, place);
        }
        Ok(())
    }

    /// Lets the slot follow a log in which nothing of the outbox happens.
    pub(super) async fn rest(
        &mut self,
        inner: &mut PostgresOutbox,
        progress: &OutboxProgress,
    ) -> Result<(), OutboxError> {
        // Within a transaction the place is one of its rows, and the LSN would be before all of them:
        // read again, they would have other places.
        if self.reader.is_open() || !self.reader.passed.is_settled() {
            return Ok(());
        }
        let (seen, passed) = (self.reader.seen(), &mut self.reader.passed);
        if self.leave_at.is_none() {
            progress.lsn.fetch_max(seen.0, Ordering::AcqRel);
        }
        if seen.0 < passed.end().0.saturating_add(IDLE_BYTES) {
            return Ok(());
        }
        passed.end_transaction(seen);
        let confirmed = passed.confirmed();
        let save = passed.confirm(confirmed);
        inner
            .save_log(&Position::new(confirmed, confirmed), &save)
            .await?;
        self.reader.confirm(seen);
        Ok(())
    }
}
