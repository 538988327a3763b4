//! An owner's table in Postgres.

use std::str::FromStr;

use futures::TryStreamExt;
use schemas::{Field, FieldType, TableName};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use tracing::warn;

use super::RowBuilder;
use crate::VerifyError;
use crate::cell::Cell;
use crate::columns::Columns;
use crate::point::{OutboxPoint, Point, TransactionPoint};
use crate::rows::Intake;

/// How values are written as text: exactly, and the same for every server. A policy that hides rows
/// from this user is an error.
const BEGIN: &str = "
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL TimeZone = 'UTC';
SET LOCAL DateStyle = 'ISO, YMD';
SET LOCAL IntervalStyle = 'iso_8601';
SET LOCAL bytea_output = 'hex';
SET LOCAL extra_float_digits = 1;
SET LOCAL row_security = off;
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0;
";

/// Whether there is an outbox, and whether this user may read it.
const OUTBOX: &str = "
SELECT has_schema_privilege(n.oid, 'USAGE') AND coalesce(bool_and(has_table_privilege(c.oid, 'SELECT')), false)
FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid
WHERE n.nspname = 'lakehead' AND c.relname IN ('outbox', 'outbox_source', 'outbox_relay', 'outbox_sequence')
GROUP BY n.oid HAVING count(*) = 4";

/// Up to where all sequences are decided for every snapshot from now on. A standby does not see the
/// locks of those who write.
const SAFE: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN 0 ELSE lakehead.outbox_safe() END";

/// What the relay has confirmed it has read, so it was decided before; and only such rows are pruned.
const THROUGH: &str = "SELECT source, greatest($1, (SELECT confirmed FROM lakehead.outbox_relay)) \
    FROM lakehead.outbox_source";

const RUNS: &str = "
SELECT min(sequence), max(sequence) FROM (
    SELECT sequence, sequence - row_number() OVER (ORDER BY sequence) AS run
    FROM lakehead.outbox WHERE sequence > $1) AS beyond
GROUP BY run ORDER BY 1 LIMIT $2";

/// Runs of an outbox that are told; each is a part of the condition on the lake's rows.
const RUNS_MAX: usize = 500;

/// The first statement: the snapshot is taken here. The log's end is read after it.
const POINT: &str = "
SELECT pg_snapshot_xmax(seen)::text, array_to_string(ARRAY(SELECT pg_snapshot_xip(seen)), ' '),
       (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END
        - '0/0'::pg_lsn)::bigint,
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
FROM pg_current_snapshot() AS seen";

const TABLE: &str = "SELECT to_regclass($1)::text";

const COLUMNS: &str = "SELECT attname::text FROM pg_attribute \
    WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum";

/// A transaction of isolation level repeatable read.
pub(crate) struct PostgresSnapshot {
    connection: PgConnection,
    /// As SQL names it.
    table: String,
    columns: Vec<String>,
    point: Point,
}

pub(super) fn options(address: &str) -> Result<PgConnectOptions, VerifyError> {
    PgConnectOptions::from_str(address)
        .map(|options| options.application_name("lakehead verify"))
        .map_err(|error| {
            VerifyError::Address(format!("the address of the owner's database: {error}"))
        })
}

impl PostgresSnapshot {
    pub(super) async fn begin(
        options: &PgConnectOptions,
        table: &str,
        entity: &TableName,
    ) -> Result<Self, VerifyError> {
        let failed = VerifyError::owner;
        let mut connection = options.connect().await.map_err(failed("connected to"))?;
        let point = begin(&mut connection).await.map_err(failed("read"))?;
        let found: Option<String> = sqlx::query_scalar(TABLE)
            .bind(table)
            .fetch_one(&mut connection)
            .await
            .map_err(failed("read"))?;
        let columns: Vec<String> = sqlx::query_scalar(COLUMNS)
            .bind(table)
            .fetch_all(&mut connection)
            .await
            .map_err(failed("read"))?;
        let table = found.ok_or_else(|| VerifyError::Table {
            table: entity.clone(),
            why: format!(
                "the owner's database has no table {table:?} that this user sees; name it with \
                 --owner-table"
            ),
        })?;
        Ok(Self {
            connection,
            table,
            columns,
            point,
        })
    }

    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    pub(super) fn point(&self) -> &Point {
        &self.point
    }

    pub(super) async fn read(
        &mut self,
        columns: &Columns,
        intake: &mut dyn Intake,
    ) -> Result<(), VerifyError> {
        let names = columns.fields.iter().map(expression);
        let names = names.collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT {names} FROM {}", self.table);
        let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(&mut self.connection);
        let mut builder = RowBuilder::default();
        let failed = VerifyError::owner;
        while let Some(row) = rows.try_next().await.map_err(failed("read"))? {
            let taken = builder.take(columns, intake, |place| cell(&row, place));
            taken.map_err(failed("read"))?;
        }
        Ok(())
    }
}

/// Begins the transaction, and says what it sees.
async fn begin(connection: &mut PgConnection) -> Result<Point, sqlx::Error> {
    let safe = safe(connection).await?;
    sqlx::raw_sql(BEGIN).execute(&mut *connection).await?;
    let transactions = transactions(connection).await?;
    let outbox = match safe {
        Some(safe) => outbox(connection, safe).await?,
        None => None,
    };
    Ok(Point {
        outbox,
        transactions: Some(transactions),
    })
}

/// How far an outbox is decided; `None` if there is none that can be read.
async fn safe(connection: &mut PgConnection) -> Result<Option<i64>, sqlx::Error> {
    let readable: Option<bool> = sqlx::query_scalar(OUTBOX)
        .fetch_optional(&mut *connection)
        .await?;
    match readable {
        Some(true) => {
            let safe = sqlx::query_scalar(SAFE).fetch_one(connection).await?;
            Ok(Some(safe))
        }
        Some(false) => {
            warn!(
                "the outbox cannot be read by this user, so what was changed meanwhile is told by a \
                 second reading; docs/verify.md says which rights would do"
            );
            Ok(None)
        }
        None => Ok(None),
    }
}

async fn outbox(
    connection: &mut PgConnection,
    safe: i64,
) -> Result<Option<OutboxPoint>, sqlx::Error> {
    let known: Option<(String, i64)> = sqlx::query_as(THROUGH)
        .bind(safe)
        .fetch_optional(&mut *connection)
        .await?;
    let Some((source, through)) = known else {
        return Ok(None);
    };
    let runs: Vec<(i64, i64)> = sqlx::query_as(RUNS)
        .bind(through)
        .bind(RUNS_MAX as i64)
        .fetch_all(connection)
        .await?;
    let told_through = match runs.last() {
        Some((_, last)) if runs.len() == RUNS_MAX => *last,
        _ => i64::MAX,
    };
    Ok(Some(OutboxPoint {
        source,
        through,
        runs,
        told_through,
    }))
}

async fn transactions(connection: &mut PgConnection) -> Result<TransactionPoint, sqlx::Error> {
    let row: (String, String, i64, i64) = sqlx::query_as(POINT).fetch_one(connection).await?;
    let (next, open, lsn, time_us) = row;
    let number = |text: &str| {
        let number = text.parse::<u64>();
        number.map_err(|error| sqlx::Error::Decode(Box::new(error)))
    };
    let open = open.split_whitespace().map(number);
    Ok(TransactionPoint {
        next: number(&next)?,
        open: open.collect::<Result<_, _>>()?,
        lsn,
        time_us,
    })
}

/// A column as text, exactly: that of nested values is JSON.
fn expression(field: &Field) -> String {
    let name = format!("\"{}\"", field.name.replace('"', "\"\""));
    match field.field_type {
        FieldType::Record(_) | FieldType::Array(_) | FieldType::Map(_) => {
            format!("to_json({name})::text")
        }
        _ => format!("{name}::text"),
    }
}

fn cell(row: &PgRow, place: usize) -> Result<Cell<'_>, sqlx::Error> {
    let text: Option<&str> = row.try_get(place)?;
    Ok(text.map_or(Cell::Null, Cell::Text))
}
