//! What was sent and is not yet acknowledged, and which transactions that leaves open.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::Lsn;

/// The records in flight in the order of their numbers, and the ends of their transactions.
#[derive(Debug)]
pub(crate) struct Window {
    /// The number of the first record in flight.
    first: i64,
    records: VecDeque<InFlight>,
    bytes: usize,
    /// Of every transaction that is sent whole: the number behind its last record, and its end.
    ends: VecDeque<(i64, Lsn)>,
    confirmed: Lsn,
}

/// A record that was sent.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) topic: Arc<str>,
    /// Its transaction's commit.
    pub(crate) lsn: Lsn,
    pub(crate) bytes: usize,
    is_delivered: bool,
}

impl InFlight {
    pub(crate) fn new(topic: Arc<str>, lsn: Lsn, bytes: usize) -> Self {
        Self {
            topic,
            lsn,
            bytes,
            is_delivered: false,
        }
    }
}

impl Window {
    /// A window in which nothing is in flight and everything before `confirmed` is acknowledged.
    pub(crate) fn after(confirmed: Lsn) -> Self {
        Self {
            first: 0,
            records: VecDeque::new(),
            bytes: 0,
            ends: VecDeque::new(),
            confirmed,
        }
    }

    /// Takes in a record that is about to be sent; answers its number.
    pub(crate) fn admit(&mut self, record: InFlight) -> i64 {
        let number = self.next_number();
        self.bytes += record.bytes;
        self.records.push_back(record);
        number
    }

    fn next_number(&self) -> i64 {
        // A count in memory is far below i64's end.
        self.first + self.records.len() as i64
    }

    /// Notes that everything of a transaction was sent. Ends rise.
    pub(crate) fn end_transaction(&mut self, end: Lsn) {
        self.ends.push_back((self.next_number(), end));
        self.advance();
    }

    /// Notes that the brokers have the record; one that is not in flight is passed over.
    pub(crate) fn deliver(&mut self, number: i64) {
        let place = usize::try_from(number - self.first).ok();
        if let Some(record) = place.and_then(|place| self.records.get_mut(place)) {
            record.is_delivered = true;
        }
        while let Some(record) = self.records.pop_front_if(|record| record.is_delivered) {
            self.bytes -= record.bytes;
            self.first += 1;
        }
        self.advance();
    }

    /// A record in flight.
    pub(crate) fn get(&self, number: i64) -> Option<&InFlight> {
        let place = usize::try_from(number - self.first).ok()?;
        self.records.get(place)
    }

    fn advance(&mut self) {
        while let Some((_, end)) = self.ends.pop_front_if(|(behind, _)| *behind <= self.first) {
            self.confirmed = self.confirmed.max(end);
        }
    }

    /// Notes that nothing that was committed before `lsn` is still to come. Counts when nothing is in
    /// flight.
    pub(crate) fn idle(&mut self, lsn: Lsn) {
        if self.is_empty() {
            self.confirmed = self.confirmed.max(lsn);
        }
    }

    /// Everything that was committed before this place is acknowledged, without a hole.
    pub(crate) fn confirmed(&self) -> Lsn {
        self.confirmed
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn rows(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_counts_when_it_and_all_before_it_are_delivered() {
        let mut window = Window::after(Lsn(10));
        let record = |bytes| InFlight::new("t".into(), Lsn(1), bytes);
        let first = window.admit(record(5));
        let second = window.admit(record(5));
        window.end_transaction(Lsn(20));
        let third = window.admit(record(7));
        window.deliver(third);
        window.deliver(second);
        assert_eq!(
            (window.confirmed(), window.rows(), window.bytes()),
            (Lsn(10), 3, 17)
        );
        // Whoever is idle while records are in flight confirms nothing.
        window.idle(Lsn(99));
        window.deliver(first);
        window.deliver(first);
        assert_eq!((window.confirmed(), window.bytes()), (Lsn(20), 0));
        // The third is delivered, but its transaction goes on.
        window.end_transaction(Lsn(30));
        assert_eq!(window.confirmed(), Lsn(30));
        // A transaction of no record of ours.
        window.end_transaction(Lsn(40));
        assert_eq!(window.confirmed(), Lsn(40));
        window.idle(Lsn(50));
        window.idle(Lsn(45));
        assert_eq!(window.confirmed(), Lsn(50));
    }
}
