//! The publication: which tables' changes the slot gives.

use tracing::info;

use crate::answer::{Answer, identifier, literal, text};
use crate::membership::not_in_it;
use crate::session::{Session, SessionError};
use crate::table_copy::TableCopies;
use crate::{CaptureError, CaptureSettings, CapturedTable};

/// What is wrong with a publication, or with the connection.
#[derive(Debug)]
pub(crate) enum PublicationError {
    Session(SessionError),
    Publication(CaptureError),
}

impl From<SessionError> for PublicationError {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

/// Creates the publication, or gives it the tables that it lacks; refuses by name one that leaves out
/// operations, rows or columns, that tells a partition's changes as another table's, or that has lost a
/// table.
pub(crate) async fn ensure(
    session: &mut Session,
    settings: &CaptureSettings,
    copies: &TableCopies,
) -> Result<(), PublicationError> {
    let name = &settings.publication;
    let found = session
        .query(&format!(
            "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate, pubviaroot, \
             current_setting('server_version_num') \
             FROM pg_catalog.pg_publication WHERE pubname = {}",
            literal(name)
        ))
        .await?;
    let Some(found) = found.first() else {
        return create(session, settings, copies).await;
    };
    let found = Answer::new(found, "a row of pg_publication");
    check_options(settings, found)?;
    let has_filters = found.number::<u32>(2)? >= 150_000;
    let lacking = lacking(session, settings, has_filters).await?;
    for table in &lacking {
        check_is_new(settings, table, copies)?;
        add(session, name, table).await?;
    }
    if lacking.is_empty() {
        return Ok(());
    }
    match self::lacking(session, settings, has_filters).await?.first() {
        None => Ok(()),
        Some(table) => Err(refused(
            settings,
            format!(
                "{} was added to it, and it does not publish the table; look at pg_publication_tables",
                table.full_name()
            ),
        )),
    }
}

async fn create(
    session: &mut Session,
    settings: &CaptureSettings,
    copies: &TableCopies,
) -> Result<(), PublicationError> {
    for table in &settings.tables {
        check_is_new(settings, table, copies)?;
    }
    let (name, tables) = (&settings.publication, settings.tables.iter().map(qualified));
    let tables = tables.collect::<Vec<_>>().join(", ");
    let created = format!("CREATE PUBLICATION {} FOR TABLE {tables}", identifier(name));
    session.run(&created).await?;
    info!(publication = %name, tables, "publication created");
    Ok(())
}

fn check_options(settings: &CaptureSettings, found: Answer<'_>) -> Result<(), PublicationError> {
    let alter = format!(
        "ALTER PUBLICATION {} SET",
        identifier(&settings.publication)
    );
    if found.text(0)? != "t" {
        return Err(refused(
            settings,
            format!(
                "it leaves out some operations; {alter} (publish = 'insert, update, delete, truncate');"
            ),
        ));
    }
    if found.text(1)? == "t" {
        return Err(refused(
            settings,
            format!(
                "it tells the changes of partitions as those of their root (publish_via_partition_root), and \
                 partitions are what is captured; {alter} (publish_via_partition_root = false);"
            ),
        ));
    }
    Ok(())
}

/// The tables that are not published; refuses those that are not published whole.
async fn lacking<'a>(
    session: &mut Session,
    settings: &'a CaptureSettings,
    has_filters: bool,
) -> Result<Vec<&'a CapturedTable>, PublicationError> {
    let published = published(session, &settings.publication, has_filters).await?;
    let mut lacking = Vec::new();
    for table in &settings.tables {
        let found = published
            .iter()
            .find(|(full_name, _)| *full_name == table.full_name());
        match found {
            Some((_, None)) => {}
            Some((full_name, Some(what))) => {
                return Err(refused(
                    settings,
                    format!(
                        "it publishes {what} of {full_name} only, and the lake would lack the rest; publish \
                         the whole table"
                    ),
                ));
            }
            None => lacking.push(table),
        }
    }
    Ok(lacking)
}

/// A table that was captured and is no longer published has changes that were never told.
fn check_is_new(
    settings: &CaptureSettings,
    table: &CapturedTable,
    copies: &TableCopies,
) -> Result<(), PublicationError> {
    match copies.contains_key(&table.topic()) {
        true => Err(PublicationError::Publication(not_in_it(
            &settings.publication,
            table,
        ))),
        false => Ok(()),
    }
}

/// The published tables; of those that are not published whole, what is.
async fn published(
    session: &mut Session,
    name: &str,
    has_filters: bool,
) -> Result<Vec<(String, Option<String>)>, SessionError> {
    // Since 15 a publication may leave out rows and columns.
    let parts = match has_filters {
        true => {
            "CASE WHEN p.rowfilter IS NOT NULL THEN 'some rows' \
             WHEN cardinality(p.attnames) < (SELECT count(*) FROM pg_catalog.pg_attribute a \
             WHERE a.attrelid = format('%I.%I', p.schemaname, p.tablename)::regclass AND a.attnum > 0 \
             AND NOT a.attisdropped AND a.attgenerated = '') THEN 'some columns' END"
        }
        false => "NULL",
    };
    let rows = session
        .query(&format!(
            "SELECT p.schemaname, p.tablename, {parts} FROM pg_catalog.pg_publication_tables p \
             WHERE p.pubname = {}",
            literal(name)
        ))
        .await?;
    rows.iter()
        .map(|row| {
            let answer = Answer::new(row, "a row of pg_publication_tables");
            let full_name = format!("{}.{}", answer.text(0)?, answer.text(1)?);
            Ok((full_name, text(row, 2).map(str::to_owned)))
        })
        .collect()
}

async fn add(session: &mut Session, name: &str, table: &CapturedTable) -> Result<(), SessionError> {
    let statement = format!(
        "ALTER PUBLICATION {} ADD TABLE {}",
        identifier(name),
        qualified(table)
    );
    session.run(&statement).await?;
    info!(publication = name, table = %table.full_name(), "table added to the publication");
    Ok(())
}

fn refused(settings: &CaptureSettings, why: String) -> PublicationError {
    PublicationError::Publication(CaptureError::Publication {
        publication: settings.publication.clone(),
        why,
    })
}

/// The table's name as SQL writes it.
pub(crate) fn qualified(table: &CapturedTable) -> String {
    format!("{}.{}", identifier(&table.schema), identifier(&table.name))
}
