//! Serves a directory until it is killed, to try a client by hand.
//!
//! `cargo run --release -p embedded-broker --example serve_broker DIRECTORY [PORT]`

use std::error::Error;
use std::time::Instant;

use embedded_broker::{EmbeddedBroker, Settings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("which directory?")?;
    let port = arguments.next().unwrap_or("0".to_owned()).parse()?;
    let started = Instant::now();
    let broker = EmbeddedBroker::start(Settings::new(directory).port(port)).await?;
    eprintln!(
        "{} ready in {:?}",
        broker.bootstrap_servers(),
        started.elapsed()
    );
    std::future::pending().await
}
