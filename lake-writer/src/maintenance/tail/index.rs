//! The latest change of every key: where it is, and how late.

use hashbrown::HashTable;

use crate::maintenance::log_order::LogOrder;

/// Where a row is: in which batch, at which place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    batch: u32,
    row: u32,
}

impl Place {
    pub(super) fn new(batch: usize, row: usize) -> Self {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            batch: number(batch),
            row: number(row),
        }
    }

    /// A row whose columns are not read yet, by its place in its row group.
    pub(super) fn open(row: usize) -> Self {
        Self {
            batch: u32::MAX,
            ..Self::new(0, row)
        }
    }

    pub(super) fn is_open(self) -> bool {
        self.batch == u32::MAX
    }

    /// Its place in its batch; if it is open, in its row group.
    pub(super) fn row(self) -> usize {
        self.row as usize
    }

    pub(super) fn indices(self) -> (usize, usize) {
        (self.batch as usize, self.row as usize)
    }
}

/// A key's latest change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) hash: u32,
    pub(crate) order: LogOrder,
    pub(crate) is_delete: bool,
    /// The table has taken it in already: it says no more than that what is earlier does not count.
    pub(crate) is_settled: bool,
    pub(super) place: Place,
    key_start: usize,
    key_len: usize,
}

impl Entry {
    pub(super) fn new(hash: u32, order: LogOrder, place: Place, is_delete: bool) -> Self {
        Self {
            hash,
            order,
            is_delete,
            is_settled: false,
            place,
            key_start: 0,
            key_len: 0,
        }
    }

    /// Whether the key has a row of the tail's.
    pub(crate) fn has_row(&self) -> bool {
        !self.is_delete && !self.is_settled
    }

    /// Whether it takes the place of what is known of its key. A change may be in two files, one of
    /// which is not known to be settled.
    fn follows(&self, known: &Self) -> bool {
        let is_fresh = known.is_settled && !self.is_settled;
        self.order > known.order || (self.order == known.order && is_fresh)
    }

    /// The batch and the row of the change. A delete has none.
    pub(crate) fn place(&self) -> (usize, usize) {
        self.place.indices()
    }
}

/// Entries by their keys, whose bytes lie one after the other.
#[derive(Default)]
pub(super) struct KeyIndex {
    numbers: HashTable<u32>,
    entries: Vec<Entry>,
    keys: Vec<u8>,
}

impl std::fmt::Debug for KeyIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyIndex({} keys)", self.entries.len())
    }
}

impl KeyIndex {
    /// Takes a change in if it is the latest of its key so far; the number of the key's entry then.
    pub(super) fn offer(&mut self, key: &[u8], change: Entry) -> Option<u32> {
        let (entries, keys) = (&mut self.entries, &mut self.keys);
        let of = |entries: &[Entry], number: u32| entries.get(number as usize).copied();
        let same = |number: &u32| {
            of(entries, *number)
                .is_some_and(|entry| entry.hash == change.hash && bytes(keys, &entry) == key)
        };
        if let Some(number) = self.numbers.find(spread(change.hash), same).copied() {
            let entry = entries.get_mut(number as usize)?;
            if !change.follows(entry) {
                return None;
            }
            *entry = Entry {
                key_start: entry.key_start,
                key_len: entry.key_len,
                ..change
            };
            return Some(number);
        }
        let number = u32::try_from(entries.len()).ok()?;
        entries.push(Entry {
            key_start: keys.len(),
            key_len: key.len(),
            ..change
        });
        keys.extend_from_slice(key);
        let hash = |number: &u32| of(entries, *number).map_or(0, |entry| spread(entry.hash));
        self.numbers
            .insert_unique(spread(change.hash), number, hash);
        Some(number)
    }

    /// The latest change of a key.
    pub(super) fn find(&self, key: &[u8], hash: u32) -> Option<&Entry> {
        let same = |number: &u32| {
            self.get(*number)
                .is_some_and(|entry| entry.hash == hash && self.key(entry) == key)
        };
        self.get(*self.numbers.find(spread(hash), same)?)
    }

    pub(super) fn get(&self, number: u32) -> Option<&Entry> {
        self.entries.get(number as usize)
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn key(&self, entry: &Entry) -> &[u8] {
        bytes(&self.keys, entry)
    }

    /// Where the rows are whose columns are read, in order, and the numbers of their entries.
    pub(super) fn read_rows(&self) -> Vec<(Place, u32)> {
        self.rows(|place| !place.is_open())
    }

    /// The same of rows whose columns are not read yet.
    pub(super) fn open_rows(&self) -> Vec<(Place, u32)> {
        self.rows(Place::is_open)
    }

    fn rows(&self, wanted: impl Fn(Place) -> bool) -> Vec<(Place, u32)> {
        let rows = (0..).zip(&self.entries);
        let rows = rows.filter(|(_, entry)| entry.has_row() && wanted(entry.place));
        let mut rows: Vec<(Place, u32)> =
            rows.map(|(number, entry)| (entry.place, number)).collect();
        rows.sort_unstable();
        rows
    }

    /// The row of this entry is at another place now.
    pub(super) fn settle(&mut self, number: u32, place: Place) {
        if let Some(entry) = self.entries.get_mut(number as usize) {
            entry.place = place;
        }
    }

    /// Forgets keys. Entries get new numbers.
    pub(super) fn retain(&mut self, keeps: impl Fn(&Entry) -> bool) {
        let before = std::mem::take(self);
        for entry in before.entries.iter().filter(|entry| keeps(entry)) {
            self.offer(before.key(entry), *entry);
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.numbers.allocation_size()
            + self.entries.capacity() * size_of::<Entry>()
            + self.keys.capacity()
    }
}

fn bytes<'a>(keys: &'a [u8], entry: &Entry) -> &'a [u8] {
    keys.get(entry.key_start..entry.key_start + entry.key_len)
        .unwrap_or_default()
}

/// The table looks at the highest and the lowest bits of 64.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
