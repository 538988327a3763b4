//! What librdkafka's errors say.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaRespErr;

use crate::error::WriterError;

/// Whether an error says that a topic or partition is not there.
pub(crate) fn is_missing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        UnknownPartition, UnknownTopic, UnknownTopicId, UnknownTopicOrPartition,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(UnknownTopic | UnknownPartition | UnknownTopicId | UnknownTopicOrPartition)
    )
}

pub(super) fn refused(error: KafkaError) -> WriterError {
    WriterError::Kafka(told(&error))
}

/// The error's words without a property's value, which librdkafka's own words end in.
pub(super) fn told(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, why, name, _) => format!("{name}: {why}"),
        other => other.to_string(),
    }
}

/// Whether an error says that a topic is not for us.
pub(crate) fn is_forbidden(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed)
}

/// Whether the brokers keep from us that a topic exists, or not.
pub(crate) fn is_hidden(topic: &MetadataTopic) -> bool {
    topic.error() == Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
}
