//! A set of offsets, one bit each.

use std::collections::BTreeMap;

/// Offsets of a chunk.
const CHUNK: i64 = 1 << 16;
const WORD_BITS: i64 = 64;
const WORDS: usize = 1 << 10;

/// Offsets of one topic partition. They lie close together, so a chunk of 8 KiB holds 65,536.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    chunks: BTreeMap<i64, Box<[u64; WORDS]>>,
}

impl Offsets {
    /// Adds an offset; false if it was there.
    pub(super) fn insert(&mut self, offset: i64) -> bool {
        let (chunk, word, bit) = place(offset);
        let words = self
            .chunks
            .entry(chunk)
            .or_insert_with(|| Box::new([0; WORDS]));
        let fresh = words[word] & bit == 0;
        words[word] |= bit;
        fresh
    }

    pub(super) fn len(&self) -> u64 {
        let words = self.chunks.values().flat_map(|words| words.iter());
        words.map(|word| u64::from(word.count_ones())).sum()
    }

    /// The first offset.
    pub(super) fn first(&self) -> Option<i64> {
        let (chunk, words) = self.chunks.first_key_value()?;
        let (word, bits) = words.iter().enumerate().find(|(_, bits)| **bits != 0)?;
        Some(offset(*chunk, word, bits.trailing_zeros()))
    }

    /// The offset after the last one.
    pub(super) fn end(&self) -> Option<i64> {
        let (chunk, words) = self.chunks.last_key_value()?;
        let (word, bits) = words.iter().enumerate().rfind(|(_, bits)| **bits != 0)?;
        Some(offset(*chunk, word, u64::BITS - bits.leading_zeros()))
    }

    /// The first offset that both have.
    pub(super) fn first_common(&self, other: &Self) -> Option<i64> {
        self.chunks.iter().find_map(|(chunk, words)| {
            let others = other.chunks.get(chunk)?.iter();
            let mut both = words.iter().zip(others).map(|(a, b)| a & b).enumerate();
            let (word, bits) = both.find(|(_, bits)| *bits != 0)?;
            Some(offset(*chunk, word, bits.trailing_zeros()))
        })
    }

    /// How many offsets either has.
    pub(super) fn union_len(&self, other: &Self) -> u64 {
        let both = self.chunks.iter().filter_map(|(chunk, words)| {
            let others = other.chunks.get(chunk)?.iter();
            let common = words.iter().zip(others);
            Some(
                common
                    .map(|(a, b)| u64::from((a & b).count_ones()))
                    .sum::<u64>(),
            )
        });
        self.len() + other.len() - both.sum::<u64>()
    }
}

fn place(offset: i64) -> (i64, usize, u64) {
    let within = offset.rem_euclid(CHUNK);
    (
        offset.div_euclid(CHUNK),
        (within / WORD_BITS) as usize,
        1 << (within % WORD_BITS),
    )
}

fn offset(chunk: i64, word: usize, bit: u32) -> i64 {
    chunk * CHUNK + word as i64 * WORD_BITS + i64::from(bit)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn offsets() -> impl Strategy<Value = Vec<i64>> {
        let near = 0..200_i64;
        let far = prop_oneof![near, 65_400..65_700_i64, Just(1 << 40)];
        prop::collection::vec(far, 0..300)
    }

    proptest! {
        #[test]
        fn it_is_a_set(a in offsets(), b in offsets()) {
            let (mut ours, mut theirs) = (Offsets::default(), Offsets::default());
            let (mut set, mut other) = (BTreeSet::new(), BTreeSet::new());
            for offset in a {
                prop_assert_eq!(ours.insert(offset), set.insert(offset));
            }
            for offset in b {
                prop_assert_eq!(theirs.insert(offset), other.insert(offset));
            }
            prop_assert_eq!(ours.len(), set.len() as u64);
            prop_assert_eq!(ours.first(), set.first().copied());
            prop_assert_eq!(ours.end(), set.last().map(|last| last + 1));
            prop_assert_eq!(ours.first_common(&theirs), set.intersection(&other).next().copied());
            prop_assert_eq!(ours.union_len(&theirs), set.union(&other).count() as u64);
        }
    }
}
