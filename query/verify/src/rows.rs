//! Rows of the ranges that differ.

use std::collections::{HashMap, HashSet};

use schemas::canonical::hash;

use crate::difference::{Difference, Kind};
use crate::ranges::Ranges;
use crate::shown::shown;

/// A row by its canonical parts, as either side reads it.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// The canonical bytes of the key alone.
    pub(crate) key: &'a [u8],
    /// The canonical bytes of all that is compared.
    pub(crate) row: &'a [u8],
    /// Each column that is not null: its place and its canonical bytes.
    pub(crate) columns: &'a [(usize, &'a [u8])],
}

/// What takes in the rows of one side.
pub(crate) trait Intake: Send {
    fn take(&mut self, row: &Row<'_>);
}

/// The rows of some ranges by key.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    ranges: HashSet<usize>,
    by_key: HashMap<Vec<u8>, Vec<Kept>>,
}

/// What is kept of a row: enough to say in which columns it differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kept {
    hash: u128,
    columns: Vec<(usize, u64)>,
}

impl Intake for Ranges {
    fn take(&mut self, row: &Row<'_>) {
        self.add(hash(row.key), hash(row.row));
    }
}

impl Intake for Rows {
    fn take(&mut self, row: &Row<'_>) {
        if self.ranges.contains(&Ranges::of(hash(row.key))) {
            self.keep(row);
        }
    }
}

impl Rows {
    pub(crate) fn of_ranges(ranges: &[usize]) -> Self {
        Self {
            ranges: ranges.iter().copied().collect(),
            by_key: HashMap::new(),
        }
    }

    fn keep(&mut self, row: &Row<'_>) {
        // Half of a hash is enough for the columns of one row.
        let columns = row.columns.iter();
        let columns = columns.map(|(place, bytes)| (*place, hash(bytes) as u64));
        let kept = Kept {
            hash: hash(row.row),
            columns: columns.collect(),
        };
        self.by_key.entry(row.key.to_vec()).or_default().push(kept);
    }

    /// What differs between an owner's rows and the lake's, in the order of the keys as shown.
    pub(crate) fn differences(&self, lake: &Self, names: &[String]) -> Vec<Difference> {
        let keys: HashSet<&Vec<u8>> = self.by_key.keys().chain(lake.by_key.keys()).collect();
        let mut differences: Vec<Difference> = keys
            .into_iter()
            .filter_map(|key| {
                let kind = kind(self.sorted(key), lake.sorted(key), names)?;
                let range = Ranges::of(hash(key));
                Some(Difference {
                    key: shown(key),
                    key_bytes: key.clone(),
                    range,
                    kind,
                })
            })
            .collect();
        differences.sort_by(|a, b| a.key.cmp(&b.key));
        differences
    }

    /// Whether the rows of a key are the same here and there.
    pub(crate) fn same(&self, other: &Self, key: &[u8]) -> bool {
        self.sorted(key) == other.sorted(key)
    }

    fn sorted(&self, key: &[u8]) -> Vec<Kept> {
        let mut rows = self.by_key.get(key).cloned().unwrap_or_default();
        rows.sort();
        rows
    }
}

fn kind(owner: Vec<Kept>, lake: Vec<Kept>, names: &[String]) -> Option<Kind> {
    let (at_owner, in_lake) = (owner.len(), lake.len());
    match (owner.as_slice(), lake.as_slice()) {
        (owner, lake) if owner == lake => None,
        (_, []) => Some(Kind::NotInLake),
        ([], _) => Some(Kind::NotAtOwner),
        ([ours], [theirs]) => Some(Kind::Altered {
            columns: altered(ours, theirs, names),
        }),
        _ => Some(Kind::Doubled { at_owner, in_lake }),
    }
}

/// The columns in which two rows differ.
fn altered(a: &Kept, b: &Kept, names: &[String]) -> Vec<String> {
    let value = |row: &Kept, place: usize| {
        let found = row.columns.iter().find(|(of, _)| *of == place);
        found.map(|(_, hash)| *hash)
    };
    let names = names.iter().enumerate();
    let differing = names.filter(|(place, _)| value(a, *place) != value(b, *place));
    differing.map(|(_, name)| name.clone()).collect()
}
