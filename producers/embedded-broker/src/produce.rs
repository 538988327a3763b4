//! Produce requests, and the producer ids that idempotence needs.

use std::sync::Arc;

use tansu_sans_io::produce_request::{PartitionProduceData, TopicProduceData};
use tansu_sans_io::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use tansu_sans_io::{
    ErrorCode, InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse,
};
use tracing::warn;

use crate::log::Log;
use crate::partition::{Appended, Partition};

/// A produce request whose batches are written, in order, but perhaps not durable yet.
#[derive(Debug)]
pub(crate) struct Produced {
    topics: Vec<(String, Vec<Outcome>)>,
}

#[derive(Debug)]
struct Outcome {
    index: i32,
    result: Result<(Arc<Partition>, Appended), ErrorCode>,
}

/// Writes every batch of a request. Requests of one connection must come here in their order;
/// [`Produced::settle`] may then overlap.
pub(crate) async fn append(log: &Log, request: ProduceRequest) -> Produced {
    let transactional = request.transactional_id.is_some();
    let mut topics = Vec::new();
    for TopicProduceData {
        name,
        partition_data,
        ..
    } in request.topic_data.unwrap_or_default()
    {
        let mut outcomes = Vec::new();
        for data in partition_data.unwrap_or_default() {
            let index = data.index;
            let result = if transactional {
                Err(ErrorCode::TransactionalIdAuthorizationFailed)
            } else {
                append_one(log, &name, data).await
            };
            outcomes.push(Outcome { index, result });
        }
        topics.push((name, outcomes));
    }
    Produced { topics }
}

async fn append_one(
    log: &Log,
    topic: &str,
    data: PartitionProduceData,
) -> Result<(Arc<Partition>, Appended), ErrorCode> {
    let mut batches = data.records.map(|frame| frame.batches).unwrap_or_default();
    // Since its second message format Kafka takes exactly one batch per partition and request.
    match (batches.pop(), batches.is_empty()) {
        (Some(batch), true) => log.append(topic, data.index, batch).await,
        _ => Err(ErrorCode::InvalidRecord),
    }
}

impl Produced {
    /// Waits until the batches are durable, and says so.
    pub(crate) async fn settle(self, log: &Log) -> ProduceResponse {
        let written = self.topics.iter().flat_map(|(_, outcomes)| outcomes);
        let ends: Vec<_> = written
            .filter_map(|outcome| outcome.result.as_ref().ok())
            .map(|(partition, appended)| (Arc::clone(partition), appended.end))
            .collect();
        let settled = match ends.is_empty() {
            true => Ok(()),
            false => log.settle(ends).await,
        };
        let topics = self.topics.into_iter().map(|(name, outcomes)| {
            let answers = outcomes.into_iter().map(|outcome| {
                let offset = outcome.result.map(|(_, appended)| appended.base_offset);
                answer(outcome.index, settled.and(offset))
            });
            TopicProduceResponse::default()
                .name(name)
                .partition_responses(Some(answers.collect()))
        });
        ProduceResponse::default()
            .responses(Some(topics.collect()))
            .throttle_time_ms(Some(0))
            .node_endpoints(None)
    }
}

fn answer(index: i32, base_offset: Result<i64, ErrorCode>) -> PartitionProduceResponse {
    let code = base_offset.err().unwrap_or(ErrorCode::None);
    PartitionProduceResponse::default()
        .index(index)
        .error_code(code.into())
        .base_offset(base_offset.unwrap_or(-1))
        .log_append_time_ms(Some(-1))
        .log_start_offset(Some(0))
        .record_errors(Some(Vec::new()))
        .error_message(None)
        .current_leader(None)
}

/// A new producer id, as Kafka gives every producer without a transactional id. Transactions are
/// refused here, at the first request that a client sends for one.
pub(crate) async fn init_producer_id(
    log: &Log,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let id = match request.transactional_id {
        Some(id) => {
            // The answer has no place for words.
            warn!(
                transactional_id = id,
                "transactions are not served: produce without transactional.id, or use a real Kafka"
            );
            Err(ErrorCode::TransactionalIdAuthorizationFailed)
        }
        None => log.next_producer_id().await,
    };
    let code = id.err().unwrap_or(ErrorCode::None);
    InitProducerIdResponse::default()
        .throttle_time_ms(0)
        .error_code(code.into())
        .producer_id(id.unwrap_or(-1))
        .producer_epoch(if id.is_ok() { 0 } else { -1 })
}
