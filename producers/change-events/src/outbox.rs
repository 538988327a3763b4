//! The outbox: a table in the service's own database.

use schemas::{Op, TableName};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection, Row};
use uuid::Uuid;

use crate::ChangeEvent;

/// The tables of the kit. `AUTOINCREMENT`: a sequence is never given twice, even after pruning.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS outbox (
    sequence      INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id      TEXT NOT NULL UNIQUE,
    entity        TEXT NOT NULL,
    op            TEXT NOT NULL CHECK (op IN ('c', 'u', 'd', 'r')),
    event_time_us INTEGER NOT NULL,
    key           TEXT NOT NULL,
    before        TEXT,
    after         TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS outbox_source (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    source TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS outbox_relay (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    confirmed INTEGER NOT NULL,
    released  INTEGER NOT NULL,
    cluster   TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS outbox_topic (
    topic      TEXT PRIMARY KEY,
    partitions INTEGER NOT NULL
) STRICT;
";

const APPEND: &str = "INSERT INTO outbox (event_id, entity, op, event_time_us, key, before, after) \
                      VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING sequence";

const AFTER: &str = "SELECT sequence, event_id, entity, op, event_time_us, key, before, after \
                     FROM outbox WHERE sequence > ? ORDER BY sequence LIMIT ?";

/// The table `outbox` of a service's SQLite database, and what belongs to it.
///
/// The database must be in WAL mode. SQLite has one writer at a time, so the order of sequences is
/// the order of commits and no reader ever sees a sequence before a smaller one.
///
/// The service may use `synchronous = NORMAL`: a power loss can then take back its latest
/// transactions, table and outbox alike. The [`crate::Relay`] publishes nothing that could be taken
/// back: it commits on the same log with `synchronous = FULL` before it hands rows to Kafka, which
/// makes every transaction before it durable, at one fsync per batch and not one per change.
#[derive(Debug)]
pub struct Outbox;

/// A row of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// The row's place: strictly rising in commit order, starting at 1, with gaps.
    pub sequence: i64,
    /// The event's id.
    pub event_id: String,
    /// The entity, as in `flights.flight`.
    pub entity: String,
    /// The operation's letter: c, u, d or r.
    pub op: String,
    /// The owner's commit time in microseconds since 1970-01-01 UTC.
    pub event_time_us: i64,
    /// The key fields, a JSON object.
    pub key: String,
    /// The row before the change, a JSON object.
    pub before: Option<String>,
    /// The row after the change, a JSON object.
    pub after: Option<String>,
}

/// The service's database did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("the outbox cannot be {doing}: {source}; check the service's database file")]
pub struct OutboxError {
    doing: &'static str,
    source: sqlx::Error,
}

impl OutboxError {
    pub(crate) fn while_being(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self { doing, source }
    }
}

impl Outbox {
    /// Creates the kit's tables where they are missing, and gives the database its identity.
    ///
    /// Answers the identity, `/<service>/<database id>`: the `ce_source` of all its events. The id
    /// is made once per database, so that a database created anew is a new source and its
    /// sequences, starting at 1 again, are not mistaken for repeats.
    pub async fn create(
        connection: &mut SqliteConnection,
        service: &str,
    ) -> Result<String, OutboxError> {
        let failed = || OutboxError::while_being("created");
        let mut transaction = connection
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed())?;
        sqlx::raw_sql(TABLES)
            .execute(&mut *transaction)
            .await
            .map_err(failed())?;
        sqlx::query("INSERT OR IGNORE INTO outbox_source (id, source) VALUES (1, ?)")
            .bind(format!("/{service}/{}", Uuid::new_v4()))
            .execute(&mut *transaction)
            .await
            .map_err(failed())?;
        sqlx::query(
            "INSERT OR IGNORE INTO outbox_relay (id, confirmed, released) VALUES (1, 0, 0)",
        )
        .execute(&mut *transaction)
        .await
        .map_err(failed())?;
        transaction.commit().await.map_err(failed())?;
        Self::source(connection).await
    }

    /// The identity that [`Self::create`] gave the database.
    pub async fn source(connection: &mut SqliteConnection) -> Result<String, OutboxError> {
        sqlx::query_scalar("SELECT source FROM outbox_source WHERE id = 1")
            .fetch_one(connection)
            .await
            .map_err(OutboxError::while_being("identified"))
    }

    /// Writes one event and answers its sequence.
    ///
    /// To be called inside the transaction that changes the entity's table: both are then
    /// committed, or neither.
    pub async fn append(
        connection: &mut SqliteConnection,
        event: &ChangeEvent,
    ) -> Result<i64, OutboxError> {
        let mut id = Uuid::encode_buffer();
        let id: &str = event.event_id.hyphenated().encode_lower(&mut id);
        sqlx::query_scalar(APPEND)
            .bind(id)
            .bind(entity_name(&event.table))
            .bind(event.op.letter())
            .bind(event.event_time_us)
            .bind(&event.key)
            .bind(&event.before)
            .bind(&event.after)
            .fetch_one(connection)
            .await
            .map_err(OutboxError::while_being("written"))
    }

    /// Up to `limit` rows above `position`, in order.
    pub async fn after(
        connection: &mut SqliteConnection,
        position: i64,
        limit: u32,
    ) -> Result<Vec<OutboxRow>, OutboxError> {
        sqlx::query(AFTER)
            .bind(position)
            .bind(limit)
            .try_map(|row: SqliteRow| read_row(&row))
            .fetch_all(connection)
            .await
            .map_err(OutboxError::while_being("read"))
    }

    /// The last sequence that was given, 0 if none was.
    pub async fn end(connection: &mut SqliteConnection) -> Result<i64, OutboxError> {
        sqlx::query_scalar(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'outbox'",
        )
        .fetch_one(connection)
        .await
        .map_err(OutboxError::while_being("read"))
    }
}

impl OutboxRow {
    /// The operation, if its letter is one.
    pub fn op(&self) -> Option<Op> {
        Op::from_letter(&self.op)
    }
}

fn entity_name(table: &TableName) -> String {
    table.to_string()
}

fn read_row(row: &SqliteRow) -> Result<OutboxRow, sqlx::Error> {
    Ok(OutboxRow {
        sequence: row.try_get(0)?,
        event_id: row.try_get(1)?,
        entity: row.try_get(2)?,
        op: row.try_get(3)?,
        event_time_us: row.try_get(4)?,
        key: row.try_get(5)?,
        before: row.try_get(6)?,
        after: row.try_get(7)?,
    })
}
