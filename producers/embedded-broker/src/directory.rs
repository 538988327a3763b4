//! The broker's directory: one process at a time, and the few facts that outlive it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::Error;

const LOCK: &str = "lock";
const CLUSTER_ID: &str = "cluster_id";
const PORT: &str = "port";
const RECORDS: &str = "records";

/// A directory locked for this process. The lock goes with the value, and with the process: the
/// system releases it after a SIGKILL too.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Creates the directory where missing and locks it.
    pub(crate) fn lock(path: &Path) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(|source| unusable(path, source))?;
        let lock_path = path.join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|source| unusable(&lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse {
                directory: path.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(unusable(&lock_path, source)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The sub-directory of SlateDB's files, created where missing.
    pub(crate) fn records(&self) -> Result<PathBuf, Error> {
        let path = self.path.join(RECORDS);
        fs::create_dir_all(&path).map_err(|source| unusable(&path, source))?;
        Ok(path)
    }

    /// The cluster's id: made once, the same after every restart.
    pub(crate) fn cluster_id(&self) -> Result<String, Error> {
        let path = self.path.join(CLUSTER_ID);
        if let Some(found) = read(&path)? {
            return match Uuid::parse_str(&found) {
                Ok(id) => Ok(id.to_string()),
                Err(_) => Err(Error::Damaged {
                    path,
                    found,
                    expected: "a cluster id (a UUID)",
                }),
            };
        }
        let id = Uuid::new_v4().to_string();
        write(&path, &id)?;
        Ok(id)
    }

    /// The port of the last start, if there was one.
    pub(crate) fn port(&self) -> Result<Option<u16>, Error> {
        let path = self.path.join(PORT);
        let Some(found) = read(&path)? else {
            return Ok(None);
        };
        match found.parse() {
            Ok(port) => Ok(Some(port)),
            Err(_) => Err(Error::Damaged {
                path,
                found,
                expected: "a port number",
            }),
        }
    }

    /// Keeps the port for the next start.
    pub(crate) fn keep_port(&self, port: u16) -> Result<(), Error> {
        write(&self.path.join(PORT), &port.to_string())
    }
}

fn unusable(path: &Path, source: io::Error) -> Error {
    Error::Directory {
        path: path.to_owned(),
        source,
    }
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(unusable(path, source)),
    }
}

/// Written beside and renamed, so that a kill leaves the old content or the new, never half.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let beside = path.with_extension("new");
    let written = File::create(&beside)
        .and_then(|mut file| {
            writeln!(file, "{text}")?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| unusable(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_locked_once() {
        let place = tempfile::tempdir().unwrap();
        let first = Directory::lock(place.path()).unwrap();
        assert!(matches!(
            Directory::lock(place.path()),
            Err(Error::InUse { .. })
        ));
        drop(first);
        Directory::lock(place.path()).unwrap();
    }

    #[test]
    fn identity_outlives_the_process() {
        let place = tempfile::tempdir().unwrap();
        let first = Directory::lock(place.path()).unwrap();
        let id = first.cluster_id().unwrap();
        assert_eq!(first.port().unwrap(), None);
        first.keep_port(19092).unwrap();
        drop(first);
        let second = Directory::lock(place.path()).unwrap();
        assert_eq!(second.cluster_id().unwrap(), id);
        assert_eq!(second.port().unwrap(), Some(19092));
    }

    #[test]
    fn a_damaged_file_is_named() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::lock(place.path()).unwrap();
        fs::write(place.path().join(PORT), "many").unwrap();
        let error = directory.port().unwrap_err().to_string();
        assert!(error.contains("port") && error.contains("many"), "{error}");
    }
}
