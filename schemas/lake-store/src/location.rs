//! From a location and its options to an object store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, RetryConfig};
use url::Url;

/// Longest time object_store tries again by itself. Commits are read back after any error, so a
/// second attempt inside the store is safe; waiting for minutes inside it would only hide an outage.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// Attempts object_store makes by itself.
const RETRIES_MAX: usize = 5;

/// Why a lake cannot be opened or listed.
#[derive(Debug, thiserror::Error)]
pub enum LakeStoreError {
    /// The location is not one we can open.
    #[error("lake {location:?} cannot be opened: {why}")]
    Location {
        /// The location as it was given.
        location: String,
        /// What is wrong with it.
        why: String,
    },
    /// The store does not answer.
    #[error(
        "lake {url} cannot be reached; check the address, the credentials and that the bucket exists"
    )]
    Unavailable {
        /// The lake's address.
        url: String,
        /// The store's error.
        source: Box<object_store::Error>,
    },
}

type Opened = (Url, Arc<dyn ObjectStore>, Path);

pub(crate) fn open(
    location: &str,
    options: &[(String, String)],
    create: bool,
) -> Result<Opened, LakeStoreError> {
    let refuse = |why: String| LakeStoreError::Location {
        location: location.to_owned(),
        why,
    };
    let url = match Url::parse(location) {
        Ok(url) if url.scheme() == "file" => {
            let path = url
                .to_file_path()
                .map_err(|()| refuse("not a local file URL".into()))?;
            return open_directory(path, create).map_err(refuse);
        }
        // A single letter would be a drive, and a path has no scheme at all.
        Ok(url) if url.scheme().len() > 1 => url,
        _ => return open_directory(PathBuf::from(location), create).map_err(refuse),
    };
    let prefix = Path::from_url_path(url.path()).map_err(|error| refuse(error.to_string()))?;
    let store: Arc<dyn ObjectStore> = match url.scheme() {
        "s3" | "s3a" => {
            Arc::new(open_s3(&url, options).map_err(|error| refuse(error.to_string()))?)
        }
        "memory" => Arc::new(InMemory::new()),
        other => {
            return Err(refuse(format!(
                "scheme {other}:// is not supported; use a directory, file:// or s3://"
            )));
        }
    };
    Ok((url, store, prefix))
}

fn open_directory(path: PathBuf, create: bool) -> Result<Opened, String> {
    if create {
        std::fs::create_dir_all(&path).map_err(|error| error.to_string())?;
    }
    let path = path
        .canonicalize()
        .map_err(|error| format!("{error}; there is no lake at {}", path.display()))?;
    if !path.is_dir() {
        return Err("it is no directory".to_owned());
    }
    let url = Url::from_directory_path(&path).map_err(|()| "not an absolute path".to_owned())?;
    let prefix = Path::from_absolute_path(&path).map_err(|error| error.to_string())?;
    Ok((url, Arc::new(LocalFileSystem::new()), prefix))
}

fn open_s3(url: &Url, options: &[(String, String)]) -> object_store::Result<impl ObjectStore> {
    let retry = RetryConfig {
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIMEOUT,
        ..RetryConfig::default()
    };
    let mut builder = AmazonS3Builder::from_env()
        .with_url(url.as_str())
        .with_retry(retry);
    for (name, value) in options {
        builder = builder.with_config(name.to_ascii_lowercase().parse()?, value);
    }
    builder.build()
}
