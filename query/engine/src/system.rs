//! Schema `system`: what the lake holds besides its owners' tables.

mod watermarks;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::TableType;
use futures::{StreamExt, TryStreamExt, stream};
use lake_store::{
    DEAD_LETTERS_PATH, GAPS_PATH, PERIODS_PATH, STARTS_PATH, dead_letters_schema, gaps_schema,
    periods_schema, starts_schema,
};
use schemas::TableName;

use crate::QueryError;
use crate::change_table::{self, Extent};
use crate::statement_tables::{Reading, StatementTables};

/// The schema's name.
pub(crate) const SYSTEM_SCHEMA: &str = "system";

/// The schema's tables.
pub(crate) const TABLE_NAMES: [&str; 6] = [DEAD_LETTERS, GAPS, PERIODS, STARTS, TABLES, WATERMARKS];

/// Tables whose logs are read at the same time.
const OPENED_AT_ONCE: usize = 16;

const DEAD_LETTERS: &str = "dead_letters";
const GAPS: &str = "gaps";
const PERIODS: &str = "periods";
const STARTS: &str = "starts";
const TABLES: &str = "tables";
const WATERMARKS: &str = "watermarks";

/// Tables about the lake itself.
#[derive(Debug)]
pub(crate) struct SystemSchema {
    tables: Arc<StatementTables>,
    reading: Reading,
}

impl SystemSchema {
    pub(crate) fn new(tables: Arc<StatementTables>, reading: Reading) -> Self {
        Self { tables, reading }
    }

    /// One of the lake's own tables; without rows while nobody has written to it.
    async fn own(&self, path: &str, schema: SchemaRef) -> Result<Arc<dyn TableProvider>> {
        let loaded = change_table::load(self.tables.lake(), path).await;
        match self.reading.tolerate(path, loaded)? {
            Some(delta) => change_table::provider(&delta).await,
            None => Ok(Arc::new(MemTable::try_new(schema, vec![vec![]])?)),
        }
    }

    async fn watermarks(&self) -> Result<Arc<dyn TableProvider>> {
        let path = TableName::watermarks().changes_path();
        let loaded = change_table::load(self.tables.lake(), &path).await;
        match self.reading.tolerate(&path, loaded)? {
            Some(delta) => watermarks::of(change_table::provider(&delta).await?),
            None => watermarks::empty(),
        }
    }

    async fn tables(&self) -> Result<Arc<dyn TableProvider>> {
        let names = self.tables.names().await?;
        let opening: Vec<_> = names
            .iter()
            .map(|name| Row::of(Arc::clone(&self.tables), name.clone()))
            .collect();
        let rows = stream::iter(opening).buffered(OPENED_AT_ONCE);
        let rows: Vec<Row> = rows.try_collect().await?;
        let batch = Row::batch(&rows)?;
        Ok(Arc::new(MemTable::try_new(
            batch.schema(),
            vec![vec![batch]],
        )?))
    }
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        TABLE_NAMES.map(str::to_owned).to_vec()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match name {
            DEAD_LETTERS => {
                let table = self.own(DEAD_LETTERS_PATH, dead_letters_schema());
                table.await.map(Some)
            }
            GAPS => self.own(GAPS_PATH, gaps_schema()).await.map(Some),
            STARTS => self.own(STARTS_PATH, starts_schema()).await.map(Some),
            PERIODS => self.own(PERIODS_PATH, periods_schema()).await.map(Some),
            TABLES => self.tables().await.map(Some),
            WATERMARKS => self.watermarks().await.map(Some),
            _ => Ok(None),
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(TABLE_NAMES.contains(&name).then_some(TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        TABLE_NAMES.contains(&name)
    }
}

/// One row of `system.tables`.
#[derive(Debug)]
struct Row {
    name: TableName,
    /// The table's version, extent, key and shape, or why it cannot be read.
    state: std::result::Result<State, String>,
}

#[derive(Debug)]
struct State {
    version: i64,
    extent: Extent,
    key: String,
    shape: &'static str,
}

impl Row {
    async fn of(tables: Arc<StatementTables>, name: TableName) -> Result<Self, QueryError> {
        let state = match tables.open(&name).await {
            Ok(Some(table)) => Ok(State {
                version: i64::try_from(table.version()).unwrap_or(i64::MAX),
                extent: table.extent()?,
                key: table.properties().key.join(", "),
                shape: table.properties().shape.name(),
            }),
            Ok(None) => Err("it has no commit yet".to_owned()),
            Err(error) if error.is_unavailable() => return Err(error),
            Err(error) => Err(error.to_string()),
        };
        Ok(Self { name, state })
    }

    /// The rows as columns.
    fn batch(rows: &[Self]) -> Result<RecordBatch> {
        let text = |get: fn(&Self) -> Option<&str>| -> ArrayRef {
            Arc::new(rows.iter().map(get).collect::<StringArray>())
        };
        let number = |get: fn(&State) -> Option<i64>| -> ArrayRef {
            let values = rows.iter().map(|row| row.state.as_ref().ok().and_then(get));
            Arc::new(values.collect::<Int64Array>())
        };
        let columns: [(&str, ArrayRef, bool); 9] = [
            ("service", text(|row| Some(row.name.service())), false),
            ("entity", text(|row| Some(row.name.entity())), false),
            ("version", number(|state| Some(state.version)), true),
            ("files", number(|state| Some(state.extent.files)), true),
            ("changes", number(|state| state.extent.rows), true),
            ("bytes", number(|state| Some(state.extent.bytes)), true),
            (
                "key",
                text(|row| row.state.as_ref().ok().map(|state| state.key.as_str())),
                true,
            ),
            (
                "shape",
                text(|row| row.state.as_ref().ok().map(|state| state.shape)),
                true,
            ),
            (
                "error",
                text(|row| row.state.as_ref().err().map(String::as_str)),
                true,
            ),
        ];
        Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
    }
}
