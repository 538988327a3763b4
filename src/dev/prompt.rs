//! SQL on the terminal, beside everything else: statements until `;`, Ctrl-C for the statement and
//! Ctrl-D for the end.
//!
//! The terminal's own line editing, and no more: what reads keys itself would bring crates that
//! rebuild half of the graph (`rlwrap lakehead dev` gives a history).

use std::io::Write as _;
use std::thread;

use lake_store::LakeStore;
use query_engine::EngineSettings;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::failure::Failure;
use crate::sql::{OutputFormat, Script, Session};

mod input;

use input::{Input, Word};

const READY: &str = "lakehead> ";
const GOING_ON: &str = "      ..> ";
/// Where a statement is from, in messages about it.
const SOURCE: &str = "statement";

const HELP: &str = "\
statements end with ; and may have several lines
  \\d             the tables           \\d service.entity   a table's columns
  \\q or Ctrl-D   stop lakehead dev    Ctrl-C              drop the statement";

/// Somebody at a terminal who asks, and is answered.
pub(super) struct Prompt {
    session: Session,
    lines: mpsc::Receiver<String>,
    interrupt: Signal,
}

impl Prompt {
    /// Starts to read lines, on a thread of their own, since that blocks it.
    pub(super) fn start(lake: LakeStore) -> Result<Self, Failure> {
        let session = Session::open(lake, &EngineSettings::default(), OutputFormat::Table)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
        // The next line waits while a statement runs.
        let (typed, lines) = mpsc::channel(1);
        thread::Builder::new()
            .name("prompt".to_owned())
            .spawn(move || {
                for line in std::io::stdin().lines().map_while(Result::ok) {
                    if typed.blocking_send(line).is_err() {
                        return;
                    }
                }
            })
            .map_err(Failure::failed)?;
        Ok(Self {
            session,
            lines,
            interrupt,
        })
    }

    /// Asks and answers until the end is typed, or `stop`.
    pub(super) async fn until_left_or(mut self, stop: &mut watch::Receiver<bool>) {
        tell(&format!("{HELP}\n"));
        let mut input = Input::default();
        loop {
            tell(if input.is_empty() { READY } else { GOING_ON });
            let line = tokio::select! {
                line = self.lines.recv() => line,
                _ = self.interrupt.recv() => {
                    input.clear();
                    tell("\n");
                    continue;
                }
                _ = stop.wait_for(|asked| *asked) => return,
            };
            let Some(line) = line else {
                tell("\n");
                return;
            };
            match input.take(&line) {
                Word::More => {}
                Word::Leave => return,
                Word::Help => tell(&format!("{HELP}\n")),
                Word::Ask(sql) => {
                    tokio::select! {
                        () = answer(&self.session, &sql) => {}
                        _ = self.interrupt.recv() => tell("cancelled\n"),
                        _ = stop.wait_for(|asked| *asked) => return,
                    }
                }
            }
        }
    }
}

/// Answers a text of statements, or says why not.
async fn answer(session: &Session, sql: &str) {
    let answered = match Script::checked(SOURCE.to_owned(), sql) {
        Ok(script) => Box::pin(session.run(&script)).await,
        Err(error) => Err(error),
    };
    if let Err(error) = answered {
        tell(&format!("error: {error}\n"));
    }
}

fn tell(text: &str) {
    let mut stderr = std::io::stderr();
    // Nobody to tell if standard error is gone.
    let _ = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}
