use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

use change_events::{ChangeEvent, Outbox};
use serde_json::json;
use tokio_postgres::{Client, NoTls};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::fs::read_to_string("database.url")?;
    let (mut client, connection) = tokio_postgres::connect(url.trim(), NoTls).await?;
    tokio::spawn(connection);
    Outbox::create(&mut client, "cabin").await?;
    free(&mut client, "2A").await
}

async fn free(client: &mut Client, id: &str) -> Result<(), Box<dyn Error>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let now_us = i64::try_from(now.as_micros())?;
    let mut transaction = client.transaction().await?;
    let delete = "DELETE FROM seat WHERE id = $1 RETURNING holder, taken_at";
    let row = transaction.query_one(delete, &[&id]).await?;
    let (holder, taken_at): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
    let (key, before) = (
        json!({"id": id}),
        json!({"id": id, "holder": holder, "taken_at": taken_at}),
    );
    let event = ChangeEvent::delete(&"cabin.seat".parse()?, now_us, &key, &before)?;
    Outbox::append(&mut transaction, &event).await?;
    Ok(transaction.commit().await?)
}
