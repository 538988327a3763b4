//! A small service: seats that are taken and freed, in SQLite or in Postgres.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use change_events::{
    Broker, ChangeEvent, Entity, Outbox, OutboxConnection, OutboxStore, PostgresOutbox, Relay,
    RelayError, SqliteOutbox,
};
use schemas::{Contract, TableName};
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tempfile::TempDir;

use crate::memory_registry::MemoryRegistry;
use crate::postgres::Database;

pub(crate) const CONTRACT: &str = r#"{"type":"record","name":"Seat","lakehead.key":["id"],"fields":[
    {"name":"id","type":"int"},{"name":"holder","type":["null","string"],"default":null}]}"#;

/// The owner's commit time of the first change: 2013-01-01T10:00:00Z.
const FIRST_US: i64 = 1_357_034_400_000_000;

pub(crate) fn table() -> TableName {
    "cabin.seat".parse().unwrap()
}

/// A seat gets a holder; a holder that is no text cannot be published.
pub(crate) fn seat(id: i64, holder: &Value) -> ChangeEvent {
    let after = json!({"id": id, "holder": holder});
    ChangeEvent::create(&table(), FIRST_US, &json!({ "id": id }), &after).unwrap()
}

pub(crate) struct Service {
    pub(crate) source: String,
    pub(crate) database: Kind,
}

pub(crate) enum Kind {
    Sqlite {
        connection: SqliteConnection,
        path: PathBuf,
        _dir: TempDir,
    },
    Postgres {
        connection: PgConnection,
        database: Database,
    },
}

impl Service {
    pub(crate) async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cabin.db");
        let mut connection = connect(&path).await;
        let source = Outbox::create(&mut connection, "cabin").await.unwrap();
        let database = Kind::Sqlite {
            connection,
            path,
            _dir: dir,
        };
        Self { source, database }
    }

    /// `None` where there is no server.
    pub(crate) async fn postgres(test: &str) -> Option<Self> {
        let database = Database::create(test).await?;
        let mut connection = database.connect().await;
        let source = Outbox::create(&mut connection, "cabin").await.unwrap();
        let database = Kind::Postgres {
            connection,
            database,
        };
        Some(Self { source, database })
    }

    /// Writes an event in a transaction of its own.
    pub(crate) async fn append(&mut self, event: &ChangeEvent) -> i64 {
        match &mut self.database {
            Kind::Sqlite { connection, .. } => {
                let mut transaction = connection.begin().await.unwrap();
                let sequence = Outbox::append(&mut transaction, event).await.unwrap();
                transaction.commit().await.unwrap();
                sequence
            }
            Kind::Postgres { connection, .. } => {
                let mut transaction = connection.begin().await.unwrap();
                let sequence = Outbox::append(&mut transaction, event).await.unwrap();
                transaction.commit().await.unwrap();
                sequence
            }
        }
    }

    /// One change of each seat in turn, each in its own transaction; `after` tells them apart.
    pub(crate) async fn change(&mut self, changes: usize, seats: usize) {
        for change in 0..changes {
            let id = i64::try_from(change % seats).unwrap();
            let mut event = seat(id, &json!(format!("holder {change}")));
            event.event_time_us += i64::try_from(change).unwrap();
            self.append(&event).await;
        }
    }

    pub(crate) async fn end(&mut self) -> i64 {
        match &mut self.database {
            Kind::Sqlite { connection, .. } => connection.end().await.unwrap(),
            Kind::Postgres { connection, .. } => connection.end().await.unwrap(),
        }
    }

    /// Runs SQL in the service's database. `{}` stands before a table of the kit.
    pub(crate) async fn run(&mut self, sql: &str) -> u64 {
        match &mut self.database {
            Kind::Sqlite { connection, .. } => {
                let sql = AssertSqlSafe(sql.replace("{}", ""));
                let done = sqlx::query(sql).execute(connection).await;
                done.unwrap().rows_affected()
            }
            Kind::Postgres { connection, .. } => {
                let sql = AssertSqlSafe(sql.replace("{}", "lakehead."));
                let done = sqlx::query(sql).execute(connection).await;
                done.unwrap().rows_affected()
            }
        }
    }

    /// The whole numbers that a query answers. `{}` stands before a table of the kit.
    pub(crate) async fn numbers(&mut self, sql: &str) -> Vec<i64> {
        match &mut self.database {
            Kind::Sqlite { connection, .. } => {
                let sql = AssertSqlSafe(sql.replace("{}", ""));
                let found = sqlx::query_scalar(sql).fetch_all(connection).await;
                found.unwrap()
            }
            Kind::Postgres { connection, .. } => {
                let sql = AssertSqlSafe(sql.replace("{}", "lakehead."));
                let found = sqlx::query_scalar(sql).fetch_all(connection).await;
                found.unwrap()
            }
        }
    }

    pub(crate) async fn store(&self) -> Box<dyn OutboxStore> {
        match &self.database {
            Kind::Sqlite { path, .. } => Box::new(SqliteOutbox::open(path).await.unwrap()),
            Kind::Postgres { database, .. } => {
                Box::new(PostgresOutbox::open(&database.url).await.unwrap())
            }
        }
    }

    pub(crate) async fn relay(
        &self,
        broker: Arc<dyn Broker>,
        topic: &str,
    ) -> Result<Relay, RelayError> {
        relay(self.store().await, broker, topic).await
    }
}

/// A relay of seats.
pub(crate) async fn relay(
    store: Box<dyn OutboxStore>,
    broker: Arc<dyn Broker>,
    topic: &str,
) -> Result<Relay, RelayError> {
    let contract: Contract = CONTRACT.parse().unwrap();
    let entity = Entity {
        topic: topic.to_owned(),
        ..Entity::new(table(), contract)
    };
    let registry = Arc::new(MemoryRegistry::default());
    Relay::open(store, vec![entity], broker, registry).await
}

pub(crate) async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .connect()
        .await
        .unwrap()
}
