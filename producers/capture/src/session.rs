//! Sessions with Postgres, and the stream of its log. Nothing else names the crate that speaks the
//! protocol.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use pgwire_replication::{
    Lsn as WireLsn, PgWireError, ReplicationClient, ReplicationConfig, ReplicationEvent,
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, literal};
use crate::server::SslMode;
use crate::unread_looks::UnreadLooks;
use crate::{Lsn, PostgresServer};

/// Fixes how Postgres writes values, and ends no session that waits for Kafka. Where a policy would
/// hide rows from a copy, the copy is refused: the log has them all.
const OPTIONS: &str = "-c datestyle=ISO,YMD -c intervalstyle=iso_8601 -c timezone=UTC \
    -c extra_float_digits=3 -c bytea_output=hex -c xmlbinary=base64 -c lc_monetary=C \
    -c search_path=pg_catalog -c statement_timeout=0 -c lock_timeout=0 \
    -c idle_in_transaction_session_timeout=0 -c row_security=off";

/// How often the confirmed position is told to the server.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// How often the server hears of us on a stream where nothing happens.
const WAKEUP_INTERVAL: Duration = Duration::from_secs(5);

/// How long an answer is waited for that a server has at once. Behind a connection that broke without a word
/// none ever comes, and nothing else says so.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// The same once the session's owner was told to stop, and for the end of a stream.
const LAST_TIME_MAX: Duration = Duration::from_secs(3);

/// Messages that wait to be encoded. Their number bounds memory together with the size of a row.
const MESSAGES_MAX: usize = 256;

/// From Postgres' epoch, 2000-01-01, back to 1970, in microseconds.
const EPOCH_US: i64 = 946_684_800_000_000;

/// Whether it is a standby, and the session's process.
const FIRST_QUESTION: &str = "SELECT pg_is_in_recovery(), pid || ' ' || backend_start \
    FROM pg_stat_activity WHERE pid = pg_backend_pid()";

/// One row of an answer: the columns' texts.
pub(crate) type Row = Vec<Option<Bytes>>;

/// Why Postgres did not answer as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionError {
    /// It is away, or about to be. Try again.
    #[error("{0}")]
    Unavailable(String),
    /// It does not let us in, or we do not trust it.
    #[error("{0}")]
    Refused(String),
    /// It understood and says no.
    #[error("{text}")]
    Server {
        /// Its SQLSTATE.
        code: String,
        text: String,
    },
}

impl SessionError {
    /// Whether the server has no session or slot to spare, which may last.
    pub(crate) fn is_exhausted(&self) -> bool {
        matches!(self, Self::Unavailable(text) if text.contains("SQLSTATE 53"))
    }
}

/// Where a log is read, and by which slot.
#[derive(Clone, Debug)]
pub(crate) struct LogAccess {
    pub(crate) server: PostgresServer,
    pub(crate) slot: String,
    pub(crate) publication: String,
    /// Who reads it, for whoever looks at the server's sessions.
    pub(crate) application: &'static str,
    /// What the server knows of who reads the slot.
    pub(crate) unread: UnreadLooks,
}

/// A session of a role that may replicate. Texts are written as [`OPTIONS`] says.
pub(crate) struct Session {
    client: ReplicationClient,
    access: LogAccess,
    /// The server's process for it, by number and start.
    process: String,
    cancel: CancellationToken,
}

/// A question that is on its way. What it was asked on is of no use after one that was given up.
struct Asked<'a> {
    client: &'a mut ReplicationClient,
    is_answered: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.client.abort();
        }
    }
}

impl Session {
    /// Connects, to a primary.
    pub(crate) async fn open(access: &LogAccess) -> Result<Self, SessionError> {
        Self::connect(access, wire_settings(access)).await
    }

    async fn connect(
        access: &LogAccess,
        settings: ReplicationConfig,
    ) -> Result<Self, SessionError> {
        let mut session = Self {
            client: ReplicationClient::connect_gated(settings).await?,
            access: access.clone(),
            process: String::new(),
            cancel: CancellationToken::new(),
        };
        // It connects in the background: the first question shows how that went.
        let answer = session.query(FIRST_QUESTION).await?;
        let answer = answer.first().map(Vec::as_slice).unwrap_or_default();
        let answer = Answer::new(answer, "pg_stat_activity");
        if answer.text(0)? != "f" {
            // It may be behind, so whatever it says of log and slots is of no use. Behind an address that
            // leads to the primary it is there for a moment.
            return Err(SessionError::Unavailable(
                "a standby answers, where the primary is to be".to_owned(),
            ));
        }
        answer.text(1)?.clone_into(&mut session.process);
        Ok(session)
    }

    /// Once `cancel` is told, answers are waited for a moment only.
    pub(crate) fn end_with(&mut self, cancel: &CancellationToken) {
        self.cancel = cancel.clone();
    }

    /// Asks what a server answers at once, in SQL or in the replication protocol.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Vec<Row>, SessionError> {
        let cancel = self.cancel.clone();
        let is_overdue = async {
            cancel.cancelled().await;
            sleep(LAST_TIME_MAX).await;
        };
        tokio::select! {
            biased;
            answer = timeout(ANSWER_TIME_MAX, self.answer(sql)) => {
                answer.unwrap_or_else(|_| Err(no_answer()))
            }
            () = is_overdue => Err(no_answer()),
        }
    }

    /// Runs a statement that may take long, as it sorts or waits for others: as long as the server works on
    /// it.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<Vec<Row>, SessionError> {
        let (access, process) = (self.access.clone(), self.process.clone());
        let mut answer = pin!(self.answer(sql));
        loop {
            match timeout(ANSWER_TIME_MAX, &mut answer).await {
                Ok(answer) => return answer,
                Err(_) if is_gone(&access, &process).await => return Err(no_answer()),
                Err(_) => {}
            }
        }
    }

    async fn answer(&mut self, sql: &str) -> Result<Vec<Row>, SessionError> {
        let mut asked = Asked {
            client: &mut self.client,
            is_answered: false,
        };
        let answer = asked.client.simple_query(sql).await;
        asked.is_answered = true;
        Ok(answer?)
    }
}

/// Whether the server has ended a session; no while it cannot be asked.
async fn is_gone(access: &LogAccess, process: &str) -> bool {
    let asked = async {
        let mut session = Session::open(access).await?;
        let question = format!(
            "SELECT 1 FROM pg_stat_activity WHERE pid || ' ' || backend_start = {}",
            literal(process)
        );
        session.query(&question).await
    };
    asked.await.is_ok_and(|found| found.is_empty())
}

fn no_answer() -> SessionError {
    SessionError::Unavailable(
        "it does not answer; the connection broke without a word, or the server is overloaded"
            .to_owned(),
    )
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// What happens in the log, transaction by transaction in the order of their commits.
#[derive(Debug)]
pub(crate) enum WalEvent {
    Begin {
        /// Where the commit is.
        commit_lsn: Lsn,
        xid: u32,
        commit_time_us: i64,
    },
    /// A message of pgoutput.
    Message { lsn: Lsn, bytes: Bytes },
    Commit {
        /// Behind the commit: what is confirmed when everything before it is published.
        end_lsn: Lsn,
    },
    /// Nothing that was committed before this place is still to come.
    Idle { wal_end: Lsn },
}

/// A slot that is being read.
pub(crate) struct WalStream {
    client: ReplicationClient,
    unread: UnreadLooks,
}

impl WalStream {
    /// Starts to read the slot's publication: what was committed from `confirmed` on, although the slot
    /// may not have been told how far that is.
    pub(crate) async fn open(access: &LogAccess, confirmed: Lsn) -> Result<Self, SessionError> {
        let settings = wire_settings(access).with_start_lsn(WireLsn::from_u64(confirmed.0));
        let mut client = Session::connect(access, settings).await?.client;
        let started = async {
            client.start().await?;
            client.wait_started().await
        };
        let Ok(started) = timeout(ANSWER_TIME_MAX, started).await else {
            client.abort();
            return Err(no_answer());
        };
        started?;
        access.unread.begin();
        Ok(Self {
            client,
            unread: access.unread.clone(),
        })
    }

    /// Waits for what comes next. May be dropped while it waits without losing an event. What ends a
    /// stream that broke without a word is a [`SlotWatch`](crate::slot_watch::SlotWatch) of the same access.
    pub(crate) async fn next(&mut self) -> Result<WalEvent, SessionError> {
        loop {
            let event = tokio::select! {
                biased;
                event = self.client.recv() => event?,
                () = self.unread.are_enough() => return Err(SessionError::Unavailable(
                    "nobody reads the slot, as postgres has it: the connection broke without a word".to_owned(),
                )),
            };
            let event = event
                .ok_or_else(|| SessionError::Unavailable("Postgres ended the stream".to_owned()))?;
            return Ok(match event {
                ReplicationEvent::Begin {
                    final_lsn,
                    xid,
                    commit_time_micros,
                } => WalEvent::Begin {
                    commit_lsn: Lsn(final_lsn.as_u64()),
                    xid,
                    commit_time_us: commit_time_micros.saturating_add(EPOCH_US),
                },
                ReplicationEvent::XLogData {
                    wal_start, data, ..
                } => WalEvent::Message {
                    lsn: Lsn(wal_start.as_u64()),
                    bytes: data,
                },
                ReplicationEvent::Commit { end_lsn, .. } => WalEvent::Commit {
                    end_lsn: Lsn(end_lsn.as_u64()),
                },
                ReplicationEvent::KeepAlive { wal_end, .. } => WalEvent::Idle {
                    wal_end: Lsn(wal_end.as_u64()),
                },
                ReplicationEvent::Message { .. } | ReplicationEvent::StoppedAt { .. } => continue,
            });
        }
    }

    /// Lets the server forget what is before `lsn`. It is told by the connection's own timer, also
    /// while nobody waits for the next event.
    pub(crate) fn confirm(&self, lsn: Lsn) {
        self.client.update_applied_lsn(WireLsn::from_u64(lsn.0));
    }

    /// Tells the last confirmed position and ends the session.
    pub(crate) async fn close(mut self) {
        // An error ends it just as well; the slot keeps what was told before.
        if timeout(LAST_TIME_MAX, self.client.shutdown())
            .await
            .is_err()
        {
            self.client.abort();
        }
    }
}

impl std::fmt::Debug for WalStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WalStream").finish_non_exhaustive()
    }
}

fn wire_settings(access: &LogAccess) -> ReplicationConfig {
    use pgwire_replication::SslMode as Wire;
    let server = &access.server;
    let mut settings = ReplicationConfig::new(
        &server.host,
        &server.user,
        &server.password,
        &server.database,
        &access.slot,
        access.publication.as_str(),
    )
    .with_port(server.port)
    .with_options(OPTIONS)
    .with_application_name(access.application)
    .with_status_interval(STATUS_INTERVAL)
    .with_wakeup_interval(WAKEUP_INTERVAL)
    .with_buffer_size(MESSAGES_MAX);
    settings.tls.mode = match server.ssl_mode {
        SslMode::Disable => Wire::Disable,
        SslMode::Prefer => Wire::Prefer,
        SslMode::Require => Wire::Require,
        SslMode::VerifyCa => Wire::VerifyCa,
        SslMode::VerifyFull => Wire::VerifyFull,
    };
    settings.tls.ca_pem_path.clone_from(&server.ssl_root_cert);
    settings
        .tls
        .client_cert_pem_path
        .clone_from(&server.ssl_cert);
    settings.tls.client_key_pem_path.clone_from(&server.ssl_key);
    settings
}

impl From<PgWireError> for SessionError {
    fn from(error: PgWireError) -> Self {
        let text = error.to_string();
        match error {
            PgWireError::Server(text) => server_error(text),
            PgWireError::Auth(_) | PgWireError::Tls(_) | PgWireError::MessageTooLarge { .. } => {
                Self::Refused(text)
            }
            _ => Self::Unavailable(text),
        }
    }
}

/// The server's words; its SQLSTATE is in them.
fn server_error(text: String) -> SessionError {
    let code = text
        .split_once("SQLSTATE ")
        .and_then(|(_, rest)| rest.get(..5))
        .unwrap_or_default()
        .to_owned();
    match code.get(..2) {
        // It starts, stops, has no connection to spare, or was told to end the session.
        Some("08" | "53" | "57") => SessionError::Unavailable(text),
        Some("28" | "3D") => SessionError::Refused(text),
        _ => SessionError::Server { code, text },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_their_state() {
        let of = |text: &str| SessionError::from(PgWireError::Server(text.to_owned()));
        let text = "the database system is starting up (SQLSTATE 57P03)";
        assert_eq!(of(text), SessionError::Unavailable(text.to_owned()));
        let text = "no pg_hba.conf entry (SQLSTATE 28000)";
        assert_eq!(of(text), SessionError::Refused(text.to_owned()));
        let text = "replication slot \"s\" does not exist (SQLSTATE 42704)";
        let code = "42704".to_owned();
        assert_eq!(
            of(text),
            SessionError::Server {
                code,
                text: text.to_owned()
            }
        );
    }
}
