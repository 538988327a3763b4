//! Signals: the first SIGINT or SIGTERM asks to stop, the second stops at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

use crate::failure::Failure;

/// Exit code after a second signal: as a shell reports SIGINT.
const INTERRUPTED: i32 = 130;

/// Becomes true at the first signal.
pub(crate) fn on_signal() -> Result<watch::Receiver<bool>, Failure> {
    let interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
    on(Some(interrupt))
}

/// Becomes true at the first SIGTERM: for a prompt, which hears of Ctrl-C by itself.
pub(crate) fn on_terminate() -> Result<watch::Receiver<bool>, Failure> {
    on(None)
}

fn on(mut interrupt: Option<Signal>) -> Result<watch::Receiver<bool>, Failure> {
    let (asked, stop) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::failed)?;
    tokio::spawn(async move {
        let mut next = async || {
            let interrupted = async {
                match &mut interrupt {
                    Some(interrupt) => interrupt.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = interrupted => {}
                _ = terminate.recv() => {}
            }
        };
        next().await;
        info!("stopping; once more to stop at once");
        asked.send_replace(true);
        next().await;
        std::process::exit(INTERRUPTED);
    });
    Ok(stop)
}
