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

use crate::action::{self, Action, Add, CommitInfo, Metadata, Remove, Txn};
use crate::clock::Clock;
use crate::delta_log::{DeltaLog, DeltaLogError, Put, TableState};
use crate::entropy::Entropy;
use crate::faults::{self, Planted};
use crate::patience::Patience;

mod limit;
mod replacement;

use limit::Limit;
pub(crate) use replacement::{Base, replace};

/// First wait after an attempt that did not land.
const WAIT_MIN: Duration = Duration::from_millis(50);

/// Age of an uploaded file above which no commit refers to it for the first time. A vacuum takes
/// files that nothing refers to for garbage only when they are well older than this, so it never
/// takes one from a writer that was held up between its upload and its commit.
pub(crate) const UPLOAD_AGE_MAX: Duration = Duration::from_secs(3 * 24 * 3600);

/// Age of a removal above which it is not committed for the first time. Vacuums go by it, and give
/// readers of the version before a day at least.
const REMOVAL_AGE_MAX: Duration = Duration::from_secs(6 * 3600);

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
    pub(crate) files: Vec<Add>,
    /// What else becomes of the table.
    pub(crate) rework: Option<Rework>,
}

/// What becomes of the files and the metadata that a table has.
#[derive(Clone, Debug)]
pub(crate) struct Rework {
    /// The operation in the table's history.
    pub(crate) operation: &'static str,
    /// The table's metadata from now on. If it is another than the draft's layout, nobody may have
    /// changed that meanwhile, not even a property.
    pub(crate) metadata: Metadata,
    /// Data files that leave. Their rows are in the draft's files from now on, or deleted.
    pub(crate) removed: Vec<Remove>,
    /// The version that it must follow, if no file may come in between. Without it, whoever removes
    /// files commits by [`replace`].
    pub(crate) after: Option<u64>,
}

/// Why a draft did not become a version. Nothing of it is in the table, unless said otherwise.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Another writer moved these applications since our rows were read.
    Fenced(Vec<String>),
    /// The table's layout is another one by now; the files must be encoded again.
    LayoutChanged,
    /// Another version came first, and the draft must follow the one it was made for; or its files
    /// were uploaded so long ago that they may be gone.
    Overtaken,
    /// The entry cannot be written as JSON: a bug.
    NotEncodable(String),
    /// The log holds what is no Delta log.
    Unreadable(String),
    /// The store did not do as asked for as long as the caller waits; its words. The draft may be in
    /// the table, or come later: its files must stay. Whoever looks at the table knows.
    NoAnswer(String),
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
    let limit = Limit::none();
    land(log, state, &mut &*draft, draft, limit, (clock, entropy)).await
}

/// The same for the care of tables, which has others to look after: a store that does not do as asked
/// is waited for no longer than [`limit::CARE_MAX`].
pub(crate) async fn commit_soon(
    log: &DeltaLog,
    state: &mut TableState,
    draft: &Draft,
    clock: &dyn Clock,
    entropy: &Entropy,
) -> Result<u64, Refusal> {
    let limit = Limit::of_care();
    land(log, state, &mut &*draft, draft, limit, (clock, entropy)).await
}

/// What is put, and how it is recognised when it is read back.
struct Entry {
    bytes: Bytes,
    commit_id: String,
}

impl Entry {
    fn of(draft: &Draft, clock: &dyn Clock, entropy: &Entropy) -> Result<Self, Refusal> {
        let commit_id = entropy.uuid().to_string();
        let bytes = encode(draft, &commit_id, clock);
        let bytes = bytes.map_err(|error| Refusal::NotEncodable(error.to_string()))?;
        Ok(Self { bytes, commit_id })
    }
}

/// What wants to become a version, as the loop sees it.
trait Candidate: Send {
    /// Whether it fits on top of this state.
    fn check(&self, state: &TableState, now_us: i64) -> Result<(), Refusal>;

    /// Another's entry came in between.
    fn passed(&mut self, _: &[Action]) {}

    /// Entries came in between that nobody can read any more.
    fn passed_unseen(&mut self) {}

    /// It became this version.
    fn absorb(&mut self, state: &mut TableState, version: u64);
}

/// Puts the draft's entry on top of the newest version, or finds that the candidate does not fit.
async fn land(
    log: &DeltaLog,
    state: &mut TableState,
    candidate: &mut dyn Candidate,
    draft: &Draft,
    mut limit: Limit,
    (clock, entropy): (&dyn Clock, &Entropy),
) -> Result<u64, Refusal> {
    let entry = Entry::of(draft, clock, entropy)?;
    let mut patience = Patience::new(entropy, WAIT_MIN);
    let (mut tried, mut is_taken) = (None, false);
    loop {
        let (read, ours) = come_up(log, state, candidate, &entry, tried.is_some()).await;
        // Whatever came after it, our own entry is our own.
        if let Some(version) = ours {
            candidate.absorb(state, state.version.max(version));
            return Ok(version);
        }
        match read {
            Ok(()) => {
                let is_news = tried.is_some_and(|version| state.version >= version);
                if is_news {
                    patience.reset();
                }
                // That another's entry was there is no fault of the store.
                match is_news && is_taken {
                    true => limit.reset(),
                    false => limit.check()?,
                }
            }
            Err(error @ DeltaLogError::Corrupt { .. }) => {
                return Err(Refusal::Unreadable(error.to_string()));
            }
            Err(error) => {
                warn!(%error, "cannot read the table's log; trying again");
                limit.note(&error);
                limit.check()?;
                patience.wait().await;
                continue;
            }
        }
        candidate.check(state, clock.now_us())?;
        let version = state.version + 1;
        let put = log.put(version, entry.bytes.clone()).await;
        is_taken = matches!(put, Put::Exists);
        match put {
            Put::Done => {
                candidate.absorb(state, version);
                return Ok(version);
            }
            Put::Exists => limit.note(&"it says that the next version is there, and shows none"),
            Put::Ambiguous(error) => {
                limit.note(&error);
                warn!(version, %error, "commit attempt failed; reading back whether it landed");
                if faults::planted(Planted::NoReadBack) {
                    // As if it had not landed: the caller starts over with files of new names.
                    state.version += 1;
                    return Err(Refusal::Fenced(Vec::new()));
                }
            }
        }
        tried = Some(version);
        patience.wait().await;
    }
}

/// Brings the state up to the newest version; the version of our own entry, if it is met.
///
/// Even between two attempts the log may lose its oldest entries: a store can be out of reach for
/// longer than they are kept, and then a missing entry is not the end of the log.
async fn come_up(
    log: &DeltaLog,
    state: &mut TableState,
    candidate: &mut dyn Candidate,
    entry: &Entry,
    read_back: bool,
) -> (Result<(), DeltaLogError>, Option<u64>) {
    match log.refresh(state).await {
        Ok(false) => {}
        Ok(true) => candidate.passed_unseen(),
        Err(error) => return (Err(error), None),
    }
    if !read_back {
        return (Ok(()), None);
    }
    let mut ours = None;
    let caught_up = log.catch_up(state, |version, actions| {
        if actions.iter().any(|action| is_of(action, &entry.commit_id)) {
            ours = Some(version);
        } else {
            candidate.passed(actions);
        }
    });
    (caught_up.await, ours)
}

fn is_of(action: &Action, commit_id: &str) -> bool {
    let info = action.commit_info.as_ref();
    info.is_some_and(|info| info["txnId"] == commit_id)
}

/// Whether a vacuum could take one of these files for garbage before a commit refers to it.
pub(crate) fn any_expired(files: &[Add], now_us: i64) -> bool {
    let age_max_us = UPLOAD_AGE_MAX.as_micros().cast_signed();
    let now_us = i128::from(now_us);
    let mut uploads = files
        .iter()
        .map(|file| i128::from(file.modification_time) * 1000);
    uploads.any(|uploaded_us| now_us - uploaded_us > age_max_us)
}

/// Whether files would leave the table at a time so long past that a vacuum, which goes by it, takes
/// them from readers that have just begun.
fn any_left_long_ago(removed: &[Remove], now_us: i64) -> bool {
    let age_max_ms = i128::try_from(REMOVAL_AGE_MAX.as_millis()).unwrap_or(i128::MAX);
    let now_ms = i128::from(now_us / 1000);
    let mut left = removed.iter().filter_map(|file| file.deletion_timestamp);
    left.any(|left_ms| now_ms - i128::from(left_ms) > age_max_ms)
}

impl Candidate for &Draft {
    fn check(&self, state: &TableState, now_us: i64) -> Result<(), Refusal> {
        if faults::planted(Planted::NoStaleTxnCheck) {
            return Ok(());
        }
        let moved = self.steps.iter();
        let moved = moved.filter(|step| state.txns.get(&step.app_id).copied() != step.from);
        let moved: Vec<String> = moved.map(|step| step.app_id.clone()).collect();
        if !moved.is_empty() {
            return Err(Refusal::Fenced(moved));
        }
        if !state.same_layout(&self.layout) {
            return Err(Refusal::LayoutChanged);
        }
        let rework = self.rework.as_ref();
        if rework
            .is_some_and(|rework| rework.metadata != self.layout && state.metadata != self.layout)
        {
            return Err(Refusal::LayoutChanged);
        }
        let after = rework.and_then(|rework| rework.after);
        let removed = rework.map_or(&[][..], |rework| &rework.removed);
        if after.is_some_and(|after| after != state.version)
            || any_expired(&self.files, now_us)
            || any_left_long_ago(removed, now_us)
        {
            return Err(Refusal::Overtaken);
        }
        Ok(())
    }

    fn absorb(&mut self, state: &mut TableState, version: u64) {
        if state.version >= version {
            return;
        }
        state.version = version;
        if let Some(rework) = self
            .rework
            .as_ref()
            .filter(|rework| rework.metadata != self.layout)
        {
            state.metadata = rework.metadata.clone();
        }
        for step in &self.steps {
            state.txns.insert(step.app_id.clone(), step.to);
        }
        for (app_id, version) in &self.further {
            state.txns.insert(app_id.clone(), *version);
        }
    }
}

fn encode(draft: &Draft, commit_id: &str, clock: &dyn Clock) -> Result<Bytes, serde_json::Error> {
    let timestamp = clock.now_us() / 1000;
    let (operation, parameters) = match &draft.rework {
        None => ("WRITE", [("mode".to_owned(), json!("Append"))].into()),
        Some(rework) => (rework.operation, BTreeMap::new()),
    };
    let info = CommitInfo {
        timestamp,
        operation: operation.to_owned(),
        operation_parameters: parameters,
        engine_info: concat!("lakehead/", env!("CARGO_PKG_VERSION")).to_owned(),
        is_blind_append: draft.rework.is_none(),
        txn_id: Some(commit_id.to_owned()),
    };
    let steps = draft.steps.iter().map(|step| (&step.app_id, step.to));
    let further = draft.further.iter().map(|(app_id, to)| (app_id, *to));
    let mut actions: Vec<Action> = vec![info.try_into()?];
    actions.extend(
        steps
            .chain(further)
            .map(|(app_id, to)| txn(app_id, to, timestamp).into()),
    );
    if let Some(rework) = &draft.rework {
        if rework.metadata != draft.layout {
            actions.push(rework.metadata.clone().into());
        }
        actions.extend(rework.removed.iter().map(|file| file.clone().into()));
    }
    actions.extend(draft.files.iter().map(|file| file.clone().into()));
    action::encode(&actions).map(Bytes::from)
}

fn txn(app_id: &str, version: i64, timestamp: i64) -> Txn {
    Txn {
        app_id: app_id.to_owned(),
        version,
        last_updated: Some(timestamp),
    }
}

#[cfg(test)]
mod tests;
