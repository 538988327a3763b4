//! Refusals in Confluent's form: an HTTP status, an error code and a sentence.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::routes::answer;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("HTTP 404 Not Found: this registry does not serve that path")]
    UnknownPath,
    #[error("HTTP 405 Method Not Allowed: this registry does not serve that method on this path")]
    UnknownMethod,
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge { limit: usize },
    #[error("the body is not a {what}: {reason}")]
    InvalidBody { what: &'static str, reason: String },
    #[error("subject '{subject}' not found")]
    SubjectNotFound { subject: String },
    #[error("version {version} of subject '{subject}' not found")]
    VersionNotFound { subject: String, version: String },
    #[error("schema not found")]
    SchemaNotFound,
    #[error("subject '{subject}' was soft deleted; set permanent=true to delete it permanently")]
    SubjectDeleted { subject: String },
    #[error(
        "subject '{subject}' was not deleted first before being permanently deleted; delete it without permanent=true"
    )]
    SubjectNotDeleted { subject: String },
    #[error(
        "version {version} of subject '{subject}' was soft deleted; set permanent=true to delete it permanently"
    )]
    VersionDeleted { subject: String, version: u32 },
    #[error(
        "version {version} of subject '{subject}' was not deleted first before being permanently deleted; delete it without permanent=true"
    )]
    VersionNotDeleted { subject: String, version: u32 },
    #[error(
        "subject '{subject}' does not have subject-level compatibility configured; ask with defaultToGlobal=true for the level that holds"
    )]
    LevelNotConfigured { subject: String },
    #[error(
        "subject '{subject}' does not have subject-level mode configured; ask with defaultToGlobal=true for the mode that holds"
    )]
    ModeNotConfigured { subject: String },
    #[error(
        "schema being registered is incompatible with an earlier schema for subject '{subject}', details: [{}]",
        messages.join(", ")
    )]
    Incompatible {
        subject: String,
        messages: Vec<String>,
    },
    #[error("invalid schema: {reason}")]
    InvalidSchema { reason: String },
    #[error("the version '{version}' is not a positive number or 'latest'")]
    InvalidVersion { version: String },
    #[error(
        "invalid compatibility level '{level}'; valid are NONE, BACKWARD, FORWARD, FULL, and BACKWARD_TRANSITIVE, FORWARD_TRANSITIVE, FULL_TRANSITIVE"
    )]
    InvalidLevel { level: String },
    #[error("mode '{mode}' is not served; this registry is always READWRITE")]
    InvalidMode { mode: String },
    #[error("invalid subject: {reason}")]
    InvalidSubject { reason: String },
    #[error("cannot keep the change: {reason}")]
    Store { reason: String },
}

impl Problem {
    /// Confluent's code; its first three digits are the HTTP status.
    fn code(&self) -> u16 {
        match self {
            Self::UnknownPath => 404,
            Self::UnknownMethod => 405,
            Self::Incompatible { .. } => 409,
            Self::BodyTooLarge { .. } => 413,
            Self::InvalidBody { .. } => 422,
            Self::SubjectNotFound { .. } => 40401,
            Self::VersionNotFound { .. } => 40402,
            Self::SchemaNotFound => 40403,
            Self::SubjectDeleted { .. } => 40404,
            Self::SubjectNotDeleted { .. } => 40405,
            Self::VersionDeleted { .. } => 40406,
            Self::VersionNotDeleted { .. } => 40407,
            Self::LevelNotConfigured { .. } => 40408,
            Self::ModeNotConfigured { .. } => 40409,
            Self::InvalidSchema { .. } => 42201,
            Self::InvalidVersion { .. } => 42202,
            Self::InvalidLevel { .. } => 42203,
            Self::InvalidMode { .. } => 42204,
            Self::InvalidSubject { .. } => 42208,
            Self::Store { .. } => 50001,
        }
    }

    fn status(&self) -> StatusCode {
        let code = self.code();
        let status = if code > 999 { code / 100 } else { code };
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({ "error_code": self.code(), "message": self.to_string() });
        answer(self.status(), &body)
    }
}
