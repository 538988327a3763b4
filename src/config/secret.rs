//! Values that may be secrets: given by reference, never shown.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// A text in the configuration: itself, or `{ env = "NAME" }`.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Text {
    Plain(String),
    Reference(Reference),
}

/// Where a secret is kept.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reference {
    /// Name of an environment variable.
    env: String,
}

impl Text {
    /// The text itself.
    pub(super) fn resolve(&self) -> Result<String, String> {
        match self {
            Self::Plain(text) => Ok(text.clone()),
            Self::Reference(Reference { env }) => {
                std::env::var(env).map_err(|_| format!("the environment variable {env} is not set"))
            }
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("(a text)"),
            Self::Reference(reference) => reference.fmt(f),
        }
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}
