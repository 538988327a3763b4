//! Start and stop.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::Error;
use crate::registry::Registry;
use crate::routes::router;

const PORT: &str = "port";
/// How long a stop waits for requests under way.
const STOP_WAIT_MAX: Duration = Duration::from_secs(2);

/// What a start needs to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Where everything is kept; created where missing. One process at a time.
    pub directory: PathBuf,
    /// The port on 127.0.0.1. 0: the port of the last start in this directory where it is free,
    /// else any free one.
    pub port: u16,
}

impl Settings {
    /// A registry in this directory, on any port.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            port: 0,
        }
    }

    /// On this port, or not at all.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }
}

/// A running registry. Dropped without [`RegistryServer::stop`], it ends soon after; nothing that
/// was answered is lost.
#[derive(Debug)]
pub struct RegistryServer {
    url: String,
    registry: Arc<Registry>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<io::Result<()>>,
}

impl RegistryServer {
    /// Starts a registry on the current tokio runtime. When this returns, clients can connect.
    ///
    /// # Errors
    /// The directory is in use by another process or cannot be used, its log is damaged, or the
    /// port is taken.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        let registry = Arc::new(Registry::open(&settings.directory)?);
        let (listener, address) = listen(settings.port, &settings.directory).await?;
        let router = router(Arc::clone(&registry));
        let (stop, stopping) = oneshot::channel::<()>();
        let server = axum::serve(listener, router).with_graceful_shutdown(async {
            // Told to stop, or dropped: both end it.
            let _ = stopping.await;
        });
        let server = tokio::spawn(async { server.await });
        let url = format!("http://{address}");
        info!(%url, "embedded schema registry is ready");
        Ok(Self {
            url,
            registry,
            stop,
            server,
        })
    }

    /// What clients connect to, as in `schema.registry.url`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Finishes the requests under way, then ends.
    ///
    /// # Errors
    /// The server had ended by itself.
    pub async fn stop(mut self) -> Result<(), Error> {
        // A server that has ended already says so below.
        let _ = self.stop.send(());
        let ended = timeout(STOP_WAIT_MAX, &mut self.server).await;
        self.registry.close();
        match ended {
            Ok(Ok(result)) => result.map_err(Error::Ended),
            Ok(Err(error)) => Err(Error::Ended(io::Error::other(error))),
            Err(_) => {
                // Idle connections may be held open by their clients.
                self.server.abort();
                let _ = self.server.await;
                Ok(())
            }
        }
    }
}

/// Listens on the port asked for, else on the last one where it is free, else on any; and keeps
/// which.
async fn listen(port: u16, directory: &Path) -> Result<(TcpListener, SocketAddr), Error> {
    let path = directory.join(PORT);
    let kept = match port {
        0 => kept_port(&path),
        _ => None,
    };
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = match kept {
        Some(kept) => match bind(kept).await {
            Ok(listener) => Ok(listener),
            Err(error) => {
                warn!(%error, port = kept, "the last port is taken; another one is chosen");
                bind(0).await
            }
        },
        None => bind(port).await,
    };
    let bound = listener.and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    let (listener, address) = bound.map_err(|source| Error::Listen { port, source })?;
    if kept != Some(address.port()) {
        let written = std::fs::write(&path, address.port().to_string());
        written.map_err(|source| Error::Directory { path, source })?;
    }
    Ok((listener, address))
}

/// The port of the last start. A convenience: where it cannot be read, any port will do.
fn kept_port(path: &Path) -> Option<u16> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
