//! A moment of the owner's database, and the rows of its tables then.

use std::collections::VecDeque;

use crate::answer::{Answer, literal, text};
use crate::publication::qualified;
use crate::session::{Row, Session, SessionError};
use crate::stop::Stop;
use crate::table_plan::TablePlan;
use crate::{CaptureSettings, Lsn, PostgresServer};

/// Rows that are asked for at once: few, as nobody knows how large the next ones are.
const FETCHED_ROWS: usize = 100;

/// A transaction at an exported snapshot.
#[derive(Debug)]
pub(super) struct Snapshot {
    session: Session,
    server: PostgresServer,
    /// What was committed before it is in the snapshot, and nothing else.
    pub(super) lsn: Lsn,
    /// The time of the snapshot's transaction.
    pub(super) time_us: i64,
    /// Rows of the table that is read, which were fetched and not taken; whether these are the last.
    fetched: VecDeque<Row>,
    is_end: bool,
}

impl Snapshot {
    /// Makes a temporary slot, which waits for the transactions that run now, and takes its snapshot.
    pub(super) async fn open(settings: &CaptureSettings) -> Result<Self, Stop> {
        let server = &settings.server;
        Self::take(settings)
            .await
            .map_err(|error| Stop::of_session(server, error))
    }

    async fn take(settings: &CaptureSettings) -> Result<Self, SessionError> {
        let access = settings.access();
        let mut exporter = Session::open(&access).await?;
        let mut session = Session::open(&access).await?;
        let created = format!(
            "CREATE_REPLICATION_SLOT {}_copy_{} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT",
            settings.slot,
            std::process::id()
        );
        let rows = exporter.run(&created).await?;
        let answer = Answer::new(
            rows.first().map(Vec::as_slice).unwrap_or_default(),
            "CREATE_REPLICATION_SLOT",
        );
        let (lsn, name) = (answer.number(1)?, answer.text(2)?);
        session
            .query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        session
            .query(&format!("SET TRANSACTION SNAPSHOT {}", literal(name)))
            .await?;
        let rows = session
            .query("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
            .await?;
        let answer = rows.first().map(Vec::as_slice).unwrap_or_default();
        let time_us = Answer::new(answer, "the time").number(0)?;
        // The snapshot is ours now; the exporter's session ends, and its slot with it.
        drop(exporter);
        Ok(Self {
            session,
            server: settings.server.clone(),
            lsn,
            time_us,
            fetched: VecDeque::new(),
            is_end: false,
        })
    }

    /// Starts to read a table's rows by rising key, behind `after`.
    pub(super) async fn select(
        &mut self,
        plan: &TablePlan,
        after: Option<&[String]>,
    ) -> Result<(), Stop> {
        let condition = match after {
            Some(after) => format!("WHERE {}", plan.key_order.behind(after)),
            None => String::new(),
        };
        let (list, table) = (plan.select_list(), qualified(&plan.settings));
        let order = plan.key_order.expressions();
        self.is_end = false;
        self.run(&format!(
            "DECLARE rows NO SCROLL CURSOR FOR SELECT {list} FROM ONLY {table} {condition} ORDER BY {order}"
        ))
        .await?;
        self.check_rows(plan).await
    }

    /// Makes sure that the snapshot sees the rows of a table. It does not where they were written anew since it
    /// was taken (an `ALTER TABLE` to another type): to it the table is empty, and no change in the log
    /// says so. The cursor holds the table, so nobody writes it anew from here on.
    ///
    /// The catalog's row is read at the snapshot; the function answers what is so now.
    async fn check_rows(&mut self, plan: &TablePlan) -> Result<(), Stop> {
        let table = literal(&qualified(&plan.settings));
        let question = format!(
            "SELECT relfilenode = pg_relation_filenode(oid) FROM pg_class WHERE oid = {table}::regclass"
        );
        let answer = self.run(&question).await?;
        if answer.first().and_then(|row| text(row, 0)) == Some("t") {
            return Ok(());
        }
        Err(Stop::Lost {
            what: "the copy's snapshot",
            why: format!(
                "{} was written anew since it was taken, so that it does not see the rows; the copy goes on with \
                 another one",
                plan.settings.full_name()
            ),
        })
    }

    /// The table's next row.
    pub(super) async fn next(&mut self) -> Result<Option<Row>, Stop> {
        if self.fetched.is_empty() && !self.is_end {
            let fetch = format!("FETCH {FETCHED_ROWS} FROM rows");
            self.fetched = self.run(&fetch).await?.into();
            self.is_end = self.fetched.len() < FETCHED_ROWS;
        }
        Ok(self.fetched.pop_front())
    }

    pub(super) async fn close_cursor(&mut self) -> Result<(), Stop> {
        self.run("CLOSE rows").await?;
        Ok(())
    }

    /// Rows may be long in coming, as the server sorts them first.
    async fn run(&mut self, sql: &str) -> Result<Vec<Row>, Stop> {
        let answer = self.session.run(sql).await;
        answer.map_err(|error| Stop::of_session(&self.server, error))
    }
}
