//! Reading from given positions on, and from no others.
//!
//! librdkafka starts and stops fetchers on a thread of its own, and starts none before every commit under way is answered.
//! It numbers what is asked of a partition when it is asked, and drops what it meets behind a higher number: a pause, a resume
//! or an assignment that meets a start half way is lost, or the start is, and the partition is not read on, silently (issues 2190
//! and 5591 of librdkafka); a fetcher that is told to stop twice aborts the process. So nothing else is asked before all have started.

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use tokio::time::sleep;
use tracing::warn;

use super::context::Context;

/// What librdkafka says when a look took too long.
const TIMED_OUT: &str = "_TIMED_OUT";

/// How long one look whether fetchers have started may block the thread, and the pause before the
/// next one.
const LOOK_TIME: Duration = Duration::from_secs(1);
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// Longest wait. Then the log is polled again, so that a group that has gone on without us is noticed.
const START_TIME_MAX: Duration = Duration::from_secs(30);

/// Assigns the positions and waits until they are read from. While Kafka does not answer what was
/// asked before, that is [`START_TIME_MAX`]: then they are read once it does.
pub(super) async fn assign(
    consumer: &BaseConsumer<Context>,
    positions: &TopicPartitionList,
) -> KafkaResult<()> {
    consumer.assign(positions)?;
    let mut starting = positions.clone();
    let deadline = Instant::now() + START_TIME_MAX;
    loop {
        starting = unstarted(consumer, starting)?;
        let partitions = starting.count();
        if partitions == 0 {
            break;
        }
        if Instant::now() >= deadline {
            warn!(
                partitions,
                "kafka has not answered yet what must be known before partitions are read on"
            );
            break;
        }
        sleep(LOOK_PAUSE).await;
    }
    // librdkafka remembers a pause across assignments.
    consumer.resume(positions)
}

/// Which of the positions have no fetcher yet. Of those that have one, it goes to the position once
/// more: what it was told last is what it does.
fn unstarted(
    consumer: &BaseConsumer<Context>,
    positions: TopicPartitionList,
) -> KafkaResult<TopicPartitionList> {
    if positions.count() == 0 {
        return Ok(positions);
    }
    let again = positions.clone();
    let looked = match consumer.seek_partitions(positions, LOOK_TIME) {
        Err(KafkaError::Seek(why)) if why == TIMED_OUT => return Ok(again),
        looked => looked?,
    };
    let mut unstarted = TopicPartitionList::new();
    for place in looked.elements() {
        let is_starting = matches!(
            place
                .error()
                .err()
                .and_then(|error| error.rdkafka_error_code()),
            Some(
                RDKafkaErrorCode::State
                    | RDKafkaErrorCode::PreviousInProgress
                    | RDKafkaErrorCode::Outdated
            )
        );
        if is_starting {
            unstarted.add_partition_offset(place.topic(), place.partition(), place.offset())?;
        }
    }
    Ok(unstarted)
}
