//! The replication slot: whose it is, and whether it still has everything.

use tracing::{info, warn};

use crate::answer::{Answer, literal, text};
use crate::faults::{Point, point};
use crate::session::{Session, SessionError};
use crate::state::{Progress, State};
use crate::{CaptureError, CaptureSettings, Lsn};

/// What is wrong with a slot, or with the connection.
#[derive(Debug)]
pub(crate) enum SlotError {
    Session(SessionError),
    Slot(CaptureError),
}

impl From<SessionError> for SlotError {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl From<CaptureError> for SlotError {
    fn from(error: CaptureError) -> Self {
        Self::Slot(error)
    }
}

/// A slot as Postgres has it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) plugin: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) is_lost: bool,
    /// 0 while the slot is being created.
    pub(crate) confirmed: Lsn,
}

/// Makes sure that the slot has every change since what was captured; creates it at the very first run.
pub(crate) async fn ensure(
    session: &mut Session,
    settings: &CaptureSettings,
    state: &mut State,
) -> Result<(), SlotError> {
    check_bound(session, settings).await?;
    let refuse = |why: String| {
        SlotError::Slot(CaptureError::Slot {
            slot: settings.slot.clone(),
            why,
        })
    };
    let slot = find(session, &settings.slot).await?;
    let progress = &mut state.progress;
    match slot {
        None if progress.slot_created => Err(refuse(format!(
            "it is gone, and with it what was committed after {}. {}",
            progress.confirmed,
            copy_again(settings, false)
        ))),
        None => {
            // The intent first: a slot that is there without it is somebody else's.
            state.save().await?;
            let confirmed = create(session, &settings.slot).await?;
            info!(slot = %settings.slot, lsn = %confirmed, "replication slot created");
            point(Point::SlotCreated);
            created_at(state, confirmed).await
        }
        Some(slot) => {
            if slot.plugin.as_deref() != Some("pgoutput")
                || slot.database.as_deref() != Some(&settings.server.database)
            {
                return Err(refuse(format!(
                    "it is of plugin {:?} and database {:?}, not of pgoutput and {:?}; name another slot",
                    slot.plugin, slot.database, settings.server.database
                )));
            }
            if slot.is_lost {
                return Err(refuse(format!(
                    "postgres has removed log that it needs (max_slot_wal_keep_size), so what was committed \
                     after {} is gone. {}",
                    progress.confirmed,
                    copy_again(settings, true)
                )));
            }
            if progress.system_identifier.is_none() {
                return Err(refuse(format!(
                    "it is there, but directory {} knows nothing of it; give the directory back that it was \
                     captured with, or SELECT pg_drop_replication_slot('{}'); to start anew",
                    state.directory().display(),
                    settings.slot
                )));
            }
            if progress.slot_created && slot.confirmed > progress.confirmed {
                return Err(refuse(format!(
                    "it stands at {}, but this capture confirmed no more than {}: it was moved or made \
                     again, and what was committed in between is unknown. {}",
                    slot.confirmed,
                    progress.confirmed,
                    copy_again(settings, true)
                )));
            }
            if progress.slot_created {
                return Ok(());
            }
            // An earlier start was ended while it made it: Postgres goes on waiting, and then keeps it or not.
            if slot.confirmed == Lsn::default() {
                return Err(SlotError::Session(SessionError::Unavailable(format!(
                    "slot {:?} is still being created, which waits for the transactions that are open",
                    settings.slot
                ))));
            }
            created_at(state, slot.confirmed).await
        }
    }
}

/// The slot that the intent of an earlier moment speaks of is there.
async fn created_at(state: &mut State, confirmed: Lsn) -> Result<(), SlotError> {
    state.progress.slot_created = true;
    state.progress.confirmed = confirmed;
    Ok(state.save().await?)
}

fn copy_again(settings: &CaptureSettings, exists: bool) -> String {
    let drop = match exists {
        true => format!("SELECT pg_drop_replication_slot('{}'); and ", settings.slot),
        false => String::new(),
    };
    format!(
        "Rows that were deleted meanwhile are in the lake and no longer in the table, so nothing is done \
         by itself. To copy every table again: {drop}remove {}",
        settings.directory.display()
    )
}

/// Creates a slot, which waits for the transactions that run now; answers from where on it gives what
/// is committed.
pub(crate) async fn create(session: &mut Session, name: &str) -> Result<Lsn, SessionError> {
    let created = format!("CREATE_REPLICATION_SLOT {name} LOGICAL pgoutput NOEXPORT_SNAPSHOT");
    let rows = session.run(&created).await?;
    let answer = rows.first().map(Vec::as_slice).unwrap_or_default();
    Answer::new(answer, "CREATE_REPLICATION_SLOT").number(1)
}

/// Whether the server has a slot to spare.
pub(crate) async fn has_free(session: &mut Session) -> Result<bool, SessionError> {
    let rows = session
        .query(
            "SELECT count(*) < pg_catalog.current_setting('max_replication_slots')::int \
             FROM pg_catalog.pg_replication_slots",
        )
        .await?;
    Ok(rows.first().and_then(|row| text(row, 0)) == Some("t"))
}

pub(crate) async fn find(session: &mut Session, name: &str) -> Result<Option<Slot>, SessionError> {
    let rows = session
        .query(&format!(
            "SELECT plugin, database, wal_status = 'lost', confirmed_flush_lsn \
             FROM pg_catalog.pg_replication_slots WHERE slot_name = {}",
            literal(name)
        ))
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let answer = Answer::new(row, "a row of pg_replication_slots");
    Ok(Some(Slot {
        plugin: text(row, 0).map(str::to_owned),
        database: text(row, 1).map(str::to_owned),
        is_lost: text(row, 2) == Some("t"),
        confirmed: answer.option(3)?.unwrap_or_default(),
    }))
}

/// Makes sure that the server is the system, and its log the history, that was captured.
pub(crate) async fn check_system(
    session: &mut Session,
    settings: &CaptureSettings,
    state: &mut State,
) -> Result<(), SlotError> {
    let other = |why: String| {
        SlotError::Slot(CaptureError::OtherSystem {
            server: settings.server.to_string(),
            why,
        })
    };
    let rows = session.query("IDENTIFY_SYSTEM").await?;
    let answer = rows.first().map(Vec::as_slice).unwrap_or_default();
    let answer = Answer::new(answer, "IDENTIFY_SYSTEM");
    let (system, timeline, wal_end) =
        (answer.text(0)?, answer.number(1)?, answer.number::<Lsn>(2)?);
    let progress = &mut state.progress;
    let Some(known) = progress.system_identifier.clone() else {
        if find(session, &settings.slot).await?.is_none() {
            let database = &settings.server.database;
            *progress = Progress::begin(system, timeline, database, &settings.slot);
        }
        return Ok(());
    };
    let now = (
        system,
        settings.server.database.as_str(),
        settings.slot.as_str(),
    );
    let then = (
        known.as_str(),
        progress.database.as_str(),
        progress.slot.as_str(),
    );
    if now != then {
        return Err(other(format!(
            "its system identifier, database and slot are {now:?}, and directory {} is of {then:?}; LSNs mean \
             nothing there. Give this database a directory and slot of its own",
            settings.directory.display()
        )));
    }
    if timeline == progress.timeline {
        if wal_end < progress.confirmed || wal_end <= progress.sent {
            return Err(other(format!(
                "its log ends at {wal_end}, before {}, up to which changes are published: it was put back to \
                 an earlier state, and the lake has changes that it does not know. {}",
                progress.confirmed.max(progress.sent),
                copy_again(settings, true)
            )));
        }
        return Ok(());
    }
    let rows = session
        .query(&format!("TIMELINE_HISTORY {timeline}"))
        .await?;
    let history = rows
        .first()
        .and_then(|row| text(row, 1))
        .unwrap_or_default();
    match follows(history, progress) {
        Ok(left) => {
            warn!(from = progress.timeline, to = timeline, %left, "postgres was failed over or restored; it has \
                everything that was published");
            progress.timeline = timeline;
            Ok(())
        }
        Err(why) => Err(other(format!(
            "it is on timeline {timeline}, {why}. {}",
            copy_again(settings, true)
        ))),
    }
}

/// Where a history left the timeline that was captured, if it has everything that may be published.
fn follows(history: &str, progress: &Progress) -> Result<Lsn, String> {
    let (timeline, confirmed) = (progress.timeline, progress.confirmed);
    let left = left_at(history, timeline)
        .ok_or_else(|| format!("whose history does not have timeline {timeline}"))?;
    if left < confirmed || left <= progress.sent {
        return Err(format!(
            "which left timeline {timeline} at {left}, before {}, up to which changes are published: the lake has \
             changes that this server does not know",
            confirmed.max(progress.sent)
        ));
    }
    // The commit that begins where the old timeline was left is not on the new one.
    if left <= progress.reserved {
        return Err(format!(
            "which left timeline {timeline} at {left}; the capture ended without saying how far it had come, and up \
             to {} changes may be published: the lake may have changes that this server does not know, and would \
             take others for repeats",
            progress.reserved
        ));
    }
    Ok(left)
}

/// Where a history left a timeline: lines of its number, the LSN and the reason.
fn left_at(history: &str, timeline: u32) -> Option<Lsn> {
    history.lines().find_map(|line| {
        let mut parts = line.split_whitespace();
        let is_it = parts.next()?.parse() == Ok(timeline);
        parts.next().filter(|_| is_it)?.parse().ok()
    })
}

/// Whether the server sets no bound to what a slot keeps.
pub(crate) async fn is_unbounded(session: &mut Session) -> Result<bool, SessionError> {
    let rows = session
        .query("SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size'")
        .await?;
    Ok(rows.first().and_then(|row| text(row, 0)) == Some("-1"))
}

/// Without a bound, a capture that stands still fills the owner's disk.
async fn check_bound(session: &mut Session, settings: &CaptureSettings) -> Result<(), SlotError> {
    if settings.slot_unbounded || !is_unbounded(session).await? {
        return Ok(());
    }
    Err(SlotError::Slot(CaptureError::Postgres {
        server: settings.server.to_string(),
        why: "max_slot_wal_keep_size sets no bound to the log that a slot keeps, so a capture that stands \
              still would fill the disk; set one (ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT \
              pg_reload_conf();), or accept it with slot_unbounded = true"
            .to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_says_where_it_left_a_timeline() {
        let history =
            "1\t0/3000158\tno recovery target specified\n2\t0/5000000\tbefore 2000-01-01\n";
        assert_eq!(left_at(history, 1), Some(Lsn(0x300_0158)));
        assert_eq!(left_at(history, 2), Some(Lsn(0x500_0000)));
        assert_eq!(left_at(history, 3), None);
        assert_eq!(left_at("", 1), None);
    }

    #[test]
    fn a_history_that_lacks_what_may_be_published_is_refused() {
        let progress = |confirmed, sent, reserved| Progress {
            timeline: 1,
            confirmed: Lsn(confirmed),
            sent: Lsn(sent),
            reserved: Lsn(reserved),
            ..Progress::default()
        };
        let follows = |progress| follows("1\t0/100\tpromoted\n", &progress);
        assert_eq!(follows(progress(0x100, 0xFF, 0xFF)), Ok(Lsn(0x100)));
        let lacks = |progress, part: &str| {
            let why = follows(progress).unwrap_err();
            assert!(why.contains(part), "{why}");
        };
        lacks(progress(0x101, 0xF0, 0xF0), "are published");
        // Everything confirmed is there, and something that was sent is not.
        lacks(progress(0x80, 0x100, 0x100), "are published");
        lacks(progress(0x80, 0x90, 0x100), "may be published");
        let other = Progress {
            timeline: 7,
            ..Progress::default()
        };
        lacks(other, "does not have timeline 7");
    }
}
