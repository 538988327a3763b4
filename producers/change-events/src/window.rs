//! What was sent and is not yet acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;

/// The records in flight, in outbox order, bounded by rows and bytes. They are called by numbers of
/// the connection, as several may belong to one row.
#[derive(Debug)]
pub(crate) struct Window {
    entries: VecDeque<Entry>,
    /// The first one's number.
    first: i64,
    bytes: usize,
    acknowledged: i64,
}

#[derive(Debug)]
struct Entry {
    sequence: i64,
    /// `None`: no event of the row, or not sent.
    topic: Option<Arc<str>>,
    bytes: usize,
    delivered: bool,
}

/// A record in flight: its row's place, and whether it is the row's event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) place: i64,
    pub(crate) is_event: bool,
}

impl Window {
    /// A window after `confirmed`, up to which everything is acknowledged.
    pub(crate) fn after(confirmed: i64) -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            bytes: 0,
            acknowledged: confirmed,
        }
    }

    /// The number of the record that is taken in next.
    pub(crate) fn next_number(&self) -> i64 {
        // A length in memory is far below i64's end.
        self.first + self.entries.len() as i64
    }

    /// Takes in a record that is about to be sent, or a row that is about to be parked; answers its
    /// number. Sequences must not fall, and what belongs to one row comes before anything is
    /// delivered.
    pub(crate) fn admit(&mut self, sequence: i64, topic: Option<Arc<str>>, bytes: usize) -> i64 {
        debug_assert!(
            self.entries
                .back()
                .is_none_or(|last| last.sequence <= sequence)
        );
        let number = self.next_number();
        self.entries.push_back(Entry {
            sequence,
            topic,
            bytes,
            delivered: false,
        });
        self.bytes += bytes;
        number
    }

    /// A record in flight.
    pub(crate) fn sent(&self, number: i64) -> Option<Sent> {
        let index = usize::try_from(number - self.first).ok()?;
        let entry = self.entries.get(index)?;
        let (place, is_event) = (entry.sequence, entry.topic.is_some());
        (!entry.delivered).then_some(Sent { place, is_event })
    }

    /// Notes that the brokers have the record, or that the row is parked; a number that is not in
    /// flight is passed over. Answers the topic of an event.
    pub(crate) fn deliver(&mut self, number: i64) -> Option<Arc<str>> {
        let index = usize::try_from(number - self.first).ok()?;
        let entry = self.entries.get_mut(index)?;
        entry.delivered = true;
        let topic = entry.topic.take();
        while let Some(gone) = self.entries.pop_front_if(|first| first.delivered) {
            self.first += 1;
            self.bytes -= gone.bytes;
            let next = self.entries.front();
            if next.is_none_or(|next| next.sequence != gone.sequence) {
                self.acknowledged = gone.sequence;
            }
        }
        topic
    }

    /// The sequence up to which everything is acknowledged, without a hole.
    pub(crate) fn acknowledged(&self) -> i64 {
        self.acknowledged
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Records in flight: no fewer than rows.
    pub(crate) fn rows(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_no_hole_before_it_counts() {
        let mut window = Window::after(4);
        let numbers = [5, 7, 8].map(|sequence| window.admit(sequence, Some("a".into()), 10));
        assert_eq!(numbers, [0, 1, 2]);
        window.deliver(1);
        assert_eq!(
            (window.acknowledged(), window.rows(), window.bytes()),
            (4, 3, 30)
        );
        window.deliver(0);
        assert_eq!(
            (window.acknowledged(), window.rows(), window.bytes()),
            (7, 1, 10)
        );
        let event = |place| {
            Some(Sent {
                place,
                is_event: true,
            })
        };
        assert_eq!((window.sent(2), window.sent(1)), (event(8), None));
        assert_eq!(window.deliver(2).as_deref(), Some("a"));
        assert_eq!(window.deliver(2), None);
        assert!(window.is_empty());
        assert_eq!((window.acknowledged(), window.bytes()), (8, 0));
        assert_eq!(window.next_number(), 3);
    }

    #[test]
    fn a_row_counts_with_the_last_of_its_records() {
        let mut window = Window::after(4);
        let begin = window.admit(5, None, 1);
        let event = window.admit(5, Some("a".into()), 1);
        let end = window.admit(5, None, 1);
        let is_event = |number| window.sent(number).map(|sent| sent.is_event);
        assert_eq!(
            (is_event(begin), is_event(event)),
            (Some(false), Some(true))
        );
        assert_eq!(window.deliver(begin), None);
        assert!(window.deliver(event).is_some());
        assert_eq!(window.acknowledged(), 4);
        window.deliver(end);
        assert_eq!(window.acknowledged(), 5);
    }
}
