//! The HTTP face: paths, bodies and content type as Confluent's registry has them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::json;

use crate::problem::Problem;
use crate::registry::{Registry, Wanted};

mod compatibility;
mod config;
mod options;
mod registration;
mod schemas;
mod subjects;

use registration::BODY_BYTES_MAX;

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

type Answer = Result<Response, Problem>;
type Shared = State<Arc<Registry>>;
type Named = Path<String>;

pub(crate) fn router(registry: Arc<Registry>) -> Router {
    Router::new()
        .route("/", get(async || found(&json!({}))))
        .merge(subject_routes())
        .route("/schemas/types", get(async || found(&["AVRO"])))
        .route("/schemas/ids/{id}", get(schemas::schema))
        .route("/schemas/ids/{id}/schema", get(schemas::text))
        .route("/schemas/ids/{id}/subjects", get(schemas::subjects))
        .route("/schemas/ids/{id}/versions", get(schemas::versions))
        .merge(level_routes())
        .fallback(async || Problem::UnknownPath)
        .method_not_allowed_fallback(async || Problem::UnknownMethod)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(registry)
}

fn subject_routes() -> Router<Arc<Registry>> {
    Router::new()
        .route("/subjects", get(subjects::list))
        .route(
            "/subjects/{subject}",
            post(subjects::look_up).delete(subjects::delete),
        )
        .route(
            "/subjects/{subject}/versions",
            get(subjects::versions).post(subjects::register),
        )
        .route(
            "/subjects/{subject}/versions/{version}",
            get(subjects::version).delete(subjects::delete_version),
        )
        .route(
            "/subjects/{subject}/versions/{version}/schema",
            get(subjects::text),
        )
        .route(
            "/subjects/{subject}/versions/{version}/referencedby",
            get(subjects::referenced_by),
        )
}

fn level_routes() -> Router<Arc<Registry>> {
    Router::new()
        .route(
            "/config",
            get(config::level)
                .put(config::set_level)
                .delete(config::reset_level),
        )
        .route(
            "/config/{subject}",
            get(config::level_of)
                .put(config::set_level_of)
                .delete(config::reset_level_of),
        )
        .route("/mode", get(config::mode).put(config::set_mode))
        .route(
            "/mode/{subject}",
            get(config::mode_of).put(config::set_mode),
        )
        .route(
            "/compatibility/subjects/{subject}/versions",
            post(compatibility::with_all),
        )
        .route(
            "/compatibility/subjects/{subject}/versions/{version}",
            post(compatibility::with_one),
        )
}

/// An answer with Confluent's content type.
pub(crate) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(body) => written(status, body),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn written(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response()
}

fn found(body: &impl Serialize) -> Answer {
    Ok(answer(StatusCode::OK, body))
}

/// Work that waits for the disk or compares schemas, where it holds nobody up.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(Problem::Store {
            reason: error.to_string(),
        })
    })
}

fn wanted(version: String) -> Result<Wanted, Problem> {
    match version.as_str() {
        "latest" | "-1" => Ok(Wanted::Latest),
        number => match number.parse() {
            Ok(number) if number > 0 => Ok(Wanted::Version(number)),
            _ => Err(Problem::InvalidVersion { version }),
        },
    }
}
