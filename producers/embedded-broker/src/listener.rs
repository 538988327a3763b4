//! Connections: accepted on loopback, each served by its own pair of tasks.

use std::io;
use std::sync::Arc;

use slatedb::bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::protocol::{Protocol, Reply};

/// Connections at once; more wait to be accepted. A librdkafka client takes two or three.
const CONNECTIONS_MAX: usize = 512;
/// A larger request ends its connection.
const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Requests of one connection whose answers are under way.
const REPLIES_MAX: usize = 16;
/// How long a listener that cannot accept waits before it tries again.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Serves connections until it is dropped, which drops the connections too.
pub(crate) async fn serve(listener: TcpListener, protocol: Arc<Protocol>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let place = Arc::clone(&places).acquire_owned().await.ok();
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, peer)) => {
                debug!(%peer, "connected");
                let protocol = Arc::clone(&protocol);
                connections.spawn(async move {
                    let _place = place;
                    if let Err(error) = converse(stream, protocol).await {
                        debug!(%peer, %error, "connection ended");
                    }
                });
            }
            Err(error) => {
                warn!(%error, "the embedded broker cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, protocol: Arc<Protocol>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let (replies, queue) = mpsc::channel(REPLIES_MAX);
    // Whichever ends first (the client is gone, or a request cannot be answered) ends the other.
    tokio::select! {
        read = read_requests(reader, protocol, replies) => read,
        written = write_replies(writer, queue) => written,
    }
}

async fn read_requests(
    mut reader: OwnedReadHalf,
    protocol: Arc<Protocol>,
    replies: mpsc::Sender<Reply>,
) -> io::Result<()> {
    loop {
        let mut length = [0; 4];
        reader.read_exact(&mut length).await?;
        let bytes = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if bytes > REQUEST_BYTES_MAX {
            warn!(bytes, "a request is too large or no Kafka request");
            return Err(io::ErrorKind::InvalidData.into());
        }
        // Tansu decodes a frame with its length in front.
        let mut request = vec![0; length.len() + bytes];
        request[..length.len()].copy_from_slice(&length);
        reader.read_exact(&mut request[length.len()..]).await?;
        let reply = protocol.start(Bytes::from(request)).await;
        let reply = reply.map_err(unanswerable)?;
        if replies.send(reply).await.is_err() {
            return Ok(());
        }
    }
}

/// Writes answers in the order of their requests, as Kafka's protocol wants it.
async fn write_replies(
    mut writer: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Reply>,
) -> io::Result<()> {
    while let Some(reply) = queue.recv().await {
        if let Some(bytes) = reply.await.map_err(unanswerable)? {
            writer.write_all(&bytes).await?;
        }
    }
    Ok(())
}

fn unanswerable(error: crate::error::Source) -> io::Error {
    warn!(%error, "a request cannot be answered; its connection is closed");
    io::Error::other(error)
}
