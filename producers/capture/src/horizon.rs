//! Up to when the owner's commits are complete, once the stream has passed a place in the log.

use tracing::warn;

use crate::Lsn;
use crate::answer::{Answer, text};
use crate::session::{Session, SessionError};

const CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// The start of the oldest transaction that is open and has written; whether the starts of some are
/// unknown, or hidden from this role; whether there is a prepared one, of which nobody knows when it
/// began.
const OPEN: &str = "SELECT (extract(epoch FROM min(xact_start)) * 1000000)::bigint, \
    coalesce(bool_or(xact_start IS NULL), false), \
    coalesce(bool_or(query = '<insufficient privilege>'), false), \
    EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database()) \
    FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL \
    AND pid <> pg_backend_pid()";

const END: &str = "SELECT pg_current_wal_insert_lsn(), current_setting('wal_block_size')::bigint";

/// Most bytes of a page's header, behind which its first record begins.
const PAGE_HEADER_MAX: u64 = 40;

/// Everything that was committed up to a time is in the log before a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Horizon {
    /// By the server's clock, microseconds since 1970-01-01 UTC.
    pub(crate) time_us: i64,
    pub(crate) end: Lsn,
}

/// Asks the server; nothing while it cannot be told.
///
/// The order is the point. A transaction takes its commit time, then writes its commit, then is open no
/// more. One that took its time before the clock was read is either seen open, and then it began after
/// the answer, or its commit is in the log that is looked at last.
pub(crate) async fn ask(
    session: &mut Session,
    is_hidden_told: &mut bool,
) -> Result<Option<Horizon>, SessionError> {
    let clock = session.query(CLOCK).await?;
    let clock = clock.first().map(Vec::as_slice).unwrap_or_default();
    let clock: i64 = Answer::new(clock, "the clock").number(0)?;
    let open = session.query(OPEN).await?;
    let open = open.first().map(Vec::as_slice).unwrap_or_default();
    let oldest: Option<i64> = Answer::new(open, "pg_stat_activity").option(0)?;
    let is = |column| text(open, column) == Some("t");
    let (unknown, hidden, prepared) = (is(1), is(2), is(3));
    if hidden && !*is_hidden_told {
        *is_hidden_told = true;
        warn!(
            "the capture's role may not see when others' transactions began, so no watermark can be \
             published while they write; GRANT pg_read_all_stats to it"
        );
    }
    let end = session.query(END).await?;
    let end = end.first().map(Vec::as_slice).unwrap_or_default();
    let end = Answer::new(end, "pg_current_wal_insert_lsn");
    let (end, page_bytes) = (end.number(0)?, end.number(1)?);
    if unknown || hidden || prepared {
        return Ok(None);
    }
    Ok(Some(Horizon {
        // A commit may bear the very time at which its transaction began.
        time_us: oldest.map_or(clock, |oldest| clock.min(oldest - 1)),
        end: behind_last_record(end, page_bytes),
    }))
}

/// On a page that was just begun, the end is behind its header; the log that is written ends before it,
/// and on an idle server nothing comes.
fn behind_last_record(end: Lsn, page_bytes: u64) -> Lsn {
    match end.0.checked_rem(page_bytes) {
        Some(place) if place <= PAGE_HEADER_MAX => Lsn(end.0 - place),
        _ => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_was_just_begun_has_nothing_to_wait_for() {
        for (end, expected) in [
            (0x2028, 0x2000),
            (0x2018, 0x2000),
            (0x2000, 0x2000),
            (0x2029, 0x2029),
            (0x1FFF, 0x1FFF),
        ] {
            assert_eq!(behind_last_record(Lsn(end), 8192), Lsn(expected));
        }
        assert_eq!(behind_last_record(Lsn(7), 0), Lsn(7));
    }
}
