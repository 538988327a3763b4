//! What stands between a capture and its Postgres, and may fall silent: connections stay open, and nothing
//! passes them any more.

use std::io::Result;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A proxy of one server; new connections pass at any time.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    silence: Arc<Silence>,
    task: JoinHandle<()>,
}

/// When the connections of now fall silent.
struct Silence {
    /// With what a server has sent so much of on one connection, from here on.
    bytes: AtomicUsize,
    /// How often it fell.
    fallen: watch::Sender<u32>,
}

impl Proxy {
    /// `server` is its host and port.
    pub(crate) async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silence = Arc::new(Silence {
            bytes: AtomicUsize::new(usize::MAX),
            fallen: watch::Sender::new(0),
        });
        Self {
            address: listener.local_addr().unwrap(),
            task: tokio::spawn(accept(listener, server, Arc::clone(&silence))),
            silence,
        }
    }

    /// All connections fall silent when the server has sent so many bytes on one of them.
    pub(crate) fn fall_silent_after(&self, bytes: usize) {
        self.silence.bytes.store(bytes, Ordering::SeqCst);
    }

    pub(crate) async fn wait_silent(&self) {
        let mut fallen = self.silence.fallen.subscribe();
        fallen.wait_for(|fallen| *fallen > 0).await.unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: String, silence: Arc<Silence>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let (server, silence) = (server.clone(), Arc::clone(&silence));
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else {
                return;
            };
            let mut fallen = silence.fallen.subscribe();
            let mut passing = pin!(pass(client, server, &silence));
            tokio::select! {
                () = &mut passing => {}
                // Both ends stay open: they are still held here.
                _ = fallen.changed() => std::future::pending().await,
            }
        });
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, silence: &Silence) {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        _ = copy(from_client, to_server, None) => {}
        _ = copy(from_server, to_client, Some(silence)) => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    silence: Option<&Silence>,
) -> Result<()> {
    let (mut buffer, mut passed) = (vec![0; 16 << 10], 0);
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        passed += read;
        if let Some(silence) = silence
            && passed > silence.bytes.load(Ordering::SeqCst)
        {
            silence.bytes.store(usize::MAX, Ordering::SeqCst);
            // In the middle of what the server has to say.
            to.write_all(&buffer[..read / 2]).await?;
            silence.fallen.send_modify(|fallen| *fallen += 1);
            std::future::pending::<()>().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}
