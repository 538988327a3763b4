use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

use change_events::{ChangeEvent, Outbox};
use serde_json::json;
use sqlx::{Connection, PgConnection};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::fs::read_to_string("database.url")?;
    let mut connection = PgConnection::connect(url.trim()).await?;
    Outbox::create(&mut connection, "cabin").await?;
    take(&mut connection, "2A", "Sue").await?;
    take(&mut connection, "2B", "Tom").await
}

async fn take(connection: &mut PgConnection, id: &str, holder: &str) -> Result<(), Box<dyn Error>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let now_us = i64::try_from(now.as_micros())?;
    let mut transaction = connection.begin().await?;
    sqlx::query("INSERT INTO seat (id, holder, taken_at) VALUES ($1, $2, $3)")
        .bind(id)
        .bind(holder)
        .bind(now_us)
        .execute(&mut *transaction)
        .await?;
    let (key, after) = (
        json!({"id": id}),
        json!({"id": id, "holder": holder, "taken_at": now_us}),
    );
    let event = ChangeEvent::create(&"cabin.seat".parse()?, now_us, &key, &after)?;
    Outbox::append(&mut transaction, &event).await?;
    Ok(transaction.commit().await?)
}
