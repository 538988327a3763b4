//! `[registry]` as it stands in the file.

use std::path::{Path, PathBuf};

use schemas::{Credentials, HttpRegistry, RegistryAccess};
use serde::{Deserialize, Serialize};

use super::secret::Text;

/// Where Avro schemas are, and who we are there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registry {
    /// Base address of a registry that speaks Confluent's REST API.
    url: String,
    /// For basic authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    username: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<Text>,
    /// A bearer token, in place of name and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<Text>,
    /// Certificate authorities (PEM) to trust besides the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca_location: Option<PathBuf>,
    /// Our certificate (PEM), for a registry that asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate_location: Option<PathBuf>,
    /// Its key (PEM, not encrypted).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_location: Option<PathBuf>,
}

impl Registry {
    /// A client of the registry; what is wrong goes to `problems`. Nothing is asked yet.
    pub(super) fn resolve(
        &self,
        directory: &Path,
        problems: &mut Vec<String>,
    ) -> Option<HttpRegistry> {
        let before = problems.len();
        let access = RegistryAccess {
            credentials: self.credentials(directory, problems),
            ca_pem: read(
                "ca_location",
                self.ca_location.as_ref(),
                directory,
                problems,
            ),
            identity_pem: self.identity(directory, problems),
        };
        if problems.len() > before {
            return None;
        }
        match HttpRegistry::with_access(&self.url, &access) {
            Ok(registry) => Some(registry),
            Err(error) => {
                problems.push(format!("[registry] {error}"));
                None
            }
        }
    }

    fn credentials(&self, directory: &Path, problems: &mut Vec<String>) -> Option<Credentials> {
        let mut text = |name: &str, text: &Option<Text>| {
            let place = format!("registry.{name}");
            text.as_ref()?
                .resolve_named(&place, name, directory, problems)
        };
        let username = text("username", &self.username);
        let password = text("password", &self.password);
        let token = text("token", &self.token);
        match (&self.username, &self.password, &self.token) {
            (None, None, None) => None,
            (None, None, Some(_)) => token.map(Credentials::Token),
            (Some(_), Some(_), None) => Some(Credentials::Basic {
                username: username?,
                password: password?,
            }),
            _ => {
                let why = "registry: give username and password, or token, or none of them";
                problems.push(why.to_owned());
                None
            }
        }
    }

    fn identity(&self, directory: &Path, problems: &mut Vec<String>) -> Option<Vec<u8>> {
        if self.certificate_location.is_some() != self.key_location.is_some() {
            let why = "registry: certificate_location and key_location go together";
            problems.push(why.to_owned());
            return None;
        }
        let certificate = self.certificate_location.as_ref();
        let certificate = read("certificate_location", certificate, directory, problems);
        let key = read(
            "key_location",
            self.key_location.as_ref(),
            directory,
            problems,
        );
        let mut identity = key?;
        identity.push(b'\n');
        identity.extend(certificate?);
        Some(identity)
    }
}

fn read(
    name: &str,
    path: Option<&PathBuf>,
    directory: &Path,
    problems: &mut Vec<String>,
) -> Option<Vec<u8>> {
    let path = directory.join(path?);
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            problems.push(format!("registry.{name}: {}: {error}", path.display()));
            None
        }
    }
}
