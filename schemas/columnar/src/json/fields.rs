//! Look-up of an object's field names.

use std::collections::HashMap;

use super::reader::Reader;
use crate::error::{Fault, truncated};

/// How many names of unknown fields are remembered, and how long they may be.
const LEARNED_MAX: usize = 256;
const LEARNED_BYTES_MAX: usize = 128;

/// The fields of one kind of object.
///
/// Records of one producer mostly name their fields in the same order, so that each name is
/// expected after the one before and found by one comparison of bytes; a name that was not
/// expected is looked up, and expected next time.
#[derive(Debug)]
pub(crate) struct FieldNames<T> {
    entries: Vec<Entry<T>>,
    index: HashMap<Box<str>, usize>,
}

#[derive(Debug)]
struct Entry<T> {
    /// The name as it is usually written: `"name":`.
    written: Box<[u8]>,
    target: Option<T>,
    /// The entry that came next the last time.
    next: usize,
}

/// Where in an object we are: the entry of the field before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place(usize);

impl<T: Copy> FieldNames<T> {
    /// Names, in the order in which they are expected at first, and what they stand for.
    pub(crate) fn new<'n>(names: impl IntoIterator<Item = (&'n str, T)>) -> Self {
        // The first entry stands for an object's start.
        let start = Entry {
            written: Box::default(),
            target: None,
            next: 1,
        };
        let mut fields = Self {
            entries: vec![start],
            index: HashMap::new(),
        };
        for (name, target) in names {
            fields.add(name, Some(target));
        }
        fields
    }

    /// Forgets what names stand for, but for those that are kept.
    pub(crate) fn retain(&mut self, keep: impl Fn(T) -> bool) {
        for entry in &mut self.entries {
            entry.target = entry.target.filter(|target| keep(*target));
        }
    }

    fn add(&mut self, name: &str, target: Option<T>) -> usize {
        let place = self.entries.len();
        let written = format!("{}:", serde_json::Value::from(name));
        let written = written.into_bytes().into_boxed_slice();
        self.entries.push(Entry {
            written,
            target,
            next: place + 1,
        });
        self.index.insert(name.into(), place);
        place
    }

    /// Takes a field's name and the colon; answers what it stands for, `None` if it is unknown.
    #[inline]
    pub(crate) fn next(
        &mut self,
        reader: &mut Reader<'_>,
        place: &mut Place,
        scratch: &mut String,
    ) -> Result<Option<T>, Fault> {
        let expected = self.entries.get(place.0).map_or(0, |entry| entry.next);
        if let Some(entry) = self.entries.get(expected)
            && expected != 0
            && reader.take(&entry.written)
        {
            place.0 = expected;
            return Ok(entry.target);
        }
        self.look_up(reader, place, scratch)
    }

    fn look_up(
        &mut self,
        reader: &mut Reader<'_>,
        place: &mut Place,
        scratch: &mut String,
    ) -> Result<Option<T>, Fault> {
        if reader.token()? != b'"' {
            return Err(reader.error("expected a field name"));
        }
        let name = reader.text(scratch)?;
        let found = match self.index.get(name) {
            Some(&found) => found,
            None if self.may_learn(name) => self.add(name, None),
            None => 0,
        };
        reader.expect(b':')?;
        if found == 0 {
            return Ok(None);
        }
        if let Some(before) = self.entries.get_mut(place.0) {
            before.next = found;
        }
        place.0 = found;
        Ok(self.entries.get(found).and_then(|entry| entry.target))
    }

    /// A name that would be written with escapes is not worth expecting.
    fn may_learn(&self, name: &str) -> bool {
        self.entries.len() < LEARNED_MAX
            && name.len() <= LEARNED_BYTES_MAX
            && name
                .bytes()
                .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
    }
}

/// Calls `field` at the value of each field of an object.
#[inline]
pub(crate) fn for_each_field<'a, T: Copy>(
    reader: &mut Reader<'a>,
    names: &mut FieldNames<T>,
    scratch: &mut String,
    mut field: impl FnMut(&mut Reader<'a>, Option<T>, &mut String) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut place = Place::default();
    let mut more = reader.open(b'{', b'}')?;
    while more {
        let target = names.next(reader, &mut place, scratch)?;
        if let Err(fault) = field(reader, target, scratch) {
            // Half a number may be of another type than the whole: what ends here is cut off.
            return Err(if reader.peek().is_none() {
                truncated(reader.place())
            } else {
                fault
            });
        }
        more = reader.more(b'}')?;
    }
    Ok(())
}
