//! Which files of changes hold what a table has taken in, told by the log's entries since.
//!
//! A change's place does not tell that for sure: one of an earlier generation may have come late. Its
//! file does. What was in the table of changes at the version covered is covered; a file that was
//! written anew since is what those are that it was made of.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::facts::Facts;
use super::of;
use crate::action::{Action, Add};
use crate::delta_log::{DeltaLog, DeltaLogError};
use crate::maintenance::error::FoldError;
use crate::maintenance::tail::Wanted;

/// The files of a table of changes, by whether a table that covers an earlier version has taken them
/// in.
#[derive(Debug)]
pub(super) struct Origins {
    /// What has come since.
    fresh: BTreeMap<String, Add>,
    /// What was made of files of both kinds.
    mixed: BTreeSet<String>,
    /// What has come since and was made into those.
    merged: Vec<Add>,
    /// Whether the log has all entries since.
    are_told: bool,
}

impl Origins {
    /// Of the files at version `newest`, for a table that covers version `covered`.
    pub(super) async fn since(
        log: &DeltaLog,
        covered: u64,
        newest: u64,
    ) -> Result<Self, DeltaLogError> {
        let mut origins = Self {
            fresh: BTreeMap::new(),
            mixed: BTreeSet::new(),
            merged: Vec::new(),
            are_told: true,
        };
        let mut entries = log.entries(covered.saturating_add(1)..=newest);
        let mut reached = covered;
        while let Some((version, actions)) = entries.try_next().await? {
            origins.pass(actions);
            reached = version;
        }
        origins.are_told = reached >= newest;
        Ok(origins)
    }

    /// Which changes of a file count.
    pub(super) fn wanted(&self, path: &str) -> Wanted {
        match () {
            () if !self.are_told || self.mixed.contains(path) => Wanted::Mixed,
            () if self.fresh.contains_key(path) => Wanted::All,
            () if self.merged.iter().any(|add| add.path == path) => Wanted::All,
            () => Wanted::Settled,
        }
    }

    /// The first forms of what is in mixed files, where changes of generations before this one may
    /// have come late, as far as the store still has them.
    pub(super) async fn merged(
        &self,
        log: &DeltaLog,
        generation: i32,
    ) -> Result<Vec<(String, Facts)>, FoldError> {
        let mut found = Vec::new();
        if !self.are_told {
            return Ok(found);
        }
        let merged = self.merged.iter().cloned().map(of);
        for (path, facts) in merged.filter(|(_, of)| of.generation_min() < generation.into()) {
            match log.store().head(&Path::from(path.as_str())).await {
                Ok(_) => found.push((path, facts)),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    fn pass(&mut self, actions: Vec<Action>) {
        let (mut gone, mut rewritten) = (Vec::new(), Vec::new());
        for action in actions {
            gone.extend(action.remove.map(|remove| remove.path));
            match action.add {
                Some(add) if add.data_change => {
                    self.fresh.insert(add.path.clone(), add);
                }
                add => rewritten.extend(add),
            }
        }
        let (mut fresh, mut mixed, mut settled) = (Vec::new(), 0, 0);
        for path in gone {
            match self.fresh.remove(&path) {
                Some(add) => fresh.push(add),
                None if self.mixed.remove(&path) => mixed += 1,
                None => settled += 1,
            }
        }
        if fresh.is_empty() && mixed == 0 {
            return;
        }
        if settled == 0 && mixed == 0 {
            let fresh = rewritten.into_iter().map(|add| (add.path.clone(), add));
            self.fresh.extend(fresh);
        } else {
            self.mixed.extend(rewritten.into_iter().map(|add| add.path));
            self.merged.extend(fresh);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Remove;

    fn add(path: &str, data_change: bool) -> Action {
        let add = Add {
            path: path.to_owned(),
            partition_values: BTreeMap::new(),
            size: 1,
            modification_time: 0,
            data_change,
            stats: None,
        };
        add.into()
    }

    fn remove(path: &str) -> Action {
        let path = path.to_owned();
        Remove {
            path,
            ..Remove::default()
        }
        .into()
    }

    #[test]
    fn a_file_is_what_those_are_that_it_was_made_of() {
        let mut origins = Origins {
            fresh: BTreeMap::new(),
            mixed: BTreeSet::new(),
            merged: Vec::new(),
            are_told: true,
        };
        for entry in [
            vec![add("new 1", true)],
            vec![add("new 2", true), add("new 3", true)],
            vec![add("new 4", true)],
            vec![remove("new 1"), remove("new 2"), add("new 12", false)],
            vec![remove("old 1"), remove("old 2"), add("old 12", false)],
            vec![remove("old 3"), remove("new 3"), add("both", false)],
            vec![remove("both"), add("both again", false)],
            vec![remove("old 4")],
        ] {
            origins.pass(entry);
        }
        let wanted = |path| origins.wanted(path);
        assert_eq!(
            (wanted("old 5"), wanted("old 12")),
            (Wanted::Settled, Wanted::Settled)
        );
        assert_eq!(
            (wanted("new 4"), wanted("new 12")),
            (Wanted::All, Wanted::All)
        );
        assert_eq!(
            (wanted("both again"), wanted("new 3")),
            (Wanted::Mixed, Wanted::All)
        );
        origins.are_told = false;
        assert_eq!(origins.wanted("old 5"), Wanted::Mixed);
    }
}
