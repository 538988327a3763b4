//! Up to when a Postgres owner's commits can be told to be complete.
//!
//! The order is the point: the clock is read, then what is open is looked at, then how far the owner has
//! come. A transaction takes its commit time, then writes its commit, then is open no more. One that took
//! its time before the clock was read is either seen open, and then it began after the answer, or its
//! commit is before what is looked at last.

/// The owner's clock, in microseconds since 1970-01-01 UTC.
pub const CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// The columns of [`OpenTransactions`].
pub const OPEN: &str = "SELECT (extract(epoch FROM min(xact_start)) * 1000000)::bigint, \
    coalesce(bool_or(xact_start IS NULL), false), \
    coalesce(bool_or(query = '<insufficient privilege>'), false), \
    EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database()) \
    FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL \
    AND pid <> pg_backend_pid()";

/// Others' transactions that are open and have written.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenTransactions {
    /// When the oldest one began, in microseconds since 1970-01-01 UTC.
    pub oldest_us: Option<i64>,
    /// Of some it is not known when they began.
    pub has_unknown: bool,
    /// The role may not see when some began.
    pub has_hidden: bool,
    /// There is a prepared one, of which nobody knows when it began.
    pub has_prepared: bool,
}

impl OpenTransactions {
    /// The time up to which what is looked at now is complete, if that can be told.
    pub fn complete_us(&self, clock_us: i64) -> Option<i64> {
        let is_told = !(self.has_unknown || self.has_hidden || self.has_prepared);
        // A commit may bear the very time at which its transaction began.
        let before_us = self.oldest_us.map_or(clock_us, |oldest_us| oldest_us - 1);
        is_told.then_some(clock_us.min(before_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_complete_before_the_oldest_begins() {
        let oldest = |oldest_us| OpenTransactions {
            oldest_us,
            ..OpenTransactions::default()
        };
        assert_eq!(oldest(None).complete_us(9), Some(9));
        assert_eq!(oldest(Some(7)).complete_us(9), Some(6));
        assert_eq!(oldest(Some(20)).complete_us(9), Some(9));
        let prepared = OpenTransactions {
            has_prepared: true,
            ..oldest(Some(7))
        };
        assert_eq!(prepared.complete_us(9), None);
    }
}
