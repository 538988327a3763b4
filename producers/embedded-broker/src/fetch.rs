//! Fetch requests: what is there, or, after a wait, what has come.

use std::sync::Arc;
use std::time::Duration;

use tansu_sans_io::fetch_request::{FetchPartition, FetchTopic};
use tansu_sans_io::fetch_response::{FetchableTopicResponse, PartitionData};
use tansu_sans_io::record::deflated::Frame;
use tansu_sans_io::{ErrorCode, FetchRequest, FetchResponse};
use tokio::time::{Instant, timeout_at};

use crate::log::Log;
use crate::partition::Partition;

/// What one answer may hold, whatever the client allows.
const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The longest a fetch may wait, whatever the client allows.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// One partition of the request, with the partition itself or why it cannot be read.
struct Wanted {
    index: i32,
    offset: i64,
    bytes_max: usize,
    partition: Result<Arc<Partition>, ErrorCode>,
}

impl Wanted {
    /// Whether an answer about it can be given now.
    fn is_ready(&self) -> bool {
        match &self.partition {
            Ok(partition) => self.offset != partition.end(),
            Err(_) => true,
        }
    }
}

/// Answers a fetch. `min_bytes` above one counts as one.
pub(crate) async fn fetch(log: &Log, request: FetchRequest) -> FetchResponse {
    // Subscribed before looking: what is published in between wakes us up.
    let mut publications = log.publications();
    let mut topics = Vec::new();
    for topic in request.topics.unwrap_or_default() {
        topics.push(wanted(log, topic).await);
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = Instant::now() + wait.min(WAIT_MAX);
    let is_ready = |topics: &[(String, Vec<Wanted>)]| {
        let mut all = topics.iter().flat_map(|(_, wanted)| wanted);
        request.min_bytes <= 0 || all.any(Wanted::is_ready)
    };
    while !is_ready(&topics) {
        if !matches!(
            timeout_at(deadline, publications.changed()).await,
            Ok(Ok(()))
        ) {
            break;
        }
    }
    let asked = request
        .max_bytes
        .and_then(|bytes| usize::try_from(bytes).ok());
    let mut bytes_left = asked.unwrap_or(RESPONSE_BYTES_MAX).min(RESPONSE_BYTES_MAX);
    let mut responses = Vec::new();
    for (name, wanted) in topics {
        let mut partitions = Vec::new();
        for partition in wanted {
            partitions.push(answer(log, partition, &mut bytes_left).await);
        }
        let response = FetchableTopicResponse::default()
            .topic(Some(name))
            .topic_id(None)
            .partitions(Some(partitions));
        responses.push(response);
    }
    FetchResponse::default()
        .throttle_time_ms(Some(0))
        .error_code(Some(ErrorCode::None.into()))
        .session_id(Some(0))
        .node_endpoints(None)
        .responses(Some(responses))
}

async fn wanted(log: &Log, topic: FetchTopic) -> (String, Vec<Wanted>) {
    let name = topic.topic.unwrap_or_default();
    let mut wanted = Vec::new();
    for FetchPartition {
        partition: index,
        fetch_offset: offset,
        partition_max_bytes,
        ..
    } in topic.partitions.unwrap_or_default()
    {
        wanted.push(Wanted {
            index,
            offset,
            bytes_max: usize::try_from(partition_max_bytes).unwrap_or(0),
            partition: log.partition(&name, index).await,
        });
    }
    (name, wanted)
}

async fn answer(log: &Log, wanted: Wanted, bytes_left: &mut usize) -> PartitionData {
    let partition = match wanted.partition {
        Ok(partition) => partition,
        Err(code) => return data(wanted.index, code, -1, None),
    };
    let end = partition.end();
    if wanted.offset < 0 || wanted.offset > end {
        return data(wanted.index, ErrorCode::OffsetOutOfRange, end, None);
    }
    if *bytes_left == 0 {
        return data(wanted.index, ErrorCode::None, end, None);
    }
    let bytes_max = wanted.bytes_max.min(*bytes_left);
    match log.read(&partition, wanted.offset, bytes_max).await {
        Ok(batches) => {
            let bytes: usize = batches.iter().map(|batch| batch.record_data.len()).sum();
            *bytes_left = bytes_left.saturating_sub(bytes);
            let frame = (!batches.is_empty()).then_some(Frame { batches });
            // The end as of now: what was just read lies before it.
            data(wanted.index, ErrorCode::None, partition.end(), frame)
        }
        Err(code) => data(wanted.index, code, end, None),
    }
}

fn data(index: i32, code: ErrorCode, end: i64, records: Option<Frame>) -> PartitionData {
    PartitionData::default()
        .partition_index(index)
        .error_code(code.into())
        .high_watermark(end)
        .last_stable_offset(Some(end))
        .log_start_offset(Some(if end < 0 { -1 } else { 0 }))
        .diverging_epoch(None)
        .current_leader(None)
        .snapshot_id(None)
        .aborted_transactions(Some(Vec::new()))
        .preferred_read_replica(Some(-1))
        .records(records)
}
