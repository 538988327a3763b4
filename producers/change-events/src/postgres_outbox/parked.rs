//! Rows of a Postgres outbox that are parked.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};

use super::{no_transaction_columns, read_row, row_columns, transaction_columns};
use crate::outbox_store::{ParkedKey, ParkedRow, Retry};

const PARK: &str = "INSERT INTO lakehead.outbox_parked (sequence, entity, key_id, key, why) \
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::text[], $5::text[]) \
    ON CONFLICT DO NOTHING";

const PARK_AGAIN: &str = "UPDATE lakehead.outbox_parked p \
    SET why = tried.why, retry = false, retry_sequence = NULL \
    FROM unnest($1::bigint[], $2::text[]) AS tried (sequence, why) \
    WHERE p.sequence = tried.sequence";

const KEYS: &str = "SELECT entity, key_id, min(sequence), max(sequence), count(*) FROM lakehead.outbox_parked \
    GROUP BY entity, key_id ORDER BY 3 LIMIT $1";

/// A row that nobody has any more cannot be tried; the others of its key can.
macro_rules! retries {
    ($transaction:expr) => {
        concat!(
            "SELECT ",
            row_columns!(),
            $transaction,
            ", p.key_id, p.retry_sequence FROM lakehead.outbox_parked p \
             JOIN lakehead.outbox o ON o.sequence = p.sequence \
             JOIN (SELECT entity, key_id FROM lakehead.outbox_parked \
                 WHERE sequence IN (SELECT min(sequence) FROM lakehead.outbox_parked GROUP BY entity, key_id) \
                     AND (retry OR retry_sequence IS NOT NULL) \
                 ORDER BY retry_sequence NULLS LAST, sequence LIMIT 1) AS chosen \
             ON chosen.entity = p.entity AND chosen.key_id = p.key_id ORDER BY o.sequence LIMIT $1"
        )
    };
}

const RETRIES: &str = retries!(transaction_columns!());
const RETRIES_OF_BEFORE: &str = retries!(no_transaction_columns!());

/// Above all that were given; the counter follows.
const NUMBER: &str = "WITH given AS (\
        SELECT p.sequence, r.retry_last + row_number() OVER (ORDER BY w.place) AS number \
        FROM unnest($1::bigint[]) WITH ORDINALITY AS w (sequence, place) \
        JOIN lakehead.outbox_parked p USING (sequence), lakehead.outbox_relay r \
        WHERE p.retry_sequence IS NULL), \
    counted AS (UPDATE lakehead.outbox_relay \
        SET retry_last = greatest(retry_last, (SELECT max(number) FROM given))) \
    UPDATE lakehead.outbox_parked p SET retry_sequence = given.number \
    FROM given WHERE given.sequence = p.sequence";

const NUMBERS: &str = "SELECT sequence, retry_sequence FROM lakehead.outbox_parked \
    WHERE sequence = ANY($1) AND retry_sequence IS NOT NULL ORDER BY retry_sequence";

pub(super) async fn park(
    connection: &mut PgConnection,
    rows: &[ParkedRow],
) -> Result<(), sqlx::Error> {
    let column = |of: fn(&ParkedRow) -> String| rows.iter().map(of).collect::<Vec<_>>();
    sqlx::query(PARK)
        .bind(rows.iter().map(|row| row.sequence).collect::<Vec<_>>())
        .bind(column(|row| row.entity.clone()))
        .bind(
            rows.iter()
                .map(|row| row.key_id.clone())
                .collect::<Vec<_>>(),
        )
        .bind(column(|row| row.key.clone()))
        .bind(rows.iter().map(|row| row.why.clone()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn park_again(
    connection: &mut PgConnection,
    rows: &[ParkedRow],
) -> Result<(), sqlx::Error> {
    sqlx::query(PARK_AGAIN)
        .bind(rows.iter().map(|row| row.sequence).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.why.clone()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn keys(
    connection: &mut PgConnection,
    limit: u32,
) -> Result<Vec<ParkedKey>, sqlx::Error> {
    sqlx::query(KEYS)
        .bind(i64::from(limit))
        .try_map(|row: PgRow| {
            Ok(ParkedKey {
                entity: row.try_get(0)?,
                key_id: row.try_get(1)?,
                first: row.try_get(2)?,
                last: row.try_get(3)?,
                rows: u64::try_from(row.try_get::<i64, _>(4)?).unwrap_or(0),
            })
        })
        .fetch_all(connection)
        .await
}

pub(super) async fn retries(
    connection: &mut PgConnection,
    tells_transactions: bool,
    limit: u32,
) -> Result<Vec<Retry>, sqlx::Error> {
    let sql = match tells_transactions {
        true => RETRIES,
        false => RETRIES_OF_BEFORE,
    };
    sqlx::query(sql)
        .bind(i64::from(limit))
        .try_map(|row: PgRow| {
            Ok(Retry {
                row: read_row(&row)?,
                key_id: row.try_get(12)?,
                retry_sequence: row.try_get(13)?,
            })
        })
        .fetch_all(connection)
        .await
}

pub(super) async fn number_retries(
    connection: &mut PgConnection,
    sequences: &[i64],
) -> Result<Vec<(i64, i64)>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query(NUMBER)
        .bind(sequences)
        .execute(&mut *transaction)
        .await?;
    let given = sqlx::query_as(NUMBERS)
        .bind(sequences)
        .fetch_all(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(given)
}

pub(super) async fn unpark(
    connection: &mut PgConnection,
    sequences: &[i64],
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM lakehead.outbox_parked WHERE sequence = ANY($1)")
        .bind(sequences)
        .execute(connection)
        .await?;
    Ok(())
}
