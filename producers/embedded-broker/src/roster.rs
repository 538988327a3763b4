//! ListGroups, DescribeGroups and DeleteGroups requests.

use std::collections::BTreeMap;

use tansu_sans_io::delete_groups_response::DeletableGroupResult;
use tansu_sans_io::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use tansu_sans_io::list_groups_response::ListedGroup;
use tansu_sans_io::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    ErrorCode, ListGroupsRequest, ListGroupsResponse,
};
use tansu_storage::Storage as _;
use tansu_storage::slate::Engine;

use crate::commits::failed;
use crate::group::{Group, Phase};
use crate::groups::Groups;

/// Operations that a client may do are not told.
const NOT_TOLD: i32 = i32::MIN;

/// All groups: those with members, and those that have committed.
pub(crate) async fn list(
    groups: &Groups,
    engine: &Engine,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let (states, code) = match states(groups, engine).await {
        Ok(states) => (states, ErrorCode::None),
        Err(code) => (BTreeMap::new(), code),
    };
    let wanted = request.states_filter.unwrap_or_default();
    let types = request.types_filter.unwrap_or_default();
    let is_one_of = |wanted: &[String], name: &str| {
        wanted.is_empty() || wanted.iter().any(|one| one.eq_ignore_ascii_case(name))
    };
    let listed = states
        .into_iter()
        .filter(|(_, (_, state))| is_one_of(&wanted, state) && is_one_of(&types, "classic"));
    let listed = listed.map(|(name, (protocol_type, state))| {
        ListedGroup::default()
            .group_id(name)
            .protocol_type(protocol_type)
            .group_state(Some(state.to_owned()))
            .group_type(Some("classic".to_owned()))
    });
    ListGroupsResponse::default()
        .throttle_time_ms(Some(0))
        .error_code(code.into())
        .groups(Some(listed.collect()))
}

/// By group, its protocol's type and Kafka's word for its state.
async fn states(
    groups: &Groups,
    engine: &Engine,
) -> Result<BTreeMap<String, (String, &'static str)>, ErrorCode> {
    let stored = engine.list_groups(None).await;
    let stored = stored.map_err(|error| failed(&error, "cannot list groups"))?;
    let stored = stored
        .into_iter()
        .map(|group| (group.group_id, ("consumer".to_owned(), "Empty")));
    let mut states: BTreeMap<_, _> = stored.collect();
    for (name, group) in groups.with_members() {
        let state = group.with(|group, _| (group.protocol_type.clone(), state(group)));
        states.insert(name, state);
    }
    Ok(states)
}

fn state(group: &Group) -> &'static str {
    match group.phase {
        Phase::Empty => "Empty",
        Phase::Joining { .. } => "PreparingRebalance",
        Phase::Syncing => "CompletingRebalance",
        Phase::Stable => "Stable",
    }
}

pub(crate) async fn describe(
    groups: &Groups,
    engine: &Engine,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let states = states(groups, engine).await;
    let described = request.groups.unwrap_or_default().into_iter().map(|name| {
        let (code, state) = match &states {
            Ok(states) => (ErrorCode::None, states.get(&name)),
            Err(code) => (*code, None),
        };
        let told = DescribedGroup::default()
            .error_code(code.into())
            .group_id(name.clone())
            .authorized_operations(Some(NOT_TOLD));
        let Some((protocol_type, state)) = state else {
            return told
                .group_state("Dead".to_owned())
                .members(Some(Vec::new()));
        };
        let told = told
            .group_state((*state).to_owned())
            .protocol_type(protocol_type.clone());
        let shared = groups.with_members();
        let shared = shared.into_iter().find(|(found, _)| *found == name);
        match shared {
            Some((_, group)) => group.with(|group, _| {
                told.protocol_data(group.protocol.clone())
                    .members(Some(members(group)))
            }),
            None => told.members(Some(Vec::new())),
        }
    });
    DescribeGroupsResponse::default()
        .throttle_time_ms(Some(0))
        .groups(Some(described.collect()))
}

fn members(group: &Group) -> Vec<DescribedGroupMember> {
    let members = group.members.values().map(|member| {
        DescribedGroupMember::default()
            .member_id(member.said.id.clone())
            .group_instance_id(member.said.instance.clone())
            .client_id(member.said.client.clone())
            .client_host("/127.0.0.1".to_owned())
            .member_metadata(member.metadata(&group.protocol))
            .member_assignment(member.assignment.clone())
    });
    members.collect()
}

/// Forgets the offsets of groups that have no members.
pub(crate) async fn delete(
    groups: &Groups,
    engine: &Engine,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let peopled = groups.with_members();
    let has_members = |name: &String| peopled.iter().any(|(found, _)| found == name);
    let named = request.groups_names.unwrap_or_default();
    let (refused, empty): (Vec<_>, Vec<_>) = named.into_iter().partition(has_members);
    let mut results = match engine.delete_groups(Some(&empty)).await {
        Ok(results) => results,
        Err(error) => {
            let code = failed(&error, "cannot delete groups");
            empty.into_iter().map(|name| result(name, code)).collect()
        }
    };
    let refused = refused.into_iter();
    results.extend(refused.map(|name| result(name, ErrorCode::NonEmptyGroup)));
    DeleteGroupsResponse::default()
        .throttle_time_ms(0)
        .results(Some(results))
}

fn result(name: String, code: ErrorCode) -> DeletableGroupResult {
    DeletableGroupResult::default()
        .group_id(name)
        .error_code(code.into())
}
