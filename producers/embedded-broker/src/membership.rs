//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slatedb::bytes::Bytes;
use tansu_sans_io::join_group_response::JoinGroupResponseMember;
use tansu_sans_io::leave_group_response::MemberResponse;
use tansu_sans_io::{
    ErrorCode, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use uuid::Uuid;

use crate::group::{Group, Phase};
use crate::groups::{Groups, SharedGroup};
use crate::member::{Applicant, Member};

/// From this version on a client comes back with the id that it was given.
const VERSION_OF_PROMISES: i16 = 4;

/// Takes a member in, and answers when everybody has joined.
pub(crate) async fn join(
    groups: &Groups,
    request: JoinGroupRequest,
    client: &str,
    version: i16,
) -> JoinGroupResponse {
    let mut said = applicant(request.clone(), client);
    let joined = joined(groups, &request.group_id, &mut said, version).await;
    let response = JoinGroupResponse::default()
        .throttle_time_ms(Some(0))
        .skip_assignment(Some(false))
        .member_id(said.id);
    match joined {
        Ok(round) => response
            .error_code(ErrorCode::None.into())
            .generation_id(round.generation)
            .protocol_type(Some(said.protocol_type))
            .protocol_name(Some(round.protocol))
            .leader(round.leader)
            .members(Some(round.members)),
        Err(code) => response
            .error_code(code.into())
            .generation_id(-1)
            .protocol_type(None)
            .protocol_name(Some(String::new()))
            .leader(String::new())
            .members(Some(Vec::new())),
    }
}

fn applicant(request: JoinGroupRequest, client: &str) -> Applicant {
    let millis = |millis: i32| Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    let session = millis(request.session_timeout_ms);
    let protocols = request.protocols.unwrap_or_default().into_iter();
    Applicant {
        id: request.member_id,
        instance: request.group_instance_id,
        client: client.to_owned(),
        session,
        rebalance: request.rebalance_timeout_ms.map_or(session, millis),
        protocol_type: request.protocol_type,
        protocols: protocols
            .map(|protocol| (protocol.name, protocol.metadata))
            .collect(),
    }
}

/// What a member is told of the round that it joined.
struct Round {
    generation: i32,
    protocol: String,
    leader: String,
    members: Vec<JoinGroupResponseMember>,
}

async fn joined(
    groups: &Groups,
    name: &str,
    said: &mut Applicant,
    version: i16,
) -> Result<Round, ErrorCode> {
    let group = groups.group(name)?;
    if said.id.is_empty() {
        said.id = format!("{}-{}", said.client, Uuid::new_v4());
        group.with(|group, now| group.promise(said.id.clone(), now))?;
        if version >= VERSION_OF_PROMISES {
            return Err(ErrorCode::MemberIdRequired);
        }
    }
    let applicant = said.clone();
    group.with(|group, now| {
        group.join(applicant, now)?;
        if let Some(member) = group.members.get_mut(&said.id) {
            member.joins += 1;
        }
        Ok(())
    })?;
    let waiting = Waiting::new(&group, &said.id, |member| &mut member.joins);
    let round = group.when(|group| round(group, &said.id)).await;
    waiting.answered();
    round
}

/// The round that a member is in, once everybody has joined it.
fn round(group: &Group, id: &str) -> Option<Result<Round, ErrorCode>> {
    if !group.members.contains_key(id) {
        return Some(Err(ErrorCode::UnknownMemberId));
    }
    if matches!(group.phase, Phase::Joining { .. }) {
        return None;
    }
    let told = |member: &Member| {
        JoinGroupResponseMember::default()
            .member_id(member.said.id.clone())
            .group_instance_id(member.said.instance.clone())
            .metadata(member.metadata(&group.protocol))
    };
    let is_leader = group.leader == id;
    let members = group.members.values().filter(|_| is_leader).map(told);
    Some(Ok(Round {
        generation: group.generation,
        protocol: group.protocol.clone(),
        leader: group.leader.clone(),
        members: members.collect(),
    }))
}

/// Takes the leader's assignments, and answers each member when they are there.
pub(crate) async fn sync(groups: &Groups, request: SyncGroupRequest) -> SyncGroupResponse {
    let synced = synced(groups, request).await;
    let response = SyncGroupResponse::default().throttle_time_ms(Some(0));
    match synced {
        Ok((protocol_type, protocol, assignment)) => response
            .error_code(ErrorCode::None.into())
            .protocol_type(Some(protocol_type))
            .protocol_name(Some(protocol))
            .assignment(assignment),
        Err(code) => response
            .error_code(code.into())
            .protocol_type(None)
            .protocol_name(None)
            .assignment(Bytes::new()),
    }
}

async fn synced(
    groups: &Groups,
    request: SyncGroupRequest,
) -> Result<(String, String, Bytes), ErrorCode> {
    let group = groups.group(&request.group_id)?;
    let (id, generation) = (request.member_id, request.generation_id);
    let assignments = request.assignments.unwrap_or_default().into_iter();
    let assignments = assignments.map(|given| (given.member_id, given.assignment));
    let assignments = assignments.collect();
    group.with(|group, now| {
        let instance = request.group_instance_id.as_deref();
        group.hear(&id, instance, generation, now)?;
        group.assign(&id, assignments, now);
        if let Some(member) = group.members.get_mut(&id) {
            member.syncs += 1;
        }
        Ok(())
    })?;
    let waiting = Waiting::new(&group, &id, |member| &mut member.syncs);
    let synced = group.when(|group| assignment(group, &id, generation)).await;
    waiting.answered();
    synced
}

/// A member's partitions in a generation, once they are assigned.
fn assignment(
    group: &Group,
    id: &str,
    generation: i32,
) -> Option<Result<(String, String, Bytes), ErrorCode>> {
    let Some(member) = group.members.get(id) else {
        return Some(Err(ErrorCode::UnknownMemberId));
    };
    match group.phase {
        _ if group.generation != generation => Some(Err(ErrorCode::RebalanceInProgress)),
        Phase::Syncing => None,
        Phase::Stable => Some(Ok((
            group.protocol_type.clone(),
            group.protocol.clone(),
            member.assignment.clone(),
        ))),
        Phase::Joining { .. } | Phase::Empty => Some(Err(ErrorCode::RebalanceInProgress)),
    }
}

pub(crate) fn heartbeat(groups: &Groups, request: HeartbeatRequest) -> HeartbeatResponse {
    let heard = groups.group(&request.group_id).and_then(|group| {
        group.with(|group, now| {
            let instance = request.group_instance_id.as_deref();
            group.hear(&request.member_id, instance, request.generation_id, now)?;
            match group.phase {
                Phase::Joining { .. } => Err(ErrorCode::RebalanceInProgress),
                _ => Ok(()),
            }
        })
    });
    let code = heard.err().unwrap_or(ErrorCode::None);
    HeartbeatResponse::default()
        .throttle_time_ms(Some(0))
        .error_code(code.into())
}

pub(crate) fn leave(groups: &Groups, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let left = |id: &str, instance: Option<&str>| {
        let group = groups.group(&request.group_id);
        let left = group.and_then(|group| group.with(|group, now| group.leave(id, instance, now)));
        left.err().unwrap_or(ErrorCode::None)
    };
    let response = LeaveGroupResponse::default().throttle_time_ms(Some(0));
    let Some(members) = request.members.as_ref() else {
        let code = left(request.member_id.as_deref().unwrap_or_default(), None);
        return response.error_code(code.into());
    };
    let members = members.iter().map(|member| {
        let code = left(&member.member_id, member.group_instance_id.as_deref());
        MemberResponse::default()
            .member_id(member.member_id.clone())
            .group_instance_id(member.group_instance_id.clone())
            .error_code(code.into())
    });
    response
        .error_code(ErrorCode::None.into())
        .members(Some(members.collect()))
}

/// A request that waits for the other members. Dropped without an answer, its connection is gone:
/// the member is taken out, so that the others need not wait for it.
struct Waiting<'a> {
    group: &'a Arc<SharedGroup>,
    id: &'a str,
    count: fn(&mut Member) -> &mut u32,
    is_answered: bool,
}

impl<'a> Waiting<'a> {
    fn new(group: &'a Arc<SharedGroup>, id: &'a str, count: fn(&mut Member) -> &mut u32) -> Self {
        Self {
            group,
            id,
            count,
            is_answered: false,
        }
    }

    fn answered(mut self) {
        self.is_answered = true;
    }

    fn end(&self, group: &mut Group, now: Instant) {
        let Some(member) = group.members.get_mut(self.id) else {
            return;
        };
        let count = (self.count)(member);
        *count = count.saturating_sub(1);
        member.touch(now);
        if !self.is_answered && member.joins + member.syncs == 0 {
            // It is a member: this cannot fail.
            let _ = group.leave(self.id, None, now);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.group.with(|group, now| self.end(group, now));
    }
}
