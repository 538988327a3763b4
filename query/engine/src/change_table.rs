//! One entity's table of changes, open at one version.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use deltalake::{DeltaTable, DeltaTableError};
use lake_store::{
    CHANGES_SINCE_PROPERTY, CONTRACT_PROPERTY, FORMAT_PROPERTY, FORMAT_VERSION, KEY_PROPERTY,
    LakeStore, SHAPE_PROPERTY,
};
use schemas::{Contract, Shape, TableName};

use crate::{QueryError, current};

/// Times a log is read before its error is believed: other processes clean it up meanwhile.
const ATTEMPTS_MAX: usize = 3;

/// Memory that one row of a hash table takes besides its values, in bytes.
const ROW_BYTES: usize = 32;

/// Memory that one value in it takes, in bytes: numbers less, long texts more.
const COLUMN_BYTES: usize = 24;

/// What Lakehead's properties say of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Properties {
    /// The key columns; empty when rows have no identity.
    pub(crate) key: Vec<String>,
    /// How change events stand for changes.
    pub(crate) shape: Shape,
    /// The first date whose changes are all there, if earlier ones have passed their retention.
    pub(crate) changes_since: Option<String>,
}

impl Properties {
    /// Whether a later change takes the place of an earlier one.
    pub(crate) fn has_updates(&self) -> bool {
        !self.key.is_empty() && self.shape != Shape::Append
    }
}

/// Size of a table, as its log tells it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extent {
    pub(crate) files: i64,
    pub(crate) bytes: i64,
    /// `None` when a file does not say how many rows it has.
    pub(crate) rows: Option<i64>,
}

/// A table of changes at the version that was newest when the statement asked for it.
#[derive(Debug)]
pub(crate) struct ChangeTable {
    delta: DeltaTable,
    properties: Properties,
    changes: Arc<dyn TableProvider>,
    current: Arc<dyn TableProvider>,
}

impl ChangeTable {
    /// Opens the entity's table at its newest version; `None` if there is no such table.
    pub(crate) async fn open(
        lake: &LakeStore,
        name: &TableName,
    ) -> Result<Option<Self>, QueryError> {
        let path = name.changes_path();
        let Some(delta) = load(lake, &path).await? else {
            return Ok(None);
        };
        let refuse = |why: String| QueryError::Table {
            table: path.clone(),
            why,
        };
        let properties = properties(&delta).map_err(refuse)?;
        let changes = provider(&delta)
            .await
            .map_err(|error| refuse(error.to_string()))?;
        check_columns(&properties, &changes.schema()).map_err(refuse)?;
        let current = current::provider(name, &properties, &changes)?;
        Ok(Some(Self {
            delta,
            properties,
            changes,
            current,
        }))
    }

    /// Every change, as it was appended.
    pub(crate) fn changes(&self) -> Arc<dyn TableProvider> {
        Arc::clone(&self.changes)
    }

    /// The entity's rows as the changes of this same version leave them; refused if some of the
    /// changes that they are made of are gone.
    pub(crate) fn current(&self, name: &TableName) -> Result<Arc<dyn TableProvider>, QueryError> {
        self.check_whole(name)?;
        Ok(Arc::clone(&self.current))
    }

    /// Refuses a table of updates of which some are gone.
    pub(crate) fn check_whole(&self, name: &TableName) -> Result<(), QueryError> {
        match self.properties.changes_since.as_ref() {
            Some(since) if self.properties.has_updates() => Err(QueryError::Table {
                table: name.to_string(),
                why: format!(
                    "changes before {since} have passed their retention, so its rows cannot be \
                     computed from those that are left; they are in the Delta table {}",
                    name.current_path()
                ),
            }),
            _ => Ok(()),
        }
    }

    /// Bytes of memory that finding the latest change of every key may take: known only up to the
    /// number of changes, as if every one had a key of its own.
    pub(crate) fn fold_bytes_max(&self) -> Result<usize, QueryError> {
        if !self.properties.has_updates() {
            return Ok(0);
        }
        let extent = self.extent()?;
        // A file that does not say has fewer rows than bytes.
        let rows = usize::try_from(extent.rows.unwrap_or(extent.bytes)).unwrap_or(usize::MAX);
        let row_bytes = ROW_BYTES + COLUMN_BYTES * (self.properties.key.len() + 2);
        Ok(rows.saturating_mul(row_bytes))
    }

    pub(crate) fn properties(&self) -> &Properties {
        &self.properties
    }

    /// The entity's contract, with the table's key.
    pub(crate) fn contract(&self, name: &TableName) -> Result<Contract, QueryError> {
        let refuse = |why: String| QueryError::Table {
            table: name.changes_path(),
            why,
        };
        let snapshot = self.delta.snapshot();
        let snapshot = snapshot.map_err(|error| QueryError::failed(error.to_string()))?;
        let text = snapshot.metadata().configuration().get(CONTRACT_PROPERTY);
        let text =
            text.ok_or_else(|| refuse(format!("it has no table property {CONTRACT_PROPERTY}")))?;
        let contract: Result<Contract, _> = text.parse();
        let contract = contract.and_then(|contract| contract.with_key(self.properties.key.clone()));
        contract.map_err(|error| refuse(format!("its {CONTRACT_PROPERTY}: {error}")))
    }

    /// The Delta version.
    pub(crate) fn version(&self) -> u64 {
        self.delta.version().unwrap_or_default()
    }

    /// Files, rows and bytes; nothing but the log is read.
    pub(crate) fn extent(&self) -> Result<Extent, QueryError> {
        let snapshot = self
            .delta
            .snapshot()
            .map_err(|error| QueryError::failed(error.to_string()))?;
        let mut extent = Extent {
            rows: Some(0),
            ..Extent::default()
        };
        for file in snapshot.log_data().iter() {
            extent.files += 1;
            extent.bytes += file.size();
            let rows = file.num_records().and_then(|rows| i64::try_from(rows).ok());
            extent.rows = extent.rows.zip(rows).map(|(sum, rows)| sum + rows);
        }
        Ok(extent)
    }
}

/// Reads a table's log; `None` if there is no table at the path, or none yet.
pub(crate) async fn load(lake: &LakeStore, path: &str) -> Result<Option<DeltaTable>, QueryError> {
    let mut attempt = 1;
    loop {
        let mut delta = DeltaTable::new(lake.table_log(path));
        match Box::pin(delta.load()).await {
            Ok(()) => return Ok(Some(delta)),
            Err(DeltaTableError::NotATable(_)) => return Ok(None),
            Err(_) if attempt < ATTEMPTS_MAX => attempt += 1,
            Err(_) if !lake.has_log(path).await? => return Ok(None),
            Err(error) => {
                // A lake that is away is no fault of the table.
                lake.check().await?;
                // Below the first line stands the kernel's backtrace, if it was asked for one.
                let why = error.to_string();
                let why = why.lines().next().unwrap_or_default().to_owned();
                let table = path.to_owned();
                return Err(QueryError::Table { table, why });
            }
        }
    }
}

/// A scan of a loaded table at the version it was loaded at.
pub(crate) async fn provider(
    delta: &DeltaTable,
) -> Result<Arc<dyn TableProvider>, datafusion::error::DataFusionError> {
    Ok(Arc::new(delta.table_provider().build().await?))
}

fn properties(delta: &DeltaTable) -> Result<Properties, String> {
    let snapshot = delta.snapshot().map_err(|error| error.to_string())?;
    let all = snapshot.metadata().configuration();
    let format = all.get(FORMAT_PROPERTY).ok_or_else(|| {
        format!("it has no table property {FORMAT_PROPERTY}; it was not written by Lakehead")
    })?;
    if format != FORMAT_VERSION {
        return Err(format!(
            "its {FORMAT_PROPERTY} is {format:?} and this program reads {FORMAT_VERSION:?}; \
             use a newer lakehead"
        ));
    }
    let key = all.get(KEY_PROPERTY).map_or("[]", String::as_str);
    let key: Vec<String> = serde_json::from_str(key)
        .map_err(|_| format!("its {KEY_PROPERTY} is {key:?}, not a JSON array of names"))?;
    let shape = match all.get(SHAPE_PROPERTY) {
        Some(name) => name
            .parse()
            .map_err(|error| format!("its {SHAPE_PROPERTY}: {error}"))?,
        None => Shape::default(),
    };
    let changes_since = all.get(CHANGES_SINCE_PROPERTY).cloned();
    Ok(Properties {
        key,
        shape,
        changes_since,
    })
}

fn check_columns(properties: &Properties, schema: &SchemaRef) -> Result<(), String> {
    let needed = properties
        .key
        .iter()
        .map(String::as_str)
        .chain(["_op", "_generation", "_offset"]);
    for column in needed {
        if schema.column_with_name(column).is_none() {
            return Err(format!("it has no column {column:?}"));
        }
    }
    Ok(())
}
