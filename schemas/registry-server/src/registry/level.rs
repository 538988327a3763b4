//! Compatibility levels, and trying a schema without registering it.

use std::sync::Arc;

use super::registration::{VERSIONS_MAX, check_compatible, check_subject, full};
use super::{Registry, Wanted, find};
use crate::compatibility::{self, Older};
use crate::entry::{Entry, LevelChange};
use crate::level::Level;
use crate::problem::Problem;
use crate::schema::Checked;
use crate::state::Scope;

impl Registry {
    /// The level of subjects that have none of their own.
    pub(crate) fn level(&self) -> Level {
        self.read(|state| state.level())
    }

    /// A subject's own level.
    pub(crate) fn level_of(&self, subject: &str) -> Result<Level, Problem> {
        let level = self.read(|state| state.level_of(subject));
        level.ok_or_else(|| Problem::LevelNotConfigured {
            subject: subject.to_owned(),
        })
    }

    /// Sets the level of a subject, or of the registry; `None` takes it back. Returns the level
    /// before. Blocks until it is on disk.
    pub(crate) fn set_level(
        &self,
        subject: Option<&str>,
        level: Option<Level>,
    ) -> Result<Level, Problem> {
        subject.map_or(Ok(()), check_subject)?;
        let mut log = self.changing();
        let before = match (subject, level) {
            (Some(subject), None) => self.level_of(subject)?,
            _ => self.level(),
        };
        if level.is_some() && self.read(|state| state.levels()) >= VERSIONS_MAX {
            return Err(full("subjects with a level", VERSIONS_MAX));
        }
        let change = LevelChange {
            compatibility: level,
            of: subject.map(str::to_owned),
        };
        self.keep(&mut log, Entry::LevelChange(change))?;
        Ok(before)
    }

    /// Holds a schema against one version of a subject, or against those that its level names:
    /// what stands against it, nothing when it fits.
    pub(crate) fn try_schema(
        &self,
        subject: &str,
        wanted: Option<Wanted>,
        schema: &Checked,
    ) -> Result<Vec<String>, Problem> {
        self.read(|state| {
            let Some(wanted) = wanted else {
                return match check_compatible(state, subject, schema) {
                    Err(Problem::Incompatible { messages, .. }) => Ok(messages),
                    other => other.map(|()| Vec::new()),
                };
            };
            let versions = state.subject(subject, Scope::Live)?;
            let version = find(subject, versions, wanted, Scope::Live)?;
            let id = versions.get(&version).map_or(0, |version| version.id);
            let older = state.schema(id).map(Arc::clone);
            let older = older.map(|schema| Older { version, schema });
            let level = state.level_of(subject).unwrap_or_else(|| state.level());
            let found = compatibility::check(&schema.schema, older, level);
            let found = found.map_err(|reason| Problem::Store { reason })?;
            Ok(found.map(|conflict| conflict.messages).unwrap_or_default())
        })
    }
}
