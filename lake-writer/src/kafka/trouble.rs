//! Why there is no connection, for whoever asks in vain.

use std::sync::Mutex;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// librdkafka's word for a log line about a connection that failed.
const FAILED: &str = "FAIL";

/// What OpenSSL's words contain when the other side ended a TLS connection on purpose.
const TLS_ALERT: &str = "SSL alert";

/// The last troubles that librdkafka told.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    refusal: Mutex<Option<String>>,
    failure: Mutex<Option<String>>,
}

impl Trouble {
    /// Keeps a log line if it tells why a connection failed.
    pub(super) fn hear(&self, facility: &str, message: &str) {
        if facility == FAILED {
            note(&self.failure, message);
        }
    }

    /// Keeps an error's reason if a broker refused us, or we a broker.
    pub(super) fn see(&self, error: &KafkaError, reason: &str) {
        if is_refusal(error) || reason.contains(TLS_ALERT) {
            note(&self.refusal, reason);
        }
    }

    /// The last reason for which a broker refused us, or we a broker.
    pub(super) fn refusal(&self) -> Option<String> {
        let refusal = self.refusal.lock();
        refusal.map(|refusal| refusal.clone()).unwrap_or_default()
    }

    /// The last reason for which a connection failed.
    pub(super) fn failure(&self) -> Option<String> {
        let failure = self.failure.lock();
        failure.map(|failure| failure.clone()).unwrap_or_default()
    }
}

fn note(place: &Mutex<Option<String>>, reason: &str) {
    if let Ok(mut place) = place.lock() {
        *place = Some(reason.to_owned());
    }
}

/// Whether an error says that a connection is refused, not that it is down.
fn is_refusal(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::UnsupportedSASLMechanism
                | RDKafkaErrorCode::SSL
        )
    )
}
