//! Several questions to one state of the lake.

use std::fmt;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::catalog::default_table_source::provider_as_source;
use datafusion::catalog::view::ViewTable;
use datafusion::common::DFSchema;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, ident};
use schemas::{Contract, TableName};

use crate::change_table::ChangeTable;
use crate::statement_tables::StatementTables;
use crate::{Answer, Engine, QueryError, current};

/// The lake for several questions: each table stays at the version at which it was first asked for.
#[derive(Clone)]
pub struct Snapshot {
    engine: Engine,
    tables: Arc<StatementTables>,
}

/// What the lake says of an entity.
#[derive(Clone, Debug)]
pub struct Entity {
    /// The version of its table of changes.
    pub version: u64,
    /// Its fields and key.
    pub contract: Contract,
    /// The first event date whose changes are all there, if earlier ones have passed their
    /// retention.
    pub changes_since: Option<String>,
}

impl Snapshot {
    pub(crate) fn new(engine: Engine, tables: Arc<StatementTables>) -> Self {
        Self { engine, tables }
    }

    /// What the lake says of an entity; `None` if it has no table of it.
    pub async fn entity(&self, name: &TableName) -> Result<Option<Entity>, QueryError> {
        let Some(table) = self.tables.open(name).await? else {
            return Ok(None);
        };
        Ok(Some(Entity {
            version: table.version(),
            contract: table.contract(name)?,
            changes_since: table.properties().changes_since.clone(),
        }))
    }

    /// Columns of the changes that fulfil a condition, an SQL expression over their columns.
    pub async fn changes(
        &self,
        name: &TableName,
        columns: &[&str],
        condition: &str,
    ) -> Result<Answer, QueryError> {
        let table = self.table(name).await?;
        let tables = self.tables.of_another_statement();
        let state = self.engine.session(&tables);
        let changes = fulfilling(&state, &table, condition)?;
        let columns = columns.iter().map(|column| ident(*column));
        let plan = LogicalPlanBuilder::from(changes).project(columns)?;
        Box::pin(self.engine.execute(state, &tables, plan.build()?)).await
    }

    /// Columns of the entity's current state, as the changes that fulfil the condition leave it.
    pub async fn state(
        &self,
        name: &TableName,
        columns: &[&str],
        condition: &str,
    ) -> Result<Answer, QueryError> {
        let table = self.table(name).await?;
        table.check_whole(name)?;
        let tables = self.tables.of_another_statement();
        tables.note_current(&table)?;
        let state = self.engine.session(&tables);
        let changes = fulfilling(&state, &table, condition)?;
        let changes: Arc<dyn TableProvider> = Arc::new(ViewTable::new(changes, None));
        let current = current::provider(name, table.properties(), &changes)?;
        let columns = columns.iter().map(|column| ident(*column));
        let plan = LogicalPlanBuilder::scan("state", provider_as_source(current), None)?
            .project(columns)?
            .build()?;
        Box::pin(self.engine.execute(state, &tables, plan)).await
    }

    async fn table(&self, name: &TableName) -> Result<Arc<ChangeTable>, QueryError> {
        let table = self.tables.open(name).await?;
        table.ok_or_else(|| QueryError::UnknownTable {
            name: name.to_string(),
            suggestions: Vec::new(),
            position: None,
        })
    }
}

fn fulfilling(
    state: &SessionState,
    table: &ChangeTable,
    condition: &str,
) -> Result<LogicalPlan, QueryError> {
    let changes = table.changes();
    let schema = DFSchema::try_from(changes.schema())?;
    let condition = state.create_logical_expr(condition, &schema)?;
    let scan = LogicalPlanBuilder::scan("changes", provider_as_source(changes), None)?;
    Ok(scan.filter(condition)?.build()?)
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("tables", &self.tables)
            .finish_non_exhaustive()
    }
}
