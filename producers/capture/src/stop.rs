//! How work on connections ends.

use change_events::PublishError;
use schemas::RegistryError;

use crate::CaptureError;
use crate::server::PostgresServer;
use crate::session::SessionError;

/// Why work stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A connection is spent: connect again and go on from what is confirmed.
    Lost { what: &'static str, why: String },
    /// Somebody has to do something.
    Error(CaptureError),
    /// The capture was told to stop.
    Cancelled,
}

impl Stop {
    /// Of an answer of Postgres that the question did not expect.
    pub(crate) fn of_session(server: &PostgresServer, error: SessionError) -> Self {
        match error {
            SessionError::Unavailable(why) => Self::lost_postgres(why),
            // The slot or the copy's slot is still held by a session that Postgres has not missed yet.
            SessionError::Server { code, text } if code == "55006" || code == "42710" => {
                Self::lost_postgres(text)
            }
            SessionError::Refused(why) | SessionError::Server { text: why, .. } => {
                Self::Error(CaptureError::Postgres {
                    server: server.to_string(),
                    why,
                })
            }
        }
    }

    /// Of a topic's schemas.
    pub(crate) fn of_registry(topic: String, error: RegistryError) -> Self {
        match error.is_passing() {
            true => Self::Lost {
                what: "schema registry",
                why: error.to_string(),
            },
            false => Self::Error(CaptureError::Registry {
                topic,
                source: error,
            }),
        }
    }

    pub(crate) fn lost_postgres(why: impl Into<String>) -> Self {
        Self::Lost {
            what: "postgres",
            why: why.into(),
        }
    }

    pub(crate) fn lost_kafka(why: impl Into<String>) -> Self {
        Self::Lost {
            what: "kafka",
            why: why.into(),
        }
    }
}

impl From<CaptureError> for Stop {
    fn from(error: CaptureError) -> Self {
        Self::Error(error)
    }
}

/// What is told while records are waited for: a connection that failed is spent.
impl From<PublishError> for Stop {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Unavailable(why) => Self::lost_kafka(why),
            PublishError::Refused(why) => Self::Error(CaptureError::KafkaRefused(why)),
        }
    }
}
