//! What outlives the process, and what a damaged log comes to.

use std::fs;

use registry_server::{Error, RegistryServer, Settings};
use serde_json::json;

use crate::client::{Registry, schema};

#[tokio::test]
async fn ids_outlive_a_restart_and_a_torn_line() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    for (id, name) in (1..).zip(["one", "two", "three"]) {
        let registered = registry.register("a-value", &schema(name)).await;
        assert_eq!(registered.1["id"], id);
    }
    registry.stop().await;

    let log = place.path().join("schemas.jsonl");
    let whole = fs::read(&log).unwrap();
    let mut torn = whole.clone();
    torn.extend_from_slice(br#"{"id":4,"subject":"a-val"#);
    fs::write(&log, torn).unwrap();
    let registry = Registry::start(place.path()).await;
    assert_eq!(fs::read(&log).unwrap(), whole);
    let versions = registry.get("/subjects/a-value/versions").await.1;
    assert_eq!(versions, json!([1, 2, 3]));
    for (name, id) in [("two", 2), ("four", 4)] {
        let registered = registry.register("a-value", &schema(name)).await;
        assert_eq!(registered.1["id"], id);
    }
    registry.stop().await;
    assert!(fs::read(&log).unwrap().starts_with(&whole));
}

#[tokio::test]
async fn the_port_is_kept_where_it_is_free() {
    // Anybody may take it in between, now and then.
    for _ in 0..5 {
        let place = tempfile::tempdir().unwrap();
        let registry = Registry::start(place.path()).await;
        let url = registry.server.url().to_owned();
        registry.stop().await;
        let registry = Registry::start(place.path()).await;
        let again = registry.server.url().to_owned();
        registry.stop().await;
        if again == url {
            return;
        }
    }
    panic!("five times another port");
}

#[tokio::test]
async fn deletions_and_levels_outlive_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    for name in ["one", "two", "three"] {
        registry.register("a-value", &schema(name)).await;
    }
    registry.delete("/subjects/a-value/versions/1").await;
    registry.delete("/subjects/a-value/versions/2").await;
    registry
        .delete("/subjects/a-value/versions/2?permanent=true")
        .await;
    registry
        .put("/config", json!({ "compatibility": "FULL" }))
        .await;
    registry
        .put("/config/a-value", json!({ "compatibility": "none" }))
        .await;
    registry
        .put("/config/b-value", json!({ "compatibility": "FORWARD" }))
        .await;
    registry.delete("/config/b-value").await;
    registry.stop().await;

    let registry = Registry::start(place.path()).await;
    let versions = "/subjects/a-value/versions";
    assert_eq!(registry.get(versions).await.1, json!([3]));
    let all = registry.get(&format!("{versions}?deleted=true")).await;
    assert_eq!(all.1, json!([1, 3]));
    for (path, level) in [
        ("/config", "FULL"),
        ("/config/a-value", "NONE"),
        ("/config/b-value?defaultToGlobal=true", "FULL"),
    ] {
        let expected = json!({ "compatibilityLevel": level });
        assert_eq!(registry.get(path).await.1, expected, "{path}");
    }
    assert_eq!(registry.get("/config/b-value").await.1["error_code"], 40408);
    // The id of a version that is gone for good still has its schema, and the schema its id.
    assert!(registry.get("/schemas/ids/2").await.1["schema"].is_string());
    let again = registry.register("a-value", &schema("two")).await;
    assert_eq!(again.1["id"], 2);
    assert_eq!(registry.get(versions).await.1, json!([3, 4]));
    registry.stop().await;
}

#[tokio::test]
async fn a_log_that_does_not_follow_is_refused_by_line() {
    let place = tempfile::tempdir().unwrap();
    let line = |id: u32, version: u32, schema: &str| json!({ "id": id, "subject": "a", "version": version, "schema": schema });
    let deleted = |versions: &[u32], permanent: bool| json!({ "deleted": versions, "subject": "a", "permanent": permanent });
    let wrong = [
        line(3, 2, "\"int\""),
        line(1, 2, "\"int\""),
        line(2, 3, "\"int\""),
        line(0, 2, "\"int\""),
        deleted(&[2], false),
        deleted(&[1], true),
        json!({ "compatibility": "SIDEWAYS", "of": null }),
        json!({}),
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
