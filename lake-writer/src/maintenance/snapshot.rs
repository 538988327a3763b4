//! One revision of a period snapshot: a Delta table of one version, never changed.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use lake_store::LakeStore;
use schemas::TableName;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::error::MaintenanceError;
use super::period::Period;
use super::reached::Reached;
use crate::action::{self, Action, Add, CommitInfo, Metadata, Protocol, Txn};

/// The table property that says what a snapshot is of.
pub(crate) const SNAPSHOT_PROPERTY: &str = "lakehead.snapshot";

/// A revision of a period snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The entity.
    pub table: TableName,
    /// The period.
    pub period: Period,
    /// Of the period, from 1 on.
    pub revision: i64,
    /// The moment that its rows are of, exclusive, in microseconds since 1970-01-01T00:00Z.
    pub until_us: i64,
    /// Whose calendar the period is of.
    pub time_zone: String,
    /// The version of the changes that it was made of.
    pub changes_version: u64,
    /// The number of that version's entry, if it is told.
    pub(crate) changes_commit: Option<i64>,
    /// How many rows it has.
    pub rows: usize,
    /// When it was made, in microseconds since 1970-01-01T00:00Z.
    pub made_at_us: i64,
    /// Which changes its rows are.
    pub(crate) fingerprint: i64,
}

/// Where all snapshots of an entity are below the lake's root.
pub(crate) fn folder(table: &TableName) -> String {
    format!("{}/{}/periods", table.service(), table.entity())
}

/// What a snapshot says of itself in its properties.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    period: String,
    revision: i64,
    until_us: i64,
    time_zone: String,
    changes_version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changes_commit: Option<i64>,
    rows: usize,
    made_at_us: i64,
    fingerprint: i64,
}

impl Snapshot {
    /// The one version of its table.
    pub(crate) const VERSION: u64 = 0;

    /// Whether a period has a snapshot, of whatever revision.
    ///
    /// # Errors
    /// The lake cannot be listed.
    pub async fn is_any_there(
        lake: &LakeStore,
        table: &TableName,
        period: Period,
    ) -> Result<bool, MaintenanceError> {
        let store = lake.table_store(&format!("{}/{period}", folder(table)));
        let mut objects = store.list(None);
        loop {
            match objects.try_next().await {
                // Files without a log are what was left of one that was not finished.
                Ok(Some(object)) if object.location.as_ref().contains("/_delta_log/") => {
                    return Ok(true);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(object_store::Error::NotFound { .. }) => return Ok(false),
                Err(error) => return Err(MaintenanceError::of_store(&table.to_string(), &error)),
            }
        }
    }

    /// Where it is below the lake's root.
    pub fn path(&self) -> String {
        self.table
            .period_path(&self.period.to_string(), self.revision)
    }

    /// The changes that it was made of.
    pub(crate) fn reached(&self) -> Reached {
        Reached {
            version: self.changes_version,
            commit: self.changes_commit,
        }
    }

    /// What the table at a snapshot's place says of itself.
    pub(crate) fn of_table(table: &TableName, metadata: &Metadata) -> Option<Self> {
        let told = metadata.configuration.get(SNAPSHOT_PROPERTY)?;
        let told: Told = serde_json::from_str(told).ok()?;
        Some(Self {
            table: table.clone(),
            period: told.period.parse().ok()?,
            revision: told.revision,
            until_us: told.until_us,
            time_zone: told.time_zone,
            changes_version: told.changes_version,
            changes_commit: told.changes_commit,
            rows: told.rows,
            made_at_us: told.made_at_us,
            fingerprint: told.fingerprint,
        })
    }

    /// The one entry of its log.
    pub(crate) fn entry(
        &self,
        layout: Metadata,
        progress: &[(String, i64)],
        files: &[Add],
        commit_id: &str,
    ) -> Result<Vec<u8>, serde_json::Error> {
        let told = Told {
            period: self.period.to_string(),
            revision: self.revision,
            until_us: self.until_us,
            time_zone: self.time_zone.clone(),
            changes_version: self.changes_version,
            changes_commit: self.changes_commit,
            rows: self.rows,
            made_at_us: self.made_at_us,
            fingerprint: self.fingerprint,
        };
        let mut metadata = layout;
        let told = serde_json::to_string(&told)?;
        metadata
            .configuration
            .insert(SNAPSHOT_PROPERTY.to_owned(), told);
        let info = CommitInfo {
            timestamp: self.made_at_us / 1000,
            operation: "CREATE TABLE AS SELECT".to_owned(),
            operation_parameters: BTreeMap::from([("mode".to_owned(), json!("ErrorIfExists"))]),
            engine_info: concat!("lakehead/", env!("CARGO_PKG_VERSION")).to_owned(),
            is_blind_append: true,
            txn_id: Some(commit_id.to_owned()),
        };
        let mut actions: Vec<Action> =
            vec![info.try_into()?, Protocol::PLAIN.into(), metadata.into()];
        actions.extend(progress.iter().map(|(app_id, version)| {
            Txn {
                app_id: app_id.clone(),
                version: *version,
                last_updated: None,
            }
            .into()
        }));
        actions.extend(files.iter().map(|file| file.clone().into()));
        action::encode(&actions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_in_their_entitys_folder() {
        let table: TableName = "shop.stock".parse().unwrap();
        let path = table.period_path("2026-q1", 2);
        assert_eq!(path, format!("{}/2026-q1/r2", folder(&table)));
    }
}
