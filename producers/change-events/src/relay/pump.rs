//! One connection's work: read, make durable, encode, send, confirm.

mod mark;
mod park;
mod transaction;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemas::WATERMARKS_TOPIC;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::caution::Caution;
use super::health::Health;
use super::parking::Parking;
use super::pruning::{Pruning, Stand};
use super::stop::{Ended, Refused, Stop, lost};
use super::watermarks::Watermarks;
use crate::faults::{Point, point};
use crate::offsets::{Noted, Offsets};
use crate::outbox_store::{OutboxBatch, OutboxStore, Position};
use crate::timestamp::now_ms;
use crate::window::Window;
use crate::{
    EncodeError, Entity, EventEncoder, Notice, OutboxRow, Publisher, Record, RelayError,
    RelayLimits, RelayProgress, TransactionEncoder,
};

/// How often the confirmed position is saved while nothing new is read.
const CONFIRM_INTERVAL: Duration = Duration::from_millis(100);

/// How often the database is asked whether parked rows are to be tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Rows and transactions to records.
#[derive(Debug, Default)]
pub(super) struct Encoders {
    /// By entity.
    pub(super) events: BTreeMap<String, EventEncoder>,
    /// If transactions are told.
    pub(super) transactions: Option<TransactionEncoder>,
}

/// What a pump works with for the length of a connection.
#[derive(Debug)]
pub(super) struct Lent<'a> {
    pub(super) store: &'a mut dyn OutboxStore,
    pub(super) encoders: &'a mut Encoders,
    pub(super) limits: &'a RelayLimits,
    pub(super) progress: &'a RelayProgress,
    pub(super) pruning: &'a mut Pruning,
    pub(super) caution: &'a mut Caution,
    /// The partition count of each topic.
    pub(super) partitions: BTreeMap<String, i32>,
    pub(super) entities: &'a [Entity],
    pub(super) source: &'a str,
}

/// A connection at work.
#[derive(Debug)]
pub(super) struct Pump<'a> {
    pub(super) store: &'a mut dyn OutboxStore,
    encoders: &'a mut Encoders,
    pub(super) publisher: Box<dyn Publisher>,
    pub(super) limits: &'a RelayLimits,
    pub(super) progress: &'a RelayProgress,
    pub(super) pruning: &'a mut Pruning,
    pub(super) caution: &'a mut Caution,
    pub(super) window: Window,
    pub(super) parking: Parking,
    watermarks: Option<Watermarks>,
    offsets: Offsets,
    /// The last place that was sent or parked, and the last confirmed one that is saved.
    pub(super) sent: i64,
    saved: i64,
    save_at: Instant,
    /// When the outbox is read next, and when parked rows are.
    read_at: Instant,
    retry_at: Instant,
}

impl<'a> Pump<'a> {
    /// Goes on at a position that knows every partition.
    pub(super) async fn new(
        lent: Lent<'a>,
        position: &Position,
        publisher: Box<dyn Publisher>,
    ) -> Result<Self, RelayError> {
        let parking = Parking::load(lent.store, lent.limits, lent.progress).await?;
        // Since the lake was asked, another relay may have made records of parked rows.
        lent.pruning.start_again();
        // Another way of reading may have made of it what is confirmed by now.
        lent.progress.confirm(position.confirmed);
        let interval = lent.limits.watermark_interval;
        let watermarks =
            interval.map(|every| Watermarks::new(lent.entities, lent.source, every, position));
        Ok(Self {
            store: lent.store,
            encoders: lent.encoders,
            publisher,
            limits: lent.limits,
            progress: lent.progress,
            pruning: lent.pruning,
            caution: lent.caution,
            window: Window::after(position.confirmed),
            parking,
            watermarks,
            offsets: Offsets::of(&position.offsets, lent.partitions),
            sent: position.confirmed,
            saved: position.confirmed,
            save_at: Instant::now(),
            read_at: Instant::now(),
            retry_at: Instant::now(),
        })
    }

    /// Works until `cancel` or until the connection is spent, and confirms what was acknowledged,
    /// but for an error of the database.
    pub(super) async fn run(
        mut self,
        cancel: &CancellationToken,
        health: &mut Health,
    ) -> Result<Ended, RelayError> {
        let ended = self.work(cancel, health).await;
        self.publisher.close().await;
        ended
    }

    async fn work(
        &mut self,
        cancel: &CancellationToken,
        health: &mut Health,
    ) -> Result<Ended, RelayError> {
        let stop = loop {
            if cancel.is_cancelled() {
                break self.finish(health).await;
            }
            if let Err(stop) = self.turn(cancel, health).await {
                break Err(stop);
            }
        };
        // Without its claim the relay does not know how far another one is.
        if let Err(Stop::Error(error @ RelayError::Outbox(_))) = stop {
            return Err(error);
        }
        // What stops the relay must not keep back what was sent before it.
        if let Err(Stop::Error(_)) = &stop
            && let Err(Stop::Lost(why)) = self.drain(health).await
        {
            debug!(
                why,
                "what was in flight when the relay stopped is left unconfirmed"
            );
        }
        if let Err(Stop::Error(error)) = self.save(self.window.acknowledged(), self.sent).await {
            return Err(error);
        }
        match stop {
            Ok(()) => Ok(Ended::Cancelled),
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::Lost(why)) => Ok(Ended::Lost(why)),
            Err(Stop::RetryRefused) => Ok(Ended::Refused),
            Err(Stop::Refused(refused)) => {
                self.refused(refused).await?;
                Ok(Ended::Refused)
            }
        }
    }

    /// Waits for what is in flight, and says what is complete then.
    async fn finish(&mut self, health: &mut Health) -> Result<(), Stop> {
        self.drain(health).await?;
        self.last_mark(health).await
    }

    /// Sends a batch if there is one and room for it; else waits for something to happen.
    async fn turn(&mut self, cancel: &CancellationToken, health: &mut Health) -> Result<(), Stop> {
        self.look_ahead().await?;
        if self.has_room() && Instant::now() >= self.read_at {
            let limit = self.batch_rows_max();
            let batch = self.store.rows_after(self.sent, limit).await?;
            if let Some(last) = batch.rows.last() {
                if !self.store.is_durable() {
                    self.release(last.place).await?;
                }
                self.send_batch(&batch.rows).await?;
                point(Point::OutboxSent);
            }
            self.pass(&batch);
            if let Some(watermarks) = &mut self.watermarks {
                let last = batch.rows.last();
                let all_sent = last.is_none_or(|last| last.place <= self.sent);
                let through = all_sent.then(|| batch.read_through(limit));
                watermarks.read(self.sent, through.unwrap_or(self.sent));
            }
            // A batch that is not full was the outbox's end; resting lets the next one grow, and
            // each batch costs a wait for the disk.
            if batch.rows.len() < limit as usize {
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
        self.caution.acknowledged(acknowledged);
        // Where rows cost no wait for the disk, a row alone is not to cost one.
        let is_due = self.window.is_empty() && !self.store.is_durable();
        let is_due = is_due || Instant::now() >= self.save_at;
        if acknowledged > self.saved && is_due {
            self.save(acknowledged, self.sent).await?;
        }
        self.mark().await?;
        if !self.parking.is_empty() && Instant::now() >= self.retry_at {
            self.retry_at = Instant::now() + RETRY_INTERVAL;
            self.retry(cancel, health).await?;
        }
        self.prune().await
    }

    async fn prune(&mut self) -> Result<(), Stop> {
        if self.pruning.is_due() {
            let now = Stand {
                confirmed: self.saved,
                offsets: self.offsets.saved(),
            };
            self.pruning.ask(now, self.limits);
        }
        self.pruning.step(self.store, self.progress).await?;
        Ok(())
    }

    /// No more than may be sent.
    fn batch_rows_max(&self) -> u32 {
        let most = self.limits.batch_rows_max;
        let few = self.caution.rows_max(most as usize);
        u32::try_from(few).map_or(most, |few| few.min(most))
    }

    fn has_room(&self) -> bool {
        self.window.rows() < self.caution.rows_max(self.limits.in_flight_rows_max)
            && self.window.bytes() < self.limits.in_flight_bytes_max
    }

    /// Makes the rows up to `last` durable, so that nothing is published that a power loss could
    /// take back from the owner.
    async fn release(&mut self, last: i64) -> Result<(), Stop> {
        self.save(self.window.acknowledged(), last).await
    }

    pub(super) async fn save(&mut self, confirmed: i64, released: i64) -> Result<(), Stop> {
        let mut position = Position::new(confirmed, released);
        position.offsets = self.offsets.take_changed();
        position.counting = self.watermarks.as_mut().map(|watermarks| {
            watermarks.count(confirmed);
            watermarks.take_changed()
        });
        let is_further = confirmed > self.saved;
        if is_further {
            point(Point::OutboxAcknowledged);
        }
        self.store.save(&position).await?;
        if is_further {
            point(Point::OutboxConfirmed);
        }
        self.progress.confirm(confirmed);
        self.saved = confirmed;
        self.save_at = Instant::now() + CONFIRM_INTERVAL;
        Ok(())
    }

    async fn send_batch(&mut self, rows: &[OutboxRow]) -> Result<(), Stop> {
        let (mut parked, now_ms) = (Vec::new(), now_ms());
        for row in rows {
            // Rows that find no room are read again: reading goes on after what was sent.
            if !self.has_room() {
                break;
            }
            self.tell_begin(row)?;
            if let Some(row_to_park) = self.send(row, now_ms)? {
                let number = self.window.admit(row.place, None, 0);
                parked.push((number, row_to_park));
            }
            self.tell_end(row)?;
            self.sent = row.place;
        }
        self.park(parked).await
    }

    /// Counts what needs no publishing as done, if all of the batch is sent.
    fn pass(&mut self, batch: &OutboxBatch) {
        let last = batch.rows.last().map_or(self.sent, |last| last.place);
        if let Some(passed) = batch.passed.filter(|passed| *passed > last)
            && last == self.sent
        {
            let number = self.window.admit(passed, None, 0);
            self.window.deliver(number);
            self.sent = passed;
        }
    }

    pub(super) fn encode(&mut self, row: &OutboxRow, now_ms: i64) -> Result<Record, EncodeError> {
        match self.encoders.events.get_mut(&row.entity) {
            Some(encoder) => encoder.encode(row, now_ms),
            None => Err(EncodeError::new(
                Some("entity"),
                "is not one that this relay publishes",
            )),
        }
    }

    /// Waits for notices until `wake_at` and notes what they say.
    async fn take_notices(
        &mut self,
        wake_at: Instant,
        cancel: &CancellationToken,
        health: &mut Health,
    ) -> Result<(), Stop> {
        let mut notices = Vec::new();
        let has_room = self.has_room();
        tokio::select! {
            biased;
            told = self.publisher.notices(&mut notices) => told.map_err(lost)?,
            () = cancel.cancelled() => {}
            told = self.store.wait(self.sent), if has_room => {
                told?;
                self.read_at = Instant::now();
            }
            () = sleep_until(wake_at) => {}
        }
        self.note(notices, health)
    }

    fn note(&mut self, notices: Vec<Notice>, health: &mut Health) -> Result<(), Stop> {
        let (mut delivered, mut refused_rows) = (0, None);
        let (mut stop, mut order) = (Ok(()), Ok(()));
        for notice in notices {
            match notice {
                Notice::Delivered { number, .. } if self.has_marked(number) => {}
                Notice::Failed { number, why, .. } if self.has_marked(number) => {
                    stop = stop.and(Err(Stop::Lost(format!("topic {WATERMARKS_TOPIC}: {why}"))));
                }
                Notice::Delivered {
                    number,
                    partition,
                    offset,
                } => {
                    if let Some(topic) = self.window.deliver(number) {
                        order = order.and(self.note_offset(&topic, partition, offset));
                        delivered += 1;
                    }
                }
                Notice::Down { why } => health.down("kafka", &why),
                Notice::Failed {
                    number,
                    why,
                    refused,
                } => match self.window.sent(number).filter(|_| refused) {
                    Some(sent) => refused_rows = Some(Refused::and(refused_rows, sent, why)),
                    None => stop = stop.and(Err(Stop::Lost(why))),
                },
            }
        }
        if delivered > 0 {
            self.progress.count_published(delivered);
            health.up();
        }
        // A connection that failed besides is made again, and this would be forgotten with it.
        order?;
        match refused_rows {
            Some(refused) => Err(Stop::Refused(refused)),
            None => stop,
        }
    }

    /// Whether the record was a watermark.
    fn has_marked(&mut self, number: i64) -> bool {
        let watermarks = self.watermarks.as_mut();
        watermarks.is_some_and(|watermarks| watermarks.arrived(number))
    }

    /// Notes where an event is.
    pub(super) fn note_offset(
        &mut self,
        topic: &Arc<str>,
        partition: i32,
        offset: i64,
    ) -> Result<(), RelayError> {
        match self.offsets.note(topic, partition, offset) {
            Noted::Next => {}
            Noted::FellBack => {
                // What the lake was asked for would be found in the new topic.
                self.pruning.start_again();
                warn!(
                    topic = &**topic,
                    partition,
                    offset,
                    "offsets fell back, so the topic was made again; the outbox is not pruned until \
                     the topic is removed from the table of its partitions (docs/outbox.md)"
                );
            }
            Noted::Added { known } => {
                return Err(RelayError::PartitionsChanged {
                    topic: topic.to_string(),
                    known,
                    found: partition + 1,
                });
            }
        }
        Ok(())
    }

    /// Waits, for a bounded time, for what is in flight.
    pub(super) async fn drain(&mut self, health: &mut Health) -> Result<(), Stop> {
        let deadline = Instant::now() + self.limits.shutdown_time_max;
        let is_marking = |watermarks: &Option<Watermarks>| {
            let watermarks = watermarks.as_ref();
            watermarks.is_some_and(Watermarks::is_in_flight)
        };
        while !self.window.is_empty() || is_marking(&self.watermarks) {
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
