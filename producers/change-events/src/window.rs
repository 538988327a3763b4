//! What was sent and is not yet acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;

/// The records in flight, in outbox order, bounded by rows and bytes.
#[derive(Debug)]
pub(crate) struct Window {
    entries: VecDeque<Entry>,
    bytes: usize,
    acknowledged: i64,
}

#[derive(Debug)]
struct Entry {
    sequence: i64,
    /// `None`: the row is not sent but parked.
    topic: Option<Arc<str>>,
    bytes: usize,
    delivered: bool,
}

impl Window {
    /// A window after `confirmed`, up to which everything is acknowledged.
    pub(crate) fn after(confirmed: i64) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            acknowledged: confirmed,
        }
    }

    /// Takes in a record that is about to be sent, or a row that is about to be parked; sequences
    /// must rise.
    pub(crate) fn admit(&mut self, sequence: i64, topic: Option<Arc<str>>, bytes: usize) {
        debug_assert!(
            self.entries
                .back()
                .is_none_or(|last| last.sequence < sequence)
        );
        self.entries.push_back(Entry {
            sequence,
            topic,
            bytes,
            delivered: false,
        });
        self.bytes += bytes;
    }

    /// Notes that the brokers have the record, or that the row is parked; a sequence that is not in
    /// flight is passed over. Answers the record's topic.
    pub(crate) fn deliver(&mut self, sequence: i64) -> Option<Arc<str>> {
        let mut topic = None;
        if let Ok(index) = self
            .entries
            .binary_search_by_key(&sequence, |entry| entry.sequence)
            && let Some(entry) = self.entries.get_mut(index)
        {
            entry.delivered = true;
            topic = entry.topic.take();
        }
        while let Some(first) = self.entries.pop_front_if(|first| first.delivered) {
            self.bytes -= first.bytes;
            self.acknowledged = first.sequence;
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
        for sequence in [5, 7, 8] {
            window.admit(sequence, Some("a".into()), 10);
        }
        window.deliver(7);
        assert_eq!(
            (window.acknowledged(), window.rows(), window.bytes()),
            (4, 3, 30)
        );
        window.deliver(6);
        window.deliver(5);
        assert_eq!(
            (window.acknowledged(), window.rows(), window.bytes()),
            (7, 1, 10)
        );
        assert_eq!(window.deliver(8).as_deref(), Some("a"));
        assert_eq!(window.deliver(8), None);
        assert!(window.is_empty());
        assert_eq!((window.acknowledged(), window.bytes()), (8, 0));
    }
}
