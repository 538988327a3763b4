//! Rows of a SQLite outbox that are parked.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::SqliteOutbox;
use crate::outbox_store::{ParkedKey, ParkedRow, Retry};
use crate::{OutboxError, OutboxRow};

const PARK: &str = "INSERT INTO outbox_parked (sequence, entity, key_id, key, why) \
    VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
const PARK_AGAIN: &str = "UPDATE outbox_parked SET why = ?, retry = 0, retry_sequence = NULL \
    WHERE sequence = ?";

const KEYS: &str = "SELECT entity, key_id, min(sequence), max(sequence), count(*) FROM outbox_parked \
    GROUP BY entity, key_id ORDER BY 3 LIMIT ?";

/// A row that nobody has any more cannot be tried; the others of its key can.
const RETRIES: &str = "SELECT o.sequence, event_id, o.entity, op, event_time_us, o.key, before, \
    after, p.key_id, p.retry_sequence \
    FROM outbox_parked p JOIN outbox o ON o.sequence = p.sequence \
    JOIN (SELECT entity, key_id FROM outbox_parked \
        WHERE sequence IN (SELECT min(sequence) FROM outbox_parked GROUP BY entity, key_id) \
            AND (retry <> 0 OR retry_sequence IS NOT NULL) \
        ORDER BY retry_sequence IS NULL, retry_sequence, sequence LIMIT 1) AS chosen \
    ON chosen.entity = p.entity AND chosen.key_id = p.key_id ORDER BY o.sequence LIMIT ?";

/// Above all that were given; the counter follows.
const NUMBER: &str = "UPDATE outbox_parked SET retry_sequence = (SELECT last + 1 FROM outbox_retry) \
    WHERE sequence = ? AND retry_sequence IS NULL";
const COUNT: &str = "UPDATE outbox_retry \
    SET last = max(last, coalesce((SELECT max(retry_sequence) FROM outbox_parked), 0))";

pub(super) async fn park(store: &mut SqliteOutbox, rows: &[ParkedRow]) -> Result<(), OutboxError> {
    store
        .write_all(|| {
            let rows = rows.iter().map(|row| {
                sqlx::query(PARK)
                    .bind(row.sequence)
                    .bind(&row.entity)
                    .bind(&row.key_id)
                    .bind(&row.key)
                    .bind(&row.why)
            });
            rows.collect()
        })
        .await
}

pub(super) async fn park_again(
    store: &mut SqliteOutbox,
    rows: &[ParkedRow],
) -> Result<(), OutboxError> {
    store
        .write_all(|| {
            let rows = rows
                .iter()
                .map(|row| sqlx::query(PARK_AGAIN).bind(&row.why).bind(row.sequence));
            rows.collect()
        })
        .await
}

pub(super) async fn keys(
    store: &mut SqliteOutbox,
    limit: u32,
) -> Result<Vec<ParkedKey>, OutboxError> {
    sqlx::query(KEYS)
        .bind(limit)
        .try_map(|row: SqliteRow| {
            Ok(ParkedKey {
                entity: row.try_get(0)?,
                key_id: row.try_get(1)?,
                first: row.try_get(2)?,
                last: row.try_get(3)?,
                rows: u64::try_from(row.try_get::<i64, _>(4)?).unwrap_or(0),
            })
        })
        .fetch_all(&mut store.connection)
        .await
        .map_err(OutboxError::while_being("read"))
}

pub(super) async fn retries(
    store: &mut SqliteOutbox,
    limit: u32,
) -> Result<Vec<Retry>, OutboxError> {
    sqlx::query(RETRIES)
        .bind(limit)
        .try_map(|row: SqliteRow| {
            Ok(Retry {
                row: OutboxRow {
                    sequence: row.try_get(0)?,
                    place: row.try_get(0)?,
                    event_id: row.try_get(1)?,
                    entity: row.try_get(2)?,
                    op: row.try_get(3)?,
                    event_type: None,
                    event_time_us: row.try_get(4)?,
                    key: row.try_get(5)?,
                    before: row.try_get(6)?,
                    after: row.try_get(7)?,
                    transaction: None,
                },
                key_id: row.try_get(8)?,
                retry_sequence: row.try_get(9)?,
            })
        })
        .fetch_all(&mut store.connection)
        .await
        .map_err(OutboxError::while_being("read"))
}

pub(super) async fn number_retries(
    store: &mut SqliteOutbox,
    sequences: &[i64],
) -> Result<Vec<(i64, i64)>, OutboxError> {
    store
        .write_all(|| {
            let numbers = sequences
                .iter()
                .flat_map(|sequence| [sqlx::query(NUMBER).bind(*sequence), sqlx::query(COUNT)]);
            numbers.collect()
        })
        .await?;
    let mut given = Vec::with_capacity(sequences.len());
    for &sequence in sequences {
        let number: Option<i64> =
            sqlx::query_scalar("SELECT retry_sequence FROM outbox_parked WHERE sequence = ?")
                .bind(sequence)
                .fetch_optional(&mut store.connection)
                .await
                .map_err(OutboxError::while_being("read"))?;
        given.extend(number.map(|number| (sequence, number)));
    }
    Ok(given)
}

pub(super) async fn unpark(store: &mut SqliteOutbox, sequences: &[i64]) -> Result<(), OutboxError> {
    store
        .write_all(|| {
            let rows = sequences.iter().map(|sequence| {
                sqlx::query("DELETE FROM outbox_parked WHERE sequence = ?").bind(*sequence)
            });
            rows.collect()
        })
        .await
}
