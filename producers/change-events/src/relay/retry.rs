//! Parked rows that are tried again.
//!
//! A parked row is published when all rows read so far are acknowledged and confirmed, so nothing
//! of its key is in flight and what comes later comes after it. Its own sequence lies behind the
//! sequences of other keys then, and the lake would take it for a repeat. So it goes out with
//! another source, `<source>/unparked`, and a sequence of that source which rises from try to try
//! and is kept in the database before the row is sent: published again after a crash, it is the
//! same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::health::Health;
use super::parking::Parking;
use super::pump::Pump;
use super::stop::{Stop, lost};
use crate::faults::{Point, point};
use crate::outbox_store::{ParkedRow, Retry};
use crate::timestamp::now_ms;
use crate::{Notice, PublishError, Record};

/// Rows that are tried at once.
const RETRY_ROWS_MAX: u32 = 1_000;

/// How a try went.
#[derive(Debug, Default)]
struct Tried {
    /// Sequences in the outbox of the rows that are acknowledged, from the first one on.
    published: Vec<i64>,
    /// The row that is to blame, and why.
    refused: Option<(i64, String)>,
    /// The connection is spent on it.
    is_spent: bool,
}

/// Rows that are sent and not acknowledged: by their number, the sequence in the outbox and the topic.
type Sent = BTreeMap<i64, (i64, Arc<str>)>;

impl Pump<'_> {
    /// Publishes the rows of one key that is to be tried again, if there is one.
    pub(super) async fn retry(
        &mut self,
        cancel: &CancellationToken,
        health: &mut Health,
    ) -> Result<(), Stop> {
        let retries = self.store.retries(RETRY_ROWS_MAX).await?;
        // A row that is read once more after a restart would go out under both sources.
        let all_read = retries.iter().all(|retry| retry.row.place <= self.sent);
        if retries.is_empty() || !all_read {
            // Rows may have been given up meanwhile; nobody waits for those.
            self.parking = Parking::load(self.store, self.limits, self.progress).await?;
            return Ok(());
        }
        tokio::select! {
            drained = self.drain(health) => drained?,
            // What is in flight is waited for at the end.
            () = cancel.cancelled() => return Ok(()),
        }
        if !self.window.is_empty() {
            return Ok(());
        }
        self.save(self.window.acknowledged(), self.sent).await?;
        let (records, failed) = self.retried(&retries);
        let time_max = self.limits.shutdown_time_max;
        let tried = tokio::select! {
            biased;
            tried = self.publish_again(records, health) => tried?,
            // Their numbers are kept: published again at the next start, they land once.
            () = given_up(cancel, time_max) => {
                return Err(Stop::Lost(format!(
                    "parked rows that are tried again were not acknowledged within {time_max:?}"
                )));
            }
        };
        if let (Some(first), rows) = (tried.published.first(), tried.published.len()) {
            self.save(self.window.acknowledged(), self.sent).await?;
            point(Point::RetryPublished);
            self.store.unpark(&tried.published).await?;
            self.pruning.start_again();
            info!(rows, first, "parked rows are published");
        }
        if let Some((sequence, why)) = tried.refused.or(failed) {
            self.park_again(&retries, sequence, &why).await?;
        }
        if tried.is_spent {
            return Err(Stop::RetryRefused);
        }
        self.parking = Parking::load(self.store, self.limits, self.progress).await?;
        Ok(())
    }

    /// The records of the rows, by their sequence in the outbox, up to the first that has none.
    fn retried(&mut self, retries: &[Retry]) -> (BTreeMap<i64, Record>, Option<(i64, String)>) {
        let (mut records, now_ms) = (BTreeMap::new(), now_ms());
        for Retry { row, .. } in retries {
            match self.encode(row, now_ms) {
                Ok(record) => records.insert(row.sequence, record),
                Err(error) => return (records, Some((row.sequence, error.to_string()))),
            };
        }
        (records, None)
    }

    /// Sends the records and waits until all are acknowledged.
    async fn publish_again(
        &mut self,
        mut records: BTreeMap<i64, Record>,
        health: &mut Health,
    ) -> Result<Tried, Stop> {
        let sequences: Vec<i64> = records.keys().copied().collect();
        let (mut tried, mut sent) = (Tried::default(), Sent::new());
        // Of one source whichever way the outbox is read: a try may be repeated after a hand-over.
        let source: Arc<str> = format!("{}/unparked", self.store.own_source().await?).into();
        let numbers = self.store.number_retries(&sequences).await?;
        point(Point::RetryNumbered);
        for (sequence, number) in numbers {
            let Some(mut record) = records.remove(&sequence) else {
                continue;
            };
            record.source = Arc::clone(&source);
            record.number = number;
            record.sequence = number.into();
            match self.publisher.send(&record) {
                Ok(()) => sent.insert(number, (sequence, record.topic)),
                Err(PublishError::Unavailable(why)) => return Err(Stop::Lost(why)),
                Err(PublishError::Refused(why)) => {
                    tried.refused = Some((sequence, why));
                    break;
                }
            };
            if self.caution.retries_one_by_one() {
                self.acknowledge(&mut sent, &mut tried, health).await?;
            }
            if tried.is_spent {
                return Ok(tried);
            }
        }
        self.acknowledge(&mut sent, &mut tried, health).await?;
        if !tried.is_spent {
            self.caution.retry_one_by_one(false);
        }
        Ok(tried)
    }

    /// Waits until all that was sent is acknowledged, or some of it refused. A row is to blame if it
    /// was sent alone; else the next try sends them one by one.
    async fn acknowledge(
        &mut self,
        sent: &mut Sent,
        tried: &mut Tried,
        health: &mut Health,
    ) -> Result<(), Stop> {
        while !sent.is_empty() {
            let mut notices = Vec::new();
            self.publisher.notices(&mut notices).await.map_err(lost)?;
            for notice in notices {
                match notice {
                    Notice::Delivered {
                        number,
                        partition,
                        offset,
                    } => {
                        if let Some((sequence, topic)) = sent.remove(&number) {
                            self.progress.count_published(1);
                            health.up();
                            tried.published.push(sequence);
                            self.note_offset(&topic, partition, offset)?;
                        }
                    }
                    Notice::Down { why } => health.down("kafka", &why),
                    Notice::Failed {
                        number,
                        why,
                        refused: true,
                    } => {
                        let is_alone = sent.len() == 1;
                        if let Some(&(sequence, _)) = sent.get(&number).filter(|_| is_alone) {
                            tried.refused = Some((sequence, why));
                        }
                        self.caution.retry_one_by_one(!is_alone);
                        tried.is_spent = true;
                        return Ok(());
                    }
                    Notice::Failed { why, .. } => return Err(Stop::Lost(why)),
                }
            }
        }
        Ok(())
    }

    /// The row that failed and those behind it wait again.
    async fn park_again(&mut self, retries: &[Retry], failed: i64, why: &str) -> Result<(), Stop> {
        let rest = retries.iter().filter(|retry| retry.row.sequence >= failed);
        let rows: Vec<ParkedRow> = rest
            .map(|Retry { row, key_id, .. }| ParkedRow {
                sequence: row.sequence,
                entity: row.entity.clone(),
                key_id: key_id.clone(),
                key: row.key.clone(),
                why: if row.sequence == failed {
                    why.to_owned()
                } else {
                    format!("waits for row {failed} of its key")
                },
            })
            .collect();
        if let Some(first) = rows.first() {
            warn!(
                sequence = failed,
                entity = first.entity,
                key = first.key,
                why,
                "a parked row was tried again and cannot be published"
            );
        }
        self.store.park_again(&rows).await?;
        Ok(())
    }
}

/// Ends when the relay was told to end, and has waited for as long as that may take.
async fn given_up(cancel: &CancellationToken, time_max: Duration) {
    cancel.cancelled().await;
    sleep(time_max).await;
}
