//! Values that may be secrets: given by reference, never shown.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text in the configuration: itself, `{ env = "NAME" }` or `{ file = "PATH" }`.
#[derive(Clone, PartialEq)]
pub(super) enum Text {
    /// The text itself.
    Plain(String),
    /// The value of an environment variable.
    Env(String),
    /// What a file holds, without the line end at its end. A relative path starts at the
    /// configuration file.
    File(PathBuf),
}

impl Text {
    /// The text itself; relative paths start from `directory`.
    pub(super) fn resolve(&self, directory: &Path) -> Result<String, String> {
        match self {
            Self::Plain(text) => Ok(text.clone()),
            Self::Env(name) => std::env::var(name)
                .map_err(|_| format!("the environment variable {name} is not set")),
            Self::File(path) => {
                let path = directory.join(path);
                let text = std::fs::read_to_string(&path);
                let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
                Ok(text.trim_end_matches(['\n', '\r']).to_owned())
            }
        }
    }

    /// The text itself; what is wrong goes to `problems` with its place. A secret that stands in
    /// the configuration is refused: the file is copied, shown and kept in places that it is not
    /// meant for.
    pub(super) fn resolve_named(
        &self,
        place: &str,
        name: &str,
        directory: &Path,
        problems: &mut Vec<String>,
    ) -> Option<String> {
        if matches!(self, Self::Plain(_)) && is_secret(name) {
            problems.push(format!(
                "{place} is a secret and stands in the file; give it as {{ env = \"NAME\" }} or \
                 {{ file = \"PATH\" }}"
            ));
            return None;
        }
        match self.resolve(directory) {
            Ok(text) => Some(text),
            Err(why) => {
                problems.push(format!("{place}: {why}"));
                None
            }
        }
    }

    /// Whether the value is somewhere else.
    pub(super) fn is_reference(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }
}

/// Ends of names whose values are secrets, in librdkafka's, object_store's and our own words.
const SECRET_ENDS: [&str; 12] = [
    "password",
    "secret",
    "token",
    "secret_access_key",
    "account_key",
    "storage_access_key",
    "master_key",
    "sas_key",
    "service_account_key",
    "customer_key_base64",
    "key.pem",
    "private_key",
];

/// Whether a setting of this name holds a secret.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_ENDS.iter().any(|end| name.ends_with(end)) || name == "access_key"
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("(a text)"),
            Self::Env(name) => write!(f, "{{ env = {name:?} }}"),
            Self::File(path) => write!(f, "{{ file = {path:?} }}"),
        }
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = match self {
            Self::Plain(text) => return serializer.serialize_str(text),
            _ => serializer.serialize_map(Some(1))?,
        };
        match self {
            Self::File(path) => map.serialize_entry("file", path)?,
            Self::Env(name) | Self::Plain(name) => map.serialize_entry("env", name)?,
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrReference)
    }
}

struct TextOrReference;

impl<'de> Visitor<'de> for TextOrReference {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, { env = \"NAME\" } or { file = \"PATH\" }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text::Plain(text.to_owned()))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Text, E> {
        Ok(Text::Plain(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Text, E> {
        Ok(Text::Plain(value.to_string()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
        let one = || de::Error::custom("a reference is { env = \"NAME\" } or { file = \"PATH\" }");
        let (name, value) = map.next_entry::<String, String>()?.ok_or_else(one)?;
        if map.next_entry::<String, String>()?.is_some() {
            return Err(one());
        }
        match name.as_str() {
            "env" => Ok(Text::Env(value)),
            "file" => Ok(Text::File(value.into())),
            _ => Err(one()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(toml: &str) -> Result<BTreeMap<String, Text>, toml::de::Error> {
        toml::from_str(toml)
    }

    #[test]
    fn texts_and_references_are_read_and_written_alike() {
        let toml = "a = \"x\"\n\n[b]\nenv = \"NAME\"\n\n[c]\nfile = \"path\"\n";
        let texts = read(toml).unwrap();
        assert_eq!(toml::to_string(&texts).unwrap(), toml);
        assert_eq!(read("a = 5000").unwrap()["a"], Text::Plain("5000".into()));
        assert_eq!(read("a = true").unwrap()["a"], Text::Plain("true".into()));
        for wrong in [
            "a = {}",
            "a = { enw = 'x' }",
            "a = { env = 'x', file = 'y' }",
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("env = \"NAME\""), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_file_gives_its_text_without_its_line_end() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("password"), "hunter2\n").unwrap();
        let text = Text::File("password".into());
        assert_eq!(text.resolve(directory.path()).unwrap(), "hunter2");
        let missing = Text::File("missing".into()).resolve(directory.path());
        assert!(missing.unwrap_err().contains("missing"));
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in [
            "sasl.password",
            "ssl.key.password",
            "ssl.key.pem",
            "sasl.oauthbearer.client.secret",
            "aws_secret_access_key",
            "AWS_SESSION_TOKEN",
            "azure_storage_account_key",
            "azure_storage_sas_token",
            "google_service_account_key",
            "password",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "aws_access_key_id",
            "aws_web_identity_token_file",
            "ssl.key.location",
            "sasl.username",
            "google_service_account",
            "aws_sse_kms_key_id",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
