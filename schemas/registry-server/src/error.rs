//! Why the registry cannot start or stop.

use std::io;
use std::path::PathBuf;

/// What can go wrong with the registry itself. What goes wrong with one request is answered to its
/// client with Confluent's error codes and never ends up here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process serves this directory. Nothing was changed.
    #[error(
        "{} is in use by another running registry; stop that process or choose another directory",
        path.display()
    )]
    InUse {
        /// The log of schemas.
        path: PathBuf,
    },
    /// The directory, or a file in it, cannot be created, read or written.
    #[error("cannot use {}", path.display())]
    Directory {
        /// The file or directory concerned.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The log of schemas holds a line that is whole but wrong.
    #[error(
        "line {line} of {} is damaged ({reason}); restore the file, or remove it and register the schemas again",
        path.display()
    )]
    Damaged {
        /// The log of schemas.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The port cannot be listened on.
    #[error(
        "cannot listen on 127.0.0.1:{port}; stop what listens there or choose port 0 for any free one"
    )]
    Listen {
        /// The port asked for; 0 when any would have done.
        port: u16,
        /// The system's answer.
        source: io::Error,
    },
    /// The server ended unexpectedly.
    #[error("the registry's server ended unexpectedly")]
    Ended(#[source] io::Error),
}
