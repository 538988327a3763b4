//! Sources: the names of who numbers events.
//!
//! An outbox in Postgres is one source while it is polled, and another for each slot that it is read
//! from, as the places of its rows are numbered anew.

const LOG: &str = "/log";

/// The source of the rows that the outbox's `epoch`-th slot gives.
pub fn of_log(outbox: &str, epoch: i64) -> String {
    format!("{outbox}{LOG}{epoch}")
}

/// The outbox of a source, whichever way it is read; of any other source, itself.
pub fn outbox_of(source: &str) -> &str {
    match source.rsplit_once(LOG) {
        Some((outbox, epoch)) if !epoch.is_empty() && epoch.bytes().all(|b| b.is_ascii_digit()) => {
            outbox
        }
        _ => source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sources_of_an_outbox_lead_to_it() {
        assert_eq!(of_log("/cabin/7f", 12), "/cabin/7f/log12");
        assert_eq!(outbox_of("/cabin/7f/log12"), "/cabin/7f");
        for other in ["/cabin/7f", "/cabin/log", "/cabin/logs", "/cabin/log1/x"] {
            assert_eq!(outbox_of(other), other);
        }
    }
}
