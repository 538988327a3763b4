//! A table under care: its log, its fence, and how replacements of its files end.

use std::collections::BTreeMap;
use std::sync::Arc;

use lake_store::LakeStore;

use super::error::{MaintenanceError, PUT_BACK};
use crate::action::{Add, Protocol, Remove};
use crate::app_id;
use crate::clock::Clock;
use crate::commit::{Base, Draft, Refusal, Rework, Step, replace};
use crate::delta_log::{DeltaLog, DeltaLogError, Inventory, TableState};
use crate::entropy::Entropy;
use crate::layout;

/// The folder of an entity's period snapshots, which are never touched.
const PERIODS: &str = "periods";

/// How an attempt to replace files ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Landed {
    /// It is this version.
    Version(u64),
    /// Somebody else changed what it was to change. Nothing of it is in the table.
    Yielded(String),
}

/// Why files take the place of others; the operation in the table's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// The same rows in other files.
    Optimize,
    /// Rows are deleted.
    Delete,
    /// Only a property of the table changes.
    SetProperties,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Optimize => "OPTIMIZE",
            Self::Delete => "DELETE",
            Self::SetProperties => "SET TBLPROPERTIES",
        }
    }
}

/// What takes the place of which files.
pub(super) struct Swap {
    pub(super) operation: Operation,
    pub(super) removed: Vec<Add>,
    pub(super) added: Vec<Add>,
    /// The table's properties from now on, if they change.
    pub(super) properties: Option<BTreeMap<String, String>>,
}

#[derive(Debug)]
pub(super) struct MaintainedTable {
    /// The table's path below the lake's root.
    pub(super) path: String,
    pub(super) log: DeltaLog,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<Entropy>,
}

impl MaintainedTable {
    pub(super) fn new(
        lake: &LakeStore,
        path: String,
        clock: Arc<dyn Clock>,
        entropy: Arc<Entropy>,
    ) -> Self {
        Self {
            log: DeltaLog::new(lake.table_store(&path)),
            path,
            clock,
            entropy,
        }
    }

    /// Everything that the newest version says; `None` if there is no table.
    ///
    /// # Errors
    /// As [`Self::check_state`] has it, too.
    pub(super) async fn inventory(&self) -> Result<Option<Inventory>, MaintenanceError> {
        self.checked(self.log.inventory().await)
    }

    /// The same; `left` is told of files that left the table, as [`DeltaLog::inventory_and_removals`]
    /// does.
    ///
    /// # Errors
    /// As [`Self::inventory`].
    pub(super) async fn inventory_and_removals(
        &self,
        left: impl FnMut(Remove),
    ) -> Result<Option<Inventory>, MaintenanceError> {
        self.checked(self.log.inventory_and_removals(left).await)
    }

    fn checked(
        &self,
        found: Result<Option<Inventory>, DeltaLogError>,
    ) -> Result<Option<Inventory>, MaintenanceError> {
        let found = found.map_err(|error| MaintenanceError::of_log(&self.path, &error))?;
        if let Some(found) = &found {
            self.check_state(&found.state)?;
        }
        Ok(found)
    }

    /// Refuses a table of which another program, or another version of this one, asks more than is known
    /// here: what was deleted does not come back.
    pub(super) fn check_state(&self, state: &TableState) -> Result<(), MaintenanceError> {
        self.check_protocol(&state.protocol)?;
        layout::check_format(&state.metadata)
            .map_err(|why| self.error(format!("{why}; nothing of it is compacted or deleted")))
    }

    /// The log of another protocol may say of files what is not understood here: that one is in use by
    /// a deletion vector, that no entry may go.
    fn check_protocol(&self, protocol: &Protocol) -> Result<(), MaintenanceError> {
        if *protocol == Protocol::PLAIN {
            return Ok(());
        }
        let what = match self.path.rsplit('/').next() {
            Some("current") => PUT_BACK,
            _ => {
                "switch it off in that program (Spark: ALTER TABLE … DROP FEATURE … TRUNCATE \
                 HISTORY), or put the table back as it was before"
            }
        };
        Err(self.error(format!(
            "its log asks for {protocol}, where this program writes {plain}: another program has \
             switched a feature on; nothing is compacted or deleted, for files may be in use in ways \
             that are not known here; {what}",
            plain = Protocol::PLAIN
        )))
    }

    /// Refuses tables whose files must stay for ever, and settings that have problems.
    pub(super) fn check(
        &self,
        validate: impl FnOnce(&mut Vec<String>),
    ) -> Result<(), MaintenanceError> {
        if self.path.split('/').nth(2) == Some(PERIODS) {
            let why = "a period snapshot is immutable and is never cleaned up";
            return Err(self.error(why));
        }
        let mut problems = Vec::new();
        validate(&mut problems);
        match problems.is_empty() {
            true => Ok(()),
            false => Err(MaintenanceError::Setting(problems.join("; "))),
        }
    }

    /// Commits that files leave and others take their place, unless somebody else came first.
    pub(super) async fn swap(
        &self,
        base: &mut Base,
        swap: Swap,
    ) -> Result<Landed, MaintenanceError> {
        let now_us = self.clock.now_us();
        let data_change = swap.operation == Operation::Delete;
        let removed = swap.removed.into_iter();
        let removed = removed.map(|file| Remove::of(file, now_us / 1000, data_change));
        let files = swap.added.into_iter().map(|file| Add {
            data_change,
            ..file
        });
        // Keeps those apart who maintain a table.
        let app_id = app_id::maintenance(&self.path);
        let from = base.state.txns.get(&app_id).copied();
        let layout = base.state.metadata.clone();
        let mut metadata = layout.clone();
        if let Some(properties) = swap.properties {
            metadata.configuration = properties;
        }
        let draft = Draft {
            steps: vec![Step {
                app_id,
                from,
                to: from.unwrap_or(0) + 1,
            }],
            further: Vec::new(),
            files: files.collect(),
            rework: Some(Rework {
                operation: swap.operation.name(),
                metadata,
                removed: removed.collect(),
                after: None,
            }),
            layout,
        };
        let (clock, entropy) = (self.clock.as_ref(), self.entropy.as_ref());
        match replace(&self.log, base, &draft, clock, entropy).await {
            Ok(version) => Ok(Landed::Version(version)),
            Err(Refusal::Fenced(_)) => Ok(Landed::Yielded(
                "somebody else maintains the table".to_owned(),
            )),
            Err(Refusal::LayoutChanged) => Ok(Landed::Yielded(
                "the table's columns or properties were changed meanwhile".to_owned(),
            )),
            Err(Refusal::Overtaken) => Ok(Landed::Yielded(
                "files were removed from the table meanwhile".to_owned(),
            )),
            Err(Refusal::Unreadable(why)) => Err(self.error(why)),
            Err(Refusal::NoAnswer(why)) => Err(MaintenanceError::Store {
                table: self.path.clone(),
                why,
            }),
            Err(Refusal::NotEncodable(why)) => Err(MaintenanceError::Internal(why)),
        }
    }

    pub(super) fn error(&self, why: impl Into<String>) -> MaintenanceError {
        MaintenanceError::of_table(&self.path, why)
    }

    pub(super) fn store_error(&self, source: object_store::Error) -> MaintenanceError {
        MaintenanceError::of_store(&self.path, &source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::maintenance::fixture::Fixture;

    #[tokio::test]
    async fn what_is_not_known_here_is_refused_by_name() {
        let fixture = Fixture::new(Fixture::in_memory(), 1).await;
        let checked = |path: &str, state: &TableState| {
            let (clock, entropy) = (Arc::new(SystemClock), Arc::clone(&fixture.entropy));
            MaintainedTable::new(&fixture.lake, path.to_owned(), clock, entropy).check_state(state)
        };
        let mut state = fixture.state.clone();
        checked("s/e/current", &state).unwrap();
        state.protocol.min_writer_version = 7;
        let error = checked("s/e/current", &state).unwrap_err().to_string();
        assert!(
            error.contains("s/e/current") && error.contains("lakehead.changes_since"),
            "{error}"
        );
        let error = checked("s/e/changes", &state).unwrap_err().to_string();
        assert!(error.contains("switch it off"), "{error}");
        state.protocol = Protocol::PLAIN;
        let properties = &mut state.metadata.configuration;
        properties.insert("lakehead.format".to_owned(), "2".to_owned());
        let error = checked("s/e/changes", &state).unwrap_err().to_string();
        assert!(
            error.contains("s/e/changes") && error.contains("format is 2"),
            "{error}"
        );
        // Tables of others say nothing of it.
        state.metadata.configuration.clear();
        checked("s/e/changes", &state).unwrap();
    }
}
