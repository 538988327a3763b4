//! What is known by writer's schema.

use std::collections::HashMap;

use super::WriterSchema;
use crate::dead_letter::Reason;

/// Schemas whose decoders a topic keeps; of more, those that were not used for longest are made
/// again when they come. A decoder of a wide schema takes tens of kilobytes.
const DECODERS_MAX: usize = 256;

/// Decoders by their writer's schema, or why there is none. Most records have the schema of the
/// record before, which is found without a look at the index.
#[derive(Debug)]
pub(super) struct Known<T> {
    entries: Vec<Entry<T>>,
    places: HashMap<WriterSchema, usize>,
    last: usize,
    /// Counts changes from one schema to another.
    turn: u64,
    most: usize,
}

#[derive(Debug)]
struct Entry<T> {
    writer: WriterSchema,
    found: Result<T, Reason>,
    /// The turn in which it was last used.
    used: u64,
}

impl<T> Known<T> {
    pub(super) fn new() -> Self {
        Self::of_most(DECODERS_MAX)
    }

    fn of_most(most: usize) -> Self {
        Self {
            entries: Vec::new(),
            places: HashMap::new(),
            last: 0,
            turn: 0,
            most,
        }
    }

    /// What is known of a schema.
    #[inline]
    pub(super) fn get_mut(&mut self, writer: WriterSchema) -> Option<&mut Result<T, Reason>> {
        let is_last = |entry: &Entry<T>| entry.writer == writer;
        if !self.entries.get(self.last).is_some_and(is_last) {
            self.last = *self.places.get(&writer)?;
            self.turn += 1;
            self.entries.get_mut(self.last)?.used = self.turn;
        }
        let entry = self.entries.get_mut(self.last)?;
        Some(&mut entry.found)
    }

    /// Remembers what is known of a schema from now on.
    pub(super) fn insert(&mut self, writer: WriterSchema, found: Result<T, Reason>) {
        if let Some(known) = self.get_mut(writer) {
            *known = found;
            return;
        }
        self.turn += 1;
        let used = self.turn;
        let entry = Entry {
            writer,
            found,
            used,
        };
        if self.entries.len() < self.most {
            self.last = self.entries.len();
            self.entries.push(entry);
        } else if let Some(oldest) = self.oldest() {
            let gone = std::mem::replace(&mut self.entries[oldest], entry);
            self.places.remove(&gone.writer);
            self.last = oldest;
        }
        self.places.insert(writer, self.last);
    }

    fn oldest(&self) -> Option<usize> {
        let entries = self.entries.iter().enumerate();
        let oldest = entries.min_by_key(|(_, entry)| entry.used);
        oldest.map(|(place, _)| place)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::of_most(self.most);
    }
}

#[cfg(test)]
mod tests {
    use schemas::SchemaId;

    use super::*;

    #[test]
    fn each_schema_has_its_own() {
        let id = |id| WriterSchema::Id(SchemaId(id));
        let mut known = Known::new();
        assert!(known.get_mut(id(1)).is_none());
        known.insert(id(1), Ok("one"));
        known.insert(id(2), Ok("two"));
        known.insert(
            WriterSchema::Fingerprint(1),
            Err(Reason::new("x", String::new())),
        );
        for _ in 0..2 {
            assert!(matches!(known.get_mut(id(1)), Some(Ok("one"))));
            assert!(matches!(known.get_mut(id(2)), Some(Ok("two"))));
            assert!(matches!(
                known.get_mut(WriterSchema::Fingerprint(1)),
                Some(Err(_))
            ));
            assert!(known.get_mut(id(3)).is_none());
        }
        known.insert(id(1), Ok("other"));
        assert!(matches!(known.get_mut(id(1)), Some(Ok("other"))));
        known.clear();
        assert!(known.get_mut(id(1)).is_none());
    }

    #[test]
    fn of_too_many_those_go_that_were_not_used_for_longest() {
        let id = |id| WriterSchema::Id(SchemaId(id));
        let mut known = Known::of_most(3);
        for number in 1..=3 {
            known.insert(id(number), Ok(number));
        }
        assert!(known.get_mut(id(1)).is_some());
        known.insert(id(4), Ok(4));
        assert!(known.get_mut(id(2)).is_none());
        known.insert(id(5), Ok(5));
        assert!(known.get_mut(id(3)).is_none());
        for number in [1, 4, 5, 4, 1] {
            assert!(matches!(known.get_mut(id(number)), Some(Ok(found)) if *found == number));
        }
        // However many come.
        for number in 0..1_000 {
            known.insert(id(number), Ok(number));
            assert!(matches!(known.get_mut(id(number)), Some(Ok(found)) if *found == number));
            assert!(known.entries.len() <= 3 && known.places.len() == known.entries.len());
        }
    }
}
