//! Bodies: a schema to register, look up or try.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::options::Options;
use crate::problem::Problem;
use crate::schema::{self, Checked};

/// A schema within JSON within JSON: twice its greatest length and a little.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024 + 4096;

pub(super) type Body = Result<Bytes, BytesRejection>;

/// Reads a body, or says what it is not.
pub(super) fn read<T: DeserializeOwned>(body: Body, what: &'static str) -> Result<T, Problem> {
    let bytes = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::BodyTooLarge {
            limit: BODY_BYTES_MAX,
        },
        _ => Problem::InvalidBody {
            what,
            reason: rejection.body_text(),
        },
    })?;
    serde_json::from_slice(&bytes).map_err(|error| Problem::InvalidBody {
        what,
        reason: error.to_string(),
    })
}

/// The body of a registration, look-up or trial. Members that newer clients add are passed over,
/// but for those that would change what is checked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Registration {
    schema: String,
    schema_type: Option<String>,
    #[serde(default)]
    references: Option<Vec<serde_json::Value>>,
    rule_set: Option<serde_json::Value>,
}

impl Registration {
    /// The schema of a body, checked.
    pub(super) fn schema(body: Body, options: &Options) -> Result<Checked, Problem> {
        let registration: Self = read(body, "registration")?;
        let unsupported = |reason: String| Err(Problem::InvalidSchema { reason });
        match registration.schema_type.as_deref() {
            None | Some("AVRO") => {}
            Some(other) => return unsupported(format!("type {other} is not served, only AVRO")),
        }
        if let Some(references) = registration.references.filter(|all| !all.is_empty()) {
            let named = references.iter().filter_map(|one| one["name"].as_str());
            let names: Vec<_> = named.collect();
            return unsupported(format!(
                "references to other schemas are not served ({}); write the types into the schema",
                names.join(", ")
            ));
        }
        if registration.rule_set.is_some() {
            return unsupported(
                "rules are not served; register the schema without them".to_owned(),
            );
        }
        schema::check(&registration.schema, options.is("normalize"))
    }
}
