//! A Postgres server of one test alone, which may be stopped and become a standby.

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use uuid::Uuid;

const SETTINGS: &str = "-c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c wal_level=logical \
    -c fsync=off -c log_connections=on";

/// A server; its address stays the same when it is started again.
pub(crate) struct Server {
    directory: TempDir,
    port: u16,
    pub(crate) url: String,
}

impl Server {
    /// Starts a server of the programs that the others are of. Nothing if the tests have no Postgres.
    pub(crate) fn start() -> Option<Self> {
        if std::env::var("LAKEHEAD_TEST_POSTGRES").is_err() {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "LAKEHEAD_TEST_POSTGRES is not set"
            );
            eprintln!("SKIPPED: LAKEHEAD_TEST_POSTGRES is not set");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        if let Some((user, group)) = other_user() {
            chown(directory.path(), Some(user), Some(group)).unwrap();
        }
        let port = free_port();
        let server = Self {
            directory,
            port,
            url: format!("postgres://lakehead@127.0.0.1:{port}/postgres"),
        };
        let data = server.data().display().to_string();
        run(
            "initdb",
            &["-D", &data, "-U", "lakehead", "-A", "trust", "-N"],
        );
        server.start_again();
        Some(server)
    }

    pub(crate) fn start_again(&self) {
        let settings = format!("-p {} {SETTINGS}", self.port);
        let log = self.log_file().display().to_string();
        self.control(&["-o", &settings, "-l", &log, "-w", "start"]);
    }

    /// Ends it, however many sessions it has.
    pub(crate) fn stop(&self) {
        self.control(&["-m", "fast", "-w", "stop"]);
    }

    /// Starts a server that was stopped as one that waits for more log, and answers questions meanwhile.
    pub(crate) fn become_standby(&self) {
        std::fs::write(self.data().join("standby.signal"), "").unwrap();
        self.start_again();
    }

    /// Starts a standby that was stopped as the primary that it was, on the timeline that it had.
    pub(crate) fn become_primary(&self) {
        std::fs::remove_file(self.data().join("standby.signal")).unwrap();
        self.start_again();
    }

    pub(crate) fn promote(&self) {
        self.control(&["-w", "promote"]);
    }

    /// What the server has written to its log.
    pub(crate) fn log(&self) -> String {
        let mut log = Vec::new();
        let mut file = std::fs::File::open(self.log_file()).unwrap();
        file.read_to_end(&mut log).unwrap();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn control(&self, words: &[&str]) {
        let data = self.data().display().to_string();
        run("pg_ctl", &[&["-D", &data, "-s"], words].concat());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.data().display().to_string();
        let words = ["-D", &data, "-s", "-m", "immediate", "stop"];
        command("pg_ctl", &words).status().ok();
    }
}

fn run(program: &str, words: &[&str]) {
    let done = command(program, words).status().unwrap();
    assert!(done.success(), "{program} {words:?}: {done}");
}

fn command(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(programs().join(program));
    command.args(words).current_dir("/");
    // What it starts lives longer than it does.
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::null());
    if let Some((user, group)) = other_user() {
        command.uid(user).gid(group);
    }
    command
}

/// The folder of the server's programs: the one that is named, Debian's newest, or the one in PATH.
fn programs() -> PathBuf {
    if let Ok(named) = std::env::var("LAKEHEAD_TEST_POSTGRES_PROGRAMS") {
        return named.into();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let versions = versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    match versions.max() {
        Some::<u32>(newest) => format!("/usr/lib/postgresql/{newest}/bin").into(),
        None => PathBuf::new(),
    }
}

/// Postgres refuses to run as root: then it runs as the user whose name it has.
fn other_user() -> Option<(u32, u32)> {
    if Path::new("/proc/self").metadata().unwrap().uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let postgres = users.lines().find(|line| line.starts_with("postgres:"));
    let mut fields = postgres.expect("no user postgres").split(':').skip(2);
    let mut number = || fields.next().unwrap().parse().unwrap();
    Some((number(), number()))
}

/// None that the system gives to clients: one that connects to a server that is away may be given the very
/// port that it tries.
fn free_port() -> u16 {
    loop {
        let port = 10_000 + u16::try_from(Uuid::new_v4().as_u128() % 20_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
