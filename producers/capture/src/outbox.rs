//! A service's outbox in Postgres, read by logical replication.
//!
//! The rows come from a slot, in the order of their commits: nobody waits for a transaction that is
//! open beside them, and nothing is asked of the table. All else is kept where a relay that polls keeps
//! it, in the outbox's own schema. Where to read next: `claim.rs`, then `passed.rs`.

mod claim;
mod log_reader;
mod passed;
mod reading;
mod streamed;

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use change_events::{
    Horizon, OutboxBatch, OutboxError, OutboxRow, OutboxStore, ParkedKey, ParkedRow, Position,
    PostgresOutbox, Retry,
};
use schemas::source;
use tokio::time::timeout;
use tracing::{debug, info};

pub use self::reading::{OutboxReading, ReadOutbox};

use self::claim::Creation;
use self::log_reader::LogReader;
use self::streamed::{Floor, Streamed};
use crate::faults::{Point, point};
use crate::server::NotAServer;
use crate::session::{LogAccess, SessionError};
use crate::slot_watch::SlotWatch;
use crate::{Lsn, PostgresServer};

/// How often the slot is looked at from the side.
const WATCH_INTERVAL: Duration = Duration::from_secs(10);

/// How long the stream is waited for to come to a horizon, which is on its way.
const HORIZON_TIME_MAX: Duration = Duration::from_millis(200);

/// An outbox in Postgres whose rows are read from a slot of its own, or polled: see [`OutboxReading`].
///
/// Events carry the source `<source>/log<n>` of the n-th slot, and the row's place in the order of its
/// commits for a sequence; the guarantees are those of a [`PostgresOutbox`].
pub struct ReplicatedOutbox {
    inner: PostgresOutbox,
    server: Result<PostgresServer, NotAServer>,
    reading: OutboxReading,
    phase: Phase,
    progress: Arc<OutboxProgress>,
}

/// How far the log is read; stays readable while the relay runs.
#[derive(Debug, Default)]
pub struct OutboxProgress {
    is_polled: AtomicBool,
    lsn: AtomicU64,
}

/// Where the rows come from now.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Nowhere: the outbox is to be claimed.
    Unclaimed,
    /// From the table.
    Polled {
        /// A slot that is to take over.
        creation: Option<Creation>,
        /// The last sequence that was drawn when the slot was there.
        horizon: Option<i64>,
    },
    /// From the slot.
    Streamed(Box<Streamed>),
}

impl OutboxProgress {
    /// Whether the rows come from the table now, and not from a slot.
    pub fn is_polled(&self) -> bool {
        self.is_polled.load(Ordering::Acquire)
    }

    /// Everything that was committed before this place of the log is published; 0 while that is not
    /// known, and while a slot is read for the last time.
    pub fn confirmed(&self) -> Lsn {
        Lsn(self.lsn.load(Ordering::Acquire))
    }
}

impl std::fmt::Debug for ReplicatedOutbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplicatedOutbox")
            .field("inner", &self.inner)
            .field("reading", &self.reading)
            .finish_non_exhaustive()
    }
}

impl Phase {
    fn polled() -> Self {
        Self::Polled {
            creation: None,
            horizon: None,
        }
    }
}

impl ReplicatedOutbox {
    /// Connects to the service's database, which must have an outbox. Of libpq's parameters in `url`
    /// those of [`PostgresServer`] are known to replication.
    pub async fn open(url: &str, reading: OutboxReading) -> Result<Self, OutboxError> {
        Ok(Self {
            inner: PostgresOutbox::open(url).await?,
            server: PostgresServer::from_str(url),
            reading,
            phase: Phase::Unclaimed,
            progress: Arc::default(),
        })
    }

    /// How far the log is read.
    pub fn progress(&self) -> Arc<OutboxProgress> {
        Arc::clone(&self.progress)
    }

    /// Behind everything that is committed now: the last sequence, and the end of the log.
    pub async fn end(&mut self) -> Result<(i64, Lsn), OutboxError> {
        let sequence = self.inner.end().await?;
        let end = Lsn(self.inner.log_end().await?.unsigned_abs());
        Ok((sequence, end))
    }

    fn streamed(
        &self,
        access: LogAccess,
        log: &change_events::OutboxLog,
        reader: LogReader,
        (leave_at, doubt): (Option<Lsn>, Option<Lsn>),
    ) -> Phase {
        Phase::Streamed(Box::new(Streamed {
            epoch: log.epoch,
            slot: access.slot.clone(),
            reader,
            is_clean: log.is_clean,
            is_still: false,
            doubt: doubt.map(|end| (end, None)),
            leave_at,
            floor: Floor::new(),
            // For its warnings, and to tell a stream that broke without a word.
            _watch: SlotWatch::start(access, WATCH_INTERVAL, |_, _| {}),
        }))
    }

    /// Rows of the table, until a slot takes over.
    async fn polled_rows(&mut self, position: i64, limit: u32) -> Result<OutboxBatch, OutboxError> {
        let Phase::Polled { creation, horizon } = &mut self.phase else {
            return Err(OutboxError::turn());
        };
        if let Some(created) = creation.as_mut().and_then(Creation::try_join_next) {
            let lsn = created
                .map_err(|error| refused(error.to_string()))?
                .map_err(session_error)?;
            self.inner.log_created(lsn.signed()).await?;
            *horizon = self.inner.log().await?.and_then(|log| log.horizon);
        }
        let Some(horizon) = *horizon else {
            return self.inner.rows_after(position, limit).await;
        };
        let mut through = position;
        if position < horizon {
            let safe = self.inner.safe().await?;
            let batch = self.inner.rows_after(position, limit).await?;
            if !batch.rows.is_empty() || safe < horizon {
                return Ok(batch);
            }
            if self.inner.is_left(position, safe).await? {
                return Ok(nothing_behind(position));
            }
            through = safe;
        }
        // Nothing more is polled; what was is to be acknowledged.
        if self.inner.position().await?.confirmed >= position {
            self.inner.hand_over(through).await?;
            point(Point::OutboxHandedOver);
            info!(through, "the outbox is read by replication from here on");
            self.phase = Phase::Unclaimed;
            return Err(OutboxError::turn());
        }
        Ok(nothing_behind(position))
    }

    async fn logged_rows(&mut self, position: i64, limit: u32) -> Result<OutboxBatch, OutboxError> {
        let Phase::Streamed(streamed) = &mut self.phase else {
            return Err(OutboxError::turn());
        };
        streamed.reader.forget(position);
        let is_leaving = streamed
            .leave_at
            .is_some_and(|end| streamed.reader.seen() >= end && !streamed.reader.is_open());
        if !is_leaving {
            streamed.reader.fill()?;
        }
        streamed.clear_doubt();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (rows, is_all) = streamed.reader.rows(limit)?;
        if rows.is_empty() && is_leaving && streamed.reader.passed.is_settled() {
            return self.leave().await;
        }
        if !rows.is_empty() && streamed.is_clean {
            self.inner.mark_clean(false).await?;
            streamed.is_clean = false;
        }
        streamed.is_still &= rows.is_empty();
        if streamed.leave_at.is_none() {
            streamed.look_for_floor(&mut self.inner).await?;
        }
        streamed.rest(&mut self.inner, &self.progress).await?;
        let seen = streamed.reader.seen().signed();
        let last = rows.last().map_or(position, |last| last.place);
        Ok(OutboxBatch {
            rows,
            safe: if is_all { seen } else { last },
            passed: None,
        })
    }

    /// Gives the slot up: everything before a place of the log is published, and kept as such.
    async fn leave(&mut self) -> Result<OutboxBatch, OutboxError> {
        self.inner.mark_clean(true).await?;
        if let Phase::Streamed(streamed) = std::mem::replace(&mut self.phase, Phase::Unclaimed) {
            streamed.reader.close().await;
            let mut session = self.session(&streamed.slot).await?;
            self.drop_slot(&mut session, &streamed.slot, true).await?;
        }
        point(Point::OutboxSlotDropped);
        self.inner.begin_log(None).await?;
        info!("the outbox is polled from here on");
        Err(OutboxError::turn())
    }
}

/// Everything that is no reading of rows is done by the outbox itself.
#[async_trait]
impl OutboxStore for ReplicatedOutbox {
    async fn source(&mut self) -> Result<String, OutboxError> {
        let source = self.inner.source().await?;
        Ok(match &self.phase {
            Phase::Streamed(streamed) => source::of_log(&source, streamed.epoch),
            _ => source,
        })
    }

    async fn own_source(&mut self) -> Result<String, OutboxError> {
        self.inner.source().await
    }

    fn tells_transactions(&self) -> bool {
        self.inner.tells_transactions()
    }

    async fn claim(&mut self) -> Result<bool, OutboxError> {
        if let Phase::Streamed(streamed) = std::mem::replace(&mut self.phase, Phase::Unclaimed) {
            streamed.reader.close().await;
        }
        if !self.inner.take().await? {
            return Ok(false);
        }
        // Of another server nothing is decided: the relay refuses it.
        if self.inner.moved().await?.is_none() {
            self.phase = self.decide().await?;
        }
        let is_polled = matches!(self.phase, Phase::Polled { .. });
        self.progress.lsn.store(0, Ordering::Release);
        self.progress.is_polled.store(is_polled, Ordering::Release);
        Ok(true)
    }

    async fn moved(&mut self) -> Result<Option<(String, String)>, OutboxError> {
        self.inner.moved().await
    }

    async fn rows_after(&mut self, position: i64, limit: u32) -> Result<OutboxBatch, OutboxError> {
        match &self.phase {
            Phase::Streamed(_) => self.logged_rows(position, limit).await,
            _ => self.polled_rows(position, limit).await,
        }
    }

    async fn wait(&mut self, position: i64) -> Result<(), OutboxError> {
        match &mut self.phase {
            Phase::Streamed(streamed) if streamed.leave_at.is_none() => {
                streamed.reader.wait(position, None).await
            }
            _ => std::future::pending().await,
        }
    }

    fn is_durable(&self) -> bool {
        matches!(self.phase, Phase::Streamed(_))
    }

    async fn row(&mut self, place: i64) -> Result<Option<OutboxRow>, OutboxError> {
        let Phase::Streamed(streamed) = &self.phase else {
            return self.inner.row(place).await;
        };
        let Some(sequence) = streamed.reader.passed.sequence_of(place) else {
            return Ok(None);
        };
        let row = self.inner.row_of(sequence).await?;
        Ok(row.map(|row| OutboxRow { place, ..row }))
    }

    async fn close(&mut self) -> Result<(), OutboxError> {
        let phase = std::mem::replace(&mut self.phase, Phase::Unclaimed);
        let Phase::Streamed(streamed) = phase else {
            return Ok(());
        };
        if !streamed.is_clean
            && streamed.is_still
            && streamed.doubt.is_none()
            && let Err(error) = self.inner.mark_clean(true).await
        {
            debug!(%error, "it is not kept that nothing is on its way");
        }
        streamed.reader.close().await;
        Ok(())
    }

    async fn position(&mut self) -> Result<Position, OutboxError> {
        let mut position = self.inner.position().await?;
        if let Phase::Streamed(streamed) = &self.phase {
            let confirmed = streamed.reader.passed.confirmed();
            (position.confirmed, position.released) = (confirmed, confirmed);
        }
        Ok(position)
    }

    async fn save(&mut self, position: &Position) -> Result<(), OutboxError> {
        let streamed = match &mut self.phase {
            Phase::Unclaimed => return Err(OutboxError::turn()),
            Phase::Polled { .. } => return self.inner.save(position).await,
            Phase::Streamed(streamed) => streamed,
        };
        let save = streamed.reader.passed.confirm(position.confirmed);
        let saved = self.inner.save_log(position, &save).await;
        if saved.is_err() {
            // What is kept is found out with the next claim.
            self.phase = Phase::Unclaimed;
            return saved;
        }
        point(Point::OutboxPositionSaved);
        streamed.is_still = position.confirmed >= position.released;
        streamed.clear_doubt();
        let end = streamed.reader.passed.end();
        streamed.reader.confirm(end);
        if streamed.leave_at.is_none() {
            self.progress.lsn.fetch_max(end.0, Ordering::AcqRel);
        }
        Ok(())
    }

    async fn cluster(&mut self) -> Result<Option<String>, OutboxError> {
        self.inner.cluster().await
    }

    async fn set_cluster(&mut self, cluster: &str) -> Result<(), OutboxError> {
        self.inner.set_cluster(cluster).await
    }

    async fn topic_partitions(&mut self, topic: &str, found: i32) -> Result<i32, OutboxError> {
        self.inner.topic_partitions(topic, found).await
    }

    async fn park(&mut self, rows: &[ParkedRow]) -> Result<(), OutboxError> {
        self.inner.park(rows).await
    }

    async fn park_again(&mut self, rows: &[ParkedRow]) -> Result<(), OutboxError> {
        self.inner.park_again(rows).await
    }

    async fn parked_keys(&mut self, limit: u32) -> Result<Vec<ParkedKey>, OutboxError> {
        self.inner.parked_keys(limit).await
    }

    async fn retries(&mut self, limit: u32) -> Result<Vec<Retry>, OutboxError> {
        let mut retries = self.inner.retries(limit).await?;
        if let Phase::Streamed(streamed) = &self.phase {
            let passed = &streamed.reader.passed;
            for Retry { row, .. } in &mut retries {
                row.place = match passed.has(row.sequence) {
                    true => passed.confirmed(),
                    false => i64::MAX,
                };
            }
        }
        Ok(retries)
    }

    async fn number_retries(&mut self, sequences: &[i64]) -> Result<Vec<(i64, i64)>, OutboxError> {
        self.inner.number_retries(sequences).await
    }

    async fn unpark(&mut self, sequences: &[i64]) -> Result<(), OutboxError> {
        self.inner.unpark(sequences).await
    }

    async fn horizon(&mut self) -> Result<Option<Horizon>, OutboxError> {
        let Phase::Streamed(streamed) = &mut self.phase else {
            return self.inner.horizon().await;
        };
        let horizon = self.inner.log_horizon().await?;
        if let Some(horizon) = &horizon {
            let end = Lsn(horizon.drawn.unsigned_abs());
            // The log goes on by itself; a relay that ends asks once.
            let reached = streamed.reader.wait(i64::MAX, Some(end));
            if let Ok(reached) = timeout(HORIZON_TIME_MAX, reached).await {
                reached?;
            }
        }
        Ok(horizon)
    }

    async fn prune(&mut self, through: i64, rows_max: u32) -> Result<u64, OutboxError> {
        let through = match &mut self.phase {
            Phase::Unclaimed => return Err(OutboxError::turn()),
            Phase::Polled { .. } => Some(through),
            Phase::Streamed(streamed) => streamed.reader.passed.floor_at(through),
        };
        match through {
            Some(through) => self.inner.prune(through, rows_max).await,
            None => Ok(0),
        }
    }
}

/// Nothing is known of what is behind the position.
fn nothing_behind(position: i64) -> OutboxBatch {
    OutboxBatch {
        safe: position,
        ..OutboxBatch::default()
    }
}

/// An answer of the replication session that the question did not expect.
fn session_error(error: SessionError) -> OutboxError {
    let is_passing = match &error {
        SessionError::Unavailable(_) => true,
        SessionError::Refused(_) => false,
        // The slot is still held by a session that Postgres has not missed yet.
        SessionError::Server { code, .. } => code == "55006" || code == "42710",
    };
    OutboxError::new("read by replication", is_passing, error)
}

fn refused(why: String) -> OutboxError {
    OutboxError::new("read by replication", false, why)
}
