//! A profile of AWS's credentials and configuration files.
//!
//! What is read: keys (with a session token) and a role by web identity, region and endpoint.
//! What another program or service would have to hand out (`credential_process`, SSO,
//! `source_profile`) is refused by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;

mod ini;

/// How often the files are read again: keys in them may be rotated while the writer runs.
const READ_INTERVAL: Duration = Duration::from_secs(30);

/// Settings of a profile that stand for ways we do not go.
const NOT_READ: [&str; 5] = [
    "credential_process",
    "sso_session",
    "sso_start_url",
    "source_profile",
    "credential_source",
];

/// A profile's settings from both files.
#[derive(Clone)]
pub(super) struct Profile {
    name: String,
    files: Files,
    settings: BTreeMap<String, String>,
}

/// Where AWS's files are.
#[derive(Clone, Debug)]
struct Files {
    credentials: PathBuf,
    config: PathBuf,
}

/// What a profile lets us do.
pub(super) enum Grant {
    Keys(AwsCredential),
    WebIdentity { role: String, token_file: String },
}

impl Profile {
    /// The profile of a name; refused if no file has it.
    pub(super) fn read(name: &str) -> Result<Self, String> {
        Files::of_environment()?.profile(name)?.ok_or_else(|| {
            let places = Files::of_environment().map(|files| files.to_string());
            format!(
                "there is no AWS profile {name:?} in {}",
                places.unwrap_or_default()
            )
        })
    }

    /// The profile that the environment names, or `default` if there is one that grants anything.
    pub(super) fn of_environment() -> Result<Option<Self>, String> {
        let named = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"].iter();
        let named = named.filter_map(|variable| std::env::var(variable).ok());
        if let Some(name) = named.into_iter().find(|name| !name.is_empty()) {
            return Self::read(&name).map(Some);
        }
        let Ok(files) = Files::of_environment() else {
            return Ok(None);
        };
        let found = files.profile("default")?;
        // A profile `default` with a region alone is common; then the machine's role counts.
        Ok(found.filter(|profile| profile.grants_something()))
    }

    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        let found = self.settings.get(name).map(String::as_str);
        found.filter(|value| !value.is_empty())
    }

    fn grants_something(&self) -> bool {
        let ways = ["aws_access_key_id", "web_identity_token_file"];
        ways.iter()
            .chain(&NOT_READ)
            .any(|name| self.setting(name).is_some())
    }

    pub(super) fn grant(&self) -> Result<Grant, String> {
        let (name, files) = (&self.name, &self.files);
        if let Some(other) = NOT_READ.iter().find(|name| self.setting(name).is_some()) {
            return Err(format!(
                "AWS profile {name:?} uses {other}, which is not read; put keys into the \
                 environment, for example by `aws configure export-credentials --profile {name} \
                 --format env`"
            ));
        }
        let keys = ["aws_access_key_id", "aws_secret_access_key"].map(|key| self.setting(key));
        if let [Some(key_id), Some(secret_key)] = keys {
            let token = self.setting("aws_session_token").map(str::to_owned);
            return Ok(Grant::Keys(AwsCredential {
                key_id: key_id.to_owned(),
                secret_key: secret_key.to_owned(),
                token,
            }));
        }
        match ["role_arn", "web_identity_token_file"].map(|key| self.setting(key)) {
            [Some(role), Some(token_file)] => Ok(Grant::WebIdentity {
                role: role.to_owned(),
                token_file: token_file.to_owned(),
            }),
            _ => Err(format!(
                "AWS profile {name:?} in {files} has neither aws_access_key_id and \
                 aws_secret_access_key nor role_arn and web_identity_token_file"
            )),
        }
    }
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "profile {:?} of {}", self.name, self.files)
    }
}

impl Files {
    fn of_environment() -> Result<Self, String> {
        let place = |variable: &str, name: &str| {
            if let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) {
                return Ok(PathBuf::from(path));
            }
            let home = std::env::home_dir().ok_or("there is no home directory for ~/.aws")?;
            Ok::<_, String>(home.join(".aws").join(name))
        };
        Ok(Self {
            credentials: place("AWS_SHARED_CREDENTIALS_FILE", "credentials")?,
            config: place("AWS_CONFIG_FILE", "config")?,
        })
    }

    /// A profile's settings, those of the credentials file first; `None` if neither file has it.
    fn profile(&self, name: &str) -> Result<Option<Profile>, String> {
        let of_config = match name {
            "default" => "default".to_owned(),
            name => format!("profile {name}"),
        };
        let config = read(&self.config)?.and_then(|text| ini::section(&text, &of_config));
        let credentials = read(&self.credentials)?.and_then(|text| ini::section(&text, name));
        if config.is_none() && credentials.is_none() {
            return Ok(None);
        }
        let mut settings = config.unwrap_or_default();
        settings.extend(credentials.unwrap_or_default());
        Ok(Some(Profile {
            name: name.to_owned(),
            files: self.clone(),
            settings,
        }))
    }
}

impl std::fmt::Display for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            credentials,
            config,
        } = self;
        write!(f, "{} and {}", credentials.display(), config.display())
    }
}

/// A file's text; `None` if there is no such file.
fn read(path: &Path) -> Result<Option<String>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// The keys of a profile, as its files have them now.
pub(super) struct ProfileKeys {
    profile: Profile,
    known: Mutex<Option<(Instant, Arc<AwsCredential>)>>,
}

impl ProfileKeys {
    pub(super) fn new(profile: Profile) -> Self {
        Self {
            profile,
            known: Mutex::new(None),
        }
    }

    fn read(&self) -> Result<Arc<AwsCredential>, String> {
        let Profile { name, files, .. } = &self.profile;
        let gone = || format!("AWS profile {name:?} is no longer in {files}");
        match files.profile(name)?.ok_or_else(gone)?.grant()? {
            Grant::Keys(keys) => Ok(Arc::new(keys)),
            Grant::WebIdentity { .. } => Err(format!("AWS profile {name:?} no longer has keys")),
        }
    }
}

impl std::fmt::Debug for ProfileKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "keys of {:?}", self.profile)
    }
}

#[async_trait]
impl CredentialProvider for ProfileKeys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        // Poisoned only by a panic between two assignments, which leaves nothing half done.
        let mut known = self.known.lock().unwrap_or_else(|known| known.into_inner());
        if let Some((read_at, keys)) = known.as_ref()
            && read_at.elapsed() < READ_INTERVAL
        {
            return Ok(Arc::clone(keys));
        }
        let keys = self.read().map_err(|why| object_store::Error::Generic {
            store: "S3",
            source: why.into(),
        })?;
        *known = Some((Instant::now(), Arc::clone(&keys)));
        Ok(keys)
    }
}

#[cfg(test)]
mod tests;
