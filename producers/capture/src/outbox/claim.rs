//! Which way the outbox is read from now on: what is kept of it, what is wished, what the server has.
//!
//! A slot takes over in this order, each step kept before the next one: it is to be created; it is
//! there, and everything that had drawn its sequence by then is polled to its end; what comes behind
//! that comes from the slot. A slot that is gone, or was moved, takes nothing along: what it has not
//! given is in the table, and which rows it has given is kept, so the same steps begin anew with
//! polling from there. Only of records that were on their way when a relay was killed, and whose slot
//! is gone, nobody knows whether they are in Kafka.

use change_events::{OutboxError, OutboxLog, OutboxStore};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::log_reader::LogReader;
use super::{Phase, ReadOutbox, ReplicatedOutbox, refused, session_error};
use crate::Lsn;
use crate::answer::literal;
use crate::faults::{Point, point};
use crate::session::{LogAccess, Session, SessionError};
use crate::slot::{self, Slot};
use crate::unread_looks::UnreadLooks;

/// The publication that the outbox's SQL makes.
pub(super) const PUBLICATION: &str = "lakehead_outbox";

/// How long a slot that another session reads, or creates, is waited for before it is looked again.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
const TRIES: u32 = 40;

/// How long a server that has no slot or session to spare is left before it is asked again.
const CREATION_PAUSE: std::time::Duration = std::time::Duration::from_secs(10);

/// A slot that is being created, beside the relay's work.
pub(super) type Creation = JoinSet<Result<Lsn, SessionError>>;

impl ReplicatedOutbox {
    /// Decides, having the outbox for itself.
    pub(super) async fn decide(&mut self) -> Result<Phase, OutboxError> {
        let log = self.inner.log().await?.unwrap_or_default();
        let Some(slot) = log.slot.clone() else {
            let Some(slot) = self.may_replicate().await? else {
                return Ok(Phase::polled());
            };
            self.inner.begin_log(Some(&slot)).await?;
            return self.create(&slot);
        };
        let wants = self.reading.way != ReadOutbox::Polling;
        let mut session = match self.session(&slot).await {
            Ok(session) => session,
            // What is polled needs no such session. A slot that was lost meanwhile shows when it
            // is to be read.
            Err(error) if error.is_passing() && log.handed_over.is_none() => {
                warn!(slot, %error, "the outbox is polled meanwhile");
                return match wants {
                    true => self.create(&slot),
                    false => Ok(Phase::polled()),
                };
            }
            Err(error) => return Err(error),
        };
        let found = slot::find(&mut session, &slot)
            .await
            .map_err(session_error)?;
        if log.handed_over.is_none() {
            return self.go_on_polling(&mut session, &log, found, wants).await;
        }
        match self.loss(&log, found.as_ref())? {
            None if wants => self.stream(&log, None).await,
            None => {
                let end = Lsn(self.inner.log_end().await?.unsigned_abs());
                info!(slot, %end, "the outbox is to be polled again; the slot is read up to here");
                self.stream(&log, Some(end)).await
            }
            Some(why) if !log.is_clean => Err(in_doubt(&slot, &why)),
            Some(why) => {
                let floor = log.floor;
                warn!(
                    slot,
                    why, floor, "the outbox is polled behind what was published"
                );
                self.drop_slot(&mut session, &slot, found.is_some()).await?;
                match wants {
                    true => {
                        self.inner.begin_log(Some(&slot)).await?;
                        self.create(&slot)
                    }
                    false => {
                        self.inner.begin_log(None).await?;
                        Ok(Phase::polled())
                    }
                }
            }
        }
    }

    /// The slot's name, if one is to be created for an outbox that is polled.
    async fn may_replicate(&mut self) -> Result<Option<String>, OutboxError> {
        let is_wished = self.reading.way == ReadOutbox::Replication;
        match self.reading.way {
            ReadOutbox::Polling => return Ok(None),
            ReadOutbox::Replication => {}
            ReadOutbox::Auto => {
                let position = self.inner.position().await?;
                if position.confirmed.max(position.released) > 0 {
                    return Ok(None);
                }
            }
        }
        let slot = match &self.reading.slot {
            Some(slot) => slot.clone(),
            None => self.inner.log_slot().await?,
        };
        match self.obstacle(&slot).await? {
            None => Ok(Some(slot)),
            Some(why) if is_wished => {
                Err(refused(format!("{why}; or set [relay] read = \"polling\"")))
            }
            Some(why) => {
                info!(
                    why,
                    "the outbox is polled, since it cannot be read by replication"
                );
                Ok(None)
            }
        }
    }

    async fn obstacle(&mut self, slot: &str) -> Result<Option<String>, OutboxError> {
        let (why, waits_for_standbys) = self.inner.log_obstacle().await?;
        if why.is_some() {
            return Ok(why);
        }
        if waits_for_standbys && self.reading.way == ReadOutbox::Auto {
            let why = "commits wait for a standby here (synchronous_standby_names), and a slot gives them \
                before it has them";
            return Ok(Some(why.to_owned()));
        }
        if let Err(why) = &self.server {
            return Ok(Some(why.to_string()));
        }
        let mut session = match Session::open(&self.access(slot)?).await {
            Ok(session) => session,
            // That may last; whoever has asked for replication waits for it.
            Err(error) if error.is_exhausted() && self.reading.way == ReadOutbox::Auto => {
                return Ok(Some(error.to_string()));
            }
            Err(error @ SessionError::Unavailable(_)) => return Err(session_error(error)),
            Err(error) => return Ok(Some(error.to_string())),
        };
        let has_free = slot::has_free(&mut session).await;
        if !has_free.map_err(session_error)? && self.reading.way == ReadOutbox::Auto {
            let why = "all replication slots of the server are in use (max_replication_slots)";
            return Ok(Some(why.to_owned()));
        }
        let is_unbounded = slot::is_unbounded(&mut session).await;
        if is_unbounded.map_err(session_error)? && !self.reading.slot_unbounded {
            let why = "max_slot_wal_keep_size sets no bound to the log that a slot keeps, so a relay that \
                stands still would fill the disk; set one (ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; \
                SELECT pg_reload_conf();), or accept it with [relay] slot_unbounded = true";
            return Ok(Some(why.to_owned()));
        }
        let found = slot::find(&mut session, slot).await;
        Ok(found.map_err(session_error)?.map(|_| {
            format!(
                "slot {slot:?} is there, and this outbox knows nothing of it; name another one with [relay] \
                 slot, or SELECT pg_drop_replication_slot('{slot}');"
            )
        }))
    }

    /// The slot is being created, or is there and waits for what is polled.
    async fn go_on_polling(
        &mut self,
        session: &mut Session,
        log: &OutboxLog,
        found: Option<Slot>,
        wants: bool,
    ) -> Result<Phase, OutboxError> {
        let slot = log.slot.clone().unwrap_or_default();
        if !wants {
            self.drop_slot(session, &slot, found.is_some()).await?;
            self.inner.begin_log(None).await?;
            return Ok(Phase::polled());
        }
        match log.horizon {
            None => self.create(&slot),
            Some(horizon) => match self.loss(log, found.as_ref())? {
                None => Ok(Phase::Polled {
                    creation: None,
                    horizon: Some(horizon),
                }),
                Some(why) => {
                    warn!(slot, why, "the slot is created anew");
                    self.drop_slot(session, &slot, found.is_some()).await?;
                    self.inner.begin_log(Some(&slot)).await?;
                    self.create(&slot)
                }
            },
        }
    }

    /// Why the slot does not have everything since what was published, if it has not.
    fn loss(&self, log: &OutboxLog, found: Option<&Slot>) -> Result<Option<String>, OutboxError> {
        let Some(found) = found else {
            return Ok(Some("the slot is gone".to_owned()));
        };
        let slot = log.slot.as_deref().unwrap_or_default();
        let database = self.access(slot)?.server.database;
        if found.plugin.as_deref() != Some("pgoutput") || found.database.as_ref() != Some(&database)
        {
            return Err(refused(format!(
                "slot {slot:?} is of plugin {:?} and database {:?}, not of pgoutput and {database:?}; drop it",
                found.plugin, found.database
            )));
        }
        let known = Lsn(log.lsn.unsigned_abs());
        if found.is_lost {
            let why = "postgres has removed log that the slot needs (max_slot_wal_keep_size)";
            return Ok(Some(why.to_owned()));
        }
        Ok((found.confirmed > known).then(|| {
            format!(
                "the slot stands at {}, and no more than {known} was published: it was moved or made again",
                found.confirmed
            )
        }))
    }

    /// Polls while the slot is created: that waits for the transactions that run now.
    fn create(&mut self, slot: &str) -> Result<Phase, OutboxError> {
        let access = self.access(slot)?;
        let mut creation = Creation::new();
        creation.spawn(create(access));
        Ok(Phase::Polled {
            creation: Some(creation),
            horizon: None,
        })
    }

    /// Reads the slot; up to `leave_at`, if it is to be left.
    async fn stream(
        &mut self,
        log: &OutboxLog,
        leave_at: Option<Lsn>,
    ) -> Result<Phase, OutboxError> {
        let access = self.access(log.slot.as_deref().unwrap_or_default())?;
        let mut tries = 0;
        // What an earlier session sent and did not see acknowledged was committed before this.
        let doubt = match log.is_clean {
            true => None,
            false => Some(Lsn(self.inner.log_end().await?.unsigned_abs())),
        };
        let reader = loop {
            match LogReader::open(&access, log).await {
                Ok(reader) => break reader,
                // Postgres has not missed yet who read it before.
                Err(SessionError::Server { code, .. }) if code == "55006" && tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(session_error(error)),
            }
        };
        Ok(self.streamed(access, log, reader, (leave_at, doubt)))
    }

    pub(super) async fn drop_slot(
        &self,
        session: &mut Session,
        slot: &str,
        is_there: bool,
    ) -> Result<(), OutboxError> {
        if !is_there {
            return Ok(());
        }
        let drop = format!("SELECT pg_drop_replication_slot({})", literal(slot));
        let mut tries = 0;
        loop {
            match session.query(&drop).await {
                Ok(_) => break,
                Err(SessionError::Server { code, .. }) if code == "55006" && tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(session_error(error)),
            }
        }
        info!(slot, "replication slot dropped");
        Ok(())
    }

    pub(super) async fn session(&self, slot: &str) -> Result<Session, OutboxError> {
        let access = self.access(slot)?;
        Session::open(&access).await.map_err(session_error)
    }

    pub(super) fn access(&self, slot: &str) -> Result<LogAccess, OutboxError> {
        let server = self.server.as_ref();
        let server = server.map_err(|error| refused(error.to_string()))?;
        Ok(LogAccess {
            server: server.clone(),
            slot: slot.to_owned(),
            publication: PUBLICATION.to_owned(),
            application: "lakehead-relay",
            unread: UnreadLooks::new(),
        })
    }
}

/// Creates the slot, however long the server has none to spare: the outbox is polled meanwhile.
async fn create(access: LogAccess) -> Result<Lsn, SessionError> {
    loop {
        match try_to_create(&access).await {
            Err(error @ SessionError::Unavailable(_)) => warn!(
                slot = access.slot,
                %error,
                "the slot cannot be created now, and is tried again; the outbox is polled meanwhile"
            ),
            ended => return ended,
        }
        tokio::time::sleep(CREATION_PAUSE).await;
    }
}

/// Creates the slot, or finds the one that an earlier try has created or creates still.
async fn try_to_create(access: &LogAccess) -> Result<Lsn, SessionError> {
    let mut session = Session::open(access).await?;
    loop {
        match slot::find(&mut session, &access.slot).await? {
            Some(slot) if slot.confirmed > Lsn::default() => return Ok(slot.confirmed),
            Some(_) => tokio::time::sleep(PAUSE).await,
            None => match slot::create(&mut session, &access.slot).await {
                Ok(lsn) => {
                    info!(slot = access.slot, %lsn, "replication slot created for the outbox");
                    point(Point::OutboxSlotCreated);
                    return Ok(lsn);
                }
                Err(SessionError::Server { code, .. }) if code == "42710" => {}
                Err(error) => return Err(error),
            },
        }
    }
}

fn in_doubt(slot: &str, why: &str) -> OutboxError {
    refused(format!(
        "slot {slot:?}: {why}. Rows that it has not given are in the table and can be published, but the relay was \
         killed, so some that it has given may be in Kafka without being known as published: at most those of \
         in_flight_rows_max. To go on, with these perhaps twice in the lake's table of changes (its current state \
         is right): UPDATE lakehead.outbox_log SET is_clean = true;"
    ))
}
