//! Consumer groups: their members, found by name, and the requests that wait for other members.
//!
//! Not tansu's: there the first member has every partition until it leaves. Members are kept in
//! memory, as Kafka has it in effect: after a restart they join again. Committed offsets are
//! tansu's, in the database ([`crate::commits`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Instant;

use tansu_sans_io::ErrorCode;
use tokio::sync::{Mutex, watch};

use crate::group::{Group, Phase};

/// Groups with members at once; those without are not kept.
const GROUPS_MAX: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct Groups(SyncMutex<HashMap<String, Arc<SharedGroup>>>);

/// A group that several connections ask about.
#[derive(Debug)]
pub(crate) struct SharedGroup {
    group: SyncMutex<Group>,
    /// Counts what may let a waiting request be answered.
    changes: watch::Sender<u64>,
    /// Tansu gives up when two commits of a group meet.
    pub(crate) commits: Mutex<()>,
}

impl Groups {
    /// The group of this name, made where it is missing.
    pub(crate) fn group(&self, name: &str) -> Result<Arc<SharedGroup>, ErrorCode> {
        if name.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = groups.get(name) {
            return Ok(Arc::clone(group));
        }
        if groups.len() >= GROUPS_MAX {
            groups.retain(|_, group| {
                Arc::strong_count(group) > 1 || group.with(|group, _| !group.is_unused())
            });
        }
        if groups.len() >= GROUPS_MAX {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let group = Arc::new(SharedGroup::default());
        groups.insert(name.to_owned(), Arc::clone(&group));
        Ok(group)
    }

    /// The groups that have members, with their names.
    pub(crate) fn with_members(&self) -> Vec<(String, Arc<SharedGroup>)> {
        let groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let peopled = groups
            .iter()
            .filter(|(_, group)| group.with(|group, _| group.phase != Phase::Empty));
        peopled
            .map(|(name, group)| (name.clone(), Arc::clone(group)))
            .collect()
    }
}

impl Default for SharedGroup {
    fn default() -> Self {
        Self {
            group: SyncMutex::default(),
            changes: watch::Sender::new(0),
            commits: Mutex::default(),
        }
    }
}

impl SharedGroup {
    /// Asks or changes the group as it is now, and wakes those who wait for what changed.
    pub(crate) fn with<T>(&self, ask: impl FnOnce(&mut Group, Instant) -> T) -> T {
        let mut group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        let before = mark(&group);
        let now = Instant::now();
        group.expire(now);
        let answer = ask(&mut group, now);
        if mark(&group) != before {
            self.changes.send_modify(|count| *count += 1);
        }
        answer
    }

    /// Waits until the group has an answer.
    pub(crate) async fn when<T>(&self, mut ask: impl FnMut(&Group) -> Option<T>) -> T {
        let mut changes = self.changes.subscribe();
        loop {
            let deadline = match self.with(|group, _| ask(group).ok_or(group.deadline())) {
                Ok(answer) => return answer,
                Err(deadline) => deadline,
            };
            let changed = async {
                // The sender is ours: it lives as long as we do.
                let _ = changes.changed().await;
            };
            match deadline {
                Some(deadline) => {
                    let _ = tokio::time::timeout_at(deadline.into(), changed).await;
                }
                None => changed.await,
            }
        }
    }
}

/// What waiting requests wait for, in short.
fn mark(group: &Group) -> (Phase, i32, usize) {
    (group.phase, group.generation, group.members.len())
}
