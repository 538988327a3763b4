//! How much of its budget a writer uses so soon after its start.

/// Bytes that a writer begins with.
const COLD_BYTES: usize = 16 << 20;

/// What was proved since the start.
///
/// Nobody knows at a start whether the life before ended for want of memory. A writer that would
/// read its whole budget full again before it commits would die of it again, for ever. So it holds
/// little at first, and then no more than what it has committed since: when it dies, more is done
/// than lost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Warmth {
    committed_bytes: usize,
}

impl Warmth {
    /// Rows of so many bytes were committed.
    pub(super) fn committed(&mut self, bytes: usize) {
        self.committed_bytes = self.committed_bytes.saturating_add(bytes);
    }

    /// Bytes to use of a budget.
    pub(super) fn share_of(self, budget: usize) -> usize {
        budget.min(self.committed_bytes.saturating_add(COLD_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_held_than_was_committed() {
        let budget = COLD_BYTES * 3;
        let mut warmth = Warmth::default();
        assert_eq!(warmth.share_of(budget), COLD_BYTES);
        warmth.committed(COLD_BYTES / 2);
        assert_eq!(warmth.share_of(budget), COLD_BYTES / 2 * 3);
        warmth.committed(usize::MAX);
        assert_eq!(warmth.share_of(budget), budget);
        assert_eq!(Warmth::default().share_of(COLD_BYTES / 2), COLD_BYTES / 2);
    }
}
