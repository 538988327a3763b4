//! What changes the registry: one line of its log each.

use serde::{Deserialize, Serialize};

use crate::level::Level;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Entry {
    Registration(Registration),
    Deletion(Deletion),
    LevelChange(LevelChange),
}

/// A schema became a version of a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    pub(crate) id: u32,
    pub(crate) subject: String,
    pub(crate) version: u32,
    pub(crate) schema: String,
}

/// Versions of a subject were hidden, or hidden ones removed for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deletion {
    pub(crate) deleted: Vec<u32>,
    pub(crate) subject: String,
    pub(crate) permanent: bool,
}

/// The compatibility level of a subject, or of the registry, was set or taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LevelChange {
    // Named so that serde wants both members: a line without them is damaged, not a change.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) compatibility: Option<Level>,
    /// The subject; none for the registry's own level.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) of: Option<String>,
}
