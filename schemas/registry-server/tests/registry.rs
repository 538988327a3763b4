//! The registry over HTTP, as a client sees it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy allows them in test functions, not in what these call"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use registry_server::{Error, RegistryServer, Settings};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

const FLIGHT: &str = r#"{"type":"record","name":"flight","lakehead.owner":"flights","fields":[{"name":"year","type":"int"}]}"#;

struct Registry {
    server: RegistryServer,
    client: Client,
}

impl Registry {
    async fn start(directory: &Path) -> Self {
        Self {
            server: RegistryServer::start(Settings::new(directory))
                .await
                .unwrap(),
            client: Client::new(),
        }
    }

    async fn stop(self) {
        drop(self.client);
        self.server.stop().await.unwrap();
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.server.url()));
        if let Some(body) = body {
            request = request
                .header("content-type", "application/vnd.schemaregistry.v1+json")
                .body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let content_type = response.headers()["content-type"].clone();
        assert_eq!(content_type, "application/vnd.schemaregistry.v1+json");
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, None).await
    }

    async fn register(&self, subject: &str, schema: &str) -> (u16, Value) {
        let path = format!("/subjects/{subject}/versions");
        self.ask(Method::POST, &path, Some(json!({ "schema": schema })))
            .await
    }

    /// Asks for what must be refused, and returns the error code.
    async fn refused(&self, method: Method, path: &str, body: Option<Value>) -> u64 {
        let (status, answer) = self.ask(method, path, body).await;
        let code = answer["error_code"].as_u64().unwrap();
        let expected = if code > 999 { code / 100 } else { code };
        assert_eq!(u64::from(status), expected);
        assert!(!answer["message"].as_str().unwrap().is_empty());
        code
    }
}

/// An enum with a name and one symbol.
fn schema(name: &str) -> String {
    json!({ "type": "enum", "name": name, "symbols": ["A"] }).to_string()
}

#[tokio::test]
async fn a_schema_goes_in_and_comes_out() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    assert_eq!(registry.get("/").await, (200, json!({})));
    assert_eq!(registry.get("/subjects").await, (200, json!([])));
    assert_eq!(
        registry.get("/config").await,
        (200, json!({ "compatibilityLevel": "NONE" }))
    );
    let body = json!({ "schema": FLIGHT, "schemaType": "AVRO", "references": [] });
    let registered = registry
        .ask(
            Method::POST,
            "/subjects/flights.flight-value/versions",
            Some(body.clone()),
        )
        .await;
    assert_eq!(registered, (200, json!({ "id": 1 })));

    let subject = "/subjects/flights.flight-value";
    let (_, by_id) = registry.get("/schemas/ids/1?fetchMaxId=false").await;
    let kept: Value = serde_json::from_str(by_id["schema"].as_str().unwrap()).unwrap();
    assert_eq!(kept, serde_json::from_str::<Value>(FLIGHT).unwrap());
    let version = json!({
        "subject": "flights.flight-value", "id": 1, "version": 1, "schema": by_id["schema"],
    });
    for path in ["versions/1", "versions/latest", "versions/-1"] {
        assert_eq!(
            registry.get(&format!("{subject}/{path}")).await,
            (200, version.clone())
        );
    }
    assert_eq!(
        registry.get(&format!("{subject}/versions")).await,
        (200, json!([1]))
    );
    let looked_up = registry
        .ask(
            Method::POST,
            &format!("{subject}?normalize=false&deleted=true"),
            Some(body),
        )
        .await;
    assert_eq!(looked_up, (200, version));
    assert_eq!(
        registry.get("/subjects").await,
        (200, json!(["flights.flight-value"]))
    );
    registry.stop().await;
}

#[tokio::test]
async fn the_same_schema_has_the_same_id() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    let (one, two) = (schema("one"), schema("two"));
    assert_eq!(registry.register("a-value", &one).await.1["id"], 1);
    assert_eq!(registry.register("a-value", &two).await.1["id"], 2);
    // Again, in another layout, under another subject with a name that must be escaped.
    assert_eq!(registry.register("a-value", &one).await.1["id"], 1);
    let layout = r#"{ "symbols": ["A"],  "name": "one", "type": "enum" }"#;
    assert_eq!(registry.register("a-value", layout).await.1["id"], 1);
    assert_eq!(registry.register("b%2F%C3%A9-value", &two).await.1["id"], 2);
    assert_eq!(
        registry.get("/subjects/a-value/versions").await.1,
        json!([1, 2])
    );
    assert_eq!(
        registry.get("/subjects").await.1,
        json!(["a-value", "b/é-value"])
    );
    let lines = fs::read_to_string(place.path().join("schemas.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 3);
    registry.stop().await;
}

#[tokio::test]
async fn refusals_have_confluents_codes() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    registry.register("a-value", &schema("one")).await;
    let posted = |schema: &str| Some(json!({ "schema": schema }));
    let (get, post) = (Method::GET, Method::POST);
    let versions = "/subjects/a-value/versions";
    let large = " ".repeat(600_000);
    let larger = " ".repeat(2_000_000);
    let long = format!("/subjects/{}/versions", "s".repeat(300));
    let json_schema = Some(json!({ "schema": "{}", "schemaType": "JSON" }));
    let referring = json!({ "schema": schema("one"), "references": [{ "name": "x" }] });
    let cases = [
        (get.clone(), "/subjects/none/versions", None, 40401),
        (get.clone(), "/subjects/none/versions/1", None, 40401),
        (
            post.clone(),
            "/subjects/none",
            posted(&schema("one")),
            40401,
        ),
        (get.clone(), "/subjects/a-value/versions/2", None, 40402),
        (get.clone(), "/subjects/a-value/versions/0", None, 42202),
        (
            get.clone(),
            "/subjects/a-value/versions/newest",
            None,
            42202,
        ),
        (get.clone(), "/schemas/ids/2", None, 40403),
        (get.clone(), "/schemas/ids/0", None, 40403),
        (get.clone(), "/schemas/ids/x", None, 40403),
        (
            post.clone(),
            "/subjects/a-value",
            posted(&schema("two")),
            40403,
        ),
        (
            post.clone(),
            versions,
            posted(r#"{"type":"strange"}"#),
            42201,
        ),
        (post.clone(), versions, posted("{"), 42201),
        (post.clone(), versions, posted(&large), 42201),
        (post.clone(), versions, json_schema, 42201),
        (post.clone(), versions, Some(referring), 42201),
        (post.clone(), versions, posted(&larger), 413),
        (
            post.clone(),
            versions,
            Some(json!({ "type": "string" })),
            422,
        ),
        (post.clone(), &long, posted(&schema("one")), 42208),
        (
            post.clone(),
            "/subjects/a%00/versions",
            posted(&schema("one")),
            42208,
        ),
        (get.clone(), "/contexts", None, 404),
        (Method::DELETE, "/subjects/a-value", None, 405),
        (
            Method::PUT,
            "/config",
            Some(json!({ "compatibility": "FULL" })),
            405,
        ),
    ];
    for (method, path, body, code) in cases {
        assert_eq!(
            registry.refused(method.clone(), path, body).await,
            code,
            "{method} {path}"
        );
    }
    assert_eq!(registry.get("/subjects").await.1, json!(["a-value"]));
    registry.stop().await;
}

#[tokio::test]
async fn ids_outlive_a_restart_and_a_torn_line() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    let url = registry.server.url().to_owned();
    for (id, name) in (1..).zip(["one", "two", "three"]) {
        assert_eq!(
            registry.register("a-value", &schema(name)).await.1["id"],
            id
        );
    }
    registry.stop().await;

    let log = place.path().join("schemas.jsonl");
    let whole = fs::read(&log).unwrap();
    let mut torn = whole.clone();
    torn.extend_from_slice(br#"{"id":4,"subject":"a-val"#);
    fs::write(&log, torn).unwrap();
    let registry = Registry::start(place.path()).await;
    assert_eq!(registry.server.url(), url, "the port changed");
    assert_eq!(fs::read(&log).unwrap(), whole);
    assert_eq!(
        registry.get("/subjects/a-value/versions").await.1,
        json!([1, 2, 3])
    );
    assert_eq!(
        registry.register("a-value", &schema("two")).await.1["id"],
        2
    );
    assert_eq!(
        registry.register("a-value", &schema("four")).await.1["id"],
        4
    );
    registry.stop().await;
    assert!(fs::read(&log).unwrap().starts_with(&whole));
}

#[tokio::test]
async fn a_log_that_does_not_follow_is_refused_by_line() {
    let place = tempfile::tempdir().unwrap();
    let line = |id: u32, version: u32, schema: &str| {
        json!({ "id": id, "subject": "a", "version": version, "schema": schema }).to_string()
    };
    let wrong = [
        line(3, 2, "\"int\""),
        line(1, 2, "\"int\""),
        line(2, 3, "\"int\""),
        line(0, 2, "\"int\""),
    ];
    for second in wrong {
        let lines = format!("{}\n{second}\n", line(1, 1, "\"string\""));
        fs::write(place.path().join("schemas.jsonl"), lines).unwrap();
        let error = RegistryServer::start(Settings::new(place.path()))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Damaged { line: 2, .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_registrations_get_ids_of_their_own() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let client = registry.client.clone();
            let url = format!(
                "{}/subjects/s{}/versions",
                registry.server.url(),
                number % 5
            );
            // Every schema is registered twice, at the same time.
            let body = json!({ "schema": schema(&format!("e{}", number / 2)) }).to_string();
            tokio::spawn(async move {
                let response = client.post(url).body(body).send().await.unwrap();
                assert_eq!(response.status(), StatusCode::OK);
                let answer: Value = response.json().await.unwrap();
                (number / 2, answer["id"].as_u64().unwrap())
            })
        })
        .collect();
    let mut ids = BTreeSet::new();
    for task in tasks {
        ids.insert(task.await.unwrap());
    }
    assert_eq!(ids.len(), 32, "one schema got two ids: {ids:?}");
    let distinct: BTreeSet<_> = ids.iter().map(|(_, id)| *id).collect();
    assert_eq!(distinct, (1..=32).collect());
    registry.stop().await;
    // The log is whole.
    Registry::start(place.path()).await.stop().await;
}

#[tokio::test]
async fn a_directory_is_served_once_and_a_port_listened_on_once() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    let again = RegistryServer::start(Settings::new(place.path())).await;
    assert!(matches!(again, Err(Error::InUse { .. })), "{again:?}");
    let port = registry
        .server
        .url()
        .rsplit_once(':')
        .unwrap()
        .1
        .parse()
        .unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let taken = RegistryServer::start(Settings::new(elsewhere.path()).port(port)).await;
    assert!(matches!(taken, Err(Error::Listen { .. })), "{taken:?}");
    registry.stop().await;
}
