//! `/compatibility`: a schema tried, not registered.

use axum::extract::{Path, State};
use serde_json::json;

use super::options::Options;
use super::registration::{Body, Registration};
use super::{Answer, Named, Shared, blocking, found, wanted};

pub(super) async fn with_one(
    State(registry): Shared,
    Path((subject, version)): Path<(String, String)>,
    options: Options,
    body: Body,
) -> Answer {
    let wanted = wanted(version)?;
    let verbose = options.is("verbose");
    let messages = blocking(move || {
        let schema = Registration::schema(body, &options)?;
        registry.try_schema(&subject, Some(wanted), &schema)
    });
    verdict(&messages.await?, verbose)
}

/// Against the versions that the subject's level names: the last one, or all of them.
pub(super) async fn with_all(
    State(registry): Shared,
    Path(subject): Named,
    options: Options,
    body: Body,
) -> Answer {
    let verbose = options.is("verbose");
    let messages = blocking(move || {
        let schema = Registration::schema(body, &options)?;
        registry.try_schema(&subject, None, &schema)
    });
    verdict(&messages.await?, verbose)
}

fn verdict(messages: &[String], verbose: bool) -> Answer {
    let is_compatible = messages.is_empty();
    match verbose {
        true => found(&json!({ "is_compatible": is_compatible, "messages": messages })),
        false => found(&json!({ "is_compatible": is_compatible })),
    }
}
