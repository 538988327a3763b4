//! An object store that misbehaves on purpose; in tests and in the `faults` build only.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// How long a slow put takes.
const SLOW_BY: Duration = Duration::from_secs(7);

/// How long a put that timed out is on its way.
const LATE_BY: Duration = Duration::from_millis(300);

/// What happens to one put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It works.
    None,
    /// It does not happen, and an error says so.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the simulation"))]
    FailBefore,
    /// It lands, and an error is reported.
    OkThenError,
    /// It lands, and the store's own second attempt finds it there (500, then 412).
    OkThenExists,
    /// It does not happen, and the store says that somebody else's did (409).
    ExistsFalsely,
    /// An error is reported now, and it lands later.
    LandsLate,
    /// It works, and takes long.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the simulation"))]
    Slow,
}

type Decide = dyn Fn(&Path) -> Fault + Send + Sync;

#[cfg(test)]
type Missed = dyn Fn(&Path) + Send + Sync;

/// Passes everything on to the store inside, except what `decide` says of a put.
pub(crate) struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    decide: Box<Decide>,
    #[cfg(test)]
    missed: Option<Box<Missed>>,
}

impl FaultStore {
    pub(crate) fn new(
        inner: Arc<dyn ObjectStore>,
        decide: impl Fn(&Path) -> Fault + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner,
            decide: Box::new(decide),
            #[cfg(test)]
            missed: None,
        }
    }

    /// A store without faults in which something happens after every get that found nothing.
    #[cfg(test)]
    pub(crate) fn after_misses(
        inner: Arc<dyn ObjectStore>,
        missed: impl Fn(&Path) + Send + Sync + 'static,
    ) -> Self {
        Self {
            missed: Some(Box::new(missed)),
            ..Self::new(inner, |_| Fault::None)
        }
    }
}

/// What the fail points of the environment say of a put: `commit_put` for commit entries, and
/// `checkpoint_during` dies between a checkpoint and the hint to it.
#[cfg(feature = "faults")]
pub(crate) fn armed(path: &Path) -> Fault {
    let file = path.filename().unwrap_or_default();
    if file == "_last_checkpoint" {
        fail::fail_point!("checkpoint_during", |_| {
            tracing::error!(
                fail_point = "checkpoint_during",
                "fail point reached: aborting"
            );
            std::process::abort()
        });
    }
    // Where copies begin is committed before anything else; what is armed is meant for tables.
    let is_of_table = !path.as_ref().contains(lake_store::STARTS_PATH);
    if is_of_table && path.as_ref().contains("_delta_log/") && file.ends_with(".json") {
        fail::fail_point!("commit_put", |what| match what.as_deref() {
            Some("ok_then_error") => Fault::OkThenError,
            Some("ok_then_exists") => Fault::OkThenExists,
            Some("conflict_409") => Fault::ExistsFalsely,
            Some("timeout") => Fault::LandsLate,
            _ => Fault::None,
        });
    }
    Fault::None
}

fn injected() -> Error {
    Error::Generic {
        store: "fault",
        source: "injected fault".into(),
    }
}

fn exists(path: &Path) -> Error {
    Error::AlreadyExists {
        path: path.to_string(),
        source: "injected fault".into(),
    }
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({:?})", self.inner)
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        match (self.decide)(path) {
            Fault::None => self.inner.put_opts(path, payload, options).await,
            Fault::FailBefore => Err(injected()),
            Fault::Slow => {
                tokio::time::sleep(SLOW_BY).await;
                self.inner.put_opts(path, payload, options).await
            }
            Fault::ExistsFalsely => Err(exists(path)),
            Fault::OkThenError => {
                self.inner.put_opts(path, payload, options).await?;
                Err(injected())
            }
            Fault::OkThenExists => {
                self.inner.put_opts(path, payload, options).await?;
                Err(exists(path))
            }
            Fault::LandsLate => {
                let (inner, path) = (Arc::clone(&self.inner), path.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(LATE_BY).await;
                    // Lost if somebody else took the place meanwhile: that is the point.
                    inner.put_opts(&path, payload, options).await.ok();
                });
                Err(injected())
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let found = self.inner.get_opts(path, options).await;
        #[cfg(test)]
        if let (Some(missed), Err(Error::NotFound { .. })) = (&self.missed, &found) {
            missed(path);
        }
        found
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
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
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
