//! A database of its own for each test, on the server at `LAKEHEAD_TEST_POSTGRES`. Without it the
//! test is skipped, loudly; with `CI=true` that is a failure.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use uuid::Uuid;

/// A database that is dropped with this.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) url: String,
    server: String,
    name: String,
}

impl Database {
    /// `None` if there is no server; `test` is said then.
    pub(crate) async fn create(test: &str) -> Option<Self> {
        let Ok(server) = std::env::var("LAKEHEAD_TEST_POSTGRES") else {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "{test}: LAKEHEAD_TEST_POSTGRES is not set"
            );
            eprintln!("SKIPPED {test}: LAKEHEAD_TEST_POSTGRES is not set");
            return None;
        };
        let name = format!("outbox_{}", Uuid::new_v4().simple());
        let (base, _) = server.rsplit_once('/').unwrap();
        let url = format!("{base}/{name}");
        run(&server, &format!("CREATE DATABASE {name}")).await;
        Some(Self { url, server, name })
    }

    pub(crate) async fn connect(&self) -> PgConnection {
        let options = PgConnectOptions::from_str(&self.url).unwrap();
        options.connect().await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A runtime cannot be waited for inside another one.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let drop = format!("DROP DATABASE {name} WITH (FORCE)");
            runtime.unwrap().block_on(run(&server, &drop));
        });
        dropping.join().ok();
    }
}

async fn run(server: &str, sql: &str) {
    let mut connection = PgConnection::connect(server).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}
