//! Brokers refuse a batch for its size, or for one record in it. Which, they do not say.
//!
//! So no row is parked that was refused in company: what was refused is sent again in ever smaller
//! parts, until a row is refused alone.

/// How many rows may be in flight after a batch was refused. Kept from connection to connection.
#[derive(Debug, Default)]
pub(super) struct Caution {
    /// As many as without, if there is none.
    rows_max: Option<usize>,
    /// The last row that was refused in company.
    through: i64,
    /// Whether parked rows that are tried again are sent one by one.
    retries_one_by_one: bool,
}

impl Caution {
    /// How many rows may be in flight, where `rows_max` may be otherwise.
    pub(super) fn rows_max(&self, rows_max: usize) -> usize {
        self.rows_max.map_or(rows_max, |few| few.min(rows_max))
    }

    /// Takes in that rows were refused, the last of them `last`; answers whether that was one row
    /// alone, which is to blame then.
    pub(super) fn refused(&mut self, rows: usize, last: i64) -> bool {
        if self.rows_max == Some(1) {
            self.rows_max = None;
            return true;
        }
        let rows = self.rows_max.map_or(rows, |few| few.min(rows));
        self.rows_max = Some((rows / 2).max(1));
        self.through = self.through.max(last);
        false
    }

    /// Takes in how far all is acknowledged: behind what was refused there is no need for it.
    pub(super) fn acknowledged(&mut self, through: i64) {
        if through >= self.through {
            self.rows_max = None;
        }
    }

    pub(super) fn retries_one_by_one(&self) -> bool {
        self.retries_one_by_one
    }

    pub(super) fn retry_one_by_one(&mut self, one_by_one: bool) {
        self.retries_one_by_one = one_by_one;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_halved_until_a_row_is_alone() {
        let mut caution = Caution::default();
        assert_eq!(caution.rows_max(50), 50);
        assert!(!caution.refused(9, 20));
        assert_eq!(caution.rows_max(50), 4);
        assert_eq!(caution.rows_max(3), 3);
        caution.acknowledged(19);
        assert!(!caution.refused(4, 18));
        assert!(!caution.refused(2, 17));
        assert_eq!(caution.rows_max(50), 1);
        assert!(caution.refused(1, 17));
        assert_eq!(caution.rows_max(50), 50);

        // A batch that was only too large is passed without it.
        assert!(!caution.refused(1, 30));
        assert_eq!(caution.rows_max(50), 1);
        caution.acknowledged(30);
        assert_eq!(caution.rows_max(50), 50);
    }
}
