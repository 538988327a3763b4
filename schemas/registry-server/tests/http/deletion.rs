//! Deleting: first out of sight, then for good.

use reqwest::Method;
use serde_json::json;

use crate::client::{Registry, schema};

#[tokio::test]
async fn a_version_goes_in_two_steps() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    for name in ["one", "two"] {
        registry.register("a-value", &schema(name)).await;
    }
    let version = "/subjects/a-value/versions/2";
    assert_eq!(registry.delete(version).await, (200, json!(2)));
    assert_eq!(registry.get(version).await.1["error_code"], 40402);
    let latest = registry.get("/subjects/a-value/versions/latest").await;
    assert_eq!(latest.1["version"], 1);
    let shown = registry.get(&format!("{version}?deleted=true")).await;
    assert_eq!(shown.1["id"], 2);
    let looked_up = registry.post("/subjects/a-value", &schema("two")).await;
    assert_eq!(looked_up.1["error_code"], 40403);
    let path = "/subjects/a-value?deleted=true";
    let looked_up = registry.post(path, &schema("two")).await;
    assert_eq!(looked_up.1["version"], 2);
    assert_eq!(registry.refused(Method::DELETE, version, None).await, 40406);

    let permanently = format!("{version}?permanent=true");
    assert_eq!(registry.delete(&permanently).await, (200, json!(2)));
    let gone = registry.get(&format!("{version}?deleted=true")).await;
    assert_eq!(gone.1["error_code"], 40402);
    // The schema stays under its id: records may carry it.
    assert!(registry.get("/schemas/ids/2").await.1["schema"].is_string());
    assert_eq!(registry.get("/schemas/ids/2/versions").await.1, json!([]));
    registry.stop().await;
}

#[tokio::test]
async fn a_subject_goes_in_two_steps_and_comes_back_with_its_ids() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    for name in ["one", "two"] {
        registry.register("a-value", &schema(name)).await;
    }
    registry.register("b-value", &schema("two")).await;
    registry
        .put("/config/a-value", json!({ "compatibility": "FULL" }))
        .await;
    let subject = "/subjects/a-value";
    assert_eq!(registry.delete(subject).await, (200, json!([1, 2])));
    assert_eq!(registry.get("/subjects").await.1, json!(["b-value"]));
    let hidden = registry.get("/subjects?deletedOnly=true").await;
    assert_eq!(hidden.1, json!(["a-value"]));
    let all = registry.get("/subjects?deleted=true").await;
    assert_eq!(all.1, json!(["a-value", "b-value"]));
    assert_eq!(registry.refused(Method::DELETE, subject, None).await, 40404);
    // Its level went with it.
    assert_eq!(registry.get("/config/a-value").await.1["error_code"], 40408);

    // Deleted versions bind nobody, and a schema that comes back has its id.
    let other = r#"{"type":"record","name":"row","fields":[{"name":"new","type":"int"}]}"#;
    assert_eq!(registry.register("a-value", other).await.1["id"], 3);
    assert_eq!(
        registry.get("/subjects/a-value/versions").await.1,
        json!([3])
    );
    assert_eq!(registry.delete(subject).await, (200, json!([3])));
    let permanently = registry.delete(&format!("{subject}?permanent=true")).await;
    assert_eq!(permanently, (200, json!([1, 2, 3])));
    let all = registry.get("/subjects?deleted=true").await;
    assert_eq!(all.1, json!(["b-value"]));
    assert_eq!(
        registry.register("a-value", &schema("one")).await.1["id"],
        1
    );
    assert_eq!(
        registry.get("/subjects/a-value/versions").await.1,
        json!([1])
    );
    registry.stop().await;
}
