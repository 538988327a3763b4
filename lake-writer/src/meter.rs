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

    /// That an object is not there, or is there already, is an answer.
    fn store<T>(&self, result: Result<T>) -> Result<T> {
        let failed = result.as_ref().is_err_and(|error| {
            !matches!(
                error,
                Error::NotFound { .. } | Error::AlreadyExists { .. } | Error::Precondition { .. }
            )
        });
        self.count(failed);
        if let Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) = &result {
            self.conflicts.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

/// An object store that is counted. Lists and deletes pass uncounted: the writer's are few.
pub struct MeteredStore {
    inner: Arc<dyn ObjectStore>,
    meter: Arc<Meter>,
}

impl MeteredStore {
    /// Counts what is asked of `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>, meter: Arc<Meter>) -> Self {
        Self { inner, meter }
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
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
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
