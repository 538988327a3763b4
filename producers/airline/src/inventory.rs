//! The flight-inventory service: owner of the table of flights.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use change_events::{Entity, KafkaBroker, KafkaSettings, Outbox, Relay, SqliteOutbox};
use schemas::SchemaRegistry;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use tokio_util::sync::CancellationToken;

use crate::{InventoryError, Period, ReplayProgress, flight_contract, flight_table, replay};

/// The service's name: the owner of its entities.
const SERVICE: &str = "flights";

/// The database's file in the service's directory.
const DATABASE: &str = "flights.db";

/// How long a transaction waits for another connection's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// Pages of the write-ahead log before it is copied into the database: 32 MB, so that the copying,
/// which waits for the disk, is seldom.
const WAL_PAGES: &str = "8192";

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS flight (
    year           INTEGER NOT NULL,
    month          INTEGER NOT NULL,
    day            INTEGER NOT NULL,
    dep_time       INTEGER,
    sched_dep_time INTEGER NOT NULL,
    dep_delay      INTEGER,
    arr_time       INTEGER,
    sched_arr_time INTEGER NOT NULL,
    arr_delay      INTEGER,
    carrier        TEXT NOT NULL,
    flight         INTEGER NOT NULL,
    tailnum        TEXT,
    origin         TEXT NOT NULL,
    dest           TEXT NOT NULL,
    air_time       INTEGER,
    distance       INTEGER NOT NULL,
    hour           INTEGER NOT NULL,
    minute         INTEGER NOT NULL,
    time_hour      INTEGER NOT NULL, -- microseconds since 1970-01-01 UTC
    status         TEXT NOT NULL CHECK (status IN ('scheduled', 'departed', 'arrived', 'cancelled')),
    PRIMARY KEY (year, month, day, carrier, flight, origin, sched_dep_time)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS replay (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    period   TEXT NOT NULL,
    position INTEGER NOT NULL
) STRICT;
";

/// The service and its database, `flights.db` in a directory of its own. Cheap to clone.
///
/// The database is in WAL mode with `synchronous = NORMAL`: no change waits for the disk, and a
/// power loss can take back the last changes, table, outbox and replay position alike. What the
/// relay publishes is made durable first (see [`Outbox`]). A kill at any moment takes back nothing
/// that was committed.
#[derive(Clone, Debug)]
pub struct FlightInventory {
    database: Arc<PathBuf>,
    source: Arc<str>,
    period: Period,
}

impl FlightInventory {
    /// Opens the service's database in `dir`, or creates it.
    ///
    /// The replay's position is kept in it; a database that holds another period's replay is
    /// refused.
    pub async fn open(dir: &Path, period: Period) -> Result<Self, InventoryError> {
        tokio::fs::create_dir_all(dir)
            .await
            .map_err(|source| InventoryError::Directory {
                path: dir.to_owned(),
                source,
            })?;
        let path = dir.join(DATABASE);
        let failed = |source| InventoryError::Database {
            path: path.clone(),
            source,
        };
        let mut connection = connect(&path).await.map_err(failed)?;
        sqlx::raw_sql(TABLES)
            .execute(&mut connection)
            .await
            .map_err(failed)?;
        let source = Outbox::create(&mut connection, SERVICE).await?;
        sqlx::query("INSERT OR IGNORE INTO replay (id, period, position) VALUES (1, ?, 0)")
            .bind(period.name())
            .execute(&mut connection)
            .await
            .map_err(failed)?;
        let found: String = sqlx::query_scalar("SELECT period FROM replay WHERE id = 1")
            .fetch_one(&mut connection)
            .await
            .map_err(failed)?;
        connection.close().await.map_err(failed)?;
        if found != period.name() {
            let found = found
                .parse()
                .map_or(found, |period: Period| period.to_string());
            return Err(InventoryError::OtherPeriod {
                path,
                found,
                wanted: period.to_string(),
            });
        }
        Ok(Self {
            database: Arc::new(path),
            source: source.into(),
            period,
        })
    }

    /// The database's file.
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// The `ce_source` of the service's events.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The period that is replayed.
    pub fn period(&self) -> Period {
        self.period
    }

    /// Writes the period's changes, going on where the last run stopped: true when all are
    /// written, false when cancelled first.
    ///
    /// Each change is one transaction that writes the table, the outbox and the position.
    pub async fn replay(
        &self,
        progress: &ReplayProgress,
        cancel: &CancellationToken,
    ) -> Result<bool, InventoryError> {
        replay::run(self, progress, cancel).await
    }

    /// The relay of the service's outbox; its topic is `flights.flight`.
    pub async fn relay(
        &self,
        kafka: KafkaSettings,
        registry: Arc<dyn SchemaRegistry>,
    ) -> Result<Relay, InventoryError> {
        let entity = Entity::new(flight_table()?, flight_contract()?);
        let broker = Arc::new(KafkaBroker::new(kafka));
        let outbox = Box::new(SqliteOutbox::open(&self.database).await?);
        Ok(Relay::open(outbox, vec![entity], broker, registry).await?)
    }

    /// The last sequence of the outbox, 0 if it is empty.
    pub async fn outbox_end(&self) -> Result<i64, InventoryError> {
        let mut connection = self.connect().await?;
        Ok(Outbox::end(&mut connection).await?)
    }

    pub(crate) async fn connect(&self) -> Result<SqliteConnection, InventoryError> {
        connect(&self.database)
            .await
            .map_err(|source| self.failed(source))
    }

    pub(crate) fn failed(&self, source: sqlx::Error) -> InventoryError {
        InventoryError::Database {
            path: self.database.to_path_buf(),
            source,
        }
    }
}

async fn connect(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("wal_autocheckpoint", WAL_PAGES)
        .connect()
        .await
}
