//! What is known by writer's schema.

use std::collections::HashMap;

use super::WriterSchema;
use crate::dead_letter::Reason;

/// Decoders by their writer's schema, or why there is none. Most records have the schema of the
/// record before, which is found without a look at the index.
#[derive(Debug)]
pub(super) struct Known<T> {
    entries: Vec<(WriterSchema, Result<T, Reason>)>,
    places: HashMap<WriterSchema, usize>,
    last: usize,
}

impl<T> Known<T> {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
            places: HashMap::new(),
            last: 0,
        }
    }

    /// What is known of a schema.
    #[inline]
    pub(super) fn get_mut(&mut self, writer: WriterSchema) -> Option<&mut Result<T, Reason>> {
        let is_last = |(last, _): &(WriterSchema, _)| *last == writer;
        if !self.entries.get(self.last).is_some_and(is_last) {
            self.last = *self.places.get(&writer)?;
        }
        self.entries.get_mut(self.last).map(|(_, found)| found)
    }

    /// Remembers what is known of a schema from now on.
    pub(super) fn insert(&mut self, writer: WriterSchema, found: Result<T, Reason>) {
        match self.get_mut(writer) {
            Some(known) => *known = found,
            None => {
                self.places.insert(writer, self.entries.len());
                self.entries.push((writer, found));
            }
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::new();
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
}
