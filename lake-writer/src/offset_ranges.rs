//! Sets of offsets that come in runs.

use std::collections::BTreeMap;
use std::ops::Range;

/// Offsets of one partition. The memory they take grows with their runs, not with their number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OffsetRanges {
    /// Where each run starts and where it ends; none touches another.
    runs: BTreeMap<i64, i64>,
}

impl OffsetRanges {
    /// Adds a run, in any order; an empty one is none.
    pub(crate) fn insert(&mut self, mut run: Range<i64>) {
        if run.is_empty() {
            return;
        }
        // Those that it meets become one with it.
        while let Some((&start, &end)) = self.runs.range(..=run.end).next_back() {
            if end < run.start {
                break;
            }
            self.runs.remove(&start);
            run = run.start.min(start)..run.end.max(end);
        }
        self.runs.insert(run.start, run.end);
    }

    /// Whether an offset is among them. To be asked in ascending order: the runs before it are
    /// forgotten.
    pub(crate) fn pass(&mut self, offset: i64) -> bool {
        while let Some(first) = self.runs.first_entry() {
            if offset < *first.get() {
                return *first.key() <= offset;
            }
            first.remove();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hundred_million_in_a_row_are_one_run() {
        let mut ranges = OffsetRanges::default();
        for file in (0..1_000).rev() {
            ranges.insert(file * 100_000..(file + 1) * 100_000);
        }
        assert_eq!(ranges.runs, BTreeMap::from([(0, 100_000_000)]));
        assert!(ranges.pass(99_999_999));
        assert!(!ranges.pass(100_000_000));
        assert!(ranges.runs.is_empty());
    }

    proptest! {
        #[test]
        fn it_holds_what_a_set_of_single_offsets_would(
            runs in prop::collection::vec((0..200_i64, 0..9_i64), 0..40),
            step in 1..4_usize,
        ) {
            let (mut ranges, mut set) = (OffsetRanges::default(), BTreeSet::new());
            for (start, length) in runs {
                ranges.insert(start..start + length);
                set.extend(start..start + length);
            }
            let bounds: Vec<_> = ranges.runs.iter().collect();
            prop_assert!(bounds.windows(2).all(|two| two[0].1 < two[1].0), "{bounds:?}");
            for offset in (0..220).step_by(step) {
                // Who waits for a schema asks twice.
                prop_assert_eq!(ranges.pass(offset), set.contains(&offset));
                prop_assert_eq!(ranges.pass(offset), set.contains(&offset));
            }
        }
    }
}
