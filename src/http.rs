//! Where to ask a running writer or capture how it does: `/livez`, `/readyz`, `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lake_store::LakeStore;
use lake_writer::{CareProgress, LagWatch, Meter, WriterProgress};
use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::config::Http;
use crate::failure::Failure;

pub(crate) mod captured;
mod cared;
mod exposition;
mod metrics;
mod readiness;

use exposition::Exposition;
use readiness::Readiness;
pub(crate) use readiness::{Report, Stopped};

/// How long the reading thread may give no sign of life, in milliseconds. It gives one every
/// second, and one question to Kafka, during which it gives none, takes five seconds at most.
const SILENCE_MAX_MS: u64 = 60_000;

/// What a running writer is known by.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) progress: Arc<WriterProgress>,
    pub(crate) lag: LagWatch,
    pub(crate) lake: LakeStore,
    pub(crate) buffer_bytes_max: u64,
    pub(crate) store: Arc<Meter>,
    pub(crate) registry: Arc<Meter>,
    /// How the care inside goes on, if there is any.
    pub(crate) care: Option<Arc<CareProgress>>,
}

/// Serves requests from now on until the program ends. Fails only if it cannot listen.
pub(crate) async fn start(settings: &Http, watched: Watched) -> Result<(), Failure> {
    let watched = Arc::new(watched);
    let service = Service {
        metrics: Arc::new(metrics::registry(Arc::clone(&watched))),
        readiness: Arc::new(Readiness::new(watched)),
    };
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(service);
    listen("[http]", settings, router).await
}

/// Serves requests from now on; `section` of the configuration says where.
async fn listen(section: &str, settings: &Http, router: Router) -> Result<(), Failure> {
    let address = settings.listen;
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| {
        Failure::usage(format!("{section}: cannot listen on {address}: {error}"))
    })?;
    let address = listener.local_addr().map_err(Failure::failed)?;
    info!(%address, "answering /livez, /readyz and /metrics");
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            warn!(%error, "no more answers to /livez, /readyz and /metrics");
        }
    });
    Ok(())
}

#[derive(Clone)]
struct Service {
    metrics: Arc<prometheus_client::registry::Registry>,
    readiness: Arc<Readiness>,
}

/// Says nothing of Kafka or the store: starting again would not mend them.
async fn livez(State(service): State<Service>) -> Response {
    let silent_ms = service.readiness.watched().progress.beat_age_ms();
    if silent_ms <= SILENCE_MAX_MS {
        return (StatusCode::OK, "alive\n").into_response();
    }
    let text = format!("the reading thread has given no sign of life for {silent_ms} ms\n");
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn readyz(State(service): State<Service>) -> Response {
    let report = service.readiness.report().await;
    let status = match report.ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, axum::Json(report)).into_response()
}

async fn metrics(State(service): State<Service>, headers: HeaderMap) -> Response {
    page(&service.metrics, &headers)
}

/// The metrics of a registry as whoever asks reads them.
fn page(metrics: &prometheus_client::registry::Registry, headers: &HeaderMap) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, metrics) {
        Ok(()) => {
            let exposition = Exposition::asked_for(headers);
            let text = exposition.of(text);
            ([(CONTENT_TYPE, exposition.content_type())], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
