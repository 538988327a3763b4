use super::*;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn named(id: &str, protocols: &[&str]) -> Applicant {
    Applicant {
        id: id.to_owned(),
        instance: None,
        client: "client".to_owned(),
        session: 10 * SECOND,
        rebalance: 60 * SECOND,
        protocol_type: "consumer".to_owned(),
        protocols: protocols
            .iter()
            .map(|name| ((*name).to_owned(), Bytes::from(id.to_owned())))
            .collect(),
    }
}

fn join(group: &mut Group, id: &str, now: Instant) {
    if !group.members.contains_key(id) {
        group.promise(id.to_owned(), now).unwrap();
    }
    group.join(named(id, &["range", "sticky"]), now).unwrap();
}

/// A group of these members with partitions assigned.
fn stable(ids: &[&str], now: Instant) -> Group {
    let mut group = Group::default();
    for id in ids {
        join(&mut group, id, now);
    }
    for id in ids {
        join(&mut group, id, now);
    }
    settle(&mut group, now);
    group
}

fn settle(group: &mut Group, now: Instant) {
    assert_eq!(group.phase, Phase::Syncing);
    let leader = group.leader.clone();
    let ids = group.members.keys().cloned();
    let assignments = ids.map(|id| (id.clone(), Bytes::from(id))).collect();
    group.assign(&leader, assignments, now);
    assert_eq!(group.phase, Phase::Stable);
}

#[test]
fn a_member_that_comes_makes_the_others_join_again() {
    let now = Instant::now();
    let mut group = stable(&["a"], now);
    let generation = group.generation;
    join(&mut group, "b", now);
    assert!(matches!(group.phase, Phase::Joining { .. }));
    group.hear("a", None, generation, now).unwrap();
    join(&mut group, "a", now);
    assert_eq!(
        (group.phase, group.generation),
        (Phase::Syncing, generation + 1)
    );
    assert_eq!(group.leader, "a", "the leader stays");
    let late = group.hear("a", None, generation, now);
    assert_eq!(late, Err(ErrorCode::IllegalGeneration));
    // Only the leader assigns.
    group.assign("b", Vec::new(), now);
    assert_eq!(group.phase, Phase::Syncing);
    settle(&mut group, now);
    assert_eq!(group.members["b"].assignment, "b");
}

#[test]
fn who_does_not_join_again_is_out_when_the_round_ends() {
    let now = Instant::now();
    let mut group = stable(&["a", "b"], now);
    join(&mut group, "c", now);
    join(&mut group, "b", now);
    // It is heard of, but does not join.
    for second in 1..=60 {
        let now = now + second * SECOND;
        for member in group.members.values_mut() {
            member.touch(now);
        }
        group.expire(now);
    }
    assert_eq!(group.phase, Phase::Syncing);
    assert!(group.members.keys().eq(["b", "c"]));
    let out = group.hear("a", None, group.generation, now);
    assert_eq!(out, Err(ErrorCode::UnknownMemberId));
}

#[test]
fn who_is_silent_or_leaves_is_out_and_the_others_share() {
    let now = Instant::now();
    let mut group = stable(&["a", "b", "c"], now);
    let later = now + 9 * SECOND;
    for id in ["b", "c"] {
        group.hear(id, None, group.generation, later).unwrap();
    }
    assert_eq!(group.deadline(), Some(now + 10 * SECOND));
    group.expire(now + 10 * SECOND);
    assert!(matches!(group.phase, Phase::Joining { .. }));
    group.leave("b", None, later).unwrap();
    assert_eq!(
        group.leave("b", None, later),
        Err(ErrorCode::UnknownMemberId)
    );
    join(&mut group, "c", later);
    assert_eq!((group.phase, group.leader.as_str()), (Phase::Syncing, "c"));
    group.leave("c", None, later).unwrap();
    assert!(group.phase == Phase::Empty && group.is_unused());
}

#[test]
fn a_member_that_waits_for_us_is_not_silent() {
    let now = Instant::now();
    let mut group = stable(&["a", "b"], now);
    join(&mut group, "b", now);
    group.members.get_mut("b").unwrap().joins = 1;
    join(&mut group, "c", now);
    // The others' sessions end, and with them the round.
    group.expire(now + 10 * SECOND);
    assert!(group.members.keys().eq(["b"]));
    assert_eq!(group.phase, Phase::Syncing);
}

#[test]
fn what_does_not_fit_is_refused() {
    let now = Instant::now();
    let mut group = stable(&["a"], now);
    let unknown = group.join(named("b", &["range"]), now);
    assert_eq!(unknown, Err(ErrorCode::UnknownMemberId));
    group.promise("b".to_owned(), now).unwrap();
    let other = group.join(named("b", &["of its own"]), now);
    assert_eq!(other, Err(ErrorCode::InconsistentGroupProtocol));
    let mut hasty = named("b", &["range"]);
    hasty.session = SECOND;
    let hasty = group.join(hasty, now);
    assert_eq!(hasty, Err(ErrorCode::InvalidSessionTimeout));
    let mut connect = named("b", &["range"]);
    connect.protocol_type = "connect".to_owned();
    let connect = group.join(connect, now);
    assert_eq!(connect, Err(ErrorCode::InconsistentGroupProtocol));
    assert_eq!(
        group.phase,
        Phase::Stable,
        "none of them made the others join again"
    );
    group.join(named("b", &["sticky"]), now).unwrap();
    join(&mut group, "a", now);
    assert_eq!(group.protocol, "sticky", "what both know");
}

#[test]
fn a_static_member_started_again_replaces_the_one_before() {
    let now = Instant::now();
    let mut group = Group::default();
    for id in ["a", "b"] {
        group.promise(id.to_owned(), now).unwrap();
        let said = Applicant {
            instance: Some("till 1".to_owned()),
            ..named(id, &["range"])
        };
        group.join(said, now).unwrap();
    }
    assert!(group.members.keys().eq(["b"]));
    let fenced = group.hear("a", Some("till 1"), 1, now);
    assert_eq!(fenced, Err(ErrorCode::FencedInstanceId));
    group.leave("", Some("till 1"), now).unwrap();
    assert!(group.is_unused());
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Join(usize),
    Leave(usize),
    Hear(usize),
    Assign(usize),
    Pass(u32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..4usize).prop_map(Event::Join),
        1 => (0..4usize).prop_map(Event::Leave),
        3 => (0..4usize).prop_map(Event::Hear),
        3 => (0..4usize).prop_map(Event::Assign),
        2 => (0..20u32).prop_map(Event::Pass),
    ]
}

proptest! {
    /// Whatever happens, a group with members has a leader among them once a round has ended, the
    /// generation never goes back, and silence ends every group.
    #[test]
    fn no_order_of_events_leaves_a_group_stuck(events in prop::collection::vec(event(), 0..60)) {
        let ids = ["a", "b", "c", "d"];
        let (mut group, mut now) = (Group::default(), Instant::now());
        for event in events {
            let generation = group.generation;
            match event {
                Event::Join(at) => join(&mut group, ids[at], now),
                Event::Leave(at) => drop(group.leave(ids[at], None, now)),
                Event::Hear(at) => drop(group.hear(ids[at], None, generation, now)),
                Event::Assign(at) => group.assign(ids[at], Vec::new(), now),
                Event::Pass(seconds) => now += seconds * SECOND,
            }
            group.expire(now);
            prop_assert!(group.generation >= generation);
            prop_assert_eq!(group.members.is_empty(), group.phase == Phase::Empty);
            if matches!(group.phase, Phase::Syncing | Phase::Stable) {
                prop_assert!(group.members.contains_key(&group.leader));
            }
        }
        while let Some(deadline) = group.deadline() {
            group.expire(deadline);
        }
        prop_assert_eq!(group.phase, Phase::Empty);
    }
}
