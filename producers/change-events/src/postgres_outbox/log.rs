//! What a relay keeps that reads the outbox by replication: the log's side of it is another crate's.
//!
//! A slot gives the rows in the order of their commits, without a wait and without a gap. What it
//! gives is numbered by places, which belong to the slot; the table knows rows by their sequences.
//! So that a slot may be lost, or given up, it is also kept which sequences are published: all up to
//! a floor, and runs ahead of it.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};

use super::{
    PostgresOutbox, SAFE, counted, is_ahead, read_row, row_columns, save_position,
    transaction_columns,
};
use crate::outbox_store::{Horizon, Position};
use crate::{OutboxError, OutboxRow};

/// The state of an outbox with regard to replication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxLog {
    /// The slot; none while the outbox is polled.
    pub slot: Option<String>,
    /// How many slots there were: the last one's number.
    pub epoch: i64,
    /// The last sequence that was drawn when the slot was there; none while it is being created.
    pub horizon: Option<i64>,
    /// The sequence up to which rows were polled; none while they still are.
    pub handed_over: Option<i64>,
    /// The place up to which everything is acknowledged (or parked).
    pub confirmed: i64,
    /// Where a transaction ended of which, and of all before it, everything is acknowledged: bytes of
    /// the log.
    pub lsn: i64,
    /// The place of the last row before it.
    pub lsn_place: i64,
    /// All sequences up to it are decided, and what was committed of them is published.
    pub floor: i64,
    /// Runs of sequences above the floor that are published: first and last.
    pub ahead: Vec<(i64, i64)>,
    /// Nothing else may be in Kafka than what is kept here.
    pub is_clean: bool,
}

/// What changes of an [`OutboxLog`] when more is acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSave {
    /// The slot's number; of another one nothing is saved.
    pub epoch: i64,
    /// See [`OutboxLog::lsn`].
    pub lsn: i64,
    /// See [`OutboxLog::lsn_place`].
    pub lsn_place: i64,
    /// Runs that are new or longer.
    pub runs: Vec<(i64, i64)>,
    /// First sequences of runs that others have taken in.
    pub runs_gone: Vec<i64>,
}

const TABLE: &str = "SELECT to_regclass('lakehead.outbox_log') IS NOT NULL";

const READ: &str = "SELECT slot, epoch, horizon, handed_over, confirmed, (lsn - '0/0'::pg_lsn)::bigint, \
    lsn_place, floor, is_clean FROM lakehead.outbox_log";

/// What was published by replication is behind the position for a relay that polls. Events of another
/// source are counted anew.
const BEGIN: &str = "WITH polled AS (UPDATE lakehead.outbox_relay r \
        SET confirmed = greatest(r.confirmed, l.floor), released = greatest(r.released, l.floor) \
        FROM lakehead.outbox_log l WHERE l.handed_over IS NOT NULL), \
    counting AS (UPDATE lakehead.outbox_counting SET through = -1 \
        WHERE (SELECT handed_over IS NOT NULL FROM lakehead.outbox_log)) \
    UPDATE lakehead.outbox_log SET slot = $1, epoch = epoch + ($1::text IS NOT NULL)::int, \
    horizon = NULL, handed_over = NULL";

/// Asked for when the slot is there: what is drawn later is committed later, and the slot gives it.
const CREATED: &str = "UPDATE lakehead.outbox_log SET lsn = '0/0'::pg_lsn + $1::bigint::numeric, \
    horizon = lakehead.outbox_drawn() WHERE horizon IS NULL";

/// Places begin above 0, which would say that nothing was ever published.
const HAND_OVER: &str = "WITH ahead AS (DELETE FROM lakehead.outbox_ahead), \
    counting AS (UPDATE lakehead.outbox_counting SET through = -1) \
    UPDATE lakehead.outbox_log SET handed_over = $1, floor = $1, confirmed = least($1, 1), \
    lsn_place = least($1, 1), is_clean = true";

/// Whoever lost the outbox to another relay may say so late.
const SAVE: &str = "UPDATE lakehead.outbox_log SET confirmed = greatest(confirmed, $1), \
    lsn = greatest(lsn, '0/0'::pg_lsn + $2::bigint::numeric), lsn_place = greatest(lsn_place, $3) \
    WHERE epoch = $4 AND handed_over IS NOT NULL";

const RUNS_GONE: &str = "DELETE FROM lakehead.outbox_ahead WHERE first = ANY($1)";

const RUNS: &str = "INSERT INTO lakehead.outbox_ahead AS known (first, last) \
    SELECT * FROM unnest($1::bigint[], $2::bigint[]) \
    ON CONFLICT (first) DO UPDATE SET last = greatest(known.last, excluded.last)";

const FLOOR: &str = "WITH passed AS (DELETE FROM lakehead.outbox_ahead WHERE last <= $1) \
    UPDATE lakehead.outbox_log SET floor = greatest(floor, $1)";

const AHEAD_PASSED: &str = "DELETE FROM lakehead.outbox_ahead \
    WHERE last <= (SELECT confirmed FROM lakehead.outbox_relay)";

const COUNT: &str = "SELECT count(*) FROM lakehead.outbox WHERE sequence > $1 AND sequence <= $2";

const ROW: &str = concat!(
    "SELECT ",
    row_columns!(),
    transaction_columns!(),
    " FROM lakehead.outbox o WHERE sequence = $1"
);

const IS_LEFT: &str = concat!(
    "SELECT EXISTS (SELECT FROM lakehead.outbox o WHERE sequence > $1 AND sequence <= $2 AND NOT ",
    is_ahead!(),
    ")"
);

/// In two statements, and the end last. Then a commit, which waits for the disk, so that a slot gives
/// what is before the end.
const END: &str = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint";
const FLUSH: &str = "SELECT pg_logical_emit_message(true, 'lakehead', '')";

/// Why a slot cannot be read here; null if it can.
const OBSTACLE: &str = "SELECT CASE \
    WHEN current_setting('wal_level') <> 'logical' THEN \
        'wal_level is ' || current_setting('wal_level') || ', not logical (ALTER SYSTEM SET wal_level = ''logical''; and a restart)' \
    WHEN to_regclass('lakehead.outbox_log') IS NULL THEN \
        'the outbox is older than that (lakehead relay --create adds what is missing)' \
    WHEN NOT EXISTS (SELECT FROM pg_publication_tables t JOIN pg_publication p USING (pubname) \
            WHERE p.pubname = 'lakehead_outbox' AND p.pubinsert AND t.schemaname = 'lakehead' AND t.tablename = 'outbox') \
        THEN 'there is no publication lakehead_outbox of its rows (lakehead relay --create makes it)' \
    END";

/// Whether the server lets commits wait for a standby: a slot may give them before.
const WAITS_FOR_STANDBYS: &str = "SELECT current_setting('synchronous_standby_names') <> ''";

/// The name of a slot that no other database of the server uses for its outbox.
const SLOT: &str =
    "SELECT 'lakehead_outbox_' || oid FROM pg_database WHERE datname = current_database()";

impl PostgresOutbox {
    /// Takes the outbox for this relay, whichever way it is read; false while another one has it.
    pub async fn take(&mut self) -> Result<bool, OutboxError> {
        self.connect().await?;
        let connection = self.session()?;
        let taken = sqlx::query_scalar(super::CLAIM).fetch_one(connection).await;
        let taken: bool = self.checked("opened", taken)?;
        self.has_ahead = false;
        if taken && let Some(log) = self.log().await? {
            self.has_ahead = log.handed_over.is_none() && !log.ahead.is_empty();
        }
        if self.has_ahead {
            let passed = sqlx::query(AHEAD_PASSED).execute(self.session()?).await;
            self.checked("confirmed", passed)?;
        }
        Ok(taken)
    }

    /// What is kept of replication; none in an outbox that is older than that.
    pub async fn log(&mut self) -> Result<Option<OutboxLog>, OutboxError> {
        let log = read(self.session()?).await;
        self.checked("read", log)
    }

    /// What hinders that a slot is read here, if anything does; and whether commits here wait for a
    /// standby.
    pub async fn log_obstacle(&mut self) -> Result<(Option<String>, bool), OutboxError> {
        let connection = self.session()?;
        let why = sqlx::query_scalar(OBSTACLE).fetch_one(connection).await;
        let why = self.checked("read", why)?;
        let waits = sqlx::query_scalar(WAITS_FOR_STANDBYS)
            .fetch_one(self.session()?)
            .await;
        Ok((why, self.checked("read", waits)?))
    }

    /// A slot's name for this database's outbox.
    pub async fn log_slot(&mut self) -> Result<String, OutboxError> {
        let name = sqlx::query_scalar(SLOT).fetch_one(self.session()?).await;
        self.checked("read", name)
    }

    /// From now on the outbox is polled until a slot of this name takes over, or for ever.
    pub async fn begin_log(&mut self, slot: Option<&str>) -> Result<(), OutboxError> {
        let begun = sqlx::query(BEGIN).bind(slot).execute(self.session()?).await;
        self.checked("confirmed", begun)?;
        self.take().await.map(|_| ())
    }

    /// The slot is there, and gives what is committed from this place of the log on.
    pub async fn log_created(&mut self, lsn: i64) -> Result<(), OutboxError> {
        let noted = sqlx::query(CREATED)
            .bind(lsn)
            .execute(self.session()?)
            .await;
        self.checked("confirmed", noted)?;
        Ok(())
    }

    /// Everything up to this sequence is decided, polled and acknowledged: the slot takes over.
    pub async fn hand_over(&mut self, through: i64) -> Result<(), OutboxError> {
        let handed = sqlx::query(HAND_OVER)
            .bind(through)
            .execute(self.session()?)
            .await;
        self.checked("confirmed", handed)?;
        self.has_ahead = false;
        Ok(())
    }

    /// Moves the position of an outbox that is read by replication, with all that belongs to it.
    pub async fn save_log(
        &mut self,
        position: &Position,
        save: &LogSave,
    ) -> Result<(), OutboxError> {
        let saved = write(self.session()?, position, save).await;
        match self.checked("confirmed", saved)? {
            true => Ok(()),
            false => Err(OutboxError::turn()),
        }
    }

    /// Notes whether something may be in Kafka that is not kept here.
    pub async fn mark_clean(&mut self, is_clean: bool) -> Result<(), OutboxError> {
        let marked = sqlx::query("UPDATE lakehead.outbox_log SET is_clean = $1")
            .bind(is_clean)
            .execute(self.session()?)
            .await;
        self.checked("confirmed", marked)?;
        Ok(())
    }

    /// Raises the floor. `published` is how many rows from the last one up to it are; if the table has
    /// more, that is answered, and the floor stays.
    pub async fn raise_floor(
        &mut self,
        from: i64,
        floor: i64,
        published: i64,
    ) -> Result<Option<i64>, OutboxError> {
        let found = sqlx::query_scalar(COUNT)
            .bind(from)
            .bind(floor)
            .fetch_one(self.session()?)
            .await;
        let found: i64 = self.checked("read", found)?;
        if found > published {
            return Ok(Some(found));
        }
        let raised = sqlx::query(FLOOR)
            .bind(floor)
            .execute(self.session()?)
            .await;
        self.checked("confirmed", raised)?;
        Ok(None)
    }

    /// A row by its sequence.
    pub async fn row_of(&mut self, sequence: i64) -> Result<Option<OutboxRow>, OutboxError> {
        let row = sqlx::query(ROW)
            .bind(sequence)
            .try_map(|row: PgRow| read_row(&row))
            .fetch_optional(self.session()?)
            .await;
        self.checked("read", row)
    }

    /// The sequence up to which every one was drawn by a transaction that has ended.
    pub async fn safe(&mut self) -> Result<i64, OutboxError> {
        let safe = sqlx::query_scalar(SAFE).fetch_one(self.session()?).await;
        self.checked("read", safe)
    }

    /// Whether there are rows between two sequences, the latter one safe, that are not published.
    pub async fn is_left(&mut self, after: i64, through: i64) -> Result<bool, OutboxError> {
        let is_left = sqlx::query_scalar(IS_LEFT)
            .bind(after)
            .bind(through)
            .fetch_one(self.session()?)
            .await;
        self.checked("read", is_left)
    }

    /// Behind everything that is committed: bytes of the log, all of it on disk.
    pub async fn log_end(&mut self) -> Result<i64, OutboxError> {
        let end = sqlx::query_scalar(END).fetch_one(self.session()?).await;
        let end = self.checked("read", end)?;
        let flushed = sqlx::query(FLUSH).execute(self.session()?).await;
        self.checked("read", flushed)?;
        Ok(end)
    }

    /// The horizon by the log: what was committed up to its time is before a place of it.
    pub async fn log_horizon(&mut self) -> Result<Option<Horizon>, OutboxError> {
        let time = counted::complete_time(self.session()?).await;
        let Some(time_us) = self.checked("read", time)? else {
            return Ok(None);
        };
        let drawn = self.log_end().await?;
        Ok(Some(Horizon { time_us, drawn }))
    }
}

/// The outbox is one whose rows a slot has given, and polling would publish them again.
pub(super) fn is_replicated(slot: &str) -> OutboxError {
    OutboxError::new(
        "polled",
        false,
        format!(
            "it is read by replication, from the slot {slot:?}; run `lakehead relay` with [relay] read = \
             \"polling\", which hands it over first"
        ),
    )
}

async fn read(connection: &mut PgConnection) -> Result<Option<OutboxLog>, sqlx::Error> {
    let is_there: bool = sqlx::query_scalar(TABLE)
        .fetch_one(&mut *connection)
        .await?;
    if !is_there {
        return Ok(None);
    }
    let row = sqlx::query(READ).fetch_one(&mut *connection).await?;
    let ahead = sqlx::query_as("SELECT first, last FROM lakehead.outbox_ahead ORDER BY first")
        .fetch_all(connection)
        .await?;
    Ok(Some(OutboxLog {
        slot: row.try_get(0)?,
        epoch: row.try_get(1)?,
        horizon: row.try_get(2)?,
        handed_over: row.try_get(3)?,
        confirmed: row.try_get(4)?,
        lsn: row.try_get(5)?,
        lsn_place: row.try_get(6)?,
        floor: row.try_get(7)?,
        is_clean: row.try_get(8)?,
        ahead,
    }))
}

/// All of it, or nothing; false if the outbox is read another way by now.
async fn write(
    connection: &mut PgConnection,
    position: &Position,
    save: &LogSave,
) -> Result<bool, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let moved = sqlx::query(SAVE)
        .bind(position.confirmed)
        .bind(save.lsn)
        .bind(save.lsn_place)
        .bind(save.epoch)
        .execute(&mut *transaction)
        .await?;
    if moved.rows_affected() == 0 {
        return Ok(false);
    }
    if !save.runs_gone.is_empty() {
        sqlx::query(RUNS_GONE)
            .bind(&save.runs_gone)
            .execute(&mut *transaction)
            .await?;
    }
    if !save.runs.is_empty() {
        let (firsts, lasts): (Vec<i64>, Vec<i64>) = save.runs.iter().copied().unzip();
        sqlx::query(RUNS)
            .bind(firsts)
            .bind(lasts)
            .execute(&mut *transaction)
            .await?;
    }
    // Places are no sequences: what is kept for a relay that polls stays as it is.
    let beside = Position {
        confirmed: 0,
        released: 0,
        ..position.clone()
    };
    save_position(&mut transaction, &beside).await?;
    transaction.commit().await?;
    Ok(true)
}
