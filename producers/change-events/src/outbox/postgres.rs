//! A service's own transaction in Postgres, through sqlx.

use async_trait::async_trait;
use sqlx::postgres::{PgConnection, Postgres};
use sqlx::{Connection, Transaction};

use super::OutboxConnection;
use crate::{ChangeEvent, OutboxError};

/// The schema `lakehead`. Run again it changes nothing.
pub(crate) const TABLES: &str = include_str!("postgres.sql");

pub(super) const CREATE_SOURCE: &str =
    "INSERT INTO lakehead.outbox_source (source) VALUES ($1) ON CONFLICT DO NOTHING";
pub(super) const SOURCE: &str = "SELECT source FROM lakehead.outbox_source";
pub(super) const APPEND: &str = "INSERT INTO lakehead.outbox \
    (id, aggregatetype, aggregateid, type, event_time_us, before, payload) \
    VALUES ($1::text::uuid, $2, $3, $4, $5, $6::text::json, $7::text::json) RETURNING sequence";
/// A sequence that was drawn and rolled back is none; what was pruned was confirmed.
pub(super) const END: &str = "SELECT greatest((SELECT max(sequence) FROM lakehead.outbox), \
    (SELECT confirmed FROM lakehead.outbox_relay))";

#[async_trait]
impl OutboxConnection for PgConnection {
    async fn create(&mut self, source: &str) -> Result<(), OutboxError> {
        let failed = || OutboxError::while_being("created");
        let mut transaction = self.begin().await.map_err(failed())?;
        create(&mut transaction, source).await.map_err(failed())?;
        transaction.commit().await.map_err(failed())
    }

    async fn source(&mut self) -> Result<String, OutboxError> {
        sqlx::query_scalar(SOURCE)
            .fetch_one(self)
            .await
            .map_err(OutboxError::while_being("identified"))
    }

    async fn append(&mut self, event: &ChangeEvent) -> Result<i64, OutboxError> {
        sqlx::query_scalar(APPEND)
            .bind(event.event_id.to_string())
            .bind(event.table.to_string())
            .bind(&event.key)
            .bind(event.op.letter())
            .bind(event.event_time_us)
            .bind(&event.before)
            .bind(&event.after)
            .fetch_one(self)
            .await
            .map_err(OutboxError::while_being("written"))
    }

    async fn end(&mut self) -> Result<i64, OutboxError> {
        sqlx::query_scalar(END)
            .fetch_one(self)
            .await
            .map_err(OutboxError::while_being("read"))
    }
}

#[async_trait]
impl OutboxConnection for Transaction<'_, Postgres> {
    async fn create(&mut self, source: &str) -> Result<(), OutboxError> {
        create(self, source)
            .await
            .map_err(OutboxError::while_being("created"))
    }

    async fn source(&mut self) -> Result<String, OutboxError> {
        PgConnection::source(self).await
    }

    async fn append(&mut self, event: &ChangeEvent) -> Result<i64, OutboxError> {
        PgConnection::append(self, event).await
    }

    async fn end(&mut self) -> Result<i64, OutboxError> {
        PgConnection::end(self).await
    }
}

async fn create(connection: &mut PgConnection, source: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(TABLES).execute(&mut *connection).await?;
    sqlx::query(CREATE_SOURCE)
        .bind(source)
        .execute(connection)
        .await?;
    Ok(())
}
