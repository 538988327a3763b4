//! An outbox in SQLite, as its relay reads it.

mod counted;
mod parked;

use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use schemas::TopicPartition;
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Sqlite};

use crate::outbox::SQLITE_RELAY_TABLES;
use crate::outbox_store::{
    Horizon, OutboxBatch, OutboxStore, ParkedKey, ParkedRow, Position, Retry,
};
use crate::{Outbox, OutboxError};

/// How long the relay waits for the service's own transactions before it gives up.
const BUSY_TIME_MAX: Duration = Duration::from_secs(60);

/// How long SQLite itself waits at a time. Left alone it sleeps ever longer, up to 100 ms between
/// looks at the lock, and a service that writes without a pause would starve the relay for seconds.
const BUSY_TIMEOUT: &str = "PRAGMA busy_timeout = 2";

/// Rows that SQLite's thread hands over before ours has to take them: with few, one wakes the other for
/// every few rows.
const ROWS_BUFFERED: usize = 1_000;

/// Moves only forward.
const SAVE: &str =
    "UPDATE outbox_relay SET confirmed = max(confirmed, ?), released = max(released, ?)";

const SAVE_OFFSET: &str = "INSERT INTO outbox_partition (topic, partition, next_offset) \
    VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next_offset = max(next_offset, excluded.next_offset)";

const PRUNE: &str = "DELETE FROM outbox WHERE sequence IN (SELECT sequence FROM outbox \
    WHERE sequence <= ? AND sequence NOT IN (SELECT sequence FROM outbox_parked) \
    ORDER BY sequence LIMIT ?)";

/// The relay's own connection to a service's SQLite database.
///
/// Every write here commits with `synchronous = FULL`, which makes durable what the service
/// committed before it (see [`Outbox`]). One process may relay a database; a file says nothing of
/// another one that tries.
#[derive(Debug)]
pub struct SqliteOutbox {
    connection: SqliteConnection,
}

impl SqliteOutbox {
    /// Opens the service's database, which must have an outbox.
    pub async fn open(database: &Path) -> Result<Self, OutboxError> {
        let mut connection = SqliteConnectOptions::new()
            .filename(database)
            .create_if_missing(false)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIME_MAX)
            .row_buffer_size(ROWS_BUFFERED)
            .connect()
            .await
            .map_err(OutboxError::while_being("opened"))?;
        Outbox::source(&mut connection).await?;
        for sql in [SQLITE_RELAY_TABLES, BUSY_TIMEOUT] {
            sqlx::raw_sql(sql)
                .execute(&mut connection)
                .await
                .map_err(OutboxError::while_being("opened"))?;
        }
        Ok(Self { connection })
    }

    /// Creates the outbox where it is missing, and the file too; answers the database's identity.
    pub async fn create(database: &Path, service: &str) -> Result<String, OutboxError> {
        let mut connection = SqliteConnectOptions::new()
            .filename(database)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(BUSY_TIME_MAX)
            .connect()
            .await
            .map_err(OutboxError::while_being("opened"))?;
        Outbox::create(&mut connection, service).await
    }

    /// The last sequence of the outbox, pruned or not; 0 if it never had a row.
    pub async fn end(&mut self) -> Result<i64, OutboxError> {
        Outbox::end(&mut self.connection).await
    }

    /// One write, tried until the service's own transactions let it through.
    async fn write<'q>(&mut self, query: impl Fn() -> SqliteQuery<'q>) -> Result<u64, OutboxError> {
        let deadline = Instant::now() + BUSY_TIME_MAX;
        loop {
            match query().execute(&mut self.connection).await {
                Err(error) if is_busy(&error) && Instant::now() < deadline => {}
                written => {
                    let written = written.map_err(OutboxError::while_being("confirmed"))?;
                    return Ok(written.rows_affected());
                }
            }
        }
    }

    /// Several writes in one transaction.
    async fn write_all<'q>(
        &mut self,
        queries: impl Fn() -> Vec<SqliteQuery<'q>>,
    ) -> Result<(), OutboxError> {
        let failed = || OutboxError::while_being("confirmed");
        self.write(|| sqlx::query("BEGIN IMMEDIATE")).await?;
        for query in queries() {
            if let Err(error) = query.execute(&mut self.connection).await {
                sqlx::query("ROLLBACK")
                    .execute(&mut self.connection)
                    .await
                    .map_err(failed())?;
                return Err(failed()(error));
            }
        }
        self.write(|| sqlx::query("COMMIT")).await?;
        Ok(())
    }
}

#[async_trait]
impl OutboxStore for SqliteOutbox {
    async fn source(&mut self) -> Result<String, OutboxError> {
        Outbox::source(&mut self.connection).await
    }

    async fn claim(&mut self) -> Result<bool, OutboxError> {
        self.connection
            .ping()
            .await
            .map_err(OutboxError::while_being("opened"))?;
        Ok(true)
    }

    /// A file does not say whether it is a copy.
    async fn moved(&mut self) -> Result<Option<(String, String)>, OutboxError> {
        Ok(None)
    }

    /// Who has drawn a sequence is the one that writes, and what it draws is above all that is
    /// committed.
    async fn rows_after(&mut self, position: i64, limit: u32) -> Result<OutboxBatch, OutboxError> {
        let safe = self.end().await?;
        let rows = Outbox::after(&mut self.connection, position, limit).await?;
        Ok(OutboxBatch {
            rows,
            safe,
            passed: None,
        })
    }

    async fn position(&mut self) -> Result<Position, OutboxError> {
        let failed = || OutboxError::while_being("read");
        let (confirmed, released) =
            sqlx::query_as("SELECT confirmed, released FROM outbox_relay WHERE id = 1")
                .fetch_one(&mut self.connection)
                .await
                .map_err(failed())?;
        let mut position = Position::new(confirmed, released);
        let offsets: Vec<(String, i32, i64)> =
            sqlx::query_as("SELECT topic, partition, next_offset FROM outbox_partition")
                .fetch_all(&mut self.connection)
                .await
                .map_err(failed())?;
        for (topic, partition, next_offset) in offsets {
            let place = TopicPartition::new(topic, partition);
            position.offsets.insert(place, next_offset);
        }
        let counting = counted::read(&mut self.connection).await;
        position.counting = counting.map_err(failed())?;
        Ok(position)
    }

    async fn save(&mut self, position: &Position) -> Result<(), OutboxError> {
        let confirm = || {
            sqlx::query(SAVE)
                .bind(position.confirmed)
                .bind(position.released)
        };
        if position.offsets.is_empty() && position.counting.is_none() {
            return self.write(confirm).await.map(|_| ());
        }
        self.write_all(|| {
            let offsets = position.offsets.iter().map(|(place, next_offset)| {
                sqlx::query(SAVE_OFFSET)
                    .bind(&*place.topic)
                    .bind(place.partition)
                    .bind(*next_offset)
            });
            let counting = position.counting.iter().flat_map(counted::save);
            offsets.chain(counting).chain([confirm()]).collect()
        })
        .await
    }

    async fn cluster(&mut self) -> Result<Option<String>, OutboxError> {
        sqlx::query_scalar("SELECT cluster FROM outbox_relay WHERE id = 1")
            .fetch_one(&mut self.connection)
            .await
            .map_err(OutboxError::while_being("read"))
    }

    async fn set_cluster(&mut self, cluster: &str) -> Result<(), OutboxError> {
        self.write_all(|| {
            vec![
                sqlx::query("DELETE FROM outbox_topic"),
                sqlx::query("DELETE FROM outbox_partition"),
                sqlx::query("UPDATE outbox_relay SET cluster = ?").bind(cluster),
            ]
        })
        .await
    }

    async fn topic_partitions(&mut self, topic: &str, found: i32) -> Result<i32, OutboxError> {
        self.write(|| {
            sqlx::query("INSERT OR IGNORE INTO outbox_topic (topic, partitions) VALUES (?, ?)")
                .bind(topic)
                .bind(found)
        })
        .await?;
        sqlx::query_scalar("SELECT partitions FROM outbox_topic WHERE topic = ?")
            .bind(topic)
            .fetch_one(&mut self.connection)
            .await
            .map_err(OutboxError::while_being("read"))
    }

    async fn park(&mut self, rows: &[ParkedRow]) -> Result<(), OutboxError> {
        parked::park(self, rows).await
    }

    async fn park_again(&mut self, rows: &[ParkedRow]) -> Result<(), OutboxError> {
        parked::park_again(self, rows).await
    }

    async fn parked_keys(&mut self, limit: u32) -> Result<Vec<ParkedKey>, OutboxError> {
        parked::keys(self, limit).await
    }

    async fn retries(&mut self, limit: u32) -> Result<Vec<Retry>, OutboxError> {
        parked::retries(self, limit).await
    }

    async fn number_retries(&mut self, sequences: &[i64]) -> Result<Vec<(i64, i64)>, OutboxError> {
        parked::number_retries(self, sequences).await
    }

    async fn unpark(&mut self, sequences: &[i64]) -> Result<(), OutboxError> {
        parked::unpark(self, sequences).await
    }

    async fn horizon(&mut self) -> Result<Option<Horizon>, OutboxError> {
        counted::horizon(self).await
    }

    async fn prune(&mut self, through: i64, rows_max: u32) -> Result<u64, OutboxError> {
        self.write(|| sqlx::query(PRUNE).bind(through).bind(rows_max))
            .await
    }
}

type SqliteQuery<'q> = Query<'q, Sqlite, SqliteArguments>;

/// Whether another connection's transaction was in the way: SQLITE_BUSY and its kin.
fn is_busy(error: &sqlx::Error) -> bool {
    const SQLITE_BUSY: i32 = 5;
    let code = error.as_database_error().and_then(|error| error.code());
    let code = code.and_then(|code| code.parse::<i32>().ok());
    // The low byte is the kind of error.
    code.is_some_and(|code| code & 0xff == SQLITE_BUSY)
}
