//! The owner's side: its table, in one snapshot of its database.

mod postgres;
mod sqlite;

use schemas::TableName;
use schemas::canonical::RowWriter;
use url::Url;

use crate::VerifyError;
use crate::cell::Cell;
use crate::columns::Columns;
use crate::point::Point;
use crate::rows::{Intake, Row};

use postgres::PostgresSnapshot;
use sqlite::SqliteSnapshot;

/// Where an owner's table is.
#[derive(Clone)]
pub struct Owner {
    database: Database,
    table: String,
}

#[derive(Clone)]
enum Database {
    Postgres(Box<sqlx::postgres::PgConnectOptions>),
    Sqlite(Box<sqlx::sqlite::SqliteConnectOptions>),
}

/// A transaction in which everything is read.
pub(crate) enum OwnerSnapshot {
    Postgres(PostgresSnapshot),
    Sqlite(SqliteSnapshot),
}

impl Owner {
    /// The owner's table in the database at an address: `postgres://user@host/database` or
    /// `sqlite:///directory/file.db`. Nothing is connected to yet.
    ///
    /// # Errors
    /// The address is not one of these.
    pub fn new(address: &str, table: &str) -> Result<Self, VerifyError> {
        // An address may hold a password, so it is in no message.
        let scheme = Url::parse(address).map(|url| url.scheme().to_owned());
        let database = match scheme.as_deref() {
            Ok("postgres" | "postgresql") => {
                Database::Postgres(Box::new(postgres::options(address)?))
            }
            Ok("sqlite") => Database::Sqlite(Box::new(sqlite::options(address)?)),
            _ => {
                return Err(VerifyError::Address(
                    "the owner's database is neither postgres://user@host/database nor \
                     sqlite:///directory/file.db"
                        .to_owned(),
                ));
            }
        };
        Ok(Self {
            database,
            table: table.to_owned(),
        })
    }

    /// Begins to read: what is read from it is of one moment.
    pub(crate) async fn snapshot(&self, entity: &TableName) -> Result<OwnerSnapshot, VerifyError> {
        Ok(match &self.database {
            Database::Postgres(options) => {
                let snapshot = PostgresSnapshot::begin(options, &self.table, entity).await?;
                OwnerSnapshot::Postgres(snapshot)
            }
            Database::Sqlite(options) => {
                let snapshot = SqliteSnapshot::begin(options, &self.table, entity).await?;
                OwnerSnapshot::Sqlite(snapshot)
            }
        })
    }
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owner")
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

impl OwnerSnapshot {
    /// The names of the table's columns.
    pub(crate) fn columns(&self) -> &[String] {
        match self {
            Self::Postgres(snapshot) => snapshot.columns(),
            Self::Sqlite(snapshot) => snapshot.columns(),
        }
    }

    /// What the snapshot saw.
    pub(crate) fn point(&self) -> &Point {
        match self {
            Self::Postgres(snapshot) => snapshot.point(),
            Self::Sqlite(snapshot) => snapshot.point(),
        }
    }

    /// Hands every row to the intake, in any order.
    pub(crate) async fn read(
        &mut self,
        columns: &Columns,
        intake: &mut dyn Intake,
    ) -> Result<(), VerifyError> {
        match self {
            Self::Postgres(snapshot) => snapshot.read(columns, intake).await,
            Self::Sqlite(snapshot) => snapshot.read(columns, intake).await,
        }
    }
}

/// Brings rows of cells into their canonical parts.
#[derive(Debug, Default)]
struct RowBuilder {
    row: RowWriter,
    key: RowWriter,
    ends: Vec<(usize, std::ops::Range<usize>)>,
}

impl RowBuilder {
    /// One row: `cell` answers the value at each place of the columns.
    fn take<'r>(
        &mut self,
        columns: &Columns,
        intake: &mut dyn Intake,
        mut cell: impl FnMut(usize) -> Result<Cell<'r>, sqlx::Error>,
    ) -> Result<(), sqlx::Error> {
        self.row.clear();
        self.key.clear();
        self.ends.clear();
        self.row.begin_record();
        self.key.begin_record();
        for (place, field) in columns.fields.iter().enumerate() {
            let cell = cell(place)?;
            if cell == Cell::Null {
                continue;
            }
            self.row.field(&field.name);
            let start = self.row.len();
            cell.put(field, &mut self.row);
            self.ends.push((place, start..self.row.len()));
            if columns.is_key[place] {
                self.key.field(&field.name);
                cell.put(field, &mut self.key);
            }
        }
        self.row.end_record();
        self.key.end_record();
        let bytes = self.row.bytes();
        let parts = self.ends.iter();
        let parts: Vec<(usize, &[u8])> = parts
            .map(|(place, part)| (*place, &bytes[part.clone()]))
            .collect();
        intake.take(&Row {
            key: self.key.bytes(),
            row: bytes,
            columns: &parts,
        });
        Ok(())
    }
}
