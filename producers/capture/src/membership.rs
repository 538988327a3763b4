//! Whether the captured tables were in the publication all the time.
//!
//! What a publication leaves out is in no stream, and nothing in the stream says so: a table that was taken
//! out and put back looks like one at rest. What tells is the catalog, whose numbers are given once: of the
//! row that says that a table is in the publication, and of the transaction that wrote the publication's
//! options last. They are kept from a table's first copy on and compared again and again, also from run to
//! run, as the slot reads what is behind with the publication as it was there.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::answer::{Answer, literal, text};
use crate::owned_table::{LookUpError, OwnedTable, refused};
use crate::session::{Row, Session, SessionError};
use crate::state;
use crate::table_copy::{TableCopies, made_again};
use crate::{CaptureError, CaptureSettings, CapturedTable};

/// How a table is in a publication; the same as long as nobody changes that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Membership {
    /// Postgres' own number of the publication.
    publication: u32,
    /// The transaction that wrote its options last.
    written_by: u32,
    /// By itself, by its schema, by a table of which it is a partition, or with all tables.
    ways: BTreeSet<String>,
}

/// The captured tables, and the question after their places in the publication.
#[derive(Debug)]
pub(crate) struct PublishedTables {
    publication: String,
    /// By Postgres' own numbers.
    tables: Vec<(u32, CapturedTable)>,
    question: String,
    /// Where memberships are kept.
    file: PathBuf,
}

impl PublishedTables {
    pub(crate) async fn prepare(
        session: &mut Session,
        settings: &CaptureSettings,
        owned: &[OwnedTable],
    ) -> Result<Self, SessionError> {
        // Since 15 a publication may have the tables of a schema.
        let asked = "SELECT to_regclass('pg_publication_namespace') IS NOT NULL";
        let has_schemas = session.query(asked).await?;
        let has_schemas = has_schemas.first().and_then(|row| text(row, 0)) == Some("t");
        let tables = owned
            .iter()
            .map(|table| (table.oid, table.settings.clone()));
        let tables: Vec<_> = tables.collect();
        Ok(Self {
            publication: settings.publication.clone(),
            question: question(&settings.publication, &tables, has_schemas),
            tables,
            file: state::file_in(&settings.directory),
        })
    }

    /// Refuses by name a table that was not in the publication all the time since it was captured, or that
    /// is no longer the one that was. Of one that is new, takes in how it is in the publication.
    pub(crate) async fn check(
        &self,
        session: &mut Session,
        copies: &mut TableCopies,
    ) -> Result<(), LookUpError> {
        let rows = session.query(&self.question).await?;
        for ((oid, table), row) in self.tables.iter().zip(&rows) {
            let found = self.membership(*oid, table, row)?;
            let copy = copies.entry(table.topic()).or_default();
            if let Some(known) = &copy.membership {
                self.compare(table, known, &found)
                    .map_err(LookUpError::Table)?;
            }
            copy.membership = Some(found);
        }
        Ok(())
    }

    /// How a table is in the publication, if it is in it and is still the table that was.
    fn membership(
        &self,
        oid: u32,
        table: &CapturedTable,
        row: &Row,
    ) -> Result<Membership, LookUpError> {
        let answer = Answer::new(row, "a captured table in the catalog");
        // One that was renamed is captured on, as long as no other one has its name.
        if answer.option(1)?.is_some_and(|named: u32| named != oid) {
            return Err(LookUpError::Table(made_again(table)));
        }
        if answer.text(0)? != "t" {
            let why = "it was dropped, which no change event says, so the lake has its rows still; leave it \
                out of the configuration";
            return Err(LookUpError::Table(refused(table, why)));
        }
        let Some(publication) = answer.option(2)? else {
            let gone = incomplete(&self.publication, table, "the publication is gone");
            return Err(LookUpError::Table(gone));
        };
        let ways = text(row, 4).unwrap_or_default().split_whitespace();
        let ways: BTreeSet<String> = ways.map(str::to_owned).collect();
        if ways.is_empty() {
            return Err(LookUpError::Table(not_in_it(&self.publication, table)));
        }
        Ok(Membership {
            publication,
            written_by: answer.number(3)?,
            ways,
        })
    }

    fn compare(
        &self,
        table: &CapturedTable,
        known: &Membership,
        found: &Membership,
    ) -> Result<(), CaptureError> {
        let broken = |why: &str| Err(incomplete(&self.publication, table, why));
        if known.publication != found.publication {
            return broken("the publication was dropped and made again since");
        }
        if known.written_by != found.written_by {
            return broken(&format!(
                "the publication was altered since (if no more than its owner or name was: take \"membership\" \
                 of {:?} out of {})",
                table.topic(),
                self.file.display()
            ));
        }
        // One way that stayed is enough: a publication gives a change once, however often it has the table.
        match known.ways.is_disjoint(&found.ways) {
            true => broken("was taken out of it and put back"),
            false => Ok(()),
        }
    }
}

/// Of a table that was captured and is no longer published.
pub(crate) fn not_in_it(publication: &str, table: &CapturedTable) -> CaptureError {
    incomplete(publication, table, "is no longer in it")
}

/// Of a table whose changes are perhaps not all in the stream.
fn incomplete(publication: &str, table: &CapturedTable, why: &str) -> CaptureError {
    CaptureError::Publication {
        publication: publication.to_owned(),
        why: format!(
            "{} was captured and {why}, so what changed meanwhile may be in no event. To copy the table again, \
             start once with it left out of the configuration; rows that were deleted meanwhile stay in the lake",
            table.full_name()
        ),
    }
}

/// Of each table in its order: whether it is there, which one has its name, the publication and who wrote
/// it, and the ways in which the table is in it.
fn question(publication: &str, tables: &[(u32, CapturedTable)], has_schemas: bool) -> String {
    let tables = tables.iter().enumerate().map(|(place, (oid, table))| {
        let (schema, name) = (literal(&table.schema), literal(&table.name));
        format!("({place}, {oid}::oid, {schema}, {name})")
    });
    let tables: Vec<String> = tables.collect();
    let by_schema = format!(
        "UNION ALL SELECT 'schema:' || n.oid || k.branch FROM {KIN} JOIN pg_class c ON c.oid = k.oid \
         JOIN pg_publication_namespace n ON n.pnnspid = c.relnamespace AND n.pnpubid = p.oid"
    );
    format!(
        "SELECT EXISTS (SELECT FROM pg_class WHERE oid = t.oid), \
         (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = t.schema AND c.relname = t.name), p.oid, p.xmin, \
         (SELECT string_agg(way, ' ') FROM (SELECT 'all' WHERE p.puballtables \
         UNION ALL SELECT 'table:' || r.oid || k.branch FROM {KIN} \
         JOIN pg_publication_rel r ON r.prrelid = k.oid AND r.prpubid = p.oid {by_schema}) w(way)) \
         FROM (VALUES {tables}) t(place, oid, schema, name) \
         LEFT JOIN pg_publication p ON p.pubname = {publication} ORDER BY t.place",
        by_schema = if has_schemas { &by_schema } else { "" },
        tables = tables.join(", "),
        publication = literal(publication)
    )
}

/// The table, and those of which it is a partition: these with what is written anew when it leaves them.
const KIN: &str = "(SELECT t.oid, '' UNION ALL SELECT a.relid::oid, \
    (SELECT string_agg('/' || i.xmin, '' ORDER BY i.inhrelid) FROM pg_inherits i \
    WHERE i.inhrelid IN (SELECT relid FROM pg_partition_ancestors(t.oid))) \
    FROM pg_partition_ancestors(t.oid) a WHERE a.relid <> t.oid) k(oid, branch)";
