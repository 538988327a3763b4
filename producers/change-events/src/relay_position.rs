//! What the relay remembers in the service's database.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{ConnectOptions, Sqlite};

use crate::{Outbox, OutboxError, OutboxRow, RelayError};

/// How long the relay waits for the service's own transactions before it gives up.
const BUSY_TIME_MAX: Duration = Duration::from_secs(60);

/// How long SQLite itself waits at a time. Left alone it sleeps ever longer, up to 100 ms between
/// looks at the lock, and a service that writes without a pause would starve the relay for seconds.
const BUSY_TIMEOUT: &str = "PRAGMA busy_timeout = 2";

/// The relay's side of the outbox: its own connection, and its row in `outbox_relay`.
///
/// Every write here commits with `synchronous = FULL`, which makes durable what the service
/// committed before it (see [`Outbox`]).
#[derive(Debug)]
pub(crate) struct RelayPosition {
    connection: SqliteConnection,
}

impl RelayPosition {
    /// Connects to the service's database, which must have an outbox.
    pub(crate) async fn open(database: &Path) -> Result<Self, OutboxError> {
        let mut connection = SqliteConnectOptions::new()
            .filename(database)
            .create_if_missing(false)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIME_MAX)
            .connect()
            .await
            .map_err(OutboxError::while_being("opened"))?;
        sqlx::raw_sql(BUSY_TIMEOUT)
            .execute(&mut connection)
            .await
            .map_err(OutboxError::while_being("opened"))?;
        Ok(Self { connection })
    }

    pub(crate) async fn source(&mut self) -> Result<String, OutboxError> {
        Outbox::source(&mut self.connection).await
    }

    pub(crate) async fn rows_after(
        &mut self,
        position: i64,
        limit: u32,
    ) -> Result<Vec<OutboxRow>, OutboxError> {
        Outbox::after(&mut self.connection, position, limit).await
    }

    /// The sequence up to which everything is acknowledged.
    pub(crate) async fn confirmed(&mut self) -> Result<i64, OutboxError> {
        sqlx::query_scalar("SELECT confirmed FROM outbox_relay WHERE id = 1")
            .fetch_one(&mut self.connection)
            .await
            .map_err(OutboxError::while_being("read"))
    }

    /// Notes that everything up to `confirmed` is acknowledged and that rows up to `released` may
    /// be in Kafka from now on. When this returns, those rows survive a power loss.
    pub(crate) async fn save(&mut self, confirmed: i64, released: i64) -> Result<(), OutboxError> {
        self.write(|| {
            sqlx::query(
                "UPDATE outbox_relay SET confirmed = max(confirmed, ?), released = max(released, ?)",
            )
            .bind(confirmed)
            .bind(released)
        })
        .await
    }

    /// Holds the cluster and its topics against those of the first connection.
    ///
    /// Positions say nothing about another cluster, and with another partition count a key's later
    /// events would overtake its earlier ones: both are refused by name.
    pub(crate) async fn check_cluster(
        &mut self,
        cluster: Option<&str>,
        partitions: &BTreeMap<String, i32>,
    ) -> Result<(), RelayError> {
        self.check_cluster_id(cluster).await?;
        for (topic, &found) in partitions {
            let known = self.topic_partitions(topic, found).await?;
            if known != found {
                return Err(RelayError::PartitionsChanged {
                    topic: topic.clone(),
                    known,
                    found,
                });
            }
        }
        Ok(())
    }

    async fn check_cluster_id(&mut self, cluster: Option<&str>) -> Result<(), RelayError> {
        let Some(found) = cluster else { return Ok(()) };
        let (known, confirmed): (Option<String>, i64) =
            sqlx::query_as("SELECT cluster, confirmed FROM outbox_relay WHERE id = 1")
                .fetch_one(&mut self.connection)
                .await
                .map_err(OutboxError::while_being("read"))?;
        match known {
            Some(known) if known == found => return Ok(()),
            Some(known) if confirmed > 0 => {
                return Err(RelayError::ClusterChanged {
                    known,
                    found: found.to_owned(),
                    confirmed,
                });
            }
            // The first connection; or nothing is confirmed yet, and a cluster may be left.
            _ => {}
        }
        self.write(|| sqlx::query("DELETE FROM outbox_topic"))
            .await?;
        self.write(|| sqlx::query("UPDATE outbox_relay SET cluster = ? WHERE id = 1").bind(found))
            .await?;
        Ok(())
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

    /// One write, tried until the service's own transactions let it through.
    async fn write<'q>(&mut self, query: impl Fn() -> SqliteQuery<'q>) -> Result<(), OutboxError> {
        let deadline = Instant::now() + BUSY_TIME_MAX;
        loop {
            match query().execute(&mut self.connection).await {
                Err(error) if is_busy(&error) && Instant::now() < deadline => {}
                written => {
                    written.map_err(OutboxError::while_being("confirmed"))?;
                    return Ok(());
                }
            }
        }
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
