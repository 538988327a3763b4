//! From a location and its options to an object store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, RetryConfig};
use url::Url;

use crate::s3;

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
    /// The store lets a second writer overwrite what a first one has created.
    #[error(
        "lake {url} cannot be written to: the store does not create objects atomically when they \
         are absent ({why}), so two writers could overwrite each other's commits; use S3 itself, \
         MinIO, Google Cloud Storage, Azure or a local disk"
    )]
    NotExclusive {
        /// The lake's address.
        url: String,
        /// What the store did.
        why: String,
    },
}

type Opened = (Url, Arc<dyn ObjectStore>, Path);

pub(crate) fn open(
    location: &str,
    options: &[(String, String)],
    create: bool,
) -> Result<Opened, LakeStoreError> {
    let opened = match place(location, options)? {
        Place::Directory(path) => open_directory(path, create),
        Place::Remote(url, prefix) => {
            remote(&url, options).map(|store| (url.clone(), store, prefix))
        }
    };
    opened.map_err(|why| refuse(location, why))
}

/// What `open` finds wrong without touching a disk or a network.
pub(crate) fn validate(location: &str, options: &[(String, String)]) -> Result<(), LakeStoreError> {
    match place(location, options)? {
        Place::Directory(_) => Ok(()),
        Place::Remote(url, _) => remote(&url, options)
            .map(|_| ())
            .map_err(|why| refuse(location, why)),
    }
}

fn refuse(location: &str, why: String) -> LakeStoreError {
    LakeStoreError::Location {
        location: location.to_owned(),
        why,
    }
}

enum Place {
    Directory(PathBuf),
    Remote(Url, Path),
}

fn place(location: &str, options: &[(String, String)]) -> Result<Place, LakeStoreError> {
    let refuse = |why: &str| refuse(location, why.to_owned());
    let directory = match Url::parse(location) {
        Ok(url) if url.scheme() == "file" => url
            .to_file_path()
            .map_err(|()| refuse("not a local file URL"))?,
        // A single letter would be a drive, and a path has no scheme at all.
        Ok(url) if url.scheme().len() > 1 => {
            if url.password().is_some() || url.query().is_some() {
                // The address is in every message.
                return Err(LakeStoreError::Location {
                    location: format!("{}://…", url.scheme()),
                    why: "credentials do not belong into the address; set them in lake.options"
                        .to_owned(),
                });
            }
            let prefix =
                Path::from_url_path(url.path()).map_err(|error| refuse(&error.to_string()))?;
            return Ok(Place::Remote(url, prefix));
        }
        _ => PathBuf::from(location),
    };
    match options.first() {
        Some((name, _)) => Err(refuse(&format!(
            "a directory takes no lake.options; remove {name}"
        ))),
        None => Ok(Place::Directory(directory)),
    }
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

fn remote(url: &Url, options: &[(String, String)]) -> Result<Arc<dyn ObjectStore>, String> {
    match url.scheme() {
        "s3" | "s3a" => s3::open(url, options),
        "gs" => gcs(url, options),
        "az" | "azure" | "abfs" | "abfss" | "adl" => azure(url, options),
        "memory" => Ok(Arc::new(InMemory::new())),
        other => Err(format!(
            "scheme {other}:// is not supported; use a directory, file://, s3://, gs://, az:// or \
             abfss://"
        )),
    }
}

/// Credentials: a service account (`google_service_account`, `google_service_account_key`), the
/// application default ones, or the machine's own.
fn gcs(url: &Url, options: &[(String, String)]) -> Result<Arc<dyn ObjectStore>, String> {
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_url(url.as_str())
        .with_retry(retry());
    for (name, value) in options {
        let key: GoogleConfigKey = option(name, "Google Cloud Storage")?;
        builder = builder.with_config(key, value);
    }
    builder.build().map(shared).map_err(|error| told(&error))
}

/// Credentials: the account's key, a SAS token, a service principal, a workload's identity, the
/// machine's own or the `az` program's.
fn azure(url: &Url, options: &[(String, String)]) -> Result<Arc<dyn ObjectStore>, String> {
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_url(url.as_str())
        .with_retry(retry());
    for (name, value) in options {
        let key: AzureConfigKey = option(name, "Azure")?;
        builder = builder.with_config(key, value);
    }
    builder.build().map(shared).map_err(|error| told(&error))
}

fn shared(store: impl ObjectStore) -> Arc<dyn ObjectStore> {
    Arc::new(store)
}

/// object_store's name for an option.
pub(crate) fn option<K: std::str::FromStr>(name: &str, store: &str) -> Result<K, String> {
    name.to_ascii_lowercase()
        .parse()
        .map_err(|_| format!("lake.options.{name} is no option of {store}"))
}

/// object_store's words without "Generic … error: ".
pub(crate) fn told(error: &object_store::Error) -> String {
    match error {
        object_store::Error::Generic { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

pub(crate) fn retry() -> RetryConfig {
    RetryConfig {
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIMEOUT,
        ..RetryConfig::default()
    }
}

#[cfg(test)]
mod tests;
