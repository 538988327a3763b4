//! Who we are to a registry, and whom we trust.

use std::fmt;

use reqwest::{Certificate, ClientBuilder, Identity, RequestBuilder};

/// How a registry knows us. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// HTTP basic authentication; an API key and its secret, too.
    Basic {
        /// The user, or the key.
        username: String,
        /// The password, or the secret.
        password: String,
    },
    /// A bearer token.
    Token(String),
}

/// What it takes to be let in. Nothing, by default.
#[derive(Clone, Debug, Default)]
pub struct RegistryAccess {
    /// Sent with every request.
    pub credentials: Option<Credentials>,
    /// Certificate authorities to trust besides the usual ones: PEM, one or more.
    pub ca_pem: Option<Vec<u8>>,
    /// Our own key (not encrypted) and certificate chain, one after the other: PEM.
    pub identity_pem: Option<Vec<u8>>,
}

impl Credentials {
    pub(super) fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Basic { username, password } => request.basic_auth(username, Some(password)),
            Self::Token(token) => request.bearer_auth(token),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic(not shown)",
            Self::Token(_) => "Token(not shown)",
        })
    }
}

impl RegistryAccess {
    /// A client that trusts and shows what is asked for; an error names the file to look at.
    pub(super) fn apply(&self, mut builder: ClientBuilder) -> Result<reqwest::Client, String> {
        if let Some(pem) = &self.ca_pem {
            let certificates = Certificate::from_pem_bundle(pem)
                .map_err(|error| format!("ca_location: {}", super::reason(&error)))?;
            if certificates.is_empty() {
                return Err("ca_location: the file holds no certificate (PEM)".to_owned());
            }
            for certificate in certificates {
                builder = builder.add_root_certificate(certificate);
            }
        }
        if let Some(pem) = &self.identity_pem {
            let identity = Identity::from_pem(pem).map_err(|error| {
                format!(
                    "certificate_location, key_location: {}; a key must be PEM and not encrypted",
                    super::reason(&error)
                )
            })?;
            builder = builder.identity(identity);
        }
        builder.build().map_err(|error| super::reason(&error))
    }
}

/// Refuses what is no address, and credentials in one, which would be in every message.
pub(super) fn check_address(base: &str) -> Result<(), String> {
    let url = reqwest::Url::parse(base).map_err(|error| format!("not an address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("not an http:// or https:// address".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials do not belong into the address; set username and password".into());
    }
    Ok(())
}

/// The address as it may be shown.
pub(super) fn without_credentials(base: &str) -> String {
    match (base.split_once("://"), base.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => base.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::HttpRegistry;

    use super::*;

    #[test]
    fn credentials_are_never_shown() {
        let access = RegistryAccess {
            credentials: Some(Credentials::Token("hunter2".to_owned())),
            ..RegistryAccess::default()
        };
        let registry = HttpRegistry::with_access("https://r:8081", &access).unwrap();
        assert!(!format!("{registry:?} {access:?}").contains("hunter2"));
        let error = HttpRegistry::new("https://user:hunter2@r").unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(error.to_string().contains("set username"), "{error}");
    }

    #[test]
    fn what_is_no_certificate_is_told_by_its_setting() {
        let access = RegistryAccess {
            ca_pem: Some(b"hello".to_vec()),
            ..RegistryAccess::default()
        };
        let error = HttpRegistry::with_access("https://r", &access).unwrap_err();
        assert!(error.to_string().contains("ca_location"), "{error}");
        let access = RegistryAccess {
            identity_pem: Some(b"hello".to_vec()),
            ..RegistryAccess::default()
        };
        let error = HttpRegistry::with_access("https://r", &access).unwrap_err();
        assert!(error.to_string().contains("key_location"), "{error}");
        assert!(HttpRegistry::new("registry:8081").is_err());
    }
}
