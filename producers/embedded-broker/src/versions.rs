//! What clients may send. What is not served is not listed, so that a client says at once what it
//! misses: transactions, for one.

use tansu_sans_io::api_versions_response::ApiVersion;
use tansu_sans_io::{
    ApiKey as _, ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, DeleteGroupsRequest,
    DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest, DescribeGroupsRequest,
    DescribeTopicPartitionsRequest, ErrorCode, FetchRequest, FindCoordinatorRequest,
    HeartbeatRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest,
    LeaveGroupRequest, ListGroupsRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetFetchRequest, ProduceRequest, RootMessageMeta, SyncGroupRequest,
};

/// What clients are told they may send.
const SERVED: [i16; 22] = [
    ApiVersionsRequest::KEY,
    CreateTopicsRequest::KEY,
    DeleteGroupsRequest::KEY,
    DeleteTopicsRequest::KEY,
    DescribeClusterRequest::KEY,
    DescribeConfigsRequest::KEY,
    DescribeGroupsRequest::KEY,
    DescribeTopicPartitionsRequest::KEY,
    FetchRequest::KEY,
    FindCoordinatorRequest::KEY,
    HeartbeatRequest::KEY,
    IncrementalAlterConfigsRequest::KEY,
    InitProducerIdRequest::KEY,
    JoinGroupRequest::KEY,
    LeaveGroupRequest::KEY,
    ListGroupsRequest::KEY,
    ListOffsetsRequest::KEY,
    MetadataRequest::KEY,
    OffsetCommitRequest::KEY,
    OffsetFetchRequest::KEY,
    ProduceRequest::KEY,
    SyncGroupRequest::KEY,
];
/// Later versions of Fetch name topics by id only.
const FETCH_VERSION_MAX: i16 = 12;

/// The answer to a client that asks what it may send.
pub(crate) fn served() -> ApiVersionsResponse {
    let metas = RootMessageMeta::messages().requests();
    let served = SERVED.iter().filter_map(|key| metas.get(key));
    let versions = served.map(|meta| {
        let version_max = match meta.api_key {
            FetchRequest::KEY => FETCH_VERSION_MAX,
            _ => meta.version.valid.end,
        };
        ApiVersion::default()
            .api_key(meta.api_key)
            .min_version(meta.version.valid.start)
            .max_version(version_max)
    });
    // No features: as Kafka does, what has its default is left out. librdkafka before 2.1 (kcat of
    // current distributions) loses its place in a field that it does not know.
    ApiVersionsResponse::default()
        .error_code(ErrorCode::None.into())
        .api_keys(Some(versions.collect()))
        .throttle_time_ms(Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Answer;

    #[test]
    fn the_versions_end_without_fields_that_older_clients_do_not_know() {
        let answer = Answer {
            key: ApiVersionsRequest::KEY,
            version: 3,
            correlation_id: 7,
        };
        let bytes = answer.encode(served().into()).unwrap();
        // Length, correlation, error code, count; then per API its key, two versions and the
        // number of unknown fields; then the throttle time and, again, that number.
        let expected = 4 + 4 + 2 + 1 + SERVED.len() * 7 + 4 + 1;
        assert_eq!(bytes.len(), expected);
        assert_eq!(bytes[bytes.len() - 5..], [0; 5]);
    }
}
