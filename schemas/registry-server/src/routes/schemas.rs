//! `/schemas`: by id, without regard to subjects.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::json;

use super::options::Options;
use super::{Answer, Named, Shared, found, written};
use crate::problem::Problem;

pub(super) async fn schema(State(registry): Shared, Path(id): Named) -> Answer {
    found(&json!({ "schema": &*registry.schema(number(&id)?)? }))
}

pub(super) async fn text(State(registry): Shared, Path(id): Named) -> Answer {
    let schema = registry.schema(number(&id)?)?;
    Ok(written(StatusCode::OK, schema.to_string()))
}

pub(super) async fn subjects(State(registry): Shared, Path(id): Named, options: Options) -> Answer {
    let uses = registry.uses(number(&id)?, options.scope())?;
    let mut subjects: Vec<_> = uses.into_iter().map(|(subject, _)| subject).collect();
    subjects.dedup();
    found(&options.page(subjects))
}

pub(super) async fn versions(State(registry): Shared, Path(id): Named, options: Options) -> Answer {
    let uses = registry.uses(number(&id)?, options.scope())?;
    let versions = uses
        .into_iter()
        .map(|(subject, version)| json!({ "subject": subject, "version": version }));
    found(&options.page(versions.collect()))
}

fn number(id: &str) -> Result<u32, Problem> {
    id.parse().map_err(|_| Problem::SchemaNotFound)
}
