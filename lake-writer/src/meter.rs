//! Counts what is asked of the lake's store and of the schema registry, and how often that fails.
//!
//! The writer tries again after each failure, so failures are retries.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use schemas::{RegistryError, SchemaId, SchemaRegistry};

/// Requests and failures of one service.
#[derive(Debug, Default)]
pub struct Meter {
    requests: AtomicU64,
    failures: AtomicU64,
    conflicts: AtomicU64,
}

impl Meter {
    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests that were not answered as they must be.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Writes of what must not be there yet that found it there: somebody else was first, or an
    /// attempt of our own had landed though its answer was lost.
    pub fn conflicts(&self) -> u64 {
        self.conflicts.load(Ordering::Relaxed)
    }

    fn count(&self, failed: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.failures
            .fetch_add(u64::from(failed), Ordering::Relaxed);
    }

    fn store<T>(&self, result: Result<T>) -> Result<T> {
        self.count(result.as_ref().is_err_and(is_failure));
        if let Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) = &result {
            self.conflicts.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

/// That an object is not there, or is there already, is an answer.
fn is_failure(error: &Error) -> bool {
    !matches!(
        error,
        Error::NotFound { .. } | Error::AlreadyExists { .. } | Error::Precondition { .. }
    )
}

/// An object store that is counted. A listing is one request, whatever pages it takes. Deletes pass
/// uncounted: the writer has none.
pub struct MeteredStore {
    inner: Arc<dyn ObjectStore>,
    meter: Arc<Meter>,
}

impl MeteredStore {
    /// Counts what is asked of `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>, meter: Arc<Meter>) -> Self {
        Self { inner, meter }
    }

    fn listed(
        &self,
        listing: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.meter.count(false);
        let meter = Arc::clone(&self.meter);
        let count = move |error: &Error| {
            let failed = u64::from(is_failure(error));
            meter.failures.fetch_add(failed, Ordering::Relaxed);
        };
        listing.inspect_err(count).boxed()
    }
}

impl fmt::Debug for MeteredStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Display for MeteredStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl ObjectStore for MeteredStore {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let result = self.inner.put_opts(path, payload, options).await;
        self.meter.store(result)
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let result = self.inner.put_multipart_opts(path, options).await;
        self.meter.store(result)
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let result = self.inner.get_opts(path, options).await;
        self.meter.store(result)
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let result = self.inner.get_ranges(path, ranges).await;
        self.meter.store(result)
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let result = self.inner.list_with_delimiter(prefix).await;
        self.meter.store(result)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let result = self.inner.copy_opts(from, to, options).await;
        self.meter.store(result)
    }
}

/// A schema registry that is counted.
#[derive(Debug)]
pub struct MeteredRegistry {
    inner: Arc<dyn SchemaRegistry>,
    meter: Arc<Meter>,
}

impl MeteredRegistry {
    /// Counts what is asked of `inner`.
    pub fn new(inner: Arc<dyn SchemaRegistry>, meter: Arc<Meter>) -> Self {
        Self { inner, meter }
    }
}

#[async_trait]
impl SchemaRegistry for MeteredRegistry {
    async fn schema_by_id(&self, id: SchemaId) -> std::result::Result<String, RegistryError> {
        let result = self.inner.schema_by_id(id).await;
        let failed = result.as_ref().is_err_and(RegistryError::is_passing);
        self.meter.count(failed);
        result
    }

    async fn register(
        &self,
        subject: &str,
        schema: &str,
    ) -> std::result::Result<SchemaId, RegistryError> {
        let result = self.inner.register(subject, schema).await;
        self.meter.count(result.is_err());
        result
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn every_question_to_the_store_is_counted_once() {
        let meter = Arc::new(Meter::default());
        let store = MeteredStore::new(Arc::new(InMemory::new()), Arc::clone(&meter));
        for name in ["a", "b"] {
            store.put(&Path::from(name), "x".into()).await.unwrap();
        }
        assert_eq!(store.list(None).count().await, 2);
        let rest = store.list_with_offset(None, &Path::from("a"));
        assert_eq!(rest.count().await, 1);
        store.list_with_delimiter(None).await.unwrap();
        assert_eq!(meter.requests(), 5);
        // That something is not there is an answer.
        assert!(store.get(&Path::from("c")).await.is_err());
        let (path, create) = (Path::from("a"), object_store::PutMode::Create);
        let again = store.put_opts(&path, "x".into(), create.into());
        assert!(again.await.is_err());
        let counts = (meter.requests(), meter.failures(), meter.conflicts());
        assert_eq!(counts, (7, 0, 1));
    }
}
