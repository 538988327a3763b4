//! An outbox in Postgres, as its relay reads it: by polling, without missing a row.

mod counted;
mod log;
mod parked;

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use schemas::TopicPartition;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{ConnectOptions, Connection, Row};
use tracing::log::LevelFilter;

use crate::outbox_store::{
    Horizon, OutboxBatch, OutboxStore, ParkedKey, ParkedRow, Position, Retry,
};
use crate::{Outbox, OutboxError, OutboxRow, TransactionPlace};

pub use self::log::{LogSave, OutboxLog};

/// A standby lets its outbox be read and even claimed, and nothing be kept of that.
const IS_STANDBY: &str = "SELECT pg_is_in_recovery()";

/// What the relay's session needs. A server whose commits do not wait for the disk is told to wait
/// for ours, which takes all before it along. All that is asked for often has an index in its order;
/// statistics of an outbox that is filled and pruned are never right, and by them Postgres sorts all of
/// a backlog for each batch. A relay whose machine is gone without a word holds its claim no longer than it
/// takes to miss it.
const SESSION: &str = "SET lakehead.outbox_prune = 'on'; \
    SET enable_seqscan = off; SET enable_bitmapscan = off; \
    SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; \
    SET tcp_user_timeout = 60000; \
    SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// One relay at a time, as long as its session lives.
const CLAIM: &str = "SELECT pg_try_advisory_lock(26728::bigint << 48 | 281474976710654)";

/// The server's own id and its timeline, which rises when a standby is promoted or a backup is
/// restored to a point in time.
const SERVER: &str = "SELECT system_identifier::text || '/' || \
    left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()";

const NOTE_SERVER: &str =
    "UPDATE lakehead.outbox_relay SET server = coalesce(server, $1) RETURNING server";

const SAFE: &str = "SELECT lakehead.outbox_safe()";

/// Whether the outbox says which transaction wrote a row; one of before does not.
const TELLS_TRANSACTIONS: &str = "SELECT EXISTS (SELECT FROM pg_attribute \
    WHERE attrelid = 'lakehead.outbox'::regclass AND attname = 'transaction_id')";

/// The columns of [`OutboxRow`]: a type that is no operation's letter is the name of an event.
macro_rules! row_columns {
    () => {
        "o.sequence, o.id::text, o.aggregatetype, o.type, o.event_time_us, o.aggregateid, \
         o.before::text, o.payload::text"
    };
}

/// Whether row `o` is in a run that was published by replication.
macro_rules! is_ahead {
    () => {
        "coalesce((SELECT a.last >= o.sequence FROM lakehead.outbox_ahead a \
         WHERE a.first <= o.sequence ORDER BY a.first DESC LIMIT 1), false)"
    };
}

/// The columns of [`TransactionPlace`]. A row that can be read was written by a transaction that has
/// ended, so that all rows of it are seen by the same statement: the last one is told by its index.
macro_rules! transaction_columns {
    () => {
        ", o.transaction_id || ':' || o.transaction_first, o.transaction_order, \
         (o.transaction_counts->>o.aggregatetype)::bigint, \
         CASE WHEN NOT EXISTS (SELECT FROM lakehead.outbox l \
             WHERE l.transaction_first = o.transaction_first \
             AND l.transaction_order > o.transaction_order) \
         THEN o.transaction_counts::text END"
    };
}

/// In an outbox that does not tell.
macro_rules! no_transaction_columns {
    () => {
        ", NULL::text, NULL::bigint, NULL::bigint, NULL::text"
    };
}

macro_rules! rows {
    ($transaction:expr) => {
        concat!(
            "SELECT ",
            row_columns!(),
            $transaction,
            " FROM lakehead.outbox o WHERE sequence > $1 AND sequence <= $2 \
             ORDER BY sequence LIMIT $3"
        )
    };
}

const ROWS: &str = rows!(transaction_columns!());
const ROWS_OF_BEFORE: &str = rows!(no_transaction_columns!());

/// The same where rows beyond the position are published already.
const ROWS_BUT_AHEAD: &str = concat!(
    "SELECT ",
    row_columns!(),
    transaction_columns!(),
    " FROM lakehead.outbox o WHERE sequence > $1 AND sequence <= $2 AND NOT ",
    is_ahead!(),
    " ORDER BY sequence LIMIT $3"
);

const SAVE: &str = "UPDATE lakehead.outbox_relay \
    SET confirmed = greatest(confirmed, $1), released = greatest(released, $2)";

const SAVE_ALL: &str = "WITH offsets AS (INSERT INTO lakehead.outbox_partition AS known \
    (topic, partition, next_offset) SELECT * FROM unnest($3::text[], $4::int[], $5::bigint[]) \
    ON CONFLICT (topic, partition) DO UPDATE \
    SET next_offset = greatest(known.next_offset, excluded.next_offset)) \
    UPDATE lakehead.outbox_relay \
    SET confirmed = greatest(confirmed, $1), released = greatest(released, $2)";

const SET_CLUSTER: &str = "WITH topics AS (DELETE FROM lakehead.outbox_topic), \
    offsets AS (DELETE FROM lakehead.outbox_partition) \
    UPDATE lakehead.outbox_relay SET cluster = $1";

const PRUNE: &str = "DELETE FROM lakehead.outbox WHERE sequence = ANY(ARRAY(\
    SELECT o.sequence FROM lakehead.outbox o WHERE o.sequence <= $1 \
    AND NOT EXISTS (SELECT FROM lakehead.outbox_parked p WHERE p.sequence = o.sequence) \
    ORDER BY o.sequence LIMIT $2))";

/// The relay's own connection to a service's Postgres database.
///
/// Sequences are drawn before transactions commit, so a smaller one may appear after a larger one
/// was read. Who writes therefore takes an advisory lock on the last sequence *before* it draws its
/// own, and the relay looks, in this order, at the last sequence drawn, at the lowest lock held,
/// and with a new snapshot at the rows up to the lesser of both: a sequence among them was drawn
/// by a transaction that has ended, and is there if it was committed. A gap costs no wait, a long
/// transaction holds up only what was written after it began to write, and nothing depends on
/// transaction ids, which start again when a database moves to another server.
///
/// The connection is a session of its own on the primary: it may not lead through a pool that
/// lends a session for one transaction.
pub struct PostgresOutbox {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    /// Whether rows beyond the position were published by replication, and are to be left out.
    has_ahead: bool,
    /// Whether the outbox says which transaction wrote a row.
    tells_transactions: bool,
}

/// Options hold a password.
impl fmt::Debug for PostgresOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOutbox")
            .field("host", &self.options.get_host())
            .field("database", &self.options.get_database())
            .finish_non_exhaustive()
    }
}

impl PostgresOutbox {
    /// Connects to the service's database, which must have an outbox.
    ///
    /// `url` is `postgres://user:password@host:port/database`, with libpq's parameters `sslmode`,
    /// `sslrootcert` and so on.
    pub async fn open(url: &str) -> Result<Self, OutboxError> {
        let options =
            PgConnectOptions::from_str(url).map_err(OutboxError::while_being("opened"))?;
        let mut store = Self {
            options: options
                .application_name("lakehead-relay")
                .log_statements(LevelFilter::Off),
            connection: None,
            has_ahead: false,
            tells_transactions: false,
        };
        store.connect().await?;
        store.source().await?;
        Ok(store)
    }

    /// Creates the outbox where it is missing; answers the database's identity.
    pub async fn create(url: &str, service: &str) -> Result<String, OutboxError> {
        let mut connection = PgConnection::connect(url)
            .await
            .map_err(OutboxError::while_being("opened"))?;
        Outbox::create(&mut connection, service).await
    }

    /// The last sequence of the outbox, pruned or not; 0 if it never had a row.
    pub async fn end(&mut self) -> Result<i64, OutboxError> {
        let connection = self.session()?;
        Outbox::end(connection).await
    }

    /// A new session, if the last one is spent.
    async fn connect(&mut self) -> Result<(), OutboxError> {
        if self.connection.is_some() {
            return Ok(());
        }
        let failed = || OutboxError::while_being("opened");
        let mut connection = self.options.connect().await.map_err(failed())?;
        let is_standby: bool = sqlx::query_scalar(IS_STANDBY)
            .fetch_one(&mut connection)
            .await
            .map_err(failed())?;
        if is_standby {
            return Err(OutboxError::standby());
        }
        sqlx::raw_sql(SESSION)
            .execute(&mut connection)
            .await
            .map_err(failed())?;
        self.tells_transactions = sqlx::query_scalar(TELLS_TRANSACTIONS)
            .fetch_one(&mut connection)
            .await
            .map_err(failed())?;
        self.connection = Some(connection);
        Ok(())
    }

    fn session(&mut self) -> Result<&mut PgConnection, OutboxError> {
        self.connection.as_mut().ok_or_else(OutboxError::no_session)
    }

    /// An error leaves the session in doubt: the next claim makes a new one.
    fn checked<T>(
        &mut self,
        doing: &'static str,
        answer: Result<T, sqlx::Error>,
    ) -> Result<T, OutboxError> {
        if answer.is_err() {
            self.connection = None;
        }
        answer.map_err(OutboxError::while_being(doing))
    }
}

#[async_trait]
impl OutboxStore for PostgresOutbox {
    async fn source(&mut self) -> Result<String, OutboxError> {
        Outbox::source(self.session()?).await
    }

    fn tells_transactions(&self) -> bool {
        self.tells_transactions
    }

    async fn claim(&mut self) -> Result<bool, OutboxError> {
        if !self.take().await? {
            return Ok(false);
        }
        match self.log().await? {
            Some(OutboxLog {
                slot: Some(slot), ..
            }) => Err(log::is_replicated(&slot)),
            _ => Ok(true),
        }
    }

    async fn moved(&mut self) -> Result<Option<(String, String)>, OutboxError> {
        let connection = self.session()?;
        let found = sqlx::query_scalar(SERVER).fetch_one(connection).await;
        let found: String = self.checked("identified", found)?;
        let known = sqlx::query_scalar(NOTE_SERVER)
            .bind(&found)
            .fetch_one(self.session()?)
            .await;
        let known: String = self.checked("confirmed", known)?;
        Ok((known != found).then_some((known, found)))
    }

    async fn rows_after(&mut self, position: i64, limit: u32) -> Result<OutboxBatch, OutboxError> {
        let connection = self.session()?;
        let safe = sqlx::query_scalar(SAFE).fetch_one(&mut *connection).await;
        let safe: i64 = self.checked("read", safe)?;
        if safe <= position {
            return Ok(OutboxBatch {
                safe,
                ..OutboxBatch::default()
            });
        }
        // A statement of its own, and thereby a new snapshot.
        let sql = match (self.has_ahead, self.tells_transactions) {
            (true, _) => ROWS_BUT_AHEAD,
            (false, true) => ROWS,
            (false, false) => ROWS_OF_BEFORE,
        };
        let rows = sqlx::query(sql)
            .bind(position)
            .bind(safe)
            .bind(i64::from(limit))
            .try_map(|row: PgRow| read_row(&row))
            .fetch_all(self.session()?)
            .await;
        let rows = self.checked("read", rows)?;
        let is_all = rows.len() < limit as usize;
        let passed = (self.has_ahead && is_all).then_some(safe);
        Ok(OutboxBatch { rows, safe, passed })
    }

    async fn position(&mut self) -> Result<Position, OutboxError> {
        let connection = self.session()?;
        let found = sqlx::query_as("SELECT confirmed, released FROM lakehead.outbox_relay")
            .fetch_one(&mut *connection)
            .await;
        let (confirmed, released) = self.checked("read", found)?;
        let connection = self.session()?;
        let offsets =
            sqlx::query_as("SELECT topic, partition, next_offset FROM lakehead.outbox_partition")
                .fetch_all(connection)
                .await;
        let offsets: Vec<(String, i32, i64)> = self.checked("read", offsets)?;
        let mut position = Position::new(confirmed, released);
        for (topic, partition, next_offset) in offsets {
            let place = TopicPartition::new(topic, partition);
            position.offsets.insert(place, next_offset);
        }
        let counting = counted::read(self.session()?).await;
        position.counting = self.checked("read", counting)?;
        Ok(position)
    }

    async fn save(&mut self, position: &Position) -> Result<(), OutboxError> {
        let saved = save_position(self.session()?, position).await;
        self.checked("confirmed", saved)
    }

    async fn cluster(&mut self) -> Result<Option<String>, OutboxError> {
        let connection = self.session()?;
        let found = sqlx::query_scalar("SELECT cluster FROM lakehead.outbox_relay")
            .fetch_one(connection)
            .await;
        self.checked("read", found)
    }

    async fn set_cluster(&mut self, cluster: &str) -> Result<(), OutboxError> {
        let connection = self.session()?;
        let set = sqlx::query(SET_CLUSTER)
            .bind(cluster)
            .execute(connection)
            .await;
        self.checked("confirmed", set)?;
        Ok(())
    }

    async fn topic_partitions(&mut self, topic: &str, found: i32) -> Result<i32, OutboxError> {
        let connection = self.session()?;
        let noted = sqlx::query(
            "INSERT INTO lakehead.outbox_topic (topic, partitions) VALUES ($1, $2) \
             ON CONFLICT DO NOTHING",
        )
        .bind(topic)
        .bind(found)
        .execute(&mut *connection)
        .await;
        self.checked("confirmed", noted)?;
        let connection = self.session()?;
        let known =
            sqlx::query_scalar("SELECT partitions FROM lakehead.outbox_topic WHERE topic = $1")
                .bind(topic)
                .fetch_one(connection)
                .await;
        self.checked("read", known)
    }

    async fn park(&mut self, rows: &[ParkedRow]) -> Result<(), OutboxError> {
        let parked = parked::park(self.session()?, rows).await;
        self.checked("confirmed", parked)
    }

    async fn park_again(&mut self, rows: &[ParkedRow]) -> Result<(), OutboxError> {
        let parked = parked::park_again(self.session()?, rows).await;
        self.checked("confirmed", parked)
    }

    async fn parked_keys(&mut self, limit: u32) -> Result<Vec<ParkedKey>, OutboxError> {
        let keys = parked::keys(self.session()?, limit).await;
        self.checked("read", keys)
    }

    async fn retries(&mut self, limit: u32) -> Result<Vec<Retry>, OutboxError> {
        let tells_transactions = self.tells_transactions;
        let retries = parked::retries(self.session()?, tells_transactions, limit).await;
        self.checked("read", retries)
    }

    async fn number_retries(&mut self, sequences: &[i64]) -> Result<Vec<(i64, i64)>, OutboxError> {
        let numbers = parked::number_retries(self.session()?, sequences).await;
        self.checked("confirmed", numbers)
    }

    async fn unpark(&mut self, sequences: &[i64]) -> Result<(), OutboxError> {
        let unparked = parked::unpark(self.session()?, sequences).await;
        self.checked("confirmed", unparked)
    }

    async fn horizon(&mut self) -> Result<Option<Horizon>, OutboxError> {
        let horizon = counted::horizon(self.session()?).await;
        self.checked("read", horizon)
    }

    async fn prune(&mut self, through: i64, rows_max: u32) -> Result<u64, OutboxError> {
        let pruned = sqlx::query(PRUNE)
            .bind(through)
            .bind(i64::from(rows_max))
            .execute(self.session()?)
            .await;
        Ok(self.checked("pruned", pruned)?.rows_affected())
    }
}

async fn save_position(
    connection: &mut PgConnection,
    position: &Position,
) -> Result<(), sqlx::Error> {
    if let Some(counting) = &position.counting {
        let query = counted::save(position, counting);
        query.execute(connection).await?;
        return Ok(());
    }
    let sql = if position.offsets.is_empty() {
        SAVE
    } else {
        SAVE_ALL
    };
    let mut query = sqlx::query(sql)
        .bind(position.confirmed)
        .bind(position.released);
    if !position.offsets.is_empty() {
        let places = || position.offsets.keys();
        let topics: Vec<String> = places().map(|place| place.topic.to_string()).collect();
        let partitions: Vec<i32> = places().map(|place| place.partition).collect();
        let offsets: Vec<i64> = position.offsets.values().copied().collect();
        query = query.bind(topics).bind(partitions).bind(offsets);
    }
    query.execute(connection).await?;
    Ok(())
}

/// Reads the columns of `row_columns` and those of the transaction.
fn read_row(row: &PgRow) -> Result<OutboxRow, sqlx::Error> {
    let kind: String = row.try_get(3)?;
    let mut read = OutboxRow {
        sequence: row.try_get(0)?,
        place: row.try_get(0)?,
        event_id: row.try_get(1)?,
        entity: row.try_get(2)?,
        event_time_us: row.try_get(4)?,
        key: row.try_get(5)?,
        before: row.try_get(6)?,
        after: row.try_get(7)?,
        transaction: read_place(row)?,
        ..OutboxRow::default()
    };
    read.set_type(&kind);
    Ok(read)
}

fn read_place(row: &PgRow) -> Result<Option<TransactionPlace>, sqlx::Error> {
    let (Some(id), Some(total_order), Some(entity_order)) =
        (row.try_get(8)?, row.try_get(9)?, row.try_get(10)?)
    else {
        return Ok(None);
    };
    let counts: Option<String> = row.try_get(11)?;
    let ended = counts.map(|counts| serde_json::from_str(&counts));
    Ok(Some(TransactionPlace {
        id,
        total_order,
        entity_order,
        ended: ended
            .transpose()
            .map_err(|error| sqlx::Error::Decode(error.into()))?,
    }))
}

use {is_ahead, no_transaction_columns, row_columns, transaction_columns};
