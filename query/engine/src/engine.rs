//! One statement's way from its syntax tree to its answer.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use lake_store::LakeStore;

use crate::catalog::{CATALOG, LakeCatalogs, relation_names};
use crate::gate::{self, TABLE_FUNCTIONS};
use crate::statement::Statement;
use crate::statement_tables::StatementTables;
use crate::store_registry::LakeOnly;
use crate::suggestion::nearest;
use crate::system::{SYSTEM_SCHEMA, TABLE_NAMES};
use crate::timestamp_type::TimestampType;
use crate::{Answer, EngineSettings, QueryError, Snapshot, statements};

/// Where names without a schema are looked for: no service can have this name and a table.
const NO_SCHEMA: &str = "public";

/// What `SHOW TABLES` stands for.
const SHOW_TABLES: &str = "SELECT table_schema AS service, table_name AS name, \
    CASE table_type WHEN 'VIEW' THEN 'current state' ELSE 'log' END AS kind \
    FROM information_schema.tables \
    WHERE table_schema NOT IN ('information_schema', 'system') ORDER BY 1, 2";

/// The share of the memory that one sort reserves for merging what it spilled.
const SORT_SHARE: usize = 16;

/// Consumers of memory that an error names when the memory is used up.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);

/// Answers SQL over one lake. Cheap to clone; clones share the memory limit.
#[derive(Clone)]
pub struct Engine {
    lake: LakeStore,
    template: Arc<SessionState>,
    hash_bytes_max: usize,
}

impl Engine {
    /// An engine over a lake. Nothing is read yet: see [`LakeStore::check`].
    pub fn open(lake: LakeStore, settings: &EngineSettings) -> Result<Self, QueryError> {
        let runtime = runtime(&lake, settings)?;
        let mut config = SessionConfig::new()
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(CATALOG, NO_SCHEMA)
            .with_target_partitions(settings.threads.get());
        let options = config.options_mut();
        options.sql_parser.collect_spans = true;
        // Reserved by every sort before it begins: the default alone would fill a small pool.
        let reservation = &mut options.execution.sort_spill_reservation_bytes;
        *reservation = (settings.memory_bytes_max / SORT_SHARE).min(*reservation);
        let time_zone = options.execution.time_zone.as_deref().map(Arc::from);
        let mut template = SessionStateBuilder::new_with_default_features()
            .with_config(config)
            .with_runtime_env(Arc::new(runtime))
            .with_type_planner(Arc::new(TimestampType { time_zone }))
            .build();
        close_side_doors(&mut template)?;
        Ok(Self {
            lake,
            template: Arc::new(template),
            hash_bytes_max: settings.hash_bytes_max,
        })
    }

    /// The lake that is asked.
    pub fn lake(&self) -> &LakeStore {
        &self.lake
    }

    /// Runs one statement on the newest version of every table that it names, each table at one
    /// version throughout.
    pub async fn run(&self, statement: &Statement) -> Result<Answer, QueryError> {
        let tables = StatementTables::new(self.lake.clone());
        let state = self.session(&tables);
        let plan = Box::pin(plan(&state, &tables, statement)).await?;
        gate::plan::check(&plan)?;
        Box::pin(self.execute(state, &tables, plan)).await
    }

    /// Runs a plan that reads and nothing else.
    pub(crate) async fn execute(
        &self,
        mut state: SessionState,
        tables: &StatementTables,
        plan: LogicalPlan,
    ) -> Result<Answer, QueryError> {
        if tables.fold_bytes_max() > self.hash_bytes_max {
            // A hash table cannot be spilled, a sort can.
            state.config_mut().options_mut().optimizer.prefer_hash_join = false;
        }
        let physical = Box::pin(state.create_physical_plan(&plan)).await?;
        Ok(Answer::new(execute_stream(physical, state.task_ctx())?))
    }

    /// Checks a script of one statement and runs it.
    pub async fn ask(&self, sql: &str) -> Result<Answer, QueryError> {
        match statements(sql)?.as_slice() {
            [statement] => Box::pin(self.run(statement)).await,
            other => Err(QueryError::failed(format!(
                "expected one statement, found {}",
                other.len()
            ))),
        }
    }

    /// The lake as it is from now on, for several questions.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.clone(), StatementTables::new(self.lake.clone()))
    }

    pub(crate) fn session(&self, tables: &Arc<StatementTables>) -> SessionState {
        let mut state = SessionStateBuilder::new_from_existing((*self.template).clone())
            .with_catalog_list(LakeCatalogs::new(tables))
            .build();
        state.mark_start_execution();
        state
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("lake", &self.lake)
            .finish_non_exhaustive()
    }
}

fn runtime(lake: &LakeStore, settings: &EngineSettings) -> Result<RuntimeEnv, QueryError> {
    let pool = FairSpillPool::new(settings.memory_bytes_max);
    let mode = match &settings.spill_directory {
        Some(directory) => DiskManagerMode::Directories(vec![directory.clone()]),
        None => DiskManagerMode::OsTmpDirectory,
    };
    let disk = DiskManagerBuilder::default()
        .with_mode(mode)
        .with_max_temp_directory_size(settings.spill_bytes_max);
    Ok(RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(TrackConsumersPool::new(pool, CONSUMERS_NAMED)))
        .with_disk_manager_builder(disk)
        .with_object_store_registry(Arc::new(LakeOnly::new(lake)))
        .build()?)
}

/// Takes away what could make a table out of anything but the lake.
fn close_side_doors(state: &mut SessionState) -> Result<(), QueryError> {
    state.table_factories_mut().clear();
    let names: Vec<String> = state.table_functions().keys().cloned().collect();
    for name in names
        .iter()
        .filter(|name| !TABLE_FUNCTIONS.contains(&name.as_str()))
    {
        state.deregister_udtf(name)?;
    }
    Ok(())
}

async fn plan(
    state: &SessionState,
    tables: &StatementTables,
    statement: &Statement,
) -> Result<LogicalPlan, QueryError> {
    let ast = replaced(statement.ast())?;
    let references = state.resolve_table_references(&ast)?;
    if references.iter().any(is_about_the_lake) {
        tables.names().await?;
    }
    match Box::pin(state.statement_to_plan(ast)).await {
        Ok(plan) => Ok(plan),
        Err(error) => Err(explained(error.into(), tables, &references).await),
    }
}

/// `SHOW TABLES` becomes a question about services; anything else stays as it is.
fn replaced(ast: &DFStatement) -> Result<DFStatement, QueryError> {
    let DFStatement::Statement(sql) = ast else {
        return Ok(ast.clone());
    };
    let SqlStatement::ShowTables { show_options, .. } = sql.as_ref() else {
        return Ok(ast.clone());
    };
    if !show_options.to_string().is_empty() {
        return Err(QueryError::failed(
            "SHOW TABLES takes no options; ask information_schema.tables or system.tables",
        ));
    }
    let show = statements(SHOW_TABLES)?;
    show.first()
        .map(|show| show.ast().clone())
        .ok_or_else(|| QueryError::failed("SHOW TABLES"))
}

/// Whether a table lists the others, so that their names must be known.
fn is_about_the_lake(reference: &TableReference) -> bool {
    matches!(
        reference.schema(),
        Some("information_schema" | SYSTEM_SCHEMA)
    )
}

/// Says which table is missing, and which was perhaps meant.
async fn explained(
    error: QueryError,
    tables: &StatementTables,
    references: &[TableReference],
) -> QueryError {
    let QueryError::Failed { message, position } = error else {
        return error;
    };
    for reference in references {
        let named = reference.to_string();
        if !message.contains("not found") || !message.contains(reference.table()) {
            continue;
        }
        match is_missing(tables, reference).await {
            Ok(false) => {}
            Ok(true) => match relation_names(tables).await {
                Ok(known) => {
                    let suggestions = nearest(&named, known);
                    return QueryError::UnknownTable {
                        name: named,
                        suggestions,
                        position,
                    };
                }
                Err(error) => return error,
            },
            Err(error) => return error,
        }
    }
    QueryError::Failed { message, position }
}

async fn is_missing(
    tables: &StatementTables,
    reference: &TableReference,
) -> Result<bool, QueryError> {
    let Some(schema) = reference.schema() else {
        return Ok(!TABLE_FUNCTIONS.contains(&reference.table()));
    };
    if schema == SYSTEM_SCHEMA {
        return Ok(!TABLE_NAMES.contains(&reference.table()));
    }
    let entity = reference
        .table()
        .strip_suffix("_changes")
        .unwrap_or(reference.table());
    match format!("{schema}.{entity}").parse() {
        Ok(name) => Ok(tables.open(&name).await?.is_none()),
        Err(_) => Ok(schema != "information_schema"),
    }
}
