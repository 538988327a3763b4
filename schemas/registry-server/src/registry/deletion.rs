//! Deleting in two steps: first out of sight, then for good.

use super::{Registry, Wanted, find};
use crate::entry::{Deletion, Entry};
use crate::problem::Problem;
use crate::state::Scope;

impl Registry {
    /// Deletes the versions of a subject and returns their numbers. Blocks until it is on disk.
    pub(crate) fn delete_subject(
        &self,
        subject: &str,
        permanent: bool,
    ) -> Result<Vec<u32>, Problem> {
        let mut log = self.changing();
        let deleted = self.read(|state| {
            let versions = state.subject(subject, Scope::All)?;
            let live = versions.values().any(|version| !version.is_hidden);
            let subject = subject.to_owned();
            match (live, permanent) {
                (true, true) => Err(Problem::SubjectNotDeleted { subject }),
                (false, false) => Err(Problem::SubjectDeleted { subject }),
                _ => {
                    let scope = if permanent {
                        Scope::Hidden
                    } else {
                        Scope::Live
                    };
                    let fitting = versions.iter().filter(|(_, version)| scope.has(**version));
                    Ok(fitting.map(|(number, _)| *number).collect::<Vec<_>>())
                }
            }
        })?;
        let deletion = Deletion {
            deleted: deleted.clone(),
            subject: subject.to_owned(),
            permanent,
        };
        self.keep(&mut log, Entry::Deletion(deletion))?;
        Ok(deleted)
    }

    /// Deletes one version and returns its number. Blocks until it is on disk.
    pub(crate) fn delete_version(
        &self,
        subject: &str,
        wanted: Wanted,
        permanent: bool,
    ) -> Result<u32, Problem> {
        let mut log = self.changing();
        let number = self.read(|state| {
            let versions = state.subject(subject, Scope::All)?;
            let scope = match (wanted, permanent) {
                (Wanted::Latest, false) => Scope::Live,
                _ => Scope::All,
            };
            let number = find(subject, versions, wanted, scope)?;
            let is_hidden = versions.get(&number).is_some_and(|found| found.is_hidden);
            let (subject, version) = (subject.to_owned(), number);
            match (is_hidden, permanent) {
                (false, true) => Err(Problem::VersionNotDeleted { subject, version }),
                (true, false) => Err(Problem::VersionDeleted { subject, version }),
                _ => Ok(number),
            }
        })?;
        let deletion = Deletion {
            deleted: vec![number],
            subject: subject.to_owned(),
            permanent,
        };
        self.keep(&mut log, Entry::Deletion(deletion))?;
        Ok(number)
    }
}
