//! The HTTP face: paths, bodies and content type as Confluent's registry has them.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::problem::Problem;
use crate::registry::{Registered, Registry, Wanted};

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// A schema within JSON within JSON: twice its greatest length and a little.
const BODY_BYTES_MAX: usize = 1024 * 1024 + 4096;

type Answer = Result<Response, Problem>;
type Body = Result<Bytes, BytesRejection>;
type Shared = State<Arc<Registry>>;

pub(crate) fn router(registry: Arc<Registry>) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/config", get(config))
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}", post(look_up))
        .route("/subjects/{subject}/versions", get(versions).post(register))
        .route("/subjects/{subject}/versions/{version}", get(version))
        .route("/schemas/ids/{id}", get(schema))
        .fallback(async || Problem::UnknownPath)
        .method_not_allowed_fallback(async || Problem::UnknownMethod)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(registry)
}

/// An answer with Confluent's content type.
pub(crate) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(body) => (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn found(body: &impl Serialize) -> Answer {
    Ok(answer(StatusCode::OK, body))
}

async fn root() -> Answer {
    found(&json!({}))
}

/// No compatibility is checked, and that is what this says.
async fn config() -> Answer {
    found(&json!({ "compatibilityLevel": "NONE" }))
}

async fn subjects(State(registry): Shared) -> Answer {
    found(&registry.subjects())
}

async fn register(State(registry): Shared, Path(subject): Path<String>, body: Body) -> Answer {
    let schema = Registration::read(body)?.schema;
    // It waits for the disk.
    let registered =
        tokio::task::spawn_blocking(move || registry.register(&subject, &schema)).await;
    let id = registered.unwrap_or_else(|error| {
        Err(Problem::Store {
            reason: error.to_string(),
        })
    })?;
    found(&json!({ "id": id }))
}

async fn look_up(State(registry): Shared, Path(subject): Path<String>, body: Body) -> Answer {
    let registration = Registration::read(body)?;
    described(registry.look_up(&subject, &registration.schema)?)
}

async fn versions(State(registry): Shared, Path(subject): Path<String>) -> Answer {
    found(&registry.versions(&subject)?)
}

async fn version(
    State(registry): Shared,
    Path((subject, version)): Path<(String, String)>,
) -> Answer {
    let wanted = match version.as_str() {
        "latest" | "-1" => Wanted::Latest,
        number => match number.parse() {
            Ok(number) if number > 0 => Wanted::Version(number),
            _ => return Err(Problem::InvalidVersion { version }),
        },
    };
    described(registry.version(&subject, wanted)?)
}

async fn schema(State(registry): Shared, Path(id): Path<String>) -> Answer {
    let id = id.parse().map_err(|_| Problem::SchemaNotFound)?;
    found(&json!({ "schema": registry.schema(id)? }))
}

fn described(registered: Registered) -> Answer {
    found(&json!({
        "subject": registered.subject,
        "id": registered.id,
        "version": registered.version,
        "schema": registered.schema,
    }))
}

/// The body of a registration or look-up. Members that newer clients add are passed over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Registration {
    schema: String,
    schema_type: Option<String>,
    #[serde(default)]
    references: Option<Vec<serde_json::Value>>,
}

impl Registration {
    fn read(body: Body) -> Result<Self, Problem> {
        let bytes = body.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::BodyTooLarge {
                limit: BODY_BYTES_MAX,
            },
            _ => Problem::InvalidBody {
                reason: rejection.body_text(),
            },
        })?;
        let registration: Self =
            serde_json::from_slice(&bytes).map_err(|error| Problem::InvalidBody {
                reason: error.to_string(),
            })?;
        let unsupported = |reason: String| Err(Problem::InvalidSchema { reason });
        match registration.schema_type.as_deref() {
            None | Some("AVRO") => {}
            Some(other) => return unsupported(format!("type {other} is not served, only AVRO")),
        }
        match registration.references.as_deref() {
            None | Some([]) => Ok(registration),
            Some(_) => unsupported("references to other schemas are not served".to_owned()),
        }
    }
}
