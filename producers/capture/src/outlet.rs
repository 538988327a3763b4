//! Kafka, as the copy and the stream use it: what is sent, and what of it is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use change_events::{Noted, Notice, Offsets, PublishError, Publisher, Record};
use schemas::WATERMARKS_TOPIC;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::health::Health;
use crate::state::Progress;
use crate::stop::Stop;
use crate::window::{InFlight, Window};
use crate::{CaptureError, CaptureLimits, CaptureProgress, Lsn};

/// A connection to Kafka and the records in flight on it.
#[derive(Debug)]
pub(crate) struct Outlet<'a> {
    publisher: Box<dyn Publisher>,
    pub(crate) window: Window,
    /// Where the acknowledged records are.
    pub(crate) offsets: Offsets,
    limits: &'a CaptureLimits,
    progress: &'a CaptureProgress,
    notices: Vec<Notice>,
}

impl<'a> Outlet<'a> {
    pub(crate) fn new(
        publisher: Box<dyn Publisher>,
        known: &Progress,
        limits: &'a CaptureLimits,
        progress: &'a CaptureProgress,
    ) -> Self {
        Self {
            publisher,
            window: Window::after(known.confirmed),
            offsets: Offsets::of(&known.saved_offsets(), known.partitions.clone()),
            limits,
            progress,
            notices: Vec::new(),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.window.rows() < self.limits.in_flight_rows_max
            && self.window.bytes() < self.limits.in_flight_bytes_max
    }

    /// Hands a record over.
    pub(crate) fn send(&mut self, mut record: Record) -> Result<(), Stop> {
        let lsn = Lsn(record.sequence.major.unsigned_abs());
        let in_flight = InFlight::new(Arc::clone(&record.topic), lsn, record.bytes());
        record.number = self.window.admit(in_flight);
        self.publisher.send(&record).map_err(|error| match error {
            PublishError::Unavailable(why) => Stop::lost_kafka(why),
            PublishError::Refused(why) => Stop::Error(CaptureError::RecordRefused {
                topic: record.topic.to_string(),
                lsn,
                why,
            }),
        })
    }

    /// Waits for news of records and takes note of it. May be dropped while it waits.
    pub(crate) async fn hear(&mut self, health: &mut Health) -> Result<(), Stop> {
        self.publisher.notices(&mut self.notices).await?;
        let mut notices = std::mem::take(&mut self.notices);
        let mut delivered = 0;
        let (mut stop, mut order) = (Ok(()), Ok(()));
        for notice in notices.drain(..) {
            match notice {
                Notice::Delivered {
                    number,
                    partition,
                    offset,
                } => {
                    order = order.and(self.deliver(number, partition, offset));
                    delivered += 1;
                }
                Notice::Down { why } => health.down("kafka", &why),
                Notice::Failed {
                    number,
                    why,
                    refused,
                } => {
                    stop = stop.and_then(|()| Err(self.failed(number, why, refused)));
                }
            }
        }
        self.notices = notices;
        if delivered > 0 {
            self.progress.count_published(delivered);
            health.up();
        }
        // A connection that failed besides is made again, and this would be forgotten with it.
        order.map_err(Stop::Error).and(stop)
    }

    /// Notes where a record is.
    fn deliver(&mut self, number: i64, partition: i32, offset: i64) -> Result<(), CaptureError> {
        let mut found = Ok(());
        if let Some(record) = self.window.get(number)
            && *record.topic != *WATERMARKS_TOPIC
        {
            match self.offsets.note(&record.topic, partition, offset) {
                Noted::Next => {}
                Noted::FellBack => fell_back(&record.topic, partition, offset),
                Noted::Added { known } => {
                    found = Err(CaptureError::PartitionsChanged {
                        topic: record.topic.to_string(),
                        known,
                        found: partition + 1,
                    });
                }
            }
        }
        self.window.deliver(number);
        found
    }

    fn failed(&self, number: i64, why: String, refused: bool) -> Stop {
        match self.window.get(number).filter(|_| refused) {
            Some(record) => Stop::Error(CaptureError::RecordRefused {
                topic: record.topic.to_string(),
                lsn: record.lsn,
                why,
            }),
            None => Stop::lost_kafka(why),
        }
    }

    /// Waits until everything that was sent is acknowledged.
    pub(crate) async fn flush(&mut self, health: &mut Health) -> Result<(), Stop> {
        while !self.window.is_empty() {
            self.hear(health).await?;
        }
        Ok(())
    }

    /// The same for a bounded time.
    pub(crate) async fn drain(
        &mut self,
        health: &mut Health,
        time_max: Duration,
    ) -> Result<(), Stop> {
        let deadline = Instant::now() + time_max;
        match timeout_at(deadline, self.flush(health)).await {
            Ok(flushed) => flushed,
            Err(_) => Ok(()),
        }
    }

    pub(crate) async fn close(self) {
        self.publisher.close().await;
    }
}

fn fell_back(topic: &str, partition: i32, offset: i64) {
    warn!(
        topic,
        partition,
        offset,
        "offsets fell back, so the topic was made again: what was published before is gone from it, and no \
         watermark says that it is there. To copy the table again, start once with it left out of the \
         configuration"
    );
}
