//! Where the owner's transactions begin and end, told beside their events.
//!
//! The rows say all of it: which is a transaction's first, and which its last, with the counts. So there
//! is nothing to remember, and after a crash the same is told again with the same sequence: the row's place,
//! and behind it 0 for a begin and 1 for an end.

use schemas::Sequence;

use super::Pump;
use crate::relay::stop::{Stop, lost};
use crate::{OutboxRow, Record, TransactionMark};

impl Pump<'_> {
    /// To be called before a row is sent.
    pub(super) fn tell_begin(&mut self, row: &OutboxRow) -> Result<(), Stop> {
        if let Some(encoder) = &self.encoders.transactions
            && let Some(place) = row
                .transaction
                .as_ref()
                .filter(|place| place.total_order == 1)
        {
            let record = encoder.begin(mark(row, &place.id, 0));
            self.tell(row.place, record)?;
        }
        Ok(())
    }

    /// To be called when a row is sent or parked.
    pub(super) fn tell_end(&mut self, row: &OutboxRow) -> Result<(), Stop> {
        if let Some(encoder) = &self.encoders.transactions
            && let Some(place) = &row.transaction
            && let Some(counts) = &place.ended
        {
            let record = encoder.end(mark(row, &place.id, 1), counts);
            self.tell(row.place, record)?;
        }
        Ok(())
    }

    /// The row counts as acknowledged when this is, too.
    fn tell(&mut self, place: i64, mut record: Record) -> Result<(), Stop> {
        record.number = self.window.next_number();
        self.publisher.send(&record).map_err(lost)?;
        self.window.admit(place, None, record.bytes());
        Ok(())
    }
}

fn mark<'a>(row: &OutboxRow, id: &'a str, minor: i64) -> TransactionMark<'a> {
    TransactionMark {
        id,
        time_us: row.event_time_us,
        sequence: Sequence {
            major: row.place,
            minor: Some(minor),
        },
    }
}
