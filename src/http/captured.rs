//! The same of a running capture.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use capture::CaptureProgress;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;

use super::metrics::Page;
use crate::config::Http;
use crate::failure::Failure;

/// Serves requests from now on until the program ends. Fails only if it cannot listen.
pub(crate) async fn start(settings: &Http, progress: Arc<CaptureProgress>) -> Result<(), Failure> {
    let mut metrics = Registry::with_prefix("lakehead");
    metrics.register_collector(Box::new(Metrics(Arc::clone(&progress))));
    let service = Service {
        metrics: Arc::new(metrics),
        progress,
    };
    let router = Router::new()
        .route("/livez", get("alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(page))
        .with_state(service);
    super::listen("[capture.http]", settings, router).await
}

#[derive(Clone)]
struct Service {
    metrics: Arc<Registry>,
    progress: Arc<CaptureProgress>,
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether the owner's log is read.
    ready: bool,
    /// Everything that was committed before this place is published.
    confirmed: String,
    /// Log that was written since.
    lag_bytes: u64,
}

/// Ready means that the tables are copied and the log is read.
async fn readyz(State(service): State<Service>) -> Response {
    let progress = &service.progress;
    let report = Report {
        ready: progress.is_streaming(),
        confirmed: progress.confirmed().to_string(),
        lag_bytes: progress.lag_bytes(),
    };
    let status = match report.ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, axum::Json(report)).into_response()
}

async fn page(State(service): State<Service>, headers: HeaderMap) -> Response {
    super::page(&service.metrics, &headers)
}

#[derive(Debug)]
struct Metrics(Arc<CaptureProgress>);

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (mut page, progress) = (Page(encoder), &self.0);
        page.info()?;
        for (name, help, value) in [
            (
                "capture_records",
                "Records that Kafka acknowledged",
                progress.published(),
            ),
            (
                "capture_copied_rows",
                "Rows of first copies that Kafka acknowledged",
                progress.copied_rows(),
            ),
        ] {
            page.metric(name, help, None, &ConstCounter::new(value))?;
        }
        let streaming = ConstGauge::new(u64::from(progress.is_streaming()));
        let help =
            "1 while the owner's log is read; 0 while tables are copied or a server is waited for";
        page.metric("capture_streaming", help, None, &streaming)?;
        for (name, help, value) in [
            (
                "capture_confirmed",
                "The place in the owner's log before which everything is published",
                progress.confirmed().0,
            ),
            (
                "capture_lag",
                "Log that the owner wrote behind that place, when it was last looked at",
                progress.lag_bytes(),
            ),
            (
                "capture_slot_kept",
                "Log that Postgres keeps for the slot, when it was last looked at",
                progress.retained_bytes(),
            ),
        ] {
            page.metric(name, help, Some(&Unit::Bytes), &ConstGauge::new(value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_scrapers_read() {
        let mut registry = Registry::with_prefix("lakehead");
        registry.register_collector(Box::new(Metrics(Arc::default())));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "lakehead_capture_records_total 0",
            "lakehead_capture_streaming 0",
            "# UNIT lakehead_capture_lag_bytes bytes",
            "lakehead_capture_slot_kept_bytes 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
