//! The tables that one statement has opened, each at one version.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lake_store::LakeStore;
use schemas::TableName;
use tokio::sync::OnceCell;

use crate::QueryError;
use crate::change_table::ChangeTable;

type Opened = Arc<OnceCell<Option<Arc<ChangeTable>>>>;

/// The tables of a lake as one statement sees them.
#[derive(Debug)]
pub(crate) struct StatementTables {
    lake: LakeStore,
    listed: Arc<OnceCell<Vec<TableName>>>,
    opened: Arc<Mutex<HashMap<TableName, Opened>>>,
    fold_bytes_max: AtomicUsize,
}

impl StatementTables {
    pub(crate) fn new(lake: LakeStore) -> Arc<Self> {
        Arc::new(Self {
            lake,
            listed: Arc::default(),
            opened: Arc::default(),
            fold_bytes_max: AtomicUsize::new(0),
        })
    }

    /// The same tables at the same versions, for another statement.
    pub(crate) fn of_another_statement(&self) -> Arc<Self> {
        Arc::new(Self {
            lake: self.lake.clone(),
            listed: Arc::clone(&self.listed),
            opened: Arc::clone(&self.opened),
            fold_bytes_max: AtomicUsize::new(0),
        })
    }

    pub(crate) fn lake(&self) -> &LakeStore {
        &self.lake
    }

    /// Bytes of memory that the current states which the statement named may take at most.
    pub(crate) fn fold_bytes_max(&self) -> usize {
        self.fold_bytes_max.load(Ordering::Relaxed)
    }

    /// Takes note that the statement asks for a current state.
    pub(crate) fn note_current(&self, table: &ChangeTable) -> Result<(), QueryError> {
        let bytes = table.fold_bytes_max()?;
        self.fold_bytes_max.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// The names of all tables. The lake is listed once, and only if somebody asks.
    pub(crate) async fn names(&self) -> Result<&[TableName], QueryError> {
        let listing = || async { Ok::<_, QueryError>(self.lake.tables().await?) };
        Ok(self.listed.get_or_try_init(listing).await?)
    }

    /// The names if the lake has been listed.
    pub(crate) fn listed(&self) -> &[TableName] {
        self.listed.get().map(Vec::as_slice).unwrap_or_default()
    }

    /// The table at the version that this statement reads; `None` if there is none.
    pub(crate) async fn open(
        &self,
        name: &TableName,
    ) -> Result<Option<Arc<ChangeTable>>, QueryError> {
        let cell = {
            let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(opened.entry(name.clone()).or_default())
        };
        let open = || async {
            Ok::<_, QueryError>(ChangeTable::open(&self.lake, name).await?.map(Arc::new))
        };
        Ok(cell.get_or_try_init(open).await?.clone())
    }
}

/// What happens when a table cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The statement names it, so it fails.
    Strict,
    /// It is only listed among others, so it is passed over.
    Listing,
}

impl Reading {
    /// Passes over a table that cannot be read if it is only listed; never a lake that is away.
    pub(crate) fn tolerate<T>(
        self,
        table: impl std::fmt::Display,
        opened: Result<Option<T>, QueryError>,
    ) -> Result<Option<T>, QueryError> {
        match opened {
            Err(error) if self == Self::Listing && !error.is_unavailable() => {
                tracing::warn!(%table, %error, "a table is left out of the list");
                Ok(None)
            }
            other => other,
        }
    }
}
