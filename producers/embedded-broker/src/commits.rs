//! OffsetCommit requests. The offsets are tansu's, in its database.

use std::collections::BTreeMap;

use tansu_sans_io::offset_commit_request::OffsetCommitRequestTopic;
use tansu_sans_io::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use tansu_sans_io::{ErrorCode, OffsetCommitRequest, OffsetCommitResponse};
use tansu_storage::slate::Engine;
use tansu_storage::{OffsetCommitRequest as Commit, Storage as _, Topition};
use tracing::error;

use crate::group::Phase;
use crate::groups::{Groups, SharedGroup};

/// Keeps offsets; answered when they would survive a kill.
pub(crate) async fn commit(
    groups: &Groups,
    engine: &Engine,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let topics = request.topics.as_deref().unwrap_or_default();
    let committed = match groups.group(&request.group_id) {
        Ok(group) => match may_commit(&group, &request) {
            Ok(()) => keep(&group, engine, &request.group_id, topics).await,
            Err(code) => Err(code),
        },
        Err(code) => Err(code),
    };
    let (kept, refusal) = match committed {
        Ok(kept) => (kept, ErrorCode::UnknownTopicOrPartition),
        Err(code) => (BTreeMap::new(), code),
    };
    let answer = |topic: &OffsetCommitRequestTopic| {
        let partitions = topic.partitions.as_deref().unwrap_or_default().iter();
        let partitions = partitions.map(|partition| {
            let index = partition.partition_index;
            let code = kept.get(&(topic.name.clone(), index));
            OffsetCommitResponsePartition::default()
                .partition_index(index)
                .error_code(i16::from(code.copied().unwrap_or(refusal)))
        });
        OffsetCommitResponseTopic::default()
            .name(topic.name.clone())
            .partitions(Some(partitions.collect()))
    };
    OffsetCommitResponse::default()
        .throttle_time_ms(Some(0))
        .topics(Some(topics.iter().map(answer).collect()))
}

/// Members commit in their generation; with a group that has none, anybody may.
fn may_commit(group: &SharedGroup, request: &OffsetCommitRequest) -> Result<(), ErrorCode> {
    let generation = request.generation_id_or_member_epoch.unwrap_or(-1);
    let id = request.member_id.as_deref().unwrap_or_default();
    let instance = request.group_instance_id.as_deref();
    group.with(|group, now| {
        if generation < 0 && group.phase == Phase::Empty {
            return Ok(());
        }
        group.hear(id, instance, generation, now)?;
        match group.phase {
            Phase::Syncing => Err(ErrorCode::RebalanceInProgress),
            _ => Ok(()),
        }
    })
}

async fn keep(
    group: &SharedGroup,
    engine: &Engine,
    name: &str,
    topics: &[OffsetCommitRequestTopic],
) -> Result<BTreeMap<(String, i32), ErrorCode>, ErrorCode> {
    let mut offsets = Vec::new();
    for topic in topics {
        for partition in topic.partitions.as_deref().unwrap_or_default() {
            let commit = Commit::try_from(partition).map_err(|_| ErrorCode::InvalidRequest)?;
            let place = Topition::new(topic.name.clone(), partition.partition_index);
            offsets.push((place, commit));
        }
    }
    let _one_at_a_time = group.commits.lock().await;
    let kept = engine.offset_commit(name, None, &offsets).await;
    let kept = kept.map_err(|error| failed(&error, "cannot commit offsets"))?;
    let codes = kept
        .into_iter()
        .map(|(place, code)| ((place.topic().to_owned(), place.partition()), code));
    Ok(codes.collect())
}

/// Tells an error of the database to the log, and in Kafka's words to the client.
pub(crate) fn failed(error: &tansu_storage::Error, what: &str) -> ErrorCode {
    error!(%error, "{what}");
    ErrorCode::KafkaStorageError
}
