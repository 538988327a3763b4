//! The demo's progress line, on standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use super::lake_side::LakeWatch;
use super::owner_side::OwnerWatch;

/// How often a terminal's line is drawn anew.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(250);

/// How often a line is written where there is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(2);

/// Shows how far the changes have come until it is stopped.
pub(super) struct Display {
    task: JoinHandle<()>,
    line: Line,
}

/// What the line tells.
#[derive(Clone)]
struct Line {
    owner: OwnerWatch,
    lake: Option<LakeWatch>,
    bar: Option<ProgressBar>,
    started: Instant,
    at_start: [u64; 3],
}

impl Display {
    pub(super) fn start(owner: OwnerWatch, lake: Option<LakeWatch>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = terminal.then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}");
            ProgressBar::new_spinner()
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        let mut line = Line {
            owner,
            lake,
            bar,
            started: Instant::now(),
            at_start: [0; 3],
        };
        line.at_start = line.counts();
        let interval = if terminal {
            TERMINAL_INTERVAL
        } else {
            PLAIN_INTERVAL
        };
        let shown = line.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                shown.show();
            }
        });
        Self { task, line }
    }

    /// Shows the last state and stops.
    pub(super) fn stop(self) {
        self.task.abort();
        match &self.line.bar {
            Some(bar) => bar.finish_with_message(self.line.text()),
            None => self.line.show(),
        }
    }
}

impl Line {
    fn counts(&self) -> [u64; 3] {
        [
            self.owner.replayed.written(),
            self.owner.relayed.published(),
            self.lake.as_ref().map_or(0, LakeWatch::committed),
        ]
    }

    fn text(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let counts = self.counts();
        let told = |index: usize, name: &str| {
            let fresh = counts[index].saturating_sub(self.at_start[index]);
            let rate = (fresh as f64 / seconds) as u64;
            format!(
                "{name} {} ({}/s)",
                HumanCount(counts[index]),
                HumanCount(rate)
            )
        };
        let mut text = format!(
            "changes of {}: {} · {}",
            HumanCount(self.owner.replayed.total()),
            told(0, "written"),
            told(1, "published")
        );
        if self.lake.is_some() {
            text.push_str(" · ");
            text.push_str(&told(2, "committed"));
        }
        text
    }

    fn show(&self) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(self.text());
                bar.tick();
            }
            None => eprintln!("{}", self.text()),
        }
    }
}
