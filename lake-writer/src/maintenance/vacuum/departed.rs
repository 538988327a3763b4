//! The data files that left a table, in little memory.
//!
//! A week of a busy table has hundreds of thousands of them. Of those that stay in the store whatever the
//! table asks for, a hash of the path is kept: where two paths have one, a file stays that could go. What
//! may go is kept whole, for a hash must never be why something is deleted: by its folder, which many
//! files share, and the number in its name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use object_store::path::Path;
use uuid::Uuid;

use crate::action::Remove;
use crate::data_file;

/// Files that left a table. Takes, by calculation, 10 to 20 bytes for each recent one and 30 to 60 for each earlier one.
#[derive(Debug)]
pub(super) struct Departed {
    /// From when on they are recent, in milliseconds since 1970-01-01T00:00Z.
    recent_from_ms: i64,
    /// Hashes of the paths of those that are recent, or of which nobody knows when they left.
    recent: HashSet<u64>,
    /// When the others left, in milliseconds as above, by folder and name. The latest time counts.
    earlier: BTreeMap<String, HashMap<Uuid, i64>>,
}

impl Departed {
    /// None yet. Those that leave at this time, in milliseconds since 1970-01-01T00:00Z, or later will
    /// be needed for sure.
    pub(super) fn recent_from(recent_from_ms: i64) -> Self {
        Self {
            recent_from_ms,
            recent: HashSet::new(),
            earlier: BTreeMap::new(),
        }
    }

    /// Takes in that a file left, in whatever order they did. Twice is like once.
    pub(super) fn take(&mut self, remove: &Remove) {
        let path = remove.path.as_str();
        let left_ms = remove.deletion_timestamp;
        let left_ms = left_ms.filter(|left_ms| *left_ms < self.recent_from_ms);
        // What has no name of ours is never deleted.
        let earlier = left_ms.and_then(|left_ms| Some((left_ms, named(path)?)));
        let Some((left_ms, (folder, name))) = earlier else {
            self.recent.insert(hash(path));
            return;
        };
        let folder = self.earlier.entry(folder.to_owned()).or_default();
        let latest_ms = folder.entry(name).or_insert(left_ms);
        *latest_ms = left_ms.max(*latest_ms);
    }

    /// Whether the file at this path is needed, if those are that left at `oldest_ms` (milliseconds
    /// since 1970-01-01T00:00Z) or later; `None` if nothing is known of its leaving the table.
    pub(super) fn is_needed(&self, path: &str, oldest_ms: i64) -> Option<bool> {
        if self.recent.contains(&hash(path)) {
            return Some(true);
        }
        let (folder, name) = named(path)?;
        let left_ms = self.earlier.get(folder)?.get(&name)?;
        Some(*left_ms >= oldest_ms)
    }
}

/// A number for a path. Others may have the same one.
pub(super) fn hash(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

/// The folder and the name of a path that our writers give. No two paths have the same.
fn named(path: &str) -> Option<(&str, Uuid)> {
    let name = data_file::name_of(&Path::parse(path).ok()?)?;
    // What differs in anything else, like capitals, is another path.
    let file = data_file::path_of(name, &BTreeMap::new());
    let file: &str = file.as_ref();
    Some((path.strip_suffix(file)?, name))
}
