//! `lakehead resume`: leads a stopped table over what Kafka no longer has.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use lake_writer::{
    Entropy, Feed, Gap, GapReason, Observer, RefusedTopic, Restart, Stand, SystemClock,
};
use schemas::TableName;
use tracing::warn;

use crate::config::Config;
use crate::failure::Failure;
use crate::status::write;

/// Lead a stopped table over what Kafka no longer has
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lakehead resume --config lakehead.toml                                       show what is missing
  lakehead resume --config lakehead.toml --accept-gap shop.purchase            all of one table
  lakehead resume --config lakehead.toml --accept-gap shop.purchase --partition 3

Without --accept-gap nothing is written. With it, each gap becomes a row of system.gaps, then the
table's progress moves over it, and the writer, running or not, goes on by itself (a running one
tries again after at most five minutes). Killed in between, run it again: a gap has one row.

Where it goes on: after retention, at the first record kept; in a topic that was made again or is of
another cluster, at its start; where partitions were added, where it stands. Rows that were copied
stay. Of a topic that was made again every change is later than all that was copied, and keys that it
does not mention stay in the current state: see docs/operations.md before you accept that for a table
with updates.

Exit codes: 0 nothing is missing, or accepted; 1 failed, 2 usage or configuration, 3 the lake or
Kafka cannot be reached, 5 something is missing, a topic too, and was not accepted.")]
pub(crate) struct ResumeArgs {
    /// The configuration file of the writer
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Accept the gaps of this table
    #[arg(long, value_name = "TABLE")]
    accept_gap: Option<TableName>,

    /// Only of this partition
    #[arg(long, value_name = "N", requires = "accept_gap")]
    partition: Option<i32>,

    /// Where to go on when Kafka ends before what was copied and nothing tells why: start if the
    /// topic was made again, end if it is the same one and has lost records
    #[arg(long, value_name = "PLACE", requires = "accept_gap")]
    from: Option<Place>,

    /// The sources of these partitions count their events from the beginning again; otherwise what
    /// is not above the last sequence of its source is dropped as published before
    #[arg(long, requires = "accept_gap")]
    forget_sequences: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Place {
    Start,
    End,
}

impl From<Place> for Restart {
    fn from(place: Place) -> Self {
        match place {
            Place::Start => Self::Start,
            Place::End => Self::End,
        }
    }
}

/// Shows what is missing, or accepts it.
pub(crate) async fn run(args: ResumeArgs) -> Result<(), Failure> {
    let mut config = Config::read(&args.config)?.resolve(&args.config)?;
    let lake = config.lake.open(false)?;
    lake.check().await?;
    let observer = Observer::new(
        lake,
        &config.writer.pipeline,
        &config.kafka,
        Arc::new(SystemClock),
        Arc::new(Entropy::from_os()),
    )?;
    let (feeds, refused) = observer.feeds(&mut config.routes)?;
    for RefusedTopic { error, .. } in &refused {
        warn!(%error, "the topic is not read");
    }
    match &args.accept_gap {
        None => show(&observer, &feeds).await,
        Some(table) => {
            let feed = feeds.iter().find(|feed| &feed.table == table);
            let feed = feed.ok_or_else(|| {
                Failure::usage(format!(
                    "{}: no [[topic]] feeds a table {table}",
                    args.config.display()
                ))
            })?;
            accept(&observer, feed, &args).await
        }
    }
}

async fn show(observer: &Observer, feeds: &[Feed]) -> Result<(), Failure> {
    let (mut missing, mut absent) = (Vec::new(), 0);
    for feed in feeds {
        let (stand, gaps) = look(observer, feed, None).await?;
        if !exists(&stand) {
            absent += 1;
            write(&format!("{}: {}\n", feed.table, absence(&stand)))?;
        }
        for gap in &gaps {
            write(&format!("{}: {gap}\n", feed.table))?;
        }
        if !gaps.is_empty() {
            missing.push(feed.table.to_string());
        }
    }
    if missing.is_empty() && absent > 0 {
        return Err(Failure::partly(format!(
            "topics that do not exist or must not be read: {absent}"
        )));
    }
    if missing.is_empty() {
        return write("nothing is missing\n");
    }
    Err(Failure::partly(format!(
        "not accepted; `lakehead resume --accept-gap TABLE` records it and goes on: {}",
        missing.join(", ")
    )))
}

async fn accept(observer: &Observer, feed: &Feed, args: &ResumeArgs) -> Result<(), Failure> {
    let (stand, mut gaps) = look(observer, feed, args.from.map(Restart::from)).await?;
    if !exists(&stand) {
        return Err(Failure::failed(anyhow::anyhow!(absence(&stand))));
    }
    if args.partition.is_some() {
        gaps.retain(|gap| gap.partition == args.partition);
    }
    if gaps.is_empty() {
        return write(&format!("{}: nothing is missing\n", feed.table));
    }
    for gap in &gaps {
        write(&format!("{}: {gap}\n", feed.table))?;
    }
    if gaps.iter().any(|gap| gap.to.is_none()) {
        return Err(Failure::usage(
            "kafka ends before what was copied, and its records do not tell why: say --from start if \
             the topic was made again (all its records are copied), or --from end if it is the same \
             topic and has lost its end (none is copied twice)",
        ));
    }
    let version = observer
        .accept(&stand, &gaps, args.forget_sequences)
        .await?;
    let goes_on = match version {
        Some(version) => format!("goes on from version {version}"),
        None => "is not made yet and will begin behind it".to_owned(),
    };
    write(&format!(
        "{}: accepted and recorded in system.gaps; the table {goes_on}\n",
        feed.table
    ))?;
    warn_of_updates(feed, &gaps)
}

/// Offsets that begin anew are below those of rows that are there.
fn warn_of_updates(feed: &Feed, gaps: &[Gap]) -> Result<(), Failure> {
    let anew = |gap: &Gap| gap.reason == GapReason::TopicReplaced;
    if feed.shape == schemas::Shape::Append || !gaps.iter().any(anew) {
        return Ok(());
    }
    write(&format!(
        "{}: the new topic's changes are later than all that was copied; keys that it does not \
         mention stay in the current state as they were, see docs/operations.md\n",
        feed.table
    ))
}

fn exists(stand: &Stand) -> bool {
    stand.partitions_now != Some(0) && !stand.topic_forbidden
}

fn absence(stand: &Stand) -> String {
    let topic = &stand.feed.topic;
    match stand.topic_forbidden {
        true => format!(
            "kafka does not let this client read topic {topic}; grant READ and DESCRIBE on it, and \
             its table goes on"
        ),
        false => format!(
            "topic {topic} does not exist; its table stays as it is, and goes on when the topic is there"
        ),
    }
}

async fn look(
    observer: &Observer,
    feed: &Feed,
    restart: Option<Restart>,
) -> Result<(Stand, Vec<Gap>), Failure> {
    let stand = observer.look(feed).await?;
    if let Some(error) = &stand.kafka_error {
        return Err(Failure::unreachable(anyhow::anyhow!("{error}")));
    }
    let gaps = observer.with_recorded(&stand, stand.gaps(restart)).await?;
    Ok((stand, gaps))
}
