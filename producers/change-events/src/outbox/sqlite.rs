//! A service's own transaction in SQLite, through sqlx.

use async_trait::async_trait;
use sqlx::sqlite::{Sqlite, SqliteConnection, SqliteRow};
use sqlx::{Connection, Row, Transaction};
use uuid::Uuid;

use super::{OutboxConnection, OutboxRow};
use crate::{ChangeEvent, OutboxError};

/// What the service writes. `AUTOINCREMENT`: a sequence is never given twice, even after pruning.
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
";

/// What the relay writes. `outbox_partition` says what follows the last record acknowledged of
/// each topic partition, `outbox_counted` what an entity's events add up to, for watermarks.
pub(crate) const RELAY_TABLES: &str = "
CREATE TABLE IF NOT EXISTS outbox_relay (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    confirmed INTEGER NOT NULL,
    released  INTEGER NOT NULL,
    cluster   TEXT
) STRICT;
INSERT OR IGNORE INTO outbox_relay (id, confirmed, released) VALUES (1, 0, 0);
CREATE TABLE IF NOT EXISTS outbox_topic (
    topic      TEXT PRIMARY KEY,
    partitions INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS outbox_partition (
    topic       TEXT NOT NULL,
    partition   INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox_parked (
    sequence       INTEGER PRIMARY KEY,
    entity         TEXT NOT NULL,
    key_id         BLOB NOT NULL,
    key            TEXT NOT NULL,
    why            TEXT NOT NULL,
    parked_at      TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
    retry          INTEGER NOT NULL DEFAULT 0,
    retry_sequence INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS outbox_retry (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    last INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO outbox_retry (id, last) VALUES (1, 0);
CREATE TABLE IF NOT EXISTS outbox_counting (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    through INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS outbox_counted (
    entity              TEXT PRIMARY KEY,
    after_sequence      INTEGER NOT NULL,
    events              INTEGER NOT NULL,
    ids                 TEXT NOT NULL,
    images              TEXT NOT NULL,
    complete_through_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

const APPEND: &str = "INSERT INTO outbox (event_id, entity, op, event_time_us, key, before, after) \
                      VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING sequence";

const AFTER: &str = "SELECT sequence, event_id, entity, op, event_time_us, key, before, after \
                     FROM outbox WHERE sequence > ? ORDER BY sequence LIMIT ?";

#[async_trait]
impl OutboxConnection for SqliteConnection {
    async fn create(&mut self, source: &str) -> Result<(), OutboxError> {
        let failed = || OutboxError::while_being("created");
        let mut transaction = self.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
        create(&mut transaction, source).await.map_err(failed())?;
        transaction.commit().await.map_err(failed())
    }

    async fn source(&mut self) -> Result<String, OutboxError> {
        sqlx::query_scalar("SELECT source FROM outbox_source WHERE id = 1")
            .fetch_one(self)
            .await
            .map_err(OutboxError::while_being("identified"))
    }

    async fn append(&mut self, event: &ChangeEvent) -> Result<i64, OutboxError> {
        let mut id = Uuid::encode_buffer();
        let id: &str = event.event_id.hyphenated().encode_lower(&mut id);
        sqlx::query_scalar(APPEND)
            .bind(id)
            .bind(event.table.to_string())
            .bind(event.op.letter())
            .bind(event.event_time_us)
            .bind(&event.key)
            .bind(&event.before)
            .bind(&event.after)
            .fetch_one(self)
            .await
            .map_err(OutboxError::while_being("written"))
    }

    async fn end(&mut self) -> Result<i64, OutboxError> {
        sqlx::query_scalar(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'outbox'",
        )
        .fetch_one(self)
        .await
        .map_err(OutboxError::while_being("read"))
    }
}

#[async_trait]
impl OutboxConnection for Transaction<'_, Sqlite> {
    async fn create(&mut self, source: &str) -> Result<(), OutboxError> {
        create(self, source)
            .await
            .map_err(OutboxError::while_being("created"))
    }

    async fn source(&mut self) -> Result<String, OutboxError> {
        SqliteConnection::source(self).await
    }

    async fn append(&mut self, event: &ChangeEvent) -> Result<i64, OutboxError> {
        SqliteConnection::append(self, event).await
    }

    async fn end(&mut self) -> Result<i64, OutboxError> {
        SqliteConnection::end(self).await
    }
}

async fn create(connection: &mut SqliteConnection, source: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(TABLES).execute(&mut *connection).await?;
    sqlx::raw_sql(RELAY_TABLES)
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT OR IGNORE INTO outbox_source (id, source) VALUES (1, ?)")
        .bind(source)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn after(
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

fn read_row(row: &SqliteRow) -> Result<OutboxRow, sqlx::Error> {
    Ok(OutboxRow {
        sequence: row.try_get(0)?,
        place: row.try_get(0)?,
        event_id: row.try_get(1)?,
        entity: row.try_get(2)?,
        op: row.try_get(3)?,
        event_type: None,
        event_time_us: row.try_get(4)?,
        key: row.try_get(5)?,
        before: row.try_get(6)?,
        after: row.try_get(7)?,
        transaction: None,
    })
}
