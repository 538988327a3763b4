//! A SIGKILL during changes loses nothing that was answered, and gives no id twice.
//!
//! The registry runs in a child process: this same test program, started again.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use registry_server::{RegistryServer, Settings};
use reqwest::Client;
use serde_json::{Value, json};

use crate::client::schema;

const DIRECTORY: &str = "REGISTRY_SERVER_TEST_DIRECTORY";
const READY: &str = "ready ";
const KILLS: usize = 12;
/// Registrations answered before each kill.
const ANSWERS_MIN: usize = 40;
const CLIENTS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Not a test of its own: what the child process runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let registry = RegistryServer::start(Settings::new(directory))
        .await
        .unwrap();
    println!("\n{READY}{}", registry.url());
    std::future::pending::<()>().await;
}

/// A registry in a process of its own, killed when dropped.
struct Victim {
    process: Child,
    url: String,
}

impl Victim {
    fn start(directory: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["kill::child", "--exact", "--nocapture"])
            .env(DIRECTORY, directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut lines = output.lines().map_while(Result::ok);
        let ready = lines.find_map(|line| line.strip_prefix(READY).map(str::to_owned));
        let url = ready.expect("the child did not become ready");
        Self { process, url }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // SIGKILL.
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// What was answered: the id of every schema, by the schema's number.
type Answered = Arc<Mutex<BTreeMap<usize, u64>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_answered_is_lost() {
    let place = tempfile::tempdir().unwrap();
    let answered = Answered::default();
    let next = Arc::new(AtomicUsize::new(0));
    for _ in 0..KILLS {
        let victim = Victim::start(place.path());
        check(&victim.url, &answered).await;
        let before = answered.lock().unwrap().len();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (url, answered) = (victim.url.clone(), Arc::clone(&answered));
                tokio::spawn(register_until_killed(url, Arc::clone(&next), answered))
            })
            .collect();
        let deadline = Instant::now() + PATIENCE;
        while answered.lock().unwrap().len() < before + ANSWERS_MIN {
            assert!(Instant::now() < deadline, "registrations are not answered");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        drop(victim);
        for client in clients {
            client.await.unwrap();
        }
    }
    let last = Victim::start(place.path());
    check(&last.url, &answered).await;
    let ids: Vec<u64> = answered.lock().unwrap().values().copied().collect();
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "an id was given twice");
}

/// Registers one schema after the other until nobody answers.
async fn register_until_killed(url: String, next: Arc<AtomicUsize>, answered: Answered) {
    let client = Client::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "schema": schema(&format!("f{number}")) }).to_string();
        let subject = number % 7;
        let request = client.post(format!("{url}/subjects/s{subject}/versions"));
        let Ok(response) = request.body(body).send().await else {
            return;
        };
        let Ok(answer) = response.json::<Value>().await else {
            return;
        };
        let id = answer["id"].as_u64().unwrap();
        answered.lock().unwrap().insert(number, id);
    }
}

/// Every id still has the schema that it was given for.
async fn check(url: &str, answered: &Answered) {
    let client = Client::new();
    let answered = answered.lock().unwrap().clone();
    for (number, id) in answered {
        let response = client.get(format!("{url}/schemas/ids/{id}")).send().await;
        let answer: Value = response.unwrap().json().await.unwrap();
        let kept: Value = serde_json::from_str(answer["schema"].as_str().unwrap()).unwrap();
        assert_eq!(kept["fields"][0]["name"], format!("f{number}"), "id {id}");
    }
}
