//! Counts and sums by range.

use schemas::canonical::Sum;

/// Bits of a key's hash that name its range.
const RANGE_BITS: u32 = 16;

/// The rows of one side, added up by range: 65,536 ranges of the keys' hashes, each about as large
/// as the next, whatever the keys are. Takes 2 MiB for any number of rows.
#[derive(Debug, PartialEq, Eq)]
pub struct Ranges {
    counts: Vec<u64>,
    sums: Vec<Sum>,
}

impl Ranges {
    pub(crate) fn new() -> Self {
        let ranges = 1 << RANGE_BITS;
        Self {
            counts: vec![0; ranges],
            sums: vec![Sum::default(); ranges],
        }
    }

    /// The range of a key.
    pub(crate) fn of(key_hash: u128) -> usize {
        (key_hash >> (u128::BITS - RANGE_BITS)) as usize
    }

    pub(crate) fn add(&mut self, key_hash: u128, row_hash: u128) {
        let range = Self::of(key_hash);
        self.counts[range] += 1;
        self.sums[range].add(row_hash);
    }

    /// All rows.
    pub fn rows(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all rows.
    pub fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        self.sums.iter().for_each(|range| sum.join(*range));
        sum
    }

    /// The ranges in which two sides differ, each with the rows of both.
    pub(crate) fn differing(&self, other: &Self) -> Vec<(usize, u64)> {
        let differs = |range: &usize| {
            self.counts[*range] != other.counts[*range] || self.sums[*range] != other.sums[*range]
        };
        let ranges = (0..self.counts.len()).filter(differs);
        ranges
            .map(|range| (range, self.counts[range] + other.counts[range]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(rows: &[(u128, u128)]) -> Ranges {
        let mut ranges = Ranges::new();
        rows.iter().for_each(|(key, row)| ranges.add(*key, *row));
        ranges
    }

    proptest! {
        #[test]
        fn exactly_the_ranges_of_changed_rows_differ(
            rows in prop::collection::vec((any::<u128>(), 1_u128..), 1..200),
            place in any::<prop::sample::Index>(),
            change in 0..3,
        ) {
            let place = place.index(rows.len());
            let (key, hash) = rows[place];
            let mut other = rows.clone();
            match change {
                0 => drop(other.remove(place)),
                1 => other.push((key, hash)),
                _ => other[place].1 = hash - 1,
            }
            other.reverse();
            let found = ranges(&rows).differing(&ranges(&other));
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(found[0].0, Ranges::of(key));
            rows.iter().for_each(drop);
            other = rows.clone();
            other.reverse();
            prop_assert_eq!(ranges(&rows), ranges(&other));
        }
    }
}
