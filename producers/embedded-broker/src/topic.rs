//! Topics that come to be: asked for by name, or, where the settings allow it, by a client that
//! wants to produce to one that is not there.
//!
//! Not tansu's: it takes every name and number of partitions, and creates topics that it was only
//! asked to validate.

use tansu_sans_io::create_topics_request::CreatableTopic;
use tansu_sans_io::create_topics_response::CreatableTopicResult;
use tansu_sans_io::metadata_response::MetadataResponseTopic;
use tansu_sans_io::{
    CreateTopicsRequest, CreateTopicsResponse, ErrorCode, MetadataRequest, MetadataResponse,
};
use tracing::{info, warn};
use uuid::Uuid;

use crate::log::Log;

/// Kafka's own limit.
const NAME_BYTES_MAX: usize = 249;
/// A topic's partitions. Each has its keys in one database, and its place in every answer.
const PARTITIONS_MAX: i32 = 1000;
const REPLICAS: i16 = 1;

/// Creates the topics of a request, or only says whether it could.
pub(crate) async fn create(
    log: &Log,
    request: CreateTopicsRequest,
    partitions_default: i32,
) -> CreateTopicsResponse {
    let only_validate = request.validate_only.unwrap_or_default();
    let mut results = Vec::new();
    for mut topic in request.topics.unwrap_or_default() {
        let assigned = topic.assignments.as_ref().map_or(0, Vec::len);
        if assigned > 0 {
            topic.num_partitions = i32::try_from(assigned).unwrap_or(i32::MAX);
        } else if topic.num_partitions == -1 {
            topic.num_partitions = partitions_default;
        }
        if topic.replication_factor == -1 {
            topic.replication_factor = REPLICAS;
        }
        let about = topic.clone();
        results.push(result(about, create_one(log, topic, only_validate).await));
    }
    CreateTopicsResponse::default()
        .topics(Some(results))
        .throttle_time_ms(Some(0))
}

/// Creates what a client asks about and there is not, if the client wants that.
pub(crate) async fn create_missing(log: &Log, request: &MetadataRequest, partitions: i32) {
    // Before version 4 of the request, which brought the word, every client wanted it.
    if request.allow_auto_topic_creation == Some(false) {
        return;
    }
    let named = request.topics.iter().flatten();
    for name in named.filter_map(|topic| topic.name.as_deref()) {
        if !is_name(name) || log.has_topic(name).await != Ok(false) {
            continue;
        }
        let topic = CreatableTopic::default()
            .name(name.to_owned())
            .num_partitions(partitions)
            .replication_factor(REPLICAS)
            .assignments(Some(Vec::new()))
            .configs(Some(Vec::new()));
        match create_one(log, topic, false).await {
            Ok(_) => info!(topic = name, partitions, "topic created for a client"),
            // Asked for by two clients at once.
            Err(ErrorCode::TopicAlreadyExists) => {}
            Err(error) => warn!(topic = name, %error, "a topic cannot be created"),
        }
    }
}

/// Tells a name that no topic can have from one that no topic has: a client waits for the latter.
pub(crate) fn name_the_impossible(response: &mut MetadataResponse) {
    let unknown = i16::from(ErrorCode::UnknownTopicOrPartition);
    let is_impossible = |topic: &MetadataResponseTopic| {
        let name = topic.name.as_deref();
        topic.error_code == unknown && name.is_some_and(|name| !is_name(name))
    };
    for topic in response.topics.iter_mut().flatten() {
        if is_impossible(topic) {
            topic.error_code = ErrorCode::InvalidTopicException.into();
        }
    }
}

async fn create_one(
    log: &Log,
    topic: CreatableTopic,
    only_validate: bool,
) -> Result<Uuid, ErrorCode> {
    if !is_name(&topic.name) {
        return Err(ErrorCode::InvalidTopicException);
    }
    if !(1..=PARTITIONS_MAX).contains(&topic.num_partitions) {
        return Err(ErrorCode::InvalidPartitions);
    }
    if topic.replication_factor < 1 {
        return Err(ErrorCode::InvalidReplicationFactor);
    }
    match (only_validate, log.has_topic(&topic.name).await?) {
        (_, true) => Err(ErrorCode::TopicAlreadyExists),
        (true, false) => Ok(Uuid::nil()),
        (false, false) => log.create_topic(topic).await,
    }
}

fn is_name(name: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(is_legal)
        && !matches!(name, "." | "..")
}

fn result(topic: CreatableTopic, created: Result<Uuid, ErrorCode>) -> CreatableTopicResult {
    let code = created.err().unwrap_or(ErrorCode::None);
    let message = created.err().map(|code| match code {
        ErrorCode::InvalidPartitions => {
            format!("a topic has from 1 to {PARTITIONS_MAX} partitions")
        }
        ErrorCode::InvalidTopicException => format!(
            "a topic's name has from 1 to {NAME_BYTES_MAX} letters, digits, dots, underscores and hyphens"
        ),
        other => other.to_string(),
    });
    CreatableTopicResult::default()
        .name(topic.name)
        .topic_id(Some(created.unwrap_or_default().into_bytes()))
        .error_code(code.into())
        .error_message(message)
        .topic_config_error_code(Some(ErrorCode::None.into()))
        .num_partitions(Some(topic.num_partitions))
        .replication_factor(Some(topic.replication_factor))
        .configs(Some(Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        for name in ["a", "shop.order", "A-b_c.1", "...", &"x".repeat(249)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "a b", "a/b", "é", &"x".repeat(250)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
