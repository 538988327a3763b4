//! Serves a directory until it is killed, to try a client by hand.
//!
//! `cargo run --release -p registry-server --example serve_registry DIRECTORY [PORT]`

use std::error::Error;

use registry_server::{RegistryServer, Settings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("which directory?")?;
    let port = arguments.next().unwrap_or("0".to_owned()).parse()?;
    let registry = RegistryServer::start(Settings::new(directory).port(port)).await?;
    eprintln!("{}", registry.url());
    std::future::pending().await
}
