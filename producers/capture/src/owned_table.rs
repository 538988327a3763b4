//! A table as the owner's database has it, and whether it can be captured.

use crate::answer::{Answer, literal};
use crate::pg_type::Types;
use crate::session::{Session, SessionError};
use crate::stop::Stop;
use crate::{CaptureError, CapturedTable, PostgresServer};

/// A column that is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnedColumn {
    pub(crate) name: String,
    pub(crate) type_oid: u32,
    pub(crate) type_modifier: i32,
}

/// A captured table, looked up in the catalog.
#[derive(Clone, Debug)]
pub(crate) struct OwnedTable {
    /// Postgres' own number of it.
    pub(crate) oid: u32,
    pub(crate) settings: CapturedTable,
    /// Without generated columns, which the log does not have.
    pub(crate) columns: Vec<OwnedColumn>,
    /// The columns of the record's key, in the primary key's order.
    pub(crate) key: Vec<String>,
}

/// What the catalog says of how the old row is logged.
struct Identity {
    letter: String,
    columns: Vec<String>,
    /// Columns whose values may be stored beside the row, so that an update that leaves them does not
    /// log them.
    toastable: Vec<String>,
}

/// Why a table was not found fit: by the owner's database, or by the connection to it.
#[derive(Debug)]
pub(crate) enum LookUpError {
    Session(SessionError),
    Table(CaptureError),
}

impl From<SessionError> for LookUpError {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl LookUpError {
    pub(crate) fn into_stop(self, server: &PostgresServer) -> Stop {
        match self {
            Self::Session(error) => Stop::of_session(server, error),
            Self::Table(error) => Stop::Error(error),
        }
    }
}

impl OwnedTable {
    /// Looks the table up with the types of its columns. Refuses by name what has no key, or logs too
    /// little of the rows before a change.
    pub(crate) async fn look_up(
        session: &mut Session,
        settings: &CapturedTable,
        types: &mut Types,
    ) -> Result<Self, LookUpError> {
        let refuse = |why: String| LookUpError::Table(refused(settings, why));
        let (schema, name) = (literal(&settings.schema), literal(&settings.name));
        let found = session
            .query(&format!(
                "SELECT c.oid, c.relkind, c.relpersistence, c.relreplident FROM pg_catalog.pg_class c \
                 WHERE c.relname = {name} AND c.relnamespace = \
                 (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {schema})"
            ))
            .await?;
        let Some(found) = found.first() else {
            return Err(refuse("there is no such table in the database".to_owned()));
        };
        let found = Answer::new(found, "a table of pg_class");
        let oid: u32 = found.number(0)?;
        match (found.text(1)?, found.text(2)?) {
            ("r", "p") => {}
            ("p", _) => {
                return Err(refuse(
                    "it is partitioned; name its partitions instead".to_owned(),
                ));
            }
            ("r", _) => {
                return Err(refuse(
                    "it is unlogged or temporary: its changes are in no log".to_owned(),
                ));
            }
            _ => return Err(refuse("it is not a table".to_owned())),
        }
        let letter = found.text(3)?.to_owned();
        let (columns, toastable) = columns(session, oid).await?;
        types
            .look_up(session, columns.iter().map(|column| column.type_oid))
            .await?;
        let primary = index_columns(session, oid, "indisprimary").await?;
        let identity = Identity {
            columns: match letter.as_str() {
                "i" => index_columns(session, oid, "indisreplident").await?,
                _ => primary.clone(),
            },
            letter,
            toastable,
        };
        let key = match settings.key.is_empty() {
            true => primary,
            false => settings.key.clone(),
        };
        let table = Self {
            oid,
            settings: settings.clone(),
            columns,
            key,
        };
        table.check(&identity).map_err(refuse)?;
        Ok(table)
    }

    fn check(&self, identity: &Identity) -> Result<(), String> {
        let named = |name: &String| self.columns.iter().any(|column| &column.name == name);
        if self.key.is_empty() {
            return Err(
                "it has no primary key; add one, or name the columns of a unique key in the \
                 table's key"
                    .to_owned(),
            );
        }
        let wanted = self.key.iter().chain(&self.settings.text_columns);
        if let Some(missing) = wanted.into_iter().find(|name| !named(name)) {
            return Err(format!(
                "it has no column {missing:?} (or the column is generated)"
            ));
        }
        if let Some(column) = self
            .columns
            .iter()
            .find(|column| !is_avro_name(&column.name))
        {
            return Err(format!(
                "column {:?} has no name that Avro allows ([A-Za-z_][A-Za-z0-9_]*); rename it",
                column.name
            ));
        }
        self.check_identity(identity)
    }

    fn check_identity(&self, identity: &Identity) -> Result<(), String> {
        let name = self.settings.full_name();
        let mend = format!("ALTER TABLE {name} REPLICA IDENTITY FULL;");
        match identity.letter.as_str() {
            "f" => return Ok(()),
            "n" => {
                return Err(format!(
                    "its replica identity is NOTHING: updates and deletes do not say which row; {mend}"
                ));
            }
            _ => {}
        }
        if let Some(column) = identity.toastable.first() {
            return Err(format!(
                "an update that leaves column {column:?} as it is may not log its value, which is then \
                 unknown; {mend}"
            ));
        }
        match self
            .key
            .iter()
            .find(|name| !identity.columns.contains(name))
        {
            Some(column) => Err(format!(
                "its replica identity does not have the key column {column:?}: a delete would not say \
                 which row; {mend}"
            )),
            None => Ok(()),
        }
    }
}

pub(crate) fn refused(table: &CapturedTable, why: impl Into<String>) -> CaptureError {
    CaptureError::Table {
        table: table.full_name(),
        why: why.into(),
    }
}

async fn columns(
    session: &mut Session,
    oid: u32,
) -> Result<(Vec<OwnedColumn>, Vec<String>), SessionError> {
    let rows = session
        .query(&format!(
            "SELECT attname, atttypid, atttypmod, attstorage <> 'p' FROM pg_catalog.pg_attribute \
             WHERE attrelid = {oid} AND attnum > 0 AND NOT attisdropped AND attgenerated = '' \
             ORDER BY attnum"
        ))
        .await?;
    let (mut columns, mut toastable) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in &rows {
        let row = Answer::new(row, "a column of pg_attribute");
        let column = OwnedColumn {
            name: row.text(0)?.to_owned(),
            type_oid: row.number(1)?,
            type_modifier: row.number(2)?,
        };
        if row.text(3)? == "t" {
            toastable.push(column.name.clone());
        }
        columns.push(column);
    }
    Ok((columns, toastable))
}

/// The columns of the table's primary key, or of its replica identity, in the index's order.
async fn index_columns(
    session: &mut Session,
    oid: u32,
    which: &str,
) -> Result<Vec<String>, SessionError> {
    let rows = session
        .query(&format!(
            "SELECT a.attname FROM pg_catalog.pg_index i \
             CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY k(number, place) \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
             WHERE i.indrelid = {oid} AND i.{which} AND k.place <= i.indnkeyatts ORDER BY k.place"
        ))
        .await?;
    rows.iter()
        .map(|row| Ok(Answer::new(row, "a column of pg_index").text(0)?.to_owned()))
        .collect()
}

fn is_avro_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    bytes.next().is_some_and(is_first) && bytes.all(|byte| is_first(byte) || byte.is_ascii_digit())
}
