//! A service's own transaction in Postgres, through tokio-postgres.

use async_trait::async_trait;
use tokio_postgres::{Client, Error, GenericClient, Transaction};

use super::OutboxConnection;
use super::postgres::{APPEND, CREATE_SOURCE, END, SOURCE, TABLES};
use crate::{ChangeEvent, OutboxError};

#[async_trait]
impl OutboxConnection for Client {
    async fn create(&mut self, source: &str) -> Result<(), OutboxError> {
        let failed = || OutboxError::of_tokio_postgres("created");
        let transaction = self.transaction().await.map_err(failed())?;
        create(&transaction, source).await.map_err(failed())?;
        transaction.commit().await.map_err(failed())
    }

    async fn source(&mut self) -> Result<String, OutboxError> {
        source(self).await
    }

    async fn append(&mut self, event: &ChangeEvent) -> Result<i64, OutboxError> {
        append(self, event).await
    }

    async fn end(&mut self) -> Result<i64, OutboxError> {
        end(self).await
    }
}

#[async_trait]
impl OutboxConnection for Transaction<'_> {
    async fn create(&mut self, source: &str) -> Result<(), OutboxError> {
        create(self, source)
            .await
            .map_err(OutboxError::of_tokio_postgres("created"))
    }

    async fn source(&mut self) -> Result<String, OutboxError> {
        source(self).await
    }

    async fn append(&mut self, event: &ChangeEvent) -> Result<i64, OutboxError> {
        append(self, event).await
    }

    async fn end(&mut self) -> Result<i64, OutboxError> {
        end(self).await
    }
}

async fn create(client: &impl GenericClient, source: &str) -> Result<(), Error> {
    client.batch_execute(TABLES).await?;
    client.execute(CREATE_SOURCE, &[&source]).await?;
    Ok(())
}

async fn source(client: &impl GenericClient) -> Result<String, OutboxError> {
    let row = client.query_one(SOURCE, &[]).await;
    row.and_then(|row| row.try_get(0))
        .map_err(OutboxError::of_tokio_postgres("identified"))
}

async fn append(client: &impl GenericClient, event: &ChangeEvent) -> Result<i64, OutboxError> {
    let (id, entity) = (event.event_id.to_string(), event.table.to_string());
    let row = client
        .query_one(
            APPEND,
            &[
                &id,
                &entity,
                &event.key,
                &event.op.letter(),
                &event.event_time_us,
                &event.before,
                &event.after,
            ],
        )
        .await;
    row.and_then(|row| row.try_get(0))
        .map_err(OutboxError::of_tokio_postgres("written"))
}

async fn end(client: &impl GenericClient) -> Result<i64, OutboxError> {
    let row = client.query_one(END, &[]).await;
    row.and_then(|row| row.try_get(0))
        .map_err(OutboxError::of_tokio_postgres("read"))
}
