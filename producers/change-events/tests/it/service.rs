//! A small service: seats that are taken and freed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use change_events::{Broker, ChangeEvent, Entity, Outbox, Relay, RelayError};
use schemas::{Contract, TableName};
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection};

use crate::memory_registry::MemoryRegistry;

pub(crate) const CONTRACT: &str = r#"{"type":"record","name":"Seat","lakehead.key":["id"],"fields":[
    {"name":"id","type":"int"},{"name":"holder","type":["null","string"],"default":null}]}"#;

pub(crate) fn table() -> TableName {
    "cabin.seat".parse().unwrap()
}

pub(crate) struct Service {
    pub(crate) database: PathBuf,
    pub(crate) connection: SqliteConnection,
    pub(crate) source: String,
}

impl Service {
    pub(crate) async fn create(dir: &Path) -> Self {
        let database = dir.join("cabin.db");
        let mut connection = SqliteConnectOptions::new()
            .filename(&database)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .connect()
            .await
            .unwrap();
        let source = Outbox::create(&mut connection, "cabin").await.unwrap();
        Self {
            database,
            connection,
            source,
        }
    }

    /// One change of each seat in turn, each in its own transaction; `after` tells them apart.
    pub(crate) async fn change(&mut self, changes: usize, seats: usize) {
        for change in 0..changes {
            let mut transaction = self.connection.begin().await.unwrap();
            let id = change % seats;
            let event = ChangeEvent::create(
                &table(),
                1_357_034_400_000_000 + i64::try_from(change).unwrap(),
                &json!({"id": id}),
                &json!({"id": id, "holder": format!("holder {change}")}),
            )
            .unwrap();
            Outbox::append(&mut transaction, &event).await.unwrap();
            transaction.commit().await.unwrap();
        }
    }

    pub(crate) async fn end(&mut self) -> i64 {
        Outbox::end(&mut self.connection).await.unwrap()
    }

    pub(crate) async fn relay(
        &self,
        broker: Arc<dyn Broker>,
        topic: &str,
    ) -> Result<Relay, RelayError> {
        let contract: Contract = CONTRACT.parse().unwrap();
        let entity = Entity {
            topic: topic.to_owned(),
            ..Entity::new(table(), contract)
        };
        Relay::open(
            &self.database,
            vec![entity],
            broker,
            Arc::new(MemoryRegistry::default()),
        )
        .await
    }
}
