//! Up to when the owner's commits are complete, once the stream has passed a place in the log.

use change_events::owner_time::{self, OpenTransactions};
use tracing::warn;

use crate::Lsn;
use crate::answer::{Answer, text};
use crate::session::{Session, SessionError};

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
pub(crate) async fn ask(
    session: &mut Session,
    is_hidden_told: &mut bool,
) -> Result<Option<Horizon>, SessionError> {
    let clock = session.query(owner_time::CLOCK).await?;
    let clock = clock.first().map(Vec::as_slice).unwrap_or_default();
    let clock_us: i64 = Answer::new(clock, "the clock").number(0)?;
    let open = session.query(owner_time::OPEN).await?;
    let open = open.first().map(Vec::as_slice).unwrap_or_default();
    let is = |column| text(open, column) == Some("t");
    let open = OpenTransactions {
        oldest_us: Answer::new(open, "pg_stat_activity").option(0)?,
        has_unknown: is(1),
        has_hidden: is(2),
        has_prepared: is(3),
    };
    if open.has_hidden && !*is_hidden_told {
        *is_hidden_told = true;
        warn!(
            "the capture's role may not see when others' transactions began, so no watermark can be \
             published while they write; GRANT pg_read_all_stats to it"
        );
    }
    let end = end(session).await?;
    let complete_us = open.complete_us(clock_us);
    Ok(complete_us.map(|time_us| Horizon { time_us, end }))
}

/// The place in the log behind everything that is committed, also by a commit that was not waited for
/// (`synchronous_commit = off`) and is not on disk yet.
pub(crate) async fn end(session: &mut Session) -> Result<Lsn, SessionError> {
    let end = session.query(END).await?;
    let end = end.first().map(Vec::as_slice).unwrap_or_default();
    let end = Answer::new(end, "pg_current_wal_insert_lsn");
    Ok(behind_last_record(end.number(0)?, end.number(1)?))
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
