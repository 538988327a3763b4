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

/// Whether it is a standby, and where the log ends. A standby is not asked: it has no log of its own.
const BEFORE: &str = "SELECT pg_is_in_recovery(), CASE WHEN NOT pg_is_in_recovery() \
    THEN (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint ELSE 0 END";

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
       (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint,
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
FROM pg_current_snapshot() AS seen";

const TABLE: &str = "SELECT to_regclass($1)::text";

const COLUMNS: &str = "SELECT attname::text, typcategory = 'A' FROM pg_attribute \
    JOIN pg_type ON pg_type.oid = atttypid \
    WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum";

/// A transaction of isolation level repeatable read.
pub(crate) struct PostgresSnapshot {
    connection: PgConnection,
    /// As SQL names it.
    table: String,
    columns: Vec<String>,
    /// Those of an array type.
    arrays: Vec<String>,
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
        let point = point.ok_or_else(|| VerifyError::Standby {
            table: entity.clone(),
        })?;
        let found: Option<String> = sqlx::query_scalar(TABLE)
            .bind(table)
            .fetch_one(&mut connection)
            .await
            .map_err(failed("read"))?;
        let columns: Vec<(String, bool)> = sqlx::query_as(COLUMNS)
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
        let arrays = columns.iter().filter(|(_, is_array)| *is_array);
        Ok(Self {
            connection,
            table,
            arrays: arrays.map(|(name, _)| name.clone()).collect(),
            columns: columns.into_iter().map(|(name, _)| name).collect(),
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
        let plans = columns
            .fields
            .iter()
            .map(|field| Reading::of(field, &self.arrays));
        let plans: Vec<Reading> = plans.collect();
        let names = columns.fields.iter().zip(&plans);
        let names = names.map(|(field, reading)| reading.expression(&field.name));
        let names = names.collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT {names} FROM {}", self.table);
        let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(&mut self.connection);
        let mut builder = RowBuilder::default();
        let failed = VerifyError::owner;
        while let Some(row) = rows.try_next().await.map_err(failed("read"))? {
            let taken = builder.take(columns, intake, |place| cell(&row, place, &plans));
            taken.map_err(failed("read"))?;
        }
        Ok(())
    }
}

/// Begins the transaction, and says what it sees; `None` if that cannot be told.
///
/// A standby does not know which transactions were open: its snapshots name none
/// (`pg_snapshot_xip`). It serves where an outbox says what the snapshot saw; other changes are in doubt
/// there.
async fn begin(connection: &mut PgConnection) -> Result<Option<Point>, sqlx::Error> {
    let safe = safe(connection).await?;
    let (is_standby, begun) = sqlx::query_as(BEFORE).fetch_one(&mut *connection).await?;
    sqlx::raw_sql(BEGIN).execute(&mut *connection).await?;
    let transactions = match is_standby {
        true => None,
        false => Some(transactions(connection, begun).await?),
    };
    let outbox = match safe {
        Some(safe) => outbox(connection, safe).await?,
        None => None,
    };
    let is_told = transactions.is_some() || outbox.is_some();
    Ok(is_told.then_some(Point {
        outbox,
        transactions,
    }))
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

async fn transactions(
    connection: &mut PgConnection,
    begun: i64,
) -> Result<TransactionPoint, sqlx::Error> {
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
        begun,
        time_us,
    })
}

/// How a column is read: as text, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// A value whose type says by itself how it is written.
    Plain,
    /// What the type itself writes: a cast to text drops blanks, and adds the length of a network's mask.
    Text,
    /// An array's items, each as text.
    Items,
    /// Nested values as JSON.
    Json,
}

impl Reading {
    fn of(field: &Field, arrays: &[String]) -> Self {
        match &field.field_type {
            FieldType::Array(items) if arrays.contains(&field.name) => match items.field_type {
                FieldType::Record(_) | FieldType::Array(_) | FieldType::Map(_) => Self::Json,
                _ => Self::Items,
            },
            FieldType::Record(_) | FieldType::Array(_) | FieldType::Map(_) => Self::Json,
            FieldType::String => Self::Text,
            _ => Self::Plain,
        }
    }

    fn expression(self, name: &str) -> String {
        let name = format!("\"{}\"", name.replace('"', "\"\""));
        match self {
            Self::Plain => format!("{name}::text"),
            Self::Text => written(&name),
            Self::Items => format!(
                "CASE WHEN {name} IS NOT NULL THEN coalesce((SELECT json_agg({item} ORDER BY place) \
                 FROM generate_subscripts({name}, 1) AS place), '[]')::text END",
                item = written(&format!("({name})[place]")),
            ),
            Self::Json => format!("to_json({name})::text"),
        }
    }
}

/// A value as its type's output function writes it.
fn written(value: &str) -> String {
    format!("CASE WHEN {value} IS NOT NULL THEN concat({value}) END")
}

fn cell<'r>(row: &'r PgRow, place: usize, plans: &[Reading]) -> Result<Cell<'r>, sqlx::Error> {
    let text: Option<&str> = row.try_get(place)?;
    let is_items = plans.get(place) == Some(&Reading::Items);
    Ok(match text {
        None => Cell::Null,
        Some(text) if is_items => Cell::Items(text),
        Some(text) => Cell::Text(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_their_type_writes_them() {
        let contract: schemas::Contract = r#"{"type":"record","name":"R","fields":[
            {"name":"a","type":"long"},{"name":"b","type":"string"},
            {"name":"c","type":{"type":"array","items":"long"}}]}"#
            .parse()
            .unwrap();
        let reading =
            |place: usize, arrays: &[String]| Reading::of(&contract.fields()[place], arrays);
        assert_eq!(reading(0, &[]).expression("a"), "\"a\"::text");
        let quoted = reading(1, &[]).expression("b\"");
        assert_eq!(
            quoted,
            "CASE WHEN \"b\"\"\" IS NOT NULL THEN concat(\"b\"\"\") END"
        );
        assert_eq!(reading(2, &[]), Reading::Json);
        assert_eq!(reading(2, &["c".to_owned()]), Reading::Items);
    }
}
