//! The lake as a catalog: names become tables when a statement asks for them.
//!
//! One catalog is made for one statement. A table is opened at most once in it, so that
//! `x` and `x_changes` are the same version however often they are named; the next statement
//! opens anew and sees what was committed meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::information_schema::{INFORMATION_SCHEMA, InformationSchemaProvider};
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::TableType;
use schemas::TableName;

use crate::QueryError;
use crate::statement_tables::{Reading, StatementTables};
use crate::system::{SYSTEM_SCHEMA, SystemSchema, TABLE_NAMES};

/// The name of the only catalog.
pub(crate) const CATALOG: &str = "lakehead";

/// Ending of the names of the tables of changes.
const CHANGES_ENDING: &str = "_changes";

/// The catalog of one statement.
#[derive(Debug)]
pub(crate) struct LakeCatalog {
    tables: Arc<StatementTables>,
    reading: Reading,
}

/// The list of catalogs of one statement: the lake's.
#[derive(Debug)]
pub(crate) struct LakeCatalogs(Arc<LakeCatalog>);

impl LakeCatalogs {
    pub(crate) fn new(tables: &Arc<StatementTables>) -> Arc<Self> {
        Self::reading(tables, Reading::Strict)
    }

    fn reading(tables: &Arc<StatementTables>, reading: Reading) -> Arc<Self> {
        Arc::new(Self(Arc::new(LakeCatalog {
            tables: Arc::clone(tables),
            reading,
        })))
    }
}

impl CatalogProviderList for LakeCatalogs {
    fn register_catalog(
        &self,
        _name: String,
        _catalog: Arc<dyn CatalogProvider>,
    ) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG).then(|| Arc::clone(&self.0) as Arc<dyn CatalogProvider>)
    }
}

impl CatalogProvider for LakeCatalog {
    fn schema_names(&self) -> Vec<String> {
        let services = self
            .tables
            .listed()
            .iter()
            .map(|name| name.service().to_owned());
        let names: BTreeSet<String> = services.chain([SYSTEM_SCHEMA.to_owned()]).collect();
        names.into_iter().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let tables = Arc::clone(&self.tables);
        Some(match name {
            SYSTEM_SCHEMA => Arc::new(SystemSchema::new(tables, self.reading)),
            INFORMATION_SCHEMA => {
                let listing = LakeCatalogs::reading(&tables, Reading::Listing);
                Arc::new(InformationSchemaProvider::new(listing))
            }
            service => Arc::new(ServiceSchema {
                service: service.to_owned(),
                tables,
                reading: self.reading,
            }),
        })
    }
}

/// One service's tables.
#[derive(Debug)]
struct ServiceSchema {
    service: String,
    tables: Arc<StatementTables>,
    reading: Reading,
}

impl ServiceSchema {
    /// The entity that a table's name is derived from, and whether the log is meant.
    fn entity(&self, table: &str) -> Option<(TableName, bool)> {
        let entity = table.strip_suffix(CHANGES_ENDING);
        let name = format!("{}.{}", self.service, entity.unwrap_or(table))
            .parse()
            .ok()?;
        Some((name, entity.is_some()))
    }
}

#[async_trait]
impl SchemaProvider for ServiceSchema {
    fn table_names(&self) -> Vec<String> {
        let own = self
            .tables
            .listed()
            .iter()
            .filter(|name| name.service() == self.service);
        own.flat_map(|name| {
            let entity = name.entity();
            [entity.to_owned(), format!("{entity}{CHANGES_ENDING}")]
        })
        .collect()
    }

    async fn table(&self, table: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some((name, log)) = self.entity(table) else {
            return Ok(None);
        };
        let opened = self
            .reading
            .tolerate(&name, self.tables.open(&name).await)?;
        let Some(opened) = opened else {
            return Ok(None);
        };
        if log {
            return Ok(Some(opened.changes()));
        }
        let current = self
            .reading
            .tolerate(&name, opened.current(&name).map(Some))?;
        if current.is_some() {
            self.tables.note_current(&opened)?;
        }
        Ok(current)
    }

    async fn table_type(&self, table: &str) -> Result<Option<TableType>> {
        let entity = self.entity(table);
        Ok(entity.map(|(_, log)| {
            if log {
                TableType::Base
            } else {
                TableType::View
            }
        }))
    }

    fn table_exist(&self, table: &str) -> bool {
        self.table_names().iter().any(|name| name == table)
    }
}

/// All names that SQL can ask for, for suggestions.
pub(crate) async fn relation_names(tables: &StatementTables) -> Result<Vec<String>, QueryError> {
    let names = tables.names().await?;
    let derived = names
        .iter()
        .flat_map(|name| [name.to_string(), format!("{name}{CHANGES_ENDING}")]);
    let system = TABLE_NAMES.map(|name| format!("{SYSTEM_SCHEMA}.{name}"));
    Ok(derived.chain(system).collect())
}
