//! One member of a consumer group.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use slatedb::bytes::Bytes;

/// What somebody who wants to join says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applicant {
    pub(crate) id: String,
    /// The name of a static member (`group.instance.id`).
    pub(crate) instance: Option<String>,
    pub(crate) client: String,
    /// Silent for longer, it is out.
    pub(crate) session: Duration,
    /// How long the others wait for it to join again.
    pub(crate) rebalance: Duration,
    pub(crate) protocol_type: String,
    /// The ways of assigning partitions that it knows, the one it likes best first, each with what
    /// the leader is told.
    pub(crate) protocols: Vec<(String, Bytes)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) said: Applicant,
    /// Whether it takes part in the round under way.
    pub(crate) joined: bool,
    pub(crate) assignment: Bytes,
    /// Its requests to join, and to be told its partitions, that are not answered yet.
    pub(crate) joins: u32,
    pub(crate) syncs: u32,
    heard: Instant,
}

impl Member {
    pub(crate) fn new(said: Applicant, now: Instant) -> Self {
        Self {
            said,
            joined: true,
            assignment: Bytes::new(),
            joins: 0,
            syncs: 0,
            heard: now,
        }
    }

    pub(crate) fn touch(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When it counts as gone; none while it waits for us.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        (self.joins + self.syncs == 0).then(|| self.heard + self.said.session)
    }

    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// What it told of itself to whoever assigns by this protocol.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let mut named = self.said.protocols.iter();
        let found = named.find(|(name, _)| name == protocol);
        found.map_or_else(Bytes::new, |(_, metadata)| metadata.clone())
    }
}

/// The first protocol of the first member that all of them know.
pub(crate) fn common_protocol<'a>(
    mut members: impl Iterator<Item = &'a Applicant>,
) -> Option<String> {
    let first = members.next()?;
    let mut common: Vec<&String> = first.protocols.iter().map(|(name, _)| name).collect();
    for member in members {
        let known: HashSet<&String> = member.protocols.iter().map(|(name, _)| name).collect();
        common.retain(|name| known.contains(name));
    }
    common.first().map(|name| (*name).clone())
}
