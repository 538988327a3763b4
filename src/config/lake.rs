//! `[lake]` as it stands in the file.

use std::collections::BTreeMap;
use std::path::Path;

use lake_store::LakeStore;
use serde::{Deserialize, Serialize};

use super::secret::Text;
use crate::failure::Failure;

/// Where the tables are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Lake {
    /// A directory, `file://`, `s3://bucket/prefix`, `gs://…`, `az://…` or `abfss://…`.
    url: String,
    /// object_store's own option names, and `aws_profile`.
    options: BTreeMap<String, Text>,
}

/// Whether an option of object_store names a file.
fn is_path(name: &str) -> bool {
    let paths = [
        "token_file",
        "google_service_account",
        "google_service_account_path",
        "application_credentials",
    ];
    let name = name.to_ascii_lowercase();
    paths.iter().any(|path| name.ends_with(path))
}

/// A lake whose secrets are known, not opened yet.
#[derive(Clone)]
pub(crate) struct LakePlace {
    url: String,
    options: Vec<(String, String)>,
}

/// Options hold secrets.
impl std::fmt::Debug for LakePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LakePlace")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Default for Lake {
    fn default() -> Self {
        Self {
            url: "lake".to_owned(),
            options: BTreeMap::new(),
        }
    }
}

impl Lake {
    /// The place with its secrets; what is wrong goes to `problems`.
    pub(super) fn resolve(&self, directory: &Path, problems: &mut Vec<String>) -> LakePlace {
        let before = problems.len();
        let mut options = Vec::with_capacity(self.options.len());
        for (name, text) in &self.options {
            let place = format!("lake.options.{name}");
            if let Some(value) = text.resolve_named(&place, name, directory, problems) {
                let value = match is_path(name) {
                    true => directory.join(value).display().to_string(),
                    false => value,
                };
                options.push((name.clone(), value));
            }
        }
        // With a secret missing, the rest would only be told a second time.
        if problems.len() == before
            && let Err(error) = LakeStore::validate(&self.url, &options)
        {
            problems.push(format!("lake: {error}"));
        }
        LakePlace {
            url: self.url.clone(),
            options,
        }
    }
}

impl LakePlace {
    /// A lake that needs no options but those of the environment.
    pub(crate) fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            options: Vec::new(),
        }
    }

    /// Opens the lake's store; `create` makes a missing local directory.
    pub(crate) fn open(&self, create: bool) -> Result<LakeStore, Failure> {
        Ok(LakeStore::open(&self.url, &self.options, create)?)
    }
}
