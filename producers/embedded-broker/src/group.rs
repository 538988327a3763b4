//! A consumer group as Kafka's classic protocol has it: members join in rounds, one of them, the
//! leader, assigns the partitions, and everybody is told its own. Times are given, nothing waits
//! here ([`crate::groups`] does).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use slatedb::bytes::Bytes;
use tansu_sans_io::ErrorCode;

use crate::member::{Applicant, Member, common_protocol};

const MEMBERS_MAX: usize = 500;
/// Kafka's own bounds of `session.timeout.ms`.
const SESSION_MIN: Duration = Duration::from_secs(6);
const SESSION_MAX: Duration = Duration::from_secs(30 * 60);
/// How long an id that was given to an applicant stays good.
const PROMISE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Empty,
    /// Waiting for members to join again, so long at most.
    Joining {
        until: Instant,
    },
    /// Waiting for the leader's assignments.
    Syncing,
    Stable,
}

#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) phase: Phase,
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) members: BTreeMap<String, Member>,
    /// Ids given to applicants that have not come back with them.
    promised: BTreeMap<String, Instant>,
}

impl Group {
    /// Gives an applicant an id to come back with, so that one that does not leaves nothing behind.
    pub(crate) fn promise(&mut self, id: String, now: Instant) -> Result<(), ErrorCode> {
        if self.members.len() + self.promised.len() >= MEMBERS_MAX {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        self.promised.insert(id, now + PROMISE);
        Ok(())
    }

    /// Takes an applicant in, or takes a member into the next round.
    pub(crate) fn join(&mut self, said: Applicant, now: Instant) -> Result<(), ErrorCode> {
        self.admit(&said)?;
        self.promised.remove(&said.id);
        if let Some(before) = self.instance(said.instance.as_deref())
            && before != said.id
        {
            // The static member was started again.
            self.members.remove(&before);
        }
        let id = said.id.clone();
        let known = self.members.get_mut(&id).map(|member| {
            let is_same = member.said.protocols == said.protocols;
            member.said = said.clone();
            member.joined = true;
            member.touch(now);
            is_same
        });
        let starts_round = match (known, self.phase) {
            (_, Phase::Joining { .. }) => false,
            // Its last answer was lost.
            (Some(true), Phase::Syncing) => false,
            // The leader asks for another assignment by joining again.
            (Some(true), Phase::Stable) => id == self.leader,
            _ => true,
        };
        if known.is_none() {
            self.protocol_type.clone_from(&said.protocol_type);
            self.members.insert(id.clone(), Member::new(said, now));
        }
        if starts_round {
            self.start_round(Some(&id), now);
        }
        self.end_round_if_complete(now);
        Ok(())
    }

    fn admit(&self, said: &Applicant) -> Result<(), ErrorCode> {
        if !(SESSION_MIN..=SESSION_MAX).contains(&said.session) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        let is_member = self.members.contains_key(&said.id);
        if !is_member && !self.promised.contains_key(&said.id) {
            return Err(ErrorCode::UnknownMemberId);
        }
        if is_member {
            self.not_fenced(&said.id, said.instance.as_deref())?;
        } else if self.members.len() >= MEMBERS_MAX {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        let others = self.members.values().map(|member| &member.said);
        let others = others.filter(|other| {
            other.id != said.id && (said.instance.is_none() || other.instance != said.instance)
        });
        let mut others = others.peekable();
        let fits = others.peek().is_none() || said.protocol_type == self.protocol_type;
        let together = others.chain(std::iter::once(said));
        if said.protocol_type.is_empty() || !fits || common_protocol(together).is_none() {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    /// The member that has this static name.
    fn instance(&self, name: Option<&str>) -> Option<String> {
        let name = name?;
        let mut members = self.members.values();
        let found = members.find(|member| member.said.instance.as_deref() == Some(name));
        found.map(|member| member.said.id.clone())
    }

    /// An error for a static member that another one has replaced.
    fn not_fenced(&self, id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        match self.instance(instance) {
            Some(current) if current != id => Err(ErrorCode::FencedInstanceId),
            _ => Ok(()),
        }
    }

    /// Whether these words are those of a member of the current generation, which then counts as
    /// heard.
    pub(crate) fn hear(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        self.not_fenced(id, instance)?;
        let current = self.generation;
        let member = self.members.get_mut(id);
        let member = member.ok_or(ErrorCode::UnknownMemberId)?;
        if generation != current {
            return Err(ErrorCode::IllegalGeneration);
        }
        member.touch(now);
        Ok(())
    }

    /// Takes the leader's assignments; those whom it forgot have none.
    pub(crate) fn assign(&mut self, from: &str, assignments: Vec<(String, Bytes)>, now: Instant) {
        if self.phase != Phase::Syncing || from != self.leader {
            return;
        }
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        for member in self.members.values_mut() {
            member.touch(now);
        }
        self.phase = Phase::Stable;
    }

    /// Takes a member out, by its id or by its static name.
    pub(crate) fn leave(
        &mut self,
        id: &str,
        instance: Option<&str>,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        let id = match (id, self.instance(instance)) {
            ("", Some(named)) => named,
            _ => {
                self.not_fenced(id, instance)?;
                id.to_owned()
            }
        };
        let was_promised = self.promised.remove(&id).is_some();
        match self.members.remove(&id) {
            Some(_) => self.lost(now),
            None if was_promised => {}
            None => return Err(ErrorCode::UnknownMemberId),
        }
        Ok(())
    }

    /// Takes out who was silent for too long, and ends a round that took too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.promised.retain(|_, until| *until > now);
        let before = self.members.len();
        self.members.retain(|_, member| !member.is_silent(now));
        if let Phase::Joining { until } = self.phase
            && until <= now
        {
            self.members.retain(|_, member| member.joined);
        }
        if self.members.len() != before {
            self.lost(now);
        }
    }

    /// When [`Group::expire`] has something to do next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let round = match self.phase {
            Phase::Joining { until } => Some(until),
            _ => None,
        };
        let members = self.members.values().filter_map(Member::deadline);
        members.chain(round).min()
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.members.is_empty() && self.promised.is_empty()
    }

    fn lost(&mut self, now: Instant) {
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.generation += 1;
            return;
        }
        if !matches!(self.phase, Phase::Joining { .. }) {
            self.start_round(None, now);
        }
        self.end_round_if_complete(now);
    }

    fn start_round(&mut self, first: Option<&str>, now: Instant) {
        let patience = self.members.values().map(|member| member.said.rebalance);
        let patience = patience.max().unwrap_or_default();
        self.phase = Phase::Joining {
            until: now + patience,
        };
        for (id, member) in &mut self.members {
            // Who still waits for the answer of a round before is in this one.
            member.joined = member.joins > 0 || first == Some(id);
        }
    }

    fn end_round_if_complete(&mut self, now: Instant) {
        let is_joining = matches!(self.phase, Phase::Joining { .. });
        if !is_joining || !self.members.values().all(|member| member.joined) {
            return;
        }
        let said = self.members.values().map(|member| &member.said);
        let Some(protocol) = common_protocol(said) else {
            return;
        };
        self.protocol = protocol;
        self.generation += 1;
        if !self.members.contains_key(&self.leader) {
            let first = self.members.keys().next();
            self.leader = first.cloned().unwrap_or_default();
        }
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            member.touch(now);
        }
        self.phase = Phase::Syncing;
    }
}

#[cfg(test)]
mod tests;
