//! The only object store that a plan can read from: the lake's.

use std::sync::Arc;

use datafusion::common::{Result, plan_err};
use datafusion::execution::object_store::ObjectStoreRegistry;
use lake_store::LakeStore;
use object_store::ObjectStore;
use url::Url;

/// Answers for the lake's scheme and host, and for nothing else, whoever asks.
#[derive(Debug)]
pub(crate) struct LakeOnly {
    url: Url,
    store: Arc<dyn ObjectStore>,
}

impl LakeOnly {
    pub(crate) fn new(lake: &LakeStore) -> Self {
        // The path does not matter: the store below a table's log is the root's.
        let store = lake.table_log("").root_object_store(None);
        Self {
            url: lake.url().clone(),
            store,
        }
    }
}

impl ObjectStoreRegistry for LakeOnly {
    fn register_store(
        &self,
        _url: &Url,
        _store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if url.scheme() == self.url.scheme() && url.host() == self.url.host() {
            return Ok(Arc::clone(&self.store));
        }
        plan_err!(
            "{url} is outside the lake {}; only the lake is read",
            self.url
        )
    }
}
