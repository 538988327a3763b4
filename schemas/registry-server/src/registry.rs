//! The registry's answers: questions to the state, and changes that go to the log first.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::Error;
use crate::entry::Entry;
use crate::problem::Problem;
use crate::schema_log::SchemaLog;
use crate::state::{Scope, State, Subject};

mod deletion;
mod level;
mod registration;

/// The registry. Readers never wait for a change's fsync.
#[derive(Debug)]
pub(crate) struct Registry {
    log: Mutex<SchemaLog>,
    state: RwLock<State>,
}

/// A version of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) subject: String,
    pub(crate) id: u32,
    pub(crate) version: u32,
    pub(crate) schema: Arc<str>,
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
            if let Err(reason) = state.take(entry) {
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

    /// Refuses changes from here on and lets the directory go.
    pub(crate) fn close(&self) {
        self.changing().close();
    }

    /// The newest version under which a subject has this very schema.
    pub(crate) fn look_up(
        &self,
        subject: &str,
        schema: &str,
        scope: Scope,
    ) -> Result<Registered, Problem> {
        self.read(|state| {
            let versions = state.subject(subject, scope)?;
            let id = state.id(schema);
            let mut found = versions.iter().rev();
            let found = found.find(|(_, version)| version.id == id && scope.has(**version));
            let (version, _) = found.ok_or(Problem::SchemaNotFound)?;
            registered(state, subject, versions, *version)
        })
    }

    /// Subjects with a version in the scope.
    pub(crate) fn subjects(&self, scope: Scope) -> Vec<String> {
        self.read(|state| {
            let subjects = state.subjects().iter();
            let fitting = subjects.filter(|(_, subject)| {
                let mut versions = subject.values();
                match scope {
                    Scope::Hidden => versions.all(|version| scope.has(*version)),
                    _ => versions.any(|version| scope.has(*version)),
                }
            });
            fitting.map(|(name, _)| name.clone()).collect()
        })
    }

    /// The numbers of a subject's versions.
    pub(crate) fn versions(&self, subject: &str, scope: Scope) -> Result<Vec<u32>, Problem> {
        self.read(|state| {
            let versions = state.subject(subject, scope)?.iter();
            let fitting = versions.filter(|(_, version)| scope.has(**version));
            Ok(fitting.map(|(number, _)| *number).collect())
        })
    }

    pub(crate) fn version(
        &self,
        subject: &str,
        wanted: Wanted,
        scope: Scope,
    ) -> Result<Registered, Problem> {
        self.read(|state| {
            let versions = state.subject(subject, scope)?;
            let version = find(subject, versions, wanted, scope)?;
            registered(state, subject, versions, version)
        })
    }

    /// The text of a schema.
    pub(crate) fn schema(&self, id: u32) -> Result<Arc<str>, Problem> {
        let schema = self.read(|state| state.schema(id).map(Arc::clone));
        schema.ok_or(Problem::SchemaNotFound)
    }

    /// Where a schema is registered: subjects and versions.
    pub(crate) fn uses(&self, id: u32, scope: Scope) -> Result<Vec<(String, u32)>, Problem> {
        self.schema(id)?;
        Ok(self.read(|state| {
            let mut uses = Vec::new();
            for (subject, versions) in state.subjects() {
                let fitting = versions
                    .iter()
                    .filter(|(_, version)| version.id == id && scope.has(**version));
                uses.extend(fitting.map(|(number, _)| (subject.clone(), *number)));
            }
            uses
        }))
    }

    fn read<T>(&self, of: impl FnOnce(&State) -> T) -> T {
        of(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn changing(&self) -> MutexGuard<'_, SchemaLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a change that follows from the state: on disk first, then for everybody.
    fn keep(&self, log: &mut SchemaLog, entry: Entry) -> Result<(), Problem> {
        let failed = |reason: String| Problem::Store { reason };
        log.append(&entry)
            .map_err(|error| failed(error.to_string()))?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.take(entry).map_err(failed)
    }
}

fn registered(
    state: &State,
    subject: &str,
    versions: &Subject,
    number: u32,
) -> Result<Registered, Problem> {
    let id = versions.get(&number).map_or(0, |version| version.id);
    let schema = state.schema(id).map(Arc::clone);
    Ok(Registered {
        subject: subject.to_owned(),
        id,
        version: number,
        schema: schema.ok_or(Problem::SchemaNotFound)?,
    })
}

/// The number of the wanted version, if the scope has it.
fn find(subject: &str, versions: &Subject, wanted: Wanted, scope: Scope) -> Result<u32, Problem> {
    let mut fitting = versions.iter().rev();
    let found = fitting.find(|(number, version)| {
        let is_wanted = match wanted {
            Wanted::Latest => true,
            Wanted::Version(wanted) => **number == wanted,
        };
        is_wanted && scope.has(**version)
    });
    let number = found.map(|(number, _)| *number);
    number.ok_or_else(|| Problem::VersionNotFound {
        subject: subject.to_owned(),
        version: match wanted {
            Wanted::Latest => "latest".to_owned(),
            Wanted::Version(version) => version.to_string(),
        },
    })
}
