//! Why the embedded broker cannot start or stop.

use std::io;
use std::path::PathBuf;

/// An error of a dependency, kept whole as the source of ours.
pub(crate) type Source = Box<dyn std::error::Error + Send + Sync>;

/// What can go wrong with the broker itself. What goes wrong with one request is answered to its
/// client with Kafka's own error codes and never ends up here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process serves this directory. Nothing was changed.
    #[error(
        "directory {} is in use by another running broker; stop that process or choose another directory",
        directory.display()
    )]
    InUse {
        /// The directory asked for.
        directory: PathBuf,
    },
    /// The directory, or a small file in it, cannot be created, read or written.
    #[error("cannot use {}", path.display())]
    Directory {
        /// The file or directory concerned.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A small file in the directory does not hold what it must hold.
    #[error("{} holds {found:?}, which is not {expected}; restore or remove that file", path.display())]
    Damaged {
        /// The file concerned.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// The port that the settings name cannot be listened on.
    #[error(
        "cannot listen on 127.0.0.1:{port}; stop what listens there or choose port 0 for any free one"
    )]
    Listen {
        /// The port asked for; 0 when any would have done.
        port: u16,
        /// The system's answer.
        source: io::Error,
    },
    /// The records under the directory cannot be opened or closed.
    #[error("cannot {action} the records in {}", directory.display())]
    Store {
        /// What was tried.
        action: &'static str,
        /// The broker's directory.
        directory: PathBuf,
        /// SlateDB's or tansu's answer.
        source: Source,
    },
    /// The broker's own thread cannot be started.
    #[error("cannot start the broker's thread")]
    Thread(#[source] io::Error),
    /// The broker's thread ended unexpectedly; the log says why.
    #[error("the broker's thread ended unexpectedly; see the log")]
    Ended,
}
