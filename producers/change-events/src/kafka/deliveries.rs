//! What librdkafka's thread tells the relay.

use rdkafka::Message;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use tokio::sync::mpsc;
use tracing::debug;

use crate::Notice;

/// What librdkafka's thread calls.
pub(super) struct Deliveries {
    pub(super) told: mpsc::UnboundedSender<Notice>,
}

impl Deliveries {
    fn tell(&self, notice: Notice) {
        // The relay has gone on to another connection; it will publish this record again.
        if self.told.send(notice).is_err() {
            debug!("a delivery was reported to a connection that is closed");
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.tell(match result {
            // So it is when the broker had it from an earlier try: published again, its place is known.
            Ok(message) if message.offset() < 0 => Notice::Failed {
                number,
                why: "it was acknowledged without its offset".to_owned(),
                refused: false,
            },
            Ok(message) => Notice::Delivered {
                number,
                partition: message.partition(),
                offset: message.offset(),
            },
            Err((error, _)) => Notice::Failed {
                number,
                why: error.to_string(),
                refused: matches!(
                    error.rdkafka_error_code(),
                    Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidRecord)
                ),
            },
        });
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters reaches the relay as errors and deliveries, and is said there once.
        debug!(target: "librdkafka", ?level, facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(target: "librdkafka", %error, "{reason}");
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.tell(Notice::Down {
                why: reason.to_owned(),
            });
        }
    }
}
