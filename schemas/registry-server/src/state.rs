//! Subjects, versions, ids and levels in memory: what the log's lines come to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::entry::{Deletion, Entry, LevelChange, Registration};
use crate::level::Level;
use crate::problem::Problem;

/// Everything that the registry knows.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By id less one. A schema stays when its last version goes: records may still carry its id.
    schemas: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, u32>,
    subjects: BTreeMap<String, Subject>,
    level: Option<Level>,
    levels: BTreeMap<String, Level>,
    versions: usize,
}

/// The versions of one subject, by number.
pub(crate) type Subject = BTreeMap<u32, Version>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) id: u32,
    /// Deleted, and kept until it is deleted for good.
    pub(crate) is_hidden: bool,
}

/// Which versions a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Those that are not deleted.
    Live,
    /// Those that are not deleted for good.
    All,
    /// The deleted ones only.
    Hidden,
}

impl Scope {
    pub(crate) fn has(self, version: Version) -> bool {
        match self {
            Self::Live => !version.is_hidden,
            Self::All => true,
            Self::Hidden => version.is_hidden,
        }
    }
}

impl State {
    /// The schema of an id that was given.
    pub(crate) fn schema(&self, id: u32) -> Option<&Arc<str>> {
        let position = (id as usize).checked_sub(1)?;
        self.schemas.get(position)
    }

    /// The id of a schema that has one, else the next.
    pub(crate) fn id(&self, schema: &str) -> u32 {
        let known = self.ids.get(schema).copied();
        known.unwrap_or_else(|| self.next_id())
    }

    /// The ids given so far, and the versions that are not deleted for good.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.schemas.len(), self.versions)
    }

    pub(crate) fn subjects(&self) -> &BTreeMap<String, Subject> {
        &self.subjects
    }

    /// A subject with a version in the scope.
    pub(crate) fn subject(&self, subject: &str, scope: Scope) -> Result<&Subject, Problem> {
        let found = self.subjects.get(subject);
        let found = found.filter(|found| found.values().any(|version| scope.has(*version)));
        found.ok_or_else(|| Problem::SubjectNotFound {
            subject: subject.to_owned(),
        })
    }

    /// The number that a subject's next version gets.
    pub(crate) fn next_version(&self, subject: &str) -> u32 {
        let last = self
            .subjects
            .get(subject)
            .and_then(BTreeMap::last_key_value);
        last.map_or(1, |(version, _)| version + 1)
    }

    /// A subject's own level.
    pub(crate) fn level_of(&self, subject: &str) -> Option<Level> {
        self.levels.get(subject).copied()
    }

    /// The level of subjects that have none of their own.
    pub(crate) fn level(&self) -> Level {
        self.level.unwrap_or(Level::DEFAULT)
    }

    /// How many subjects have a level of their own.
    pub(crate) fn levels(&self) -> usize {
        self.levels.len()
    }

    /// Takes an entry, or says why it cannot follow what came before.
    pub(crate) fn take(&mut self, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::Registration(registration) => self.register(registration),
            Entry::Deletion(deletion) => self.delete(deletion),
            Entry::LevelChange(change) => {
                self.set_level(change);
                Ok(())
            }
        }
    }

    fn register(&mut self, registration: Registration) -> Result<(), String> {
        let Registration {
            id,
            subject,
            version,
            schema,
        } = registration;
        let next_id = self.next_id();
        match self.schema(id) {
            Some(known) if **known != *schema => {
                return Err(format!("id {id} has another schema already"));
            }
            None if id != next_id => return Err(format!("id {id} where {next_id} is the next")),
            _ => {}
        }
        let next_version = self.next_version(&subject);
        if version != next_version {
            return Err(format!(
                "version {version} where {next_version} is the next"
            ));
        }
        if id == next_id {
            let schema: Arc<str> = schema.into();
            self.schemas.push(Arc::clone(&schema));
            self.ids.insert(schema, id);
        }
        let is_hidden = false;
        let versions = self.subjects.entry(subject).or_default();
        versions.insert(version, Version { id, is_hidden });
        self.versions += 1;
        Ok(())
    }

    fn delete(&mut self, deletion: Deletion) -> Result<(), String> {
        let subject = self.subjects.get_mut(&deletion.subject);
        let subject = subject.ok_or_else(|| format!("no subject {:?}", deletion.subject))?;
        for number in deletion.deleted {
            match subject.get_mut(&number) {
                Some(version) if version.is_hidden == deletion.permanent => {
                    version.is_hidden = true;
                }
                _ => return Err(format!("version {number} cannot be deleted")),
            }
            if deletion.permanent {
                subject.remove(&number);
                self.versions -= 1;
            }
        }
        if subject.values().all(|version| version.is_hidden) {
            // A subject that comes back starts with the registry's level.
            self.levels.remove(&deletion.subject);
        }
        if subject.is_empty() {
            self.subjects.remove(&deletion.subject);
        }
        Ok(())
    }

    fn set_level(&mut self, change: LevelChange) {
        match (change.of, change.compatibility) {
            (None, level) => self.level = level,
            (Some(subject), Some(level)) => {
                self.levels.insert(subject, level);
            }
            (Some(subject), None) => {
                self.levels.remove(&subject);
            }
        }
    }

    fn next_id(&self) -> u32 {
        u32::try_from(self.schemas.len()).map_or(u32::MAX, |count| count.saturating_add(1))
    }
}
