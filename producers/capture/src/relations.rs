//! The relations that the stream speaks of, and the plans of their tables.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::{info, warn};

use crate::Lsn;
use crate::copy::Parts;
use crate::membership::PublishedTables;
use crate::owned_table::{LookUpError, OwnedColumn, OwnedTable};
use crate::pg_type::Types;
use crate::pgoutput::Relation;
use crate::session::Session;
use crate::stop::Stop;
use crate::table_copy::{self, TableCopies};
use crate::table_plan::{Publishing, TablePlan};

/// A captured table as the stream has it now.
#[derive(Debug)]
pub(crate) struct StreamedTable {
    pub(crate) plan: TablePlan,
    /// `schema.name`.
    pub(crate) name: String,
    /// Which changes are in its first copy.
    pub(crate) parts: Parts,
}

/// Finds a relation's table by its number.
#[derive(Debug)]
pub(crate) struct Relations<'a> {
    publishing: Publishing<'a>,
    /// Asks the catalog while the stream goes on.
    session: Session,
    types: Types,
    owned: Vec<(OwnedTable, Parts)>,
    /// None for a table of the publication that is not captured.
    known: HashMap<u32, Option<Arc<StreamedTable>>>,
}

impl<'a> Relations<'a> {
    pub(crate) fn new(
        publishing: Publishing<'a>,
        session: Session,
        types: Types,
        owned: Vec<(OwnedTable, Parts)>,
    ) -> Self {
        Self {
            publishing,
            session,
            types,
            owned,
            known: HashMap::new(),
        }
    }

    /// The session that asks the catalog.
    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Refuses by name a table whose changes are perhaps not all in the stream.
    pub(crate) async fn check_published(
        &mut self,
        published: &PublishedTables,
        copies: &mut TableCopies,
    ) -> Result<(), Stop> {
        let checked = published.check(&mut self.session, copies).await;
        checked.map_err(|error| self.stop(error))
    }

    /// The relation's table, if it is captured; nothing if the relation was never told.
    pub(crate) fn get(&self, relation: u32) -> Option<Option<&Arc<StreamedTable>>> {
        self.known.get(&relation).map(Option::as_ref)
    }

    /// Takes in how a relation's rows are made from now on, in a transaction that is committed here.
    pub(crate) async fn learn(
        &mut self,
        relation: &Relation<'_>,
        commit_lsn: Lsn,
    ) -> Result<(), Stop> {
        let has_name = |owned: &OwnedTable| {
            owned.settings.schema == relation.schema && owned.settings.name == relation.name
        };
        let found = self
            .owned
            .iter()
            .find(|(owned, _)| owned.oid == relation.id);
        let Some((owned, parts)) = found else {
            // A table of the same name before its first copy is one that is gone since.
            let twin = self.owned.iter().find(|(owned, _)| has_name(owned));
            if let Some((owned, parts)) = twin
                && !parts.reach(commit_lsn)
            {
                return Err(table_copy::made_again(&owned.settings).into());
            }
            self.known.insert(relation.id, None);
            return Ok(());
        };
        if !has_name(owned) {
            warn!(
                table = %owned.settings.full_name(),
                name = %format!("{}.{}", relation.schema, relation.name),
                "the table has another name in the log than in the configuration"
            );
        }
        if relation.identity != b'f' {
            // Whether the rest is logged well enough is in the catalog.
            let found = OwnedTable::look_up(&mut self.session, &owned.settings, &mut self.types);
            found.await.map_err(|error| self.stop(error))?;
        }
        let columns: Vec<OwnedColumn> = relation
            .columns
            .iter()
            .map(|column| OwnedColumn {
                name: column.name.to_owned(),
                type_oid: column.type_oid,
                type_modifier: column.type_modifier,
            })
            .collect();
        let known = self.known.get(&relation.id).and_then(Option::as_ref);
        if known.is_some_and(|table| table.plan.source_columns == columns) {
            return Ok(());
        }
        if known.is_some() {
            info!(table = %owned.settings.full_name(), "the table's columns have changed");
        }
        let oids = columns.iter().map(|column| column.type_oid);
        let looked_up = self.types.look_up(&mut self.session, oids).await;
        looked_up.map_err(|error| self.stop(error.into()))?;
        let plan = TablePlan::prepare(
            &owned.settings,
            columns,
            &owned.key,
            &self.types,
            self.publishing,
        )
        .await?;
        let table = StreamedTable {
            name: owned.settings.full_name(),
            plan,
            parts: parts.clone(),
        };
        self.known.insert(relation.id, Some(Arc::new(table)));
        Ok(())
    }

    fn stop(&self, error: LookUpError) -> Stop {
        error.into_stop(self.publishing.server)
    }
}
