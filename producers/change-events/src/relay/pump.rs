//! One connection's work: read, make durable, encode, send, confirm.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::health::Health;
use super::stop::{Ended, Stop, lost};
use crate::relay_position::RelayPosition;
use crate::window::Window;
use crate::{
    EncodeError, EventEncoder, Notice, OutboxRow, PublishError, Publisher, Record, RelayError,
    RelayLimits, RelayProgress,
};

/// How often the confirmed position is saved while nothing new is read.
const CONFIRM_INTERVAL: Duration = Duration::from_millis(100);

/// A connection at work.
#[derive(Debug)]
pub(super) struct Pump<'a> {
    position: &'a mut RelayPosition,
    encoders: &'a mut BTreeMap<String, EventEncoder>,
    publisher: Box<dyn Publisher>,
    limits: &'a RelayLimits,
    progress: &'a RelayProgress,
    window: Window,
    /// The last sequence that was sent, and the last confirmed one that is saved.
    sent: i64,
    saved: i64,
    save_at: Instant,
    /// When the outbox is read next.
    read_at: Instant,
}

impl<'a> Pump<'a> {
    pub(super) fn new(
        position: &'a mut RelayPosition,
        encoders: &'a mut BTreeMap<String, EventEncoder>,
        publisher: Box<dyn Publisher>,
        limits: &'a RelayLimits,
        progress: &'a RelayProgress,
        confirmed: i64,
    ) -> Self {
        Self {
            position,
            encoders,
            publisher,
            limits,
            progress,
            window: Window::after(confirmed),
            sent: confirmed,
            saved: confirmed,
            save_at: Instant::now(),
            read_at: Instant::now(),
        }
    }

    /// Works until `cancel` or until the connection is spent, and confirms what was acknowledged
    /// in every case.
    pub(super) async fn run(
        mut self,
        cancel: &CancellationToken,
        health: &mut Health,
    ) -> Result<Ended, RelayError> {
        let stop = loop {
            if cancel.is_cancelled() {
                break self.drain(health).await;
            }
            if let Err(stop) = self.turn(cancel, health).await {
                break Err(stop);
            }
        };
        // A row that stops the relay must not keep back what was sent before it.
        if let Err(Stop::Error(_)) = &stop
            && let Err(Stop::Lost(why)) = self.drain(health).await
        {
            debug!(
                why,
                "what was in flight when the relay stopped is left unconfirmed"
            );
        }
        self.publisher.close().await;
        let confirmed = self.window.acknowledged();
        self.position.save(confirmed, self.sent).await?;
        self.progress.confirm(confirmed);
        match stop {
            Ok(()) => Ok(Ended::Cancelled),
            Err(Stop::Lost(why)) => Ok(Ended::Lost(why)),
            Err(Stop::Error(error)) => Err(error),
        }
    }

    /// Sends a batch if there is one and room for it; else waits for something to happen.
    async fn turn(&mut self, cancel: &CancellationToken, health: &mut Health) -> Result<(), Stop> {
        if self.has_room() && Instant::now() >= self.read_at {
            let limit = self.limits.batch_rows_max;
            let rows = self.position.rows_after(self.sent, limit).await?;
            if let Some(last) = rows.last() {
                self.release(last.sequence).await?;
                self.send_batch(&rows)?;
            }
            // A batch that is not full was the outbox's end; resting lets the next one grow, and
            // each batch costs a wait for the disk.
            if rows.len() < limit as usize {
                self.read_at = Instant::now() + self.limits.poll_interval;
            }
        }
        let wake_at = if self.has_room() {
            self.read_at
        } else {
            Instant::now() + CONFIRM_INTERVAL
        };
        self.take_notices(wake_at, cancel, health).await?;
        let acknowledged = self.window.acknowledged();
        let is_due = self.window.is_empty() || Instant::now() >= self.save_at;
        if acknowledged > self.saved && is_due {
            self.save(acknowledged, self.sent).await?;
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.window.rows() < self.limits.in_flight_rows_max
            && self.window.bytes() < self.limits.in_flight_bytes_max
    }

    /// Makes the rows up to `last` durable, so that nothing is published that a power loss could
    /// take back from the owner.
    async fn release(&mut self, last: i64) -> Result<(), Stop> {
        self.save(self.window.acknowledged(), last).await
    }

    async fn save(&mut self, confirmed: i64, released: i64) -> Result<(), Stop> {
        self.position.save(confirmed, released).await?;
        self.progress.confirm(confirmed);
        self.saved = confirmed;
        self.save_at = Instant::now() + CONFIRM_INTERVAL;
        Ok(())
    }

    fn send_batch(&mut self, rows: &[OutboxRow]) -> Result<(), Stop> {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now_ms = i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX);
        for row in rows {
            // Rows that find no room are read again: reading goes on after what was sent.
            if !self.has_room() {
                break;
            }
            let record = self.encode(row, now_ms)?;
            self.publisher.send(&record).map_err(|error| match error {
                PublishError::Unavailable(why) => Stop::Lost(why),
                PublishError::Refused(why) => Stop::Error(RelayError::RecordRefused {
                    sequence: row.sequence,
                    why,
                }),
            })?;
            self.window.admit(record.sequence, record.bytes());
            self.sent = record.sequence;
        }
        Ok(())
    }

    fn encode(&mut self, row: &OutboxRow, now_ms: i64) -> Result<Record, RelayError> {
        let encoded = match self.encoders.get_mut(&row.entity) {
            Some(encoder) => encoder.encode(row, now_ms),
            None => Err(EncodeError::new(
                Some("entity"),
                "is not one that this relay publishes",
            )),
        };
        encoded.map_err(|source| RelayError::Row {
            sequence: row.sequence,
            event_id: row.event_id.clone(),
            entity: row.entity.clone(),
            source,
        })
    }

    /// Waits for notices until `wake_at` and notes what they say.
    async fn take_notices(
        &mut self,
        wake_at: Instant,
        cancel: &CancellationToken,
        health: &mut Health,
    ) -> Result<(), Stop> {
        let mut notices = Vec::new();
        tokio::select! {
            biased;
            told = self.publisher.notices(&mut notices) => told.map_err(lost)?,
            () = cancel.cancelled() => {}
            () = sleep_until(wake_at) => {}
        }
        self.note(notices, health)
    }

    fn note(&mut self, notices: Vec<Notice>, health: &mut Health) -> Result<(), Stop> {
        let mut delivered = 0;
        let mut stop = Ok(());
        for notice in notices {
            match notice {
                Notice::Delivered { sequence } => {
                    self.window.deliver(sequence);
                    delivered += 1;
                }
                Notice::Down { why } => health.down("kafka", &why),
                Notice::Failed {
                    sequence,
                    why,
                    refused,
                } if stop.is_ok() => {
                    stop = Err(if refused {
                        Stop::Error(RelayError::RecordRefused { sequence, why })
                    } else {
                        Stop::Lost(why)
                    });
                }
                Notice::Failed { .. } => {}
            }
        }
        if delivered > 0 {
            self.progress.count_published(delivered);
            health.up();
        }
        stop
    }

    /// Waits, for a bounded time, for what is in flight.
    async fn drain(&mut self, health: &mut Health) -> Result<(), Stop> {
        let deadline = Instant::now() + self.limits.shutdown_time_max;
        while !self.window.is_empty() {
            let mut notices = Vec::new();
            match timeout_at(deadline, self.publisher.notices(&mut notices)).await {
                Err(_) => break,
                Ok(told) => told.map_err(lost)?,
            }
            self.note(notices, health)?;
        }
        Ok(())
    }
}
