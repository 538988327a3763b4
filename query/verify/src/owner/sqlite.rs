//! An owner's table in SQLite.

use std::str::FromStr;

use futures::TryStreamExt;
use schemas::TableName;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Row, TypeInfo, ValueRef};

use super::RowBuilder;
use crate::VerifyError;
use crate::cell::Cell;
use crate::columns::Columns;
use crate::point::{OutboxPoint, Point};
use crate::rows::Intake;

/// A read transaction: it sees the database as it was at its first read, in WAL mode without
/// keeping the service from writing.
pub(crate) struct SqliteSnapshot {
    connection: SqliteConnection,
    table: String,
    columns: Vec<String>,
    point: Point,
}

pub(super) fn options(address: &str) -> Result<SqliteConnectOptions, VerifyError> {
    let options = SqliteConnectOptions::from_str(address);
    let options = options.map_err(|error| VerifyError::Address(format!("{address}: {error}")))?;
    Ok(options.read_only(true).create_if_missing(false))
}

impl SqliteSnapshot {
    pub(super) async fn begin(
        options: &SqliteConnectOptions,
        table: &str,
        entity: &TableName,
    ) -> Result<Self, VerifyError> {
        let failed = VerifyError::owner;
        let mut connection = options.connect().await.map_err(failed("opened"))?;
        let begun = sqlx::raw_sql("BEGIN").execute(&mut connection).await;
        begun.map_err(failed("read"))?;
        let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info(?)")
            .bind(table)
            .fetch_all(&mut connection)
            .await
            .map_err(failed("read"))?;
        if columns.is_empty() {
            return Err(VerifyError::Table {
                table: entity.clone(),
                why: format!(
                    "the owner's database has no table {table:?}; name it with --owner-table"
                ),
            });
        }
        let point = point(&mut connection).await.map_err(failed("read"))?;
        Ok(Self {
            connection,
            table: table.to_owned(),
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
        let names = columns.fields.iter().map(|field| quoted(&field.name));
        let names = names.collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT {names} FROM {}", quoted(&self.table));
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

/// The end of the outbox, if the database has one.
async fn point(connection: &mut SqliteConnection) -> Result<Point, sqlx::Error> {
    let known: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM sqlite_schema WHERE name IN ('outbox', 'outbox_source')",
    )
    .fetch_one(&mut *connection)
    .await?;
    if known < 2 {
        return Ok(Point::default());
    }
    let source = sqlx::query_scalar("SELECT source FROM outbox_source WHERE id = 1");
    let source: Option<String> = source.fetch_optional(&mut *connection).await?;
    let end = sqlx::query_scalar(
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0)",
    );
    let through: i64 = end.fetch_one(connection).await?;
    let outbox = source.map(|source| OutboxPoint {
        source,
        through,
        runs: Vec::new(),
        told_through: i64::MAX,
    });
    Ok(Point {
        outbox,
        transactions: None,
    })
}

/// SQLite's values have types of their own, whatever their column says.
fn cell(row: &SqliteRow, place: usize) -> Result<Cell<'_>, sqlx::Error> {
    let value = row.try_get_raw(place)?;
    if value.is_null() {
        return Ok(Cell::Null);
    }
    Ok(match value.type_info().name() {
        "INTEGER" => Cell::Whole(row.try_get_unchecked(place)?),
        "REAL" => Cell::Real(row.try_get_unchecked(place)?),
        "BLOB" => Cell::Blob(row.try_get_unchecked(place)?),
        _ => Cell::Text(row.try_get_unchecked(place)?),
    })
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
