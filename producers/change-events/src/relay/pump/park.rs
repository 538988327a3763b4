//! Rows that cannot be published: their keys wait, other keys go on.

use schemas::wire;
use tracing::{debug, info, warn};

use super::Pump;
use crate::faults::{Point, point};
use crate::outbox_store::ParkedRow;
use crate::relay::stop::{Refused, Stop};
use crate::timestamp::now_ms;
use crate::{OutboxRow, PublishError, Record, RelayError};

impl Pump<'_> {
    /// Sends a row's record; answers the row if it is to be parked instead.
    pub(super) fn send(&mut self, row: &OutboxRow, now: i64) -> Result<Option<ParkedRow>, Stop> {
        let mut record = match self.encode(row, now) {
            Ok(record) => record,
            Err(error) => {
                let key_id = self.key_id(row);
                return Ok(Some(self.parked(row, key_id, Some(error.to_string()))));
            }
        };
        if !self.parking.is_empty()
            && self
                .parking
                .holds(&row.entity, key_id(&record), row.sequence)
        {
            return Ok(Some(self.parked(row, key_id(&record).to_vec(), None)));
        }
        record.number = self.window.next_number();
        match self.publisher.send(&record) {
            Ok(()) => {
                let bytes = record.bytes();
                self.window.admit(row.place, Some(record.topic), bytes);
                if let Some(watermarks) = &mut self.watermarks {
                    watermarks.send(row);
                }
                Ok(None)
            }
            Err(PublishError::Refused(why)) => {
                let key_id = key_id(&record).to_vec();
                Ok(Some(self.parked(row, key_id, Some(why))))
            }
            Err(PublishError::Unavailable(why)) => Err(Stop::Lost(why)),
        }
    }

    /// Keeps rows, with their numbers in flight, as parked in the database; they count as done from
    /// then on.
    pub(super) async fn park(&mut self, rows: Vec<(i64, ParkedRow)>) -> Result<(), Stop> {
        if rows.is_empty() {
            return Ok(());
        }
        let (numbers, rows): (Vec<i64>, Vec<ParkedRow>) = rows.into_iter().unzip();
        self.store.park(&rows).await?;
        point(Point::OutboxParked);
        for number in numbers {
            self.window.deliver(number);
        }
        self.parking.show(self.progress);
        self.parking.check()?;
        Ok(())
    }

    /// Parks a row that the brokers refused after it was sent alone; where they refused what tells of its
    /// transaction, that is no fault of the row's. Of several, the next connection sends fewer at once.
    pub(super) async fn refused(&mut self, refused: Refused) -> Result<(), RelayError> {
        let Refused {
            first: place,
            last,
            rows,
            has_event,
            why,
        } = refused;
        if !self.caution.refused(rows, last) {
            info!(
                rows,
                first = place,
                last,
                why,
                "a batch was refused; its rows are sent again, fewer at once (set batch.size below \
                 the topic's max.message.bytes if this is said often)"
            );
            return Ok(());
        }
        if !has_event {
            return Err(RelayError::KafkaRefused(format!(
                "a mark of where a transaction begins or ends, alone: {why}; without marks, set [relay] \
                 transactions = false"
            )));
        }
        let Some(row) = self.store.row(place).await? else {
            return Ok(());
        };
        let key_id = match self.encode(&row, now_ms()) {
            Ok(record) => key_id(&record).to_vec(),
            Err(_) => self.key_id(&row),
        };
        let parked = self.parked(&row, key_id, Some(why));
        self.store.park(&[parked]).await?;
        self.parking.show(self.progress);
        Ok(())
    }

    /// A row whose key has no encoding has no other rows that belong to it but those that spell it
    /// the same way.
    fn key_id(&mut self, row: &OutboxRow) -> Vec<u8> {
        let encoder = self.encoders.events.get_mut(&row.entity);
        let encoded = encoder.and_then(|encoder| encoder.key_id(row));
        encoded.unwrap_or_else(|| row.key.clone().into_bytes())
    }

    fn parked(&mut self, row: &OutboxRow, key_id: Vec<u8>, why: Option<String>) -> ParkedRow {
        let is_cause = why.is_some();
        let parked = ParkedRow {
            sequence: row.sequence,
            entity: row.entity.clone(),
            key_id,
            key: row.key.clone(),
            why: why.unwrap_or_else(|| "waits for an earlier row of its key".to_owned()),
        };
        if self.parking.add(&parked) {
            warn!(
                sequence = row.sequence,
                event_id = row.event_id,
                entity = row.entity,
                key = row.key,
                why = parked.why,
                "an outbox row cannot be published; it is parked, and later rows of its key are \
                 parked behind it (docs/outbox.md says how they are tried again)"
            );
        } else {
            debug!(sequence = row.sequence, is_cause, "an outbox row is parked");
        }
        parked
    }
}

/// What tells the record's key from others: its encoding without the schema's id.
fn key_id(record: &Record) -> &[u8] {
    record.key.get(wire::PREFIX_BYTES..).unwrap_or_default()
}
