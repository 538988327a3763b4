//! Registering: the one change that can be refused for what is there.

use std::sync::Arc;

use super::Registry;
use crate::compatibility::{self, Older};
use crate::entry::{Entry, Registration};
use crate::problem::Problem;
use crate::schema::Checked;
use crate::state::{Scope, State};

/// Ids ever given, and versions of all subjects together.
pub(super) const VERSIONS_MAX: usize = 100_000;
/// A Kafka topic's name has up to 249 characters, and `-value` or `-key` follows.
const SUBJECT_BYTES_MAX: usize = 255;

/// What a registration comes to.
enum Plan {
    Known(u32),
    New(Registration),
}

impl Registry {
    /// Registers a schema under a subject and returns its id; the same again changes nothing.
    /// Blocks until it is on disk.
    pub(crate) fn register(&self, subject: &str, schema: Checked) -> Result<u32, Problem> {
        check_subject(subject)?;
        // Held throughout: changes happen one after the other.
        let mut log = self.changing();
        let plan = self.read(|state| {
            if let Some(known) = live_version(state, subject, &schema.text) {
                return Ok(Plan::Known(known));
            }
            check_compatible(state, subject, &schema)?;
            if state.size().0.max(state.size().1) >= VERSIONS_MAX {
                return Err(full("ids or versions", VERSIONS_MAX));
            }
            Ok(Plan::New(Registration {
                id: state.id(&schema.text),
                subject: subject.to_owned(),
                version: state.next_version(subject),
                schema: schema.text,
            }))
        })?;
        match plan {
            Plan::Known(known) => Ok(known),
            Plan::New(registration) => {
                let id = registration.id;
                self.keep(&mut log, Entry::Registration(registration))?;
                Ok(id)
            }
        }
    }
}

/// The id of a schema that is a version of the subject already.
fn live_version(state: &State, subject: &str, schema: &str) -> Option<u32> {
    let id = state.id(schema);
    let versions = state.subject(subject, Scope::Live).ok()?;
    let mut live = versions.values().filter(|version| !version.is_hidden);
    live.any(|version| version.id == id).then_some(id)
}

/// Holds a schema against the live versions of its subject, the newest first.
pub(super) fn check_compatible(
    state: &State,
    subject: &str,
    schema: &Checked,
) -> Result<(), Problem> {
    let Ok(versions) = state.subject(subject, Scope::Live) else {
        return Ok(());
    };
    let level = state.level_of(subject).unwrap_or_else(|| state.level());
    let live = versions.iter().rev();
    let live = live.filter(|(_, version)| !version.is_hidden);
    let older = live.filter_map(|(number, version)| {
        let schema = Arc::clone(state.schema(version.id)?);
        let version = *number;
        Some(Older { version, schema })
    });
    let found = compatibility::check(&schema.schema, older, level);
    match found.map_err(|reason| Problem::Store { reason })? {
        None => Ok(()),
        Some(conflict) => Err(Problem::Incompatible {
            subject: subject.to_owned(),
            messages: conflict.messages,
        }),
    }
}

pub(super) fn full(what: &str, count_max: usize) -> Problem {
    Problem::Store {
        reason: format!("there are {count_max} {what} already, which is the most"),
    }
}

pub(super) fn check_subject(subject: &str) -> Result<(), Problem> {
    let reason = if subject.is_empty() {
        "it is empty".to_owned()
    } else if subject.len() > SUBJECT_BYTES_MAX {
        format!("it is longer than {SUBJECT_BYTES_MAX} bytes")
    } else if subject.chars().any(char::is_control) {
        "it has a control character".to_owned()
    } else {
        return Ok(());
    };
    Err(Problem::InvalidSubject { reason })
}
