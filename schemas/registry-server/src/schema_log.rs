//! `schemas.jsonl`: one line of JSON per change, appended and fsynced.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::Error;
use crate::entry::Entry;

const FILE: &str = "schemas.jsonl";
/// The longest log: everything in it is held in memory too.
const LOG_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The file, locked for this process.
#[derive(Debug)]
pub(crate) struct SchemaLog {
    path: PathBuf,
    file: File,
    /// The length of all whole lines.
    length: u64,
    /// After a failure that could not be undone, and after the end, nothing more may be appended.
    is_broken: bool,
}

impl SchemaLog {
    /// Opens or creates the log and reads every entry. A last line without its end was never
    /// answered: it is cut off.
    pub(crate) fn open(directory: &Path) -> Result<(Self, Vec<Entry>), Error> {
        fs::create_dir_all(directory).map_err(|source| unusable(directory, source))?;
        let path = directory.join(FILE);
        let mut file = lock(&path)?;
        // The file's name, too, must outlive a power loss.
        let named = File::open(directory).and_then(|directory| directory.sync_all());
        named.map_err(|source| unusable(directory, source))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(|source| unusable(&path, source))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        let length = whole.map_or(0, |position| position + 1);
        let entries = parse(&path, &bytes[..length])?;
        if length < bytes.len() {
            let torn = bytes.len() - length;
            warn!(path = %path.display(), bytes = torn, "a torn last line is cut off");
            let cut = file.set_len(length as u64).and_then(|()| file.sync_all());
            cut.map_err(|source| unusable(&path, source))?;
        }
        let log = Self {
            path,
            file,
            length: length as u64,
            is_broken: false,
        };
        Ok((log, entries))
    }

    /// Appends an entry. When this returns without an error it outlives a kill and a power loss;
    /// after an error it is not in the log.
    pub(crate) fn append(&mut self, entry: &Entry) -> io::Result<()> {
        if self.is_broken {
            return Err(io::Error::other(
                "the registry has stopped, or an earlier write failed; restart it",
            ));
        }
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        if self.length + line.len() as u64 > LOG_BYTES_MAX {
            return Err(io::Error::other(format!(
                "the registry is full: its log may have {LOG_BYTES_MAX} bytes"
            )));
        }
        match self.write(&line) {
            Ok(()) => {
                self.length += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                let undone = self.file.set_len(self.length);
                self.is_broken = undone.and_then(|()| self.file.sync_all()).is_err();
                Err(error)
            }
        }
    }

    /// Gives the file up: nothing more is appended, and another process may open it. A connection
    /// that its client holds open keeps this value for longer than the registry is served.
    pub(crate) fn close(&mut self) {
        self.is_broken = true;
        if let Err(error) = self.file.unlock() {
            warn!(path = %self.path.display(), %error, "the lock stays until the process ends");
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.length))?;
        self.file.write_all(line)?;
        self.file.sync_data()
    }
}

fn lock(path: &Path) -> Result<File, Error> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(|source| unusable(path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(unusable(path, source)),
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Entry>, Error> {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(position, line)| {
            serde_json::from_slice(line).map_err(|error| Error::Damaged {
                path: path.to_owned(),
                line: position + 1,
                reason: error.to_string(),
            })
        })
        .collect()
}

fn unusable(path: &Path, source: io::Error) -> Error {
    Error::Directory {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Deletion, LevelChange, Registration};
    use crate::level::Level;
    use proptest::prelude::*;

    /// One of each kind in turn.
    fn entry(id: u32) -> Entry {
        let subject = format!("flights-{id}");
        match id % 3 {
            0 => Entry::LevelChange(LevelChange {
                compatibility: id.is_multiple_of(2).then_some(Level::FullTransitive),
                of: Some(subject),
            }),
            1 => Entry::Registration(Registration {
                id,
                subject,
                version: 1,
                schema: "\"string\"".to_owned(),
            }),
            _ => Entry::Deletion(Deletion {
                deleted: vec![id],
                subject,
                permanent: true,
            }),
        }
    }

    #[test]
    fn one_process_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let first = SchemaLog::open(place.path()).unwrap();
        assert!(matches!(
            SchemaLog::open(place.path()),
            Err(Error::InUse { .. })
        ));
        drop(first);
        SchemaLog::open(place.path()).unwrap();
    }

    #[test]
    fn a_whole_line_that_is_wrong_is_not_passed_over() {
        let place = tempfile::tempdir().unwrap();
        let (mut log, _) = SchemaLog::open(place.path()).unwrap();
        log.append(&entry(1)).unwrap();
        log.file.write_all(b"{\"id\":2}\n").unwrap();
        log.file.write_all(b"{\"id\":3").unwrap();
        drop(log);
        let error = SchemaLog::open(place.path()).unwrap_err();
        assert!(matches!(error, Error::Damaged { line: 2, .. }), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn cut_anywhere_it_keeps_the_whole_lines(keep in 0.0..1.0) {
            let place = tempfile::tempdir().unwrap();
            let (mut log, _) = SchemaLog::open(place.path()).unwrap();
            let mut ends = vec![0];
            for id in 1..=3 {
                log.append(&entry(id)).unwrap();
                ends.push(log.length);
            }
            let cut = (ends[3] as f64 * keep) as u64;
            log.file.set_len(cut).unwrap();
            drop(log);
            let (mut log, entries) = SchemaLog::open(place.path()).unwrap();
            let whole = ends.iter().rposition(|end| *end <= cut).unwrap();
            prop_assert_eq!(entries.len(), whole);
            log.append(&entry(9)).unwrap();
            drop(log);
            let (_, entries) = SchemaLog::open(place.path()).unwrap();
            prop_assert_eq!(entries.len(), whole + 1);
            prop_assert_eq!(&entries[whole], &entry(9));
        }
    }
}
