//! What is kept of counted events, and how far the owner's clock is complete.

use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::sqlite::SqliteConnection;

use super::{SqliteOutbox, SqliteQuery, is_busy};
use crate::outbox_store::{Counting, Horizon};
use crate::{Outbox, OutboxError};

/// A column of an entity's sums, which are replaced by later ones alone.
macro_rules! later {
    ($column:literal) => {
        concat!(
            $column,
            " = iif(?7 > (SELECT coalesce(max(through), -1) FROM outbox_counting), excluded.",
            $column,
            ", ",
            $column,
            "), "
        )
    };
}

/// Saved before [`SAVE_THROUGH`], which it is held against.
const SAVE: &str = concat!(
    "INSERT INTO outbox_counted VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET ",
    later!("after_sequence"),
    later!("events"),
    later!("ids"),
    later!("images"),
    "complete_through_us = max(complete_through_us, excluded.complete_through_us)"
);

const SAVE_THROUGH: &str = "INSERT INTO outbox_counting (id, through) VALUES (1, ?) \
    ON CONFLICT DO UPDATE SET through = max(through, excluded.through)";

type Row = (String, i64, i64, String, String, i64);

pub(super) async fn read(
    connection: &mut SqliteConnection,
) -> Result<Option<Counting>, sqlx::Error> {
    let through = sqlx::query_scalar("SELECT through FROM outbox_counting")
        .fetch_optional(&mut *connection)
        .await?;
    let Some(through) = through else {
        return Ok(None);
    };
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT entity, after_sequence, events, ids, images, complete_through_us FROM outbox_counted",
    )
    .fetch_all(connection)
    .await?;
    Counting::of_rows(through, rows).map(Some)
}

pub(super) fn save(counting: &Counting) -> Vec<SqliteQuery<'_>> {
    let entities = counting.entities.iter().map(|(entity, counted)| {
        sqlx::query(SAVE)
            .bind(entity.as_str())
            .bind(counted.after)
            .bind(i64::try_from(counted.sums.count).unwrap_or(i64::MAX))
            .bind(counted.sums.ids.to_string())
            .bind(counted.sums.rows.to_string())
            .bind(counted.complete_through_us)
            .bind(counting.through)
    });
    let through = sqlx::query(SAVE_THROUGH).bind(counting.through);
    entities.chain([through]).collect()
}

/// Who has the lock for writing is the only one that writes: what was committed before is below the
/// last sequence, and whatever comes starts later. While somebody else has it, nothing is told.
pub(super) async fn horizon(store: &mut SqliteOutbox) -> Result<Option<Horizon>, OutboxError> {
    let failed = || OutboxError::while_being("read");
    let connection = &mut store.connection;
    match sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut *connection)
        .await
    {
        Err(error) if is_busy(&error) => return Ok(None),
        Err(error) => return Err(failed()(error)),
        Ok(_) => {}
    }
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let time_us = since_1970.map_or(0, |time| {
        i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
    });
    let drawn = Outbox::end(connection).await;
    sqlx::query("ROLLBACK")
        .execute(&mut *connection)
        .await
        .map_err(failed())?;
    Ok(Some(Horizon {
        time_us,
        drawn: drawn?,
    }))
}
