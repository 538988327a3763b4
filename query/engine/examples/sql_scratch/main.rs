mod sql;
use clap::Parser;
#[derive(Parser)]
struct Cli { #[command(subcommand)] command: Command }
#[derive(clap::Subcommand)]
enum Command { Sql(sql::SqlArgs) }
fn main() -> std::process::ExitCode {
    let Command::Sql(args) = Cli::parse().command;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lake = match lake_store::LakeStore::open(args.lake.as_deref().unwrap(), &[], false) { Ok(l) => l, Err(e) => { eprintln!("error: {e}"); return 3.into(); } };
    match runtime.block_on(sql::run(lake, &args)) { Ok(()) => 0.into(), Err(e) => { eprintln!("error: {e}"); if let Some(s) = std::error::Error::source(&e) { eprintln!("  because {s}"); } e.exit_code().into() } }
}
