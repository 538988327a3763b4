//! ListOffsets requests: the start, the end, or the first record at a time.

use tansu_sans_io::list_offsets_request::ListOffsetsPartition;
use tansu_sans_io::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use tansu_sans_io::{ErrorCode, ListOffsetsRequest, ListOffsetsResponse};

use crate::log::Log;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// An offset and a timestamp in milliseconds; -1 for what there is not.
type Found = (i64, i64);

pub(crate) async fn list(log: &Log, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let mut topics = Vec::new();
    for topic in request.topics.unwrap_or_default() {
        let mut partitions = Vec::new();
        for asked in topic.partitions.unwrap_or_default() {
            let index = asked.partition_index;
            partitions.push(answer(index, find(log, &topic.name, asked).await));
        }
        let response = ListOffsetsTopicResponse::default()
            .name(topic.name)
            .partitions(Some(partitions));
        topics.push(response);
    }
    ListOffsetsResponse::default()
        .throttle_time_ms(Some(0))
        .topics(Some(topics))
}

async fn find(log: &Log, topic: &str, asked: ListOffsetsPartition) -> Result<Found, ErrorCode> {
    let partition = log.partition(topic, asked.partition_index).await?;
    match asked.timestamp {
        LATEST => Ok((partition.end(), -1)),
        // Nothing is ever deleted from the start of a log.
        EARLIEST => Ok((0, -1)),
        millis if millis >= 0 => {
            let found = log.first_at(&partition, millis).await?;
            Ok(found.unwrap_or((-1, -1)))
        }
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

fn answer(index: i32, found: Result<Found, ErrorCode>) -> ListOffsetsPartitionResponse {
    let code = found.err().unwrap_or(ErrorCode::None);
    let (offset, timestamp) = found.unwrap_or((-1, -1));
    ListOffsetsPartitionResponse::default()
        .partition_index(index)
        .error_code(code.into())
        .old_style_offsets(None)
        .timestamp(Some(timestamp))
        .offset(Some(offset))
        .leader_epoch(Some(0))
}
