//! `/subjects`: registering, looking up, listing and deleting.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::json;

use super::options::Options;
use super::registration::{Body, Registration};
use super::{Answer, Named, Shared, blocking, found, wanted, written};
use crate::registry::Registered;
use crate::state::Scope;

type Version = Path<(String, String)>;

pub(super) async fn list(State(registry): Shared, options: Options) -> Answer {
    let prefix = options.text("subjectPrefix");
    let mut subjects = registry.subjects(options.scope());
    subjects.retain(|subject| subject.starts_with(prefix));
    found(&options.page(subjects))
}

pub(super) async fn register(
    State(registry): Shared,
    Path(subject): Named,
    options: Options,
    body: Body,
) -> Answer {
    let id = blocking(move || {
        let schema = Registration::schema(body, &options)?;
        registry.register(&subject, schema)
    });
    found(&json!({ "id": id.await? }))
}

pub(super) async fn look_up(
    State(registry): Shared,
    Path(subject): Named,
    options: Options,
    body: Body,
) -> Answer {
    let schema = Registration::schema(body, &options)?;
    described(&registry.look_up(&subject, &schema.text, options.scope())?)
}

pub(super) async fn delete(
    State(registry): Shared,
    Path(subject): Named,
    options: Options,
) -> Answer {
    let permanent = options.is("permanent");
    found(&blocking(move || registry.delete_subject(&subject, permanent)).await?)
}

pub(super) async fn versions(
    State(registry): Shared,
    Path(subject): Named,
    options: Options,
) -> Answer {
    let versions = registry.versions(&subject, options.scope())?;
    found(&options.page(versions))
}

pub(super) async fn version(
    State(registry): Shared,
    Path((subject, version)): Version,
    options: Options,
) -> Answer {
    described(&registry.version(&subject, wanted(version)?, options.scope())?)
}

pub(super) async fn text(
    State(registry): Shared,
    Path((subject, version)): Version,
    options: Options,
) -> Answer {
    let registered = registry.version(&subject, wanted(version)?, options.scope())?;
    Ok(written(StatusCode::OK, registered.schema.to_string()))
}

/// No schema refers to another one.
pub(super) async fn referenced_by(
    State(registry): Shared,
    Path((subject, version)): Version,
) -> Answer {
    registry.version(&subject, wanted(version)?, Scope::All)?;
    found(&[0; 0])
}

pub(super) async fn delete_version(
    State(registry): Shared,
    Path((subject, version)): Version,
    options: Options,
) -> Answer {
    let wanted = wanted(version)?;
    let permanent = options.is("permanent");
    found(&blocking(move || registry.delete_version(&subject, wanted, permanent)).await?)
}

fn described(registered: &Registered) -> Answer {
    found(&json!({
        "subject": registered.subject,
        "id": registered.id,
        "version": registered.version,
        "schema": &*registered.schema,
    }))
}
