//! The commit loop: one new version of a table, exactly once, whatever the store answers.
//!
//! Before every attempt, on the state the attempt builds upon: each `txn` that we move is where
//! our rows start, and the layout is the one the files were encoded for. After every error: read
//! back. A put is create-if-absent and every attempt of a commit carries the same `txnId`, so a
//! late success of an earlier attempt is recognised as our own and never becomes a second commit.
//! Retries are ours alone.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tracing::warn;

use crate::action::{self, Action, CommitInfo, Metadata, Remove, Txn};
use crate::clock::Clock;
use crate::delta_log::{DeltaLog, DeltaLogError, Put, TableState};
use crate::entropy::Entropy;
use crate::faults::{self, Planted};
use crate::patience::Patience;

/// First wait after an attempt that did not land.
const WAIT_MIN: Duration = Duration::from_millis(50);

/// One application's step: from where our rows start to where they end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) app_id: String,
    /// What the table must say before us; `None`: nothing.
    pub(crate) from: Option<i64>,
    pub(crate) to: i64,
}

/// What a commit wants to add.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// The layout that the files were encoded for.
    pub(crate) layout: Metadata,
    /// Moved together with the files; checked against the state of every attempt.
    pub(crate) steps: Vec<Step>,
    /// Moved together with the files; not checked: they follow from the steps.
    pub(crate) further: Vec<(String, i64)>,
    /// Data files.
    pub(crate) files: Vec<action::Add>,
    /// What else becomes of the table.
    pub(crate) growth: Option<Growth>,
}

/// A new layout for the table, or the same one for other files.
#[derive(Clone, Debug)]
pub(crate) struct Growth {
    /// The operation in the table's history.
    pub(crate) operation: &'static str,
    pub(crate) metadata: Metadata,
    /// Data files whose rows are in the draft's files from now on.
    pub(crate) removed: Vec<Remove>,
    /// The version that it must follow, if data files are replaced: no file may come in between.
    pub(crate) after: Option<u64>,
}

/// Why a draft did not become a version. Nothing of it is in the table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Another writer moved these applications since our rows were read.
    Fenced(Vec<String>),
    /// The table's layout is another one by now; the files must be encoded again.
    LayoutChanged,
    /// Another version came first, and the draft must follow the one it was made for.
    Overtaken,
    /// The entry cannot be written as JSON: a bug.
    NotEncodable(String),
    /// The log holds what is no Delta log.
    Unreadable(String),
}

/// Commits a draft on top of `state`, which is brought up to the newest version seen.
///
/// Waits out a store that is down, for as long as that takes; the caller bounds it by dropping the
/// future, which is safe at any point.
pub(crate) async fn commit(
    log: &DeltaLog,
    state: &mut TableState,
    draft: &Draft,
    clock: &dyn Clock,
    entropy: &Entropy,
) -> Result<u64, Refusal> {
    let commit_id = entropy.uuid().to_string();
    let entry = encode(draft, &commit_id, clock)
        .map_err(|error| Refusal::NotEncodable(error.to_string()))?;
    let mut patience = Patience::new(entropy, WAIT_MIN);
    while let Err(error) = log.refresh(state).await {
        if let DeltaLogError::Corrupt { .. } = error {
            return Err(Refusal::Unreadable(error.to_string()));
        }
        warn!(%error, "cannot read the table's log; trying again");
        patience.wait().await;
    }
    loop {
        check(state, draft)?;
        let version = state.version + 1;
        match log.put(version, entry.clone()).await {
            Put::Done => {
                absorb(state, version, draft);
                return Ok(version);
            }
            Put::Exists => {}
            Put::Ambiguous(error) => {
                warn!(version, %error, "commit attempt failed; reading back whether it landed");
                if faults::planted(Planted::NoReadBack) {
                    // As if it had not landed: the caller starts over with files of new names.
                    state.version += 1;
                    return Err(Refusal::Fenced(Vec::new()));
                }
            }
        }
        patience.wait().await;
        let mut ours = None;
        let caught_up = log.catch_up(state, |version, actions| {
            if actions.iter().any(|action| is_of(action, &commit_id)) {
                ours = Some(version);
            }
        });
        let caught_up = caught_up.await;
        // Whatever came after it, our own entry is our own.
        if let Some(version) = ours {
            return Ok(version);
        }
        match caught_up {
            Ok(()) if state.version >= version => patience.reset(),
            Ok(()) => {}
            Err(error @ DeltaLogError::Corrupt { .. }) => {
                return Err(Refusal::Unreadable(error.to_string()));
            }
            Err(error) => warn!(version, %error, "cannot read the table's log; trying again"),
        }
    }
}

fn is_of(action: &Action, commit_id: &str) -> bool {
    let info = action.commit_info.as_ref();
    info.is_some_and(|info| info["txnId"] == commit_id)
}

fn check(state: &TableState, draft: &Draft) -> Result<(), Refusal> {
    if faults::planted(Planted::NoStaleTxnCheck) {
        return Ok(());
    }
    let moved = draft
        .steps
        .iter()
        .filter(|step| state.txns.get(&step.app_id).copied() != step.from);
    let moved: Vec<String> = moved.map(|step| step.app_id.clone()).collect();
    if !moved.is_empty() {
        return Err(Refusal::Fenced(moved));
    }
    if !state.same_layout(&draft.layout) {
        return Err(Refusal::LayoutChanged);
    }
    let after = draft.growth.as_ref().and_then(|growth| growth.after);
    if after.is_some_and(|after| after != state.version) {
        return Err(Refusal::Overtaken);
    }
    Ok(())
}

fn encode(draft: &Draft, commit_id: &str, clock: &dyn Clock) -> Result<Bytes, serde_json::Error> {
    let timestamp = clock.now_us() / 1000;
    let (operation, parameters) = match &draft.growth {
        None => ("WRITE", [("mode".to_owned(), json!("Append"))].into()),
        Some(growth) => (growth.operation, BTreeMap::new()),
    };
    let info = CommitInfo {
        timestamp,
        operation: operation.to_owned(),
        operation_parameters: parameters,
        engine_info: concat!("lakehead/", env!("CARGO_PKG_VERSION")).to_owned(),
        is_blind_append: draft.growth.is_none(),
        txn_id: Some(commit_id.to_owned()),
    };
    let txn = |app_id: &str, version| Txn {
        app_id: app_id.to_owned(),
        version,
        last_updated: Some(timestamp),
    };
    let mut actions: Vec<Action> = vec![info.try_into()?];
    actions.extend(
        draft
            .steps
            .iter()
            .map(|step| txn(&step.app_id, step.to).into()),
    );
    actions.extend(
        draft
            .further
            .iter()
            .map(|(app_id, version)| txn(app_id, *version).into()),
    );
    if let Some(growth) = &draft.growth {
        if growth.metadata != draft.layout {
            actions.push(growth.metadata.clone().into());
        }
        actions.extend(growth.removed.iter().map(|file| file.clone().into()));
    }
    actions.extend(draft.files.iter().map(|file| file.clone().into()));
    action::encode(&actions).map(Bytes::from)
}

fn absorb(state: &mut TableState, version: u64, draft: &Draft) {
    state.version = version;
    if let Some(growth) = &draft.growth {
        state.metadata = growth.metadata.clone();
    }
    for step in &draft.steps {
        state.txns.insert(step.app_id.clone(), step.to);
    }
    for (app_id, version) in &draft.further {
        state.txns.insert(app_id.clone(), *version);
    }
}

#[cfg(test)]
mod tests;
