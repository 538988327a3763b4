//! Subjects, versions and ids, in memory and in the log.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock};

use crate::Error;
use crate::problem::Problem;
use crate::schema;
use crate::schema_log::{Entry, SchemaLog};

/// Versions of all subjects together.
const VERSIONS_MAX: usize = 100_000;
/// A Kafka topic's name has up to 249 characters, and `-value` or `-key` follows.
const SUBJECT_BYTES_MAX: usize = 255;

/// The registry. Readers never wait for a registration's fsync.
#[derive(Debug)]
pub(crate) struct Registry {
    log: Mutex<SchemaLog>,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By id less one.
    schemas: Vec<String>,
    ids: HashMap<String, u32>,
    /// The ids of a subject, by version less one.
    subjects: BTreeMap<String, Vec<u32>>,
    versions: usize,
}

/// A version of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) subject: String,
    pub(crate) id: u32,
    pub(crate) version: u32,
    pub(crate) schema: String,
}

/// Which version of a subject is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Latest,
    Version(u32),
}

impl Registry {
    /// Opens the log of a directory and replays it.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        let (log, entries) = SchemaLog::open(directory)?;
        let mut state = State::default();
        for (position, entry) in entries.into_iter().enumerate() {
            if let Err(reason) = state.replay(entry) {
                return Err(Error::Damaged {
                    path: log.path().to_owned(),
                    line: position + 1,
                    reason,
                });
            }
        }
        Ok(Self {
            log: Mutex::new(log),
            state: RwLock::new(state),
        })
    }

    /// Registers a schema under a subject and returns its id; the same again changes nothing.
    /// Blocks until it is on disk.
    pub(crate) fn register(&self, subject: &str, text: &str) -> Result<u32, Problem> {
        check_subject(subject)?;
        let schema = schema::canonical(text)?;
        // Held throughout: registrations happen one after the other.
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match self.read(|state| state.plan(subject, schema))? {
            Plan::Known(id) => return Ok(id),
            Plan::New(entry) => entry,
        };
        log.append(&entry).map_err(|error| Problem::Store {
            reason: error.to_string(),
        })?;
        let id = entry.id;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.apply(entry);
        Ok(id)
    }

    /// The version under which a subject has this very schema.
    pub(crate) fn look_up(&self, subject: &str, text: &str) -> Result<Registered, Problem> {
        let schema = schema::canonical(text)?;
        self.read(|state| {
            let versions = state.subject(subject)?;
            let id = state.ids.get(&schema).ok_or(Problem::SchemaNotFound)?;
            let position = versions.iter().position(|version| version == id);
            let position = position.ok_or(Problem::SchemaNotFound)?;
            Ok(state.registered(subject, versions, position))
        })
    }

    pub(crate) fn subjects(&self) -> Vec<String> {
        self.read(|state| state.subjects.keys().cloned().collect())
    }

    /// The versions of a subject, from 1.
    pub(crate) fn versions(&self, subject: &str) -> Result<Vec<u32>, Problem> {
        self.read(|state| {
            let versions = state.subject(subject)?;
            Ok((1..).take(versions.len()).collect())
        })
    }

    pub(crate) fn version(&self, subject: &str, wanted: Wanted) -> Result<Registered, Problem> {
        self.read(|state| {
            let versions = state.subject(subject)?;
            let version = match wanted {
                Wanted::Latest => versions.len(),
                Wanted::Version(version) => version as usize,
            };
            if version == 0 || version > versions.len() {
                return Err(Problem::VersionNotFound {
                    subject: subject.to_owned(),
                    version: u32::try_from(version).unwrap_or(u32::MAX),
                });
            }
            Ok(state.registered(subject, versions, version - 1))
        })
    }

    /// The text of a schema.
    pub(crate) fn schema(&self, id: u32) -> Result<String, Problem> {
        self.read(|state| {
            let position = (id as usize).checked_sub(1);
            let schema = position.and_then(|position| state.schemas.get(position));
            schema.cloned().ok_or(Problem::SchemaNotFound)
        })
    }

    fn read<T>(&self, of: impl FnOnce(&State) -> T) -> T {
        of(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a registration comes to.
enum Plan {
    Known(u32),
    New(Entry),
}

impl State {
    fn plan(&self, subject: &str, schema: String) -> Result<Plan, Problem> {
        let known = self.ids.get(&schema).copied();
        let versions = self.subjects.get(subject);
        if let (Some(id), Some(versions)) = (known, versions)
            && versions.contains(&id)
        {
            return Ok(Plan::Known(id));
        }
        if self.versions >= VERSIONS_MAX {
            return Err(Problem::Store {
                reason: format!("there are {VERSIONS_MAX} versions already"),
            });
        }
        Ok(Plan::New(Entry {
            id: known.unwrap_or_else(|| self.next_id()),
            subject: subject.to_owned(),
            version: versions.map_or(0, Vec::len) as u32 + 1,
            schema,
        }))
    }

    fn next_id(&self) -> u32 {
        self.schemas.len() as u32 + 1
    }

    /// Takes an entry that follows from this state.
    fn apply(&mut self, entry: Entry) {
        if entry.id == self.next_id() {
            self.schemas.push(entry.schema.clone());
            self.ids.insert(entry.schema, entry.id);
        }
        self.subjects
            .entry(entry.subject)
            .or_default()
            .push(entry.id);
        self.versions += 1;
    }

    /// Takes an entry of the log, or says why it cannot follow what came before.
    fn replay(&mut self, entry: Entry) -> Result<(), String> {
        let next_id = self.next_id();
        let position = (entry.id as usize).checked_sub(1);
        match position.and_then(|position| self.schemas.get(position)) {
            Some(schema) if *schema != entry.schema => {
                return Err(format!("id {} has another schema already", entry.id));
            }
            None if entry.id != next_id => {
                return Err(format!("id {} where {next_id} is the next", entry.id));
            }
            _ => {}
        }
        let next_version = self.subjects.get(&entry.subject).map_or(0, Vec::len) as u32 + 1;
        if entry.version != next_version {
            return Err(format!(
                "version {} where {next_version} is the next",
                entry.version
            ));
        }
        self.apply(entry);
        Ok(())
    }

    fn subject(&self, subject: &str) -> Result<&[u32], Problem> {
        let versions = self.subjects.get(subject).map(Vec::as_slice);
        versions.ok_or_else(|| Problem::SubjectNotFound {
            subject: subject.to_owned(),
        })
    }

    fn registered(&self, subject: &str, versions: &[u32], position: usize) -> Registered {
        let id = versions[position];
        Registered {
            subject: subject.to_owned(),
            id,
            version: position as u32 + 1,
            schema: self.schemas[id as usize - 1].clone(),
        }
    }
}

fn check_subject(subject: &str) -> Result<(), Problem> {
    let reason = if subject.is_empty() {
        "it is empty".to_owned()
    } else if subject.len() > SUBJECT_BYTES_MAX {
        format!("it is longer than {SUBJECT_BYTES_MAX} bytes")
    } else if subject.chars().any(char::is_control) {
        "it has a control character".to_owned()
    } else {
        return Ok(());
    };
    Err(Problem::InvalidSubject { reason })
}
