//! `/config` and `/mode`: compatibility levels, and the one mode there is.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::options::Options;
use super::registration::{Body, read};
use super::{Answer, Named, Shared, blocking, found};
use crate::level::Level;
use crate::problem::Problem;

const MODE: &str = "READWRITE";

pub(super) async fn level(State(registry): Shared) -> Answer {
    current(registry.level())
}

pub(super) async fn level_of(
    State(registry): Shared,
    Path(subject): Named,
    options: Options,
) -> Answer {
    match registry.level_of(&subject) {
        Err(_) if options.is("defaultToGlobal") => current(registry.level()),
        level => current(level?),
    }
}

pub(super) async fn set_level(State(registry): Shared, body: Body) -> Answer {
    let level = wanted_level(body)?;
    blocking(move || registry.set_level(None, Some(level))).await?;
    found(&json!({ "compatibility": level }))
}

pub(super) async fn set_level_of(
    State(registry): Shared,
    Path(subject): Named,
    body: Body,
) -> Answer {
    let level = wanted_level(body)?;
    blocking(move || registry.set_level(Some(&subject), Some(level))).await?;
    found(&json!({ "compatibility": level }))
}

pub(super) async fn reset_level(State(registry): Shared) -> Answer {
    current(blocking(move || registry.set_level(None, None)).await?)
}

pub(super) async fn reset_level_of(State(registry): Shared, Path(subject): Named) -> Answer {
    current(blocking(move || registry.set_level(Some(&subject), None)).await?)
}

pub(super) async fn mode() -> Answer {
    found(&json!({ "mode": MODE }))
}

pub(super) async fn mode_of(Path(subject): Named, options: Options) -> Answer {
    if options.is("defaultToGlobal") {
        return mode().await;
    }
    Err(Problem::ModeNotConfigured { subject })
}

/// Nothing changes: the only mode that is served is the one there is.
pub(super) async fn set_mode(body: Body) -> Answer {
    let members: BTreeMap<String, Value> = read(body, "mode")?;
    match members.get("mode") {
        Some(Value::String(asked)) if asked == MODE => mode().await,
        Some(Value::String(other)) => Err(Problem::InvalidMode {
            mode: other.clone(),
        }),
        _ => Err(Problem::InvalidBody {
            what: "mode",
            reason: "it has no member mode".to_owned(),
        }),
    }
}

fn current(level: Level) -> Answer {
    found(&json!({ "compatibilityLevel": level }))
}

/// The level that a body asks for. What else it asks for would be another registry's promise, so
/// it is refused by name.
fn wanted_level(body: Body) -> Result<Level, Problem> {
    let members: BTreeMap<String, Value> = read(body, "configuration")?;
    let mut level = None;
    for (member, value) in members {
        match (member.as_str(), value) {
            (_, Value::Null) => {}
            ("compatibility" | "compatibilityLevel", Value::String(name)) => {
                let named = Level::named(&name);
                level = Some(named.ok_or(Problem::InvalidLevel { level: name })?);
            }
            _ => {
                return Err(Problem::InvalidBody {
                    what: "configuration",
                    reason: format!("{member} is not served; only compatibility is"),
                });
            }
        }
    }
    level.ok_or_else(|| Problem::InvalidLevel {
        level: String::new(),
    })
}
