//! Registering and finding again.

use std::collections::BTreeSet;
use std::fs;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::{Registry, schema};

const FLIGHT: &str = r#"{"type":"record","name":"flight","lakehead.owner":"flights","fields":[{"name":"year","type":"int"}]}"#;

#[tokio::test]
async fn a_schema_goes_in_and_comes_out() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    assert_eq!(registry.get("/").await, (200, json!({})));
    assert_eq!(registry.get("/subjects").await, (200, json!([])));
    assert_eq!(registry.get("/schemas/types").await.1, json!(["AVRO"]));
    let subject = "/subjects/flights.flight-value";
    let body = json!({ "schema": FLIGHT, "schemaType": "AVRO", "references": [] });
    let versions = format!("{subject}/versions");
    let registered = registry.ask(Method::POST, &versions, Some(body.clone()));
    assert_eq!(registered.await, (200, json!({ "id": 1 })));

    let (_, by_id) = registry.get("/schemas/ids/1?fetchMaxId=false").await;
    let kept: Value = serde_json::from_str(by_id["schema"].as_str().unwrap()).unwrap();
    assert_eq!(kept, serde_json::from_str::<Value>(FLIGHT).unwrap());
    let version = json!({
        "subject": "flights.flight-value", "id": 1, "version": 1, "schema": by_id["schema"],
    });
    for path in ["versions/1", "versions/latest", "versions/-1"] {
        let found = registry.get(&format!("{subject}/{path}")).await;
        assert_eq!(found, (200, version.clone()));
    }
    assert_eq!(registry.get(&versions).await, (200, json!([1])));
    for path in [
        "/schemas/ids/1/schema",
        "/subjects/flights.flight-value/versions/1/schema",
    ] {
        assert_eq!(registry.get(path).await, (200, kept.clone()));
    }
    let referring = registry.get(&format!("{versions}/1/referencedby")).await;
    assert_eq!(referring, (200, json!([])));
    let path = format!("{subject}?normalize=false&deleted=true");
    let looked_up = registry.ask(Method::POST, &path, Some(body)).await;
    assert_eq!(looked_up, (200, version));
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
    let layout = r#"{ "fields": [{"default": null, "type": ["null","string"], "name":"one"}],  "name": "row", "type": "record" }"#;
    assert_eq!(registry.register("a-value", layout).await.1["id"], 1);
    assert_eq!(registry.register("b%2F%C3%A9-value", &two).await.1["id"], 2);
    let versions = registry.get("/subjects/a-value/versions").await.1;
    assert_eq!(versions, json!([1, 2]));
    let subjects = registry.get("/subjects").await.1;
    assert_eq!(subjects, json!(["a-value", "b/é-value"]));
    let prefixed = registry.get("/subjects?subjectPrefix=b%2F").await.1;
    assert_eq!(prefixed, json!(["b/é-value"]));
    let second = registry.get("/subjects?offset=1&limit=1").await.1;
    assert_eq!(second, json!(["b/é-value"]));
    let uses = registry.get("/schemas/ids/2/versions").await.1;
    let expected =
        json!([{ "subject": "a-value", "version": 2 }, { "subject": "b/é-value", "version": 1 }]);
    assert_eq!(uses, expected);
    let subjects = registry.get("/schemas/ids/1/subjects").await.1;
    assert_eq!(subjects, json!(["a-value"]));
    let lines = fs::read_to_string(place.path().join("schemas.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 3);
    registry.stop().await;
}

#[tokio::test]
async fn normalized_two_ways_to_write_a_schema_are_one() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    let one = r#"{"type":"record","name":"shop.Order","fields":[{"name":"id","type":"long"}]}"#;
    let two = r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":{"type":"long"}}]}"#;
    let plain = "/subjects/plain-value/versions";
    assert_eq!(registry.post(plain, one).await.1["id"], 1);
    assert_eq!(registry.post(plain, two).await.1["id"], 2);
    let normal = "/subjects/normal-value/versions?normalize=True";
    assert_eq!(registry.post(normal, two).await.1["id"], 1);
    assert_eq!(registry.post(normal, one).await.1["id"], 1);
    let looked_up = registry
        .post("/subjects/normal-value?normalize=true", two)
        .await;
    assert_eq!(looked_up.1["version"], 1);
    let not_found = registry.post("/subjects/normal-value", two).await;
    assert_eq!(not_found.1["error_code"], 40403);
    registry.stop().await;
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
