//! The `lakehead` program: command line, configuration, telemetry, signals and exit codes.
//!
//! What it does is in the crates below; see ARCHITECTURE.md for the map.

mod capture;
mod config;
mod demo;
mod dev;
mod embedded;
mod failure;
mod http;
mod maintain;
mod relay;
mod resume;
mod sql;
mod status;
mod stop;
mod telemetry;
mod verify;
mod write;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A one-way road from service-owned tables to a lake: change events, Kafka, Parquet, SQL.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    log: telemetry::LogArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See the whole road at work: a service, Kafka, the lake and SQL in one process
    Demo(demo::DemoArgs),
    /// Run Kafka, a schema registry, the lake-writer and SQL in one process, for your own services
    Dev(dev::DevArgs),
    /// Run the lake-writer: Kafka topics into Delta tables, exactly once
    Write(write::WriteArgs),
    /// Publish a service's outbox: its own database into Kafka topics
    Relay(relay::RelayArgs),
    Capture(capture::CaptureArgs),
    Sql(sql::SqlArgs),
    /// Show how every table stands: version, lag, last commit, dead letters, and what stops it
    Status(status::StatusArgs),
    /// Lead a stopped table over what Kafka no longer has
    Resume(resume::ResumeArgs),
    /// Check the lake against its logs, or against the database of a service
    Verify(verify::VerifyArgs),
    Maintain(maintain::MaintainArgs),
    Rebuild(maintain::RebuildArgs),
    Config(config::ConfigArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    #[cfg(feature = "faults")]
    lake_writer::arm_fail_points();
    match telemetry::start(&cli.log).and_then(|()| work(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn work(command: Command) -> Result<(), Failure> {
    let runtime = runtime()?;
    let result = runtime.block_on(run(command));
    // What still computes for an answer that nobody waits for is not waited for either, nor is a
    // call into a file system that hangs.
    runtime.shutdown_background();
    result
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Dev(args) => dev::run(args).await,
        Command::Write(args) => write::run(args).await,
        Command::Relay(args) => relay::run(args).await,
        Command::Capture(args) => capture::run(args).await,
        Command::Sql(args) => {
            let lake = match (&args.lake, &args.config) {
                (Some(location), _) => config::LakePlace::at(location).open(false)?,
                (None, Some(file)) => config::Config::read(file)?.place(file)?.open(false)?,
                (None, None) => return Err(Failure::usage("--lake or --config is needed")),
            };
            sql::run(lake, &args).await.map_err(Failure::from)
        }
        Command::Status(args) => status::run(args).await,
        Command::Resume(args) => resume::run(args).await,
        Command::Verify(args) => verify::run(args).await,
        Command::Maintain(args) => maintain::run(args).await,
        Command::Rebuild(args) => maintain::rebuild(args).await,
        Command::Config(args) => config::run(&args),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let built = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    built.map_err(|error| Failure::failed(anyhow::Error::new(error).context("cannot start")))
}
