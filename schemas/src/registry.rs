//! The schema registry, by Confluent's REST API.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

mod access;

pub use access::{Credentials, RegistryAccess};

/// A schema's number in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaId(pub u32);

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Longest time one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest schema that is read from a registry, in bytes.
const SCHEMA_BYTES_MAX: usize = 1 << 20;

/// What a registry can do for us.
#[async_trait]
pub trait SchemaRegistry: fmt::Debug + Send + Sync {
    /// The text of the Avro schema with this id. A schema never changes under its id.
    async fn schema_by_id(&self, id: SchemaId) -> Result<String, RegistryError>;

    /// Registers a schema under a subject; the same text again answers the same id.
    async fn register(&self, subject: &str, schema: &str) -> Result<SchemaId, RegistryError>;
}

/// Why a registry did not answer as asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It cannot be asked as it is configured.
    #[error("schema registry {url}: {why}")]
    Settings {
        /// The registry's address.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// It could not be reached or is not well. Try again later; says nothing about the record.
    #[error(
        "schema registry {url} cannot be reached ({why}); check that it runs and that [registry] url is right"
    )]
    Unavailable {
        /// The request's address.
        url: String,
        /// The transport's or the server's words.
        why: String,
    },
    /// It does not let us in. Says nothing about the record: somebody has to put it right.
    #[error(
        "schema registry {url} refuses this client: {why}; check username, password, token and \
         certificates in [registry], and what they may read there"
    )]
    Unauthorized {
        /// The request's address.
        url: String,
        /// The server's status.
        why: String,
    },
    /// It is well and has no such schema.
    #[error("schema registry {url} has no schema with id {id}")]
    NotFound {
        /// The registry's address.
        url: String,
        /// The id that was asked for.
        id: SchemaId,
    },
    /// It is well and its schema is in another language.
    #[error("schema registry {url}: schema {id} is of type {found}; only AVRO is read")]
    NotAvro {
        /// The registry's address.
        url: String,
        /// The id that was asked for.
        id: SchemaId,
        /// The schema's type.
        found: String,
    },
    /// It refuses the schema or the request, in its own words: asked again, it would say the same.
    #[error("schema registry {url} refused the request: {why}")]
    Refused {
        /// The request's address.
        url: String,
        /// The server's words.
        why: String,
    },
}

impl RegistryError {
    /// Whether asking again later may answer, since nothing is said about the schema itself.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unauthorized { .. })
    }
}

/// A registry behind HTTP: Confluent's, Apicurio's `ccompat` API, or the embedded one.
#[derive(Debug, Clone)]
pub struct HttpRegistry {
    base: String,
    client: reqwest::Client,
    credentials: Option<Credentials>,
}

#[derive(Deserialize)]
struct SchemaAnswer {
    schema: String,
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
}

#[derive(Deserialize)]
struct IdAnswer {
    id: u32,
}

impl HttpRegistry {
    /// A client of the registry at `base`, for example `http://127.0.0.1:8081`.
    pub fn new(base: &str) -> Result<Self, RegistryError> {
        Self::with_access(base, &RegistryAccess::default())
    }

    /// A client that says who it is. Nothing is asked yet.
    pub fn with_access(base: &str, access: &RegistryAccess) -> Result<Self, RegistryError> {
        let refuse = |why: String| RegistryError::Settings {
            url: access::without_credentials(base),
            why,
        };
        access::check_address(base).map_err(refuse)?;
        let builder = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        let client = access.apply(builder).map_err(refuse)?;
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            client,
            credentials: access.credentials.clone(),
        })
    }

    /// Sends a request and reads its answer within the limits.
    async fn answer(
        &self,
        url: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<(reqwest::StatusCode, Vec<u8>), RegistryError> {
        let unavailable = |why: String| RegistryError::Unavailable {
            url: url.to_owned(),
            why,
        };
        let request = match &self.credentials {
            Some(credentials) => credentials.sign(request),
            None => request,
        };
        let mut response = request
            .send()
            .await
            .map_err(|error| unavailable(reason(&error)))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| unavailable(reason(&error)))?
        {
            body.extend_from_slice(&chunk);
            if body.len() > SCHEMA_BYTES_MAX {
                let why = format!("the answer is larger than {SCHEMA_BYTES_MAX} bytes");
                // A long page of somebody else's says nothing of the schema.
                return match status.is_success() && body.trim_ascii_start().starts_with(b"{") {
                    true => Err(RegistryError::Refused {
                        url: url.to_owned(),
                        why,
                    }),
                    false => Err(unavailable(format!("status {status}: {why}"))),
                };
            }
        }
        // Refusing us, throttling, sending us elsewhere and failing are states of the registry,
        // not of the schema.
        if matches!(status.as_u16(), 401 | 403 | 407) {
            return Err(RegistryError::Unauthorized {
                url: url.to_owned(),
                why: format!("status {status}"),
            });
        }
        if status.is_redirection() {
            let why = "it answers from another address; set that one as [registry] url";
            return Err(unavailable(format!("status {status}: {why}")));
        }
        if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
            return Err(unavailable(format!("status {status}")));
        }
        Ok((status, body))
    }

    fn refused(url: &str, status: reqwest::StatusCode, body: &[u8]) -> RegistryError {
        let words: String = String::from_utf8_lossy(body).chars().take(500).collect();
        RegistryError::Refused {
            url: url.to_owned(),
            why: format!("status {status}: {words}"),
        }
    }
}

#[async_trait]
impl SchemaRegistry for HttpRegistry {
    async fn schema_by_id(&self, id: SchemaId) -> Result<String, RegistryError> {
        let url = format!("{}/schemas/ids/{id}", self.base);
        let (status, body) = self.answer(&url, self.client.get(&url)).await?;
        if !status.is_success() && !is_in_its_own_words(&body) {
            return Err(RegistryError::Unavailable {
                url,
                why: format!(
                    "status {status} without a registry's error code: is this the registry's base \
                     address?"
                ),
            });
        }
        if status == reqwest::StatusCode::NOT_FOUND {
            return Err(RegistryError::NotFound {
                url: self.base.clone(),
                id,
            });
        }
        if !status.is_success() {
            return Err(Self::refused(&url, status, &body));
        }
        let answer: SchemaAnswer =
            serde_json::from_slice(&body).map_err(|error| RegistryError::Unavailable {
                url: url.clone(),
                why: format!("not a registry's answer: {error}"),
            })?;
        match answer.schema_type.as_deref() {
            None | Some("AVRO") => Ok(answer.schema),
            Some(found) => Err(RegistryError::NotAvro {
                url: self.base.clone(),
                id,
                found: found.to_owned(),
            }),
        }
    }

    async fn register(&self, subject: &str, schema: &str) -> Result<SchemaId, RegistryError> {
        let url = format!("{}/subjects/{subject}/versions", self.base);
        let request = self
            .client
            .post(&url)
            .json(&json!({"schema": schema, "schemaType": "AVRO"}));
        let (status, body) = self.answer(&url, request).await?;
        if !status.is_success() {
            return Err(Self::refused(&url, status, &body));
        }
        let answer: IdAnswer =
            serde_json::from_slice(&body).map_err(|_| Self::refused(&url, status, &body))?;
        Ok(SchemaId(answer.id))
    }
}

/// Whether an error is told as registries do, by a number. A proxy's or a wrong path's error says
/// nothing about the record, and a bare 404 is what registries' web servers say of such a path.
fn is_in_its_own_words(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct ErrorAnswer {
        error_code: u32,
    }
    serde_json::from_slice::<ErrorAnswer>(body)
        .is_ok_and(|answer| matches!(answer.error_code, 400..=403 | 405..500 | 40000..50000))
}

/// The innermost cause: reqwest's own words stop at "error sending request".
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
