//! `lakehead config`: what a configuration file says, and whether it can work.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use toml::{Table, Value};

use super::relay::has_password;
use super::secret::is_secret;
use super::{Config, directory_of};
use crate::failure::Failure;

/// Look at a configuration file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lakehead config check --config lakehead.toml     every problem at once, nothing is connected to
  lakehead config show --config lakehead.toml      every setting with its value, secrets as references

Exit codes: 0 well, 1 failed, 2 the configuration is wrong.")]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Say everything that is wrong: names, values, secrets and contracts that are not there
    Check(FileArgs),
    /// Print every setting with its value, defaults too, as TOML
    Show(FileArgs),
}

#[derive(Debug, Args)]
struct FileArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Answers the question on standard output.
pub(crate) fn run(args: &ConfigArgs) -> Result<(), Failure> {
    match &args.question {
        Question::Check(FileArgs { config: file }) => {
            let found = Config::read(file)?.check(file)?.join("; ");
            let (place, from) = (file.display(), start_of(file));
            say(&format!(
                "{place} is well: {found}; relative paths start at {}\n",
                from.display()
            ))
        }
        Question::Show(FileArgs { config: file }) => say(&shown(&Config::read(file)?)?),
    }
}

/// Where a file's relative paths start.
fn start_of(file: &Path) -> PathBuf {
    let mut from = directory_of(file);
    // That of a bare name is empty, and nothing can be said of an empty path.
    if from.as_os_str().is_empty() {
        from = PathBuf::from(".");
    }
    std::path::absolute(&from).unwrap_or(from)
}

/// The configuration as TOML. A secret that stands in the file is not repeated.
fn shown(config: &Config) -> Result<String, Failure> {
    let mut table = Table::try_from(config).map_err(Failure::failed)?;
    hide(&mut table);
    toml::to_string(&table).map_err(Failure::failed)
}

fn hide(table: &mut Table) {
    for (name, value) in table.iter_mut() {
        match value {
            Value::Table(inner) => hide(inner),
            Value::String(text) if is_secret(name) || has_password(text) => {
                "(not shown)".clone_into(text)
            }
            _ => {}
        }
    }
}

fn say(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::failed(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_file_name_starts_at_the_working_directory() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(start_of(Path::new("lakehead.toml")), here);
        assert_eq!(start_of(Path::new("conf/lakehead.toml")), here.join("conf"));
        assert_eq!(start_of(Path::new("/etc/lakehead.toml")), Path::new("/etc"));
    }

    #[test]
    fn what_is_shown_can_be_read_and_has_no_secret() {
        let file = "[kafka.properties]\n\"sasl.password\" = 'hunter2'\n\"client.id\" = 'c'\n\
                    [relay]\ndatabase_url = 'postgres://me:hunter2@h/db'\n\
                    entity = [{ name = 'a.b', contract = 'c.avsc' }]\n\
                    [lake.options]\naws_secret_access_key = { env = 'KEY' }";
        let config: Config = toml::from_str(file).unwrap();
        let text = shown(&config).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        for part in ["env = \"KEY\"", "flush_rows_max", "\"client.id\" = \"c\""] {
            assert!(text.contains(part), "{part}: {text}");
        }
        toml::from_str::<Config>(&text).unwrap();
    }
}
