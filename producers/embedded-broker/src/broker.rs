//! Start and stop: a thread with its own runtime, so that a busy broker and the rest of the
//! program do not hold each other up.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use slatedb::Db;
use tansu_storage::slate::Engine;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing::{info, warn};
use url::Url;

use crate::directory::Directory;
use crate::log::Log;
use crate::protocol::{Protocol, Topics};
use crate::settings::Settings;
use crate::{Error, listener, store};

/// The only broker of its cluster.
const NODE_ID: i32 = 1;
const WORKERS: usize = 2;

/// A running broker. Dropped without [`EmbeddedBroker::stop`], it ends soon after, as safely as by
/// a SIGKILL: acknowledged records are kept, and the next start takes a moment longer.
#[derive(Debug)]
pub struct EmbeddedBroker {
    bootstrap_servers: String,
    cluster_id: String,
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<Result<(), Error>>,
}

/// What the broker's thread reports once clients can connect.
#[derive(Debug)]
struct Ready {
    address: SocketAddr,
    cluster_id: String,
}

impl EmbeddedBroker {
    /// Starts a broker. When this returns, any Kafka client on this machine can connect.
    ///
    /// Installs no signal handlers and writes nothing to standard output. Must be called within a
    /// tokio runtime; the broker runs on another one of its own.
    ///
    /// # Errors
    /// The directory is in use by another process or cannot be used, the port is taken, or the
    /// records cannot be opened.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        let (ready, is_ready) = oneshot::channel();
        let (stop, stopping) = oneshot::channel();
        let (ended, stopped) = oneshot::channel();
        thread::Builder::new()
            .name("embedded-broker".to_owned())
            .spawn(move || {
                // Nobody listens any more when the broker was dropped.
                let _ = ended.send(run(&settings, ready, stopping));
            })
            .map_err(Error::Thread)?;
        let Ok(Ready {
            address,
            cluster_id,
        }) = is_ready.await
        else {
            let result = stopped.await.unwrap_or(Err(Error::Ended));
            return Err(result.err().unwrap_or(Error::Ended));
        };
        info!(%address, cluster = %cluster_id, "embedded broker is ready");
        Ok(Self {
            bootstrap_servers: address.to_string(),
            cluster_id,
            stop,
            stopped,
        })
    }

    /// What clients connect to, as in `bootstrap.servers`.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// The cluster's id: the same for every start in one directory.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Closes all connections and the files. Requests under way are not answered.
    ///
    /// # Errors
    /// The files cannot be closed. Acknowledged records are kept even so.
    pub async fn stop(self) -> Result<(), Error> {
        // The thread may have ended by itself; its result says so.
        let _ = self.stop.send(());
        self.stopped.await.unwrap_or(Err(Error::Ended))
    }
}

fn run(
    settings: &Settings,
    ready: oneshot::Sender<Ready>,
    stopping: oneshot::Receiver<()>,
) -> Result<(), Error> {
    let directory = Directory::lock(&settings.directory)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("embedded-broker")
        .enable_all()
        .build()
        .map_err(Error::Thread)?;
    let result = runtime.block_on(Box::pin(serve(settings, &directory, ready, stopping)));
    // Ends the connections' tasks and SlateDB's own before the lock is given up.
    runtime.shutdown_timeout(Duration::from_secs(2));
    result
}

async fn serve(
    settings: &Settings,
    directory: &Directory,
    ready: oneshot::Sender<Ready>,
    stopping: oneshot::Receiver<()>,
) -> Result<(), Error> {
    let cluster_id = directory.cluster_id()?;
    let listener = listen(settings.port, directory).await?;
    let address = listener
        .local_addr()
        .map_err(|source| not_listening(settings.port, source))?;
    let db = store::open(directory).await?;
    let protocol = protocol(&db, &cluster_id, address, settings, directory)?;
    let serving = tokio::spawn(listener::serve(listener, protocol));
    let is_wanted = ready.send(Ready {
        address,
        cluster_id,
    });
    if is_wanted.is_ok() {
        // Told to stop, or dropped: both end it.
        let _ = stopping.await;
    }
    serving.abort();
    let _ = serving.await;
    store::close(&db, directory).await
}

fn protocol(
    db: &Arc<Db>,
    cluster_id: &str,
    address: SocketAddr,
    settings: &Settings,
    directory: &Directory,
) -> Result<Arc<Protocol>, Error> {
    let failed = |source| Error::Store {
        action: "serve",
        directory: directory.path().to_owned(),
        source,
    };
    let advertised =
        Url::parse(&format!("tcp://{address}")).map_err(|error| failed(error.into()))?;
    let engine = Engine::new(cluster_id, NODE_ID, advertised, Arc::clone(db));
    let log = Log::new(Arc::clone(db), engine.clone(), settings.flush_interval);
    let topics = Topics {
        partitions_default: settings.partitions_default,
        on_demand: settings.topics_on_demand,
    };
    let protocol = Protocol::new(Arc::new(log), engine, topics);
    Ok(Arc::new(protocol.map_err(|error| failed(error.into()))?))
}

/// Listens on the port asked for, else on the last one where it is free, else on any; and keeps
/// which.
async fn listen(port: u16, directory: &Directory) -> Result<TcpListener, Error> {
    let kept = match port {
        0 => directory.port()?,
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
    let listener = listener.map_err(|source| not_listening(port, source))?;
    let bound = listener.local_addr();
    let bound = bound.map_err(|source| not_listening(port, source))?.port();
    if kept != Some(bound) {
        directory.keep_port(bound)?;
    }
    Ok(listener)
}

fn not_listening(port: u16, source: io::Error) -> Error {
    Error::Listen { port, source }
}
