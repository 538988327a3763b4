//! Where a Postgres server is, and who we are there.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

/// How far the server is trusted on the way; libpq's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// A server, a database of it, and a role: read from a URL as libpq has it,
/// `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=ca.pem`.
///
/// Of libpq's parameters `host` (the folder of a Unix socket), `sslmode` (without `allow`),
/// `sslrootcert`, `sslcert` and `sslkey` are known; another one is refused by name.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresServer {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) database: String,
    pub(crate) ssl_mode: SslMode,
    pub(crate) ssl_root_cert: Option<PathBuf>,
    pub(crate) ssl_cert: Option<PathBuf>,
    pub(crate) ssl_key: Option<PathBuf>,
}

/// A URL that names no server. The URL itself is not repeated: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the URL of a Postgres database (postgres://user:password@host:5432/database): {0}")]
pub struct NotAServer(String);

/// Without the password.
impl fmt::Debug for PostgresServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresServer({self})")
    }
}

/// Host, port and database.
impl fmt::Display for PostgresServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.port, self.database)
    }
}

impl std::str::FromStr for PostgresServer {
    type Err = NotAServer;

    fn from_str(text: &str) -> Result<Self, NotAServer> {
        let refuse = |why: String| NotAServer(why);
        let url = Url::parse(text).map_err(|error| refuse(error.to_string()))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(refuse(format!("its scheme is {:?}", url.scheme())));
        }
        let user = decoded(url.username())?;
        if user.is_empty() {
            return Err(refuse("it names no user".to_owned()));
        }
        let database = decoded(url.path().trim_start_matches('/'))?;
        let mut server = Self {
            host: decoded(url.host_str().unwrap_or("localhost"))?,
            port: url.port().unwrap_or(5432),
            password: decoded(url.password().unwrap_or_default())?,
            database: if database.is_empty() {
                user.clone()
            } else {
                database
            },
            user,
            ssl_mode: SslMode::Prefer,
            ssl_root_cert: None,
            ssl_cert: None,
            ssl_key: None,
        };
        for (name, value) in url.query_pairs() {
            server.set(&name, value)?;
        }
        if server.host.starts_with('/') {
            // No eavesdropper sits in a socket of this machine, and Postgres has no TLS there.
            server.ssl_mode = SslMode::Disable;
        }
        Ok(server)
    }
}

impl PostgresServer {
    /// Whether the URL held a password.
    pub fn has_password(&self) -> bool {
        !self.password.is_empty()
    }

    fn set(&mut self, name: &str, value: Cow<'_, str>) -> Result<(), NotAServer> {
        match name {
            "host" => self.host = value.into_owned(),
            "sslmode" => self.ssl_mode = ssl_mode(&value)?,
            "sslrootcert" => self.ssl_root_cert = Some(PathBuf::from(value.as_ref())),
            "sslcert" => self.ssl_cert = Some(PathBuf::from(value.as_ref())),
            "sslkey" => self.ssl_key = Some(PathBuf::from(value.as_ref())),
            _ => {
                let known = "host, sslmode, sslrootcert, sslcert and sslkey are";
                return Err(NotAServer(format!(
                    "parameter {name:?} is not known; {known}"
                )));
            }
        }
        Ok(())
    }
}

fn ssl_mode(name: &str) -> Result<SslMode, NotAServer> {
    Ok(match name {
        "disable" => SslMode::Disable,
        "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => {
            let known = "disable, prefer, require, verify-ca, verify-full";
            return Err(NotAServer(format!("sslmode {name:?} is none of {known}")));
        }
    })
}

fn decoded(part: &str) -> Result<String, NotAServer> {
    let decoded = percent_decode_str(part).decode_utf8();
    let decoded = decoded.map_err(|_| NotAServer("a part of it is not UTF-8".to_owned()))?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_as_libpq_does() {
        let server: PostgresServer =
            "postgres://ann:p%40ss@db.example:6432/shop?sslmode=verify-full&sslrootcert=/ca.pem"
                .parse()
                .unwrap();
        assert_eq!(server.to_string(), "db.example:6432/shop");
        assert_eq!(
            (server.user.as_str(), server.password.as_str()),
            ("ann", "p@ss")
        );
        assert_eq!(server.ssl_mode, SslMode::VerifyFull);
        assert_eq!(server.ssl_root_cert, Some("/ca.pem".into()));
        assert!(!format!("{server:?}").contains("p@ss"));
        let socket: PostgresServer = "postgres://ann@localhost/?host=/run/pg".parse().unwrap();
        assert_eq!(socket.to_string(), "/run/pg:5432/ann");
    }

    #[test]
    fn what_is_no_server_is_told_without_its_password() {
        for (url, part) in [
            ("mysql://ann:hunter2@h/d", "mysql"),
            ("postgres://h/d", "no user"),
            ("postgres://ann:hunter2@h/d?options=-c", "\"options\""),
            ("postgres://ann:hunter2@h/d?sslmode=allow", "\"allow\""),
            ("hunter2", "postgres://user"),
        ] {
            let error = url.parse::<PostgresServer>().unwrap_err().to_string();
            assert!(
                error.contains(part) && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
