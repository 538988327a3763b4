//! A service's database, of one test alone.

use capture::{Lsn, PostgresServer};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// A database with a client of the service.
pub(crate) struct Owner {
    pub(crate) url: String,
    pub(crate) client: Client,
}

impl Owner {
    /// Creates a database; nothing if there is no Postgres to create it in.
    pub(crate) async fn create() -> Option<Self> {
        let Ok(url) = std::env::var("LAKEHEAD_TEST_POSTGRES") else {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "LAKEHEAD_TEST_POSTGRES is not set"
            );
            eprintln!("SKIPPED: LAKEHEAD_TEST_POSTGRES is not set");
            return None;
        };
        Some(Self::create_at(&url).await)
    }

    pub(crate) async fn create_at(url: &str) -> Self {
        let name = format!("capture_{}", Uuid::new_v4().simple());
        let admin = connect(url).await;
        admin
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        let (server, _) = url.rsplit_once('/').unwrap();
        let url = format!("{server}/{name}");
        let client = connect(&url).await;
        Self { url, client }
    }

    pub(crate) fn server(&self) -> PostgresServer {
        self.url.parse().unwrap()
    }

    /// Connects again, to a server that was started again.
    pub(crate) async fn reconnect(&mut self) {
        self.client = self.connect().await;
    }

    /// A second session.
    pub(crate) async fn connect(&self) -> Client {
        connect(&self.url).await
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.client
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The only value of a query, as text.
    pub(crate) async fn text(&self, sql: &str) -> String {
        let rows = self.client.simple_query(sql).await.unwrap();
        let row = rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                Some(row.get(0).unwrap_or_default().to_owned())
            }
            _ => None,
        });
        row.unwrap_or_default()
    }

    /// Behind everything that is committed.
    pub(crate) async fn wal_end(&self) -> Lsn {
        self.text("SELECT pg_current_wal_lsn()")
            .await
            .parse()
            .unwrap()
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
