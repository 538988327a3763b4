//! Where a lake is and how its folders are named.
//!
//! The lake-writer and the query engine share this and nothing else: they meet only in tables.
//!
//! ```text
//! <root>/<service>/<entity>/changes     every change, appended
//! <root>/<service>/<entity>/current     one row for every key that there is, in hash buckets
//! <root>/<service>/<entity>/periods/<period>/r<n>     its rows at the end of a period, revision n
//! <root>/_system/periods                which of those there are
//! <root>/_system/dead_letters           records that could not be read
//! <root>/_system/gaps                   what Kafka no longer had, and was accepted as missing
//! <root>/_system/starts                 where the copy of each topic partition began
//! <root>/_system/watermarks             what owners know to be complete: the topic lakehead.watermarks
//! ```

mod bucket;
mod dead_letters;
mod exclusive;
mod gaps;
mod location;
mod periods;
mod s3;
mod starts;

use std::sync::Arc;

use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use schemas::TableName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

pub use bucket::{BUCKET, BUCKETS_PROPERTY, bucket_of, key_hashes};
pub use dead_letters::dead_letters_schema;
pub use gaps::gaps_schema;
pub use location::LakeStoreError;
pub use periods::periods_schema;
pub use starts::starts_schema;

/// Folders that are looked at side by side for a table of changes.
const LOOKS_AT_ONCE: usize = 16;

/// Calls of the Delta kernel that block their threads, side by side.
const KERNEL_CALLS_AT_ONCE: usize = 2;

/// The path of the table of dead letters below the lake's root.
pub const DEAD_LETTERS_PATH: &str = "_system/dead_letters";

/// The path of the table of accepted gaps below the lake's root.
pub const GAPS_PATH: &str = "_system/gaps";

/// The path of the table of starts below the lake's root.
pub const STARTS_PATH: &str = "_system/starts";

/// The path of the table of period snapshots below the lake's root.
pub const PERIODS_PATH: &str = "_system/periods";

/// Version of the layout and table properties that this program writes; table property
/// `lakehead.format`.
pub const FORMAT_VERSION: &str = "1";

/// The table property that names the layout's version.
pub const FORMAT_PROPERTY: &str = "lakehead.format";

/// The table property that holds the key columns, a JSON array of names.
pub const KEY_PROPERTY: &str = "lakehead.key";

/// The table property that keeps the entity's contract, an Avro schema.
pub const CONTRACT_PROPERTY: &str = "lakehead.contract";

/// The table property that names the shape of the topic's change events.
pub const SHAPE_PROPERTY: &str = "lakehead.shape";

/// The table property of a table of changes whose oldest have passed their retention: the first event
/// date that is still whole.
pub const CHANGES_SINCE_PROPERTY: &str = "lakehead.changes_since";

/// The table property of a table of changes whose oldest have passed their retention: the version of it
/// that the current table covered, at least, when changes left last. A current table that covers less
/// may lack their rows.
pub const CHANGES_RETIRED_AT_PROPERTY: &str = "lakehead.changes_retired_at";

/// An open object store and the place of the lake in it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LakeStore {
    url: Url,
    root: Arc<dyn ObjectStore>,
    prefix: Path,
    kernel_calls: Arc<Semaphore>,
}

impl LakeStore {
    /// Opens the lake at a directory or URL (`file://`, `s3://bucket/prefix`, `gs://bucket/prefix`,
    /// `az://container/prefix`, `abfss://container@account.dfs.core.windows.net/prefix`,
    /// `memory://`).
    ///
    /// `options` are object_store's own names (`aws_endpoint`, …), and `aws_profile`; the
    /// environment's `AWS_*`, `GOOGLE_*` and `AZURE_*` variables count where they say nothing.
    /// Nothing is read from the store yet. A local directory is made if it is missing when
    /// `create` is set, and refused otherwise.
    pub fn open(
        location: &str,
        options: &[(String, String)],
        create: bool,
    ) -> Result<Self, LakeStoreError> {
        let (url, root, prefix) = location::open(location, options, create)?;
        Ok(Self {
            url,
            root,
            prefix,
            kernel_calls: Arc::new(Semaphore::new(KERNEL_CALLS_AT_ONCE)),
        })
    }

    /// Says what is wrong with a location and its options, without a network or making anything.
    pub fn validate(location: &str, options: &[(String, String)]) -> Result<(), LakeStoreError> {
        location::validate(location, options)
    }

    /// The same lake seen through another store, for example one that injects faults.
    pub fn map_store(
        mut self,
        wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>,
    ) -> Self {
        self.root = wrap(self.root);
        self
    }

    /// The same lake with turns of its own ([`Self::kernel_turn`]), for what must keep nobody else waiting.
    pub fn apart(mut self) -> Self {
        self.kernel_calls = Arc::new(Semaphore::new(KERNEL_CALLS_AT_ONCE));
        self
    }

    /// Where the lake is.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The store whose root is the table at `path` below the lake's root.
    pub fn table_store(&self, path: &str) -> Arc<dyn ObjectStore> {
        Arc::new(PrefixStore::new(
            Arc::clone(&self.root),
            self.table_prefix(path),
        ))
    }

    /// The Delta log of the table at `path`, for readers.
    pub fn table_log(&self, path: &str) -> LogStoreRef {
        let location = self.table_url(path);
        let store = self.table_store(path);
        default_logstore(
            store,
            Arc::clone(&self.root),
            &location,
            &StorageConfig::default(),
        )
    }

    /// Waits for a turn to let the Delta kernel work on a thread of the blocking pool, which is to hold
    /// the turn until it is done.
    ///
    /// The kernel waits on its thread for reads that need other threads of that pool: were all of them
    /// taken by such calls, none would ever end. It opens a thousand log entries at once, too.
    pub async fn kernel_turn(&self) -> Option<OwnedSemaphorePermit> {
        // `None` is of a semaphore that was closed, which nobody does.
        Arc::clone(&self.kernel_calls).acquire_owned().await.ok()
    }

    /// The address of the table at `path`, ending in a slash.
    pub fn table_url(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}/"));
        url
    }

    /// The names of all entities that have a table of changes, in order.
    ///
    /// Folders that are no table names, or hold no Delta log, are passed over.
    pub async fn tables(&self) -> Result<Vec<TableName>, LakeStoreError> {
        let mut candidates = Vec::new();
        for service in self.folders(&self.prefix).await? {
            for entity in self.folders(&service).await? {
                let (Some(service), Some(entity_name)) = (service.filename(), entity.filename())
                else {
                    continue;
                };
                candidates.extend(format!("{service}.{entity_name}").parse::<TableName>());
            }
        }
        // A store that is far takes its time for each.
        let looks = stream::iter(candidates).map(|name| async move {
            let has_log = self.has_log(&name.changes_path()).await?;
            Ok::<_, LakeStoreError>(has_log.then_some(name))
        });
        let looks = looks.buffered(LOOKS_AT_ONCE);
        let found: Vec<Option<TableName>> = looks.try_collect().await?;
        let mut names: Vec<TableName> = found.into_iter().flatten().collect();
        names.sort();
        Ok(names)
    }

    /// Whether there is a Delta table at `path`.
    pub async fn has_log(&self, path: &str) -> Result<bool, LakeStoreError> {
        let log = self.table_prefix(path).join("_delta_log");
        match self.root.list(Some(&log)).next().await {
            None => Ok(false),
            Some(Ok(_)) => Ok(true),
            Some(Err(object_store::Error::NotFound { .. })) => Ok(false),
            Some(Err(source)) => Err(self.unreachable(source)),
        }
    }

    async fn folders(&self, below: &Path) -> Result<Vec<Path>, LakeStoreError> {
        let listing = self.root.list_with_delimiter(Some(below)).await;
        Ok(listing
            .map_err(|source| self.unreachable(source))?
            .common_prefixes)
    }

    fn table_prefix(&self, path: &str) -> Path {
        path.split('/')
            .fold(self.prefix.clone(), |prefix, part| prefix.join(part))
    }

    fn unreachable(&self, source: object_store::Error) -> LakeStoreError {
        LakeStoreError::Unavailable {
            url: self.url.to_string(),
            source: Box::new(source),
        }
    }

    /// Asks the store for one listing, so that a wrong address, key or bucket is said at the start.
    pub async fn check(&self) -> Result<(), LakeStoreError> {
        self.folders(&self.prefix).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    #[tokio::test]
    async fn tables_are_found_without_being_declared() {
        let directory = tempfile::tempdir().unwrap();
        let lake = LakeStore::open(directory.path().to_str().unwrap(), &[], true).unwrap();
        assert!(lake.tables().await.unwrap().is_empty());
        for path in [
            "flights/flight/changes",
            "crew/pilot/changes",
            "_system/dead_letters",
        ] {
            let entry = Path::from("_delta_log/00000000000000000000.json");
            lake.table_store(path)
                .put(&entry, "{}".into())
                .await
                .unwrap();
        }
        let names: Vec<String> = lake
            .tables()
            .await
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["crew.pilot", "flights.flight"]);
        assert!(lake.has_log(DEAD_LETTERS_PATH).await.unwrap());
    }

    #[test]
    fn a_missing_directory_is_refused_unless_it_may_be_made() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("not/there");
        let missing = missing.to_str().unwrap();
        let error = LakeStore::open(missing, &[], false).unwrap_err();
        assert!(error.to_string().contains("not/there"), "{error}");
        LakeStore::open(missing, &[], true).unwrap();
    }
}
