//! Levels, refusals with their reasons, and trying a schema.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::Registry;

fn order(fields: Value) -> String {
    json!({ "type": "record", "name": "Order", "fields": fields }).to_string()
}

fn id() -> Value {
    json!({ "name": "id", "type": "long" })
}

fn required() -> Value {
    json!({ "name": "country", "type": "string" })
}

fn optional() -> Value {
    json!({ "name": "country", "type": "string", "default": "" })
}

#[tokio::test]
async fn a_refusal_names_the_field_the_reason_and_the_version() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    let config = registry.get("/config").await;
    assert_eq!(config, (200, json!({ "compatibilityLevel": "BACKWARD" })));
    let path = "/subjects/orders-value/versions";
    registry.post(path, &order(json!([id()]))).await;
    let body = json!({ "schema": order(json!([id(), required()])) });
    let (code, message) = registry.refusal(Method::POST, path, Some(body)).await;
    assert_eq!(code, 409);
    for part in [
        "incompatible with an earlier schema for subject 'orders-value'",
        "{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'the field 'country' at path \
         '/fields/1' in the new schema has no default value and is missing in the old schema'",
        "{oldSchemaVersion: 1}, {oldSchema: '{\"fields\":",
        "{compatibility: 'BACKWARD'}",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(registry.get(path).await.1, json!([1]));
    let (status, _) = registry.post(path, &order(json!([id(), optional()]))).await;
    assert_eq!(status, 200);
    registry.stop().await;
}

#[tokio::test]
async fn each_level_lets_pass_what_it_says() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    // One after the other: the field is required, optional, gone. What the third comes to after
    // the second is not what it comes to after the first.
    let first = order(json!([id(), required()]));
    let second = order(json!([id(), optional()]));
    let third = order(json!([id()]));
    let added = order(json!([id(), required(), { "name": "new", "type": "int" }]));
    let levels = [
        ("NONE", true, true),
        ("BACKWARD", true, false),
        ("BACKWARD_TRANSITIVE", true, false),
        ("FORWARD", true, true),
        ("FORWARD_TRANSITIVE", false, true),
        ("FULL", true, false),
        ("FULL_TRANSITIVE", false, false),
    ];
    for (level, removes, adds) in levels {
        let subject = format!("{level}-value");
        let config = format!("/config/{subject}");
        let set = registry
            .put(&config, json!({ "compatibility": level }))
            .await;
        assert_eq!(set, (200, json!({ "compatibility": level })));
        let current = registry.get(&config).await;
        assert_eq!(current, (200, json!({ "compatibilityLevel": level })));
        let path = format!("/subjects/{subject}/versions");
        for schema in [&first, &second] {
            assert_eq!(registry.post(&path, schema).await.0, 200, "{level}");
        }
        let (status, _) = registry.post(&path, &third).await;
        assert_eq!(status == 200, removes, "{level} removes");
        let trial = format!("/compatibility/subjects/{subject}/versions/1");
        let (_, verdict) = registry.post(&trial, &added).await;
        assert_eq!(verdict, json!({ "is_compatible": adds }), "{level} adds");
    }
    registry.stop().await;
}

#[tokio::test]
async fn a_schema_can_be_tried() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    let subject = "/subjects/orders-value/versions";
    for fields in [json!([id()]), json!([id(), optional()])] {
        registry.post(subject, &order(fields)).await;
    }
    let trial = "/compatibility/subjects/orders-value/versions";
    let wrong = order(json!([{ "name": "id", "type": "string" }]));
    let (_, verdict) = registry
        .post(&format!("{trial}/latest?verbose=true"), &wrong)
        .await;
    assert_eq!(verdict["is_compatible"], json!(false));
    let messages = verdict["messages"].as_array().unwrap();
    let first = messages[0].as_str().unwrap();
    assert!(
        first.contains("TYPE_MISMATCH") && first.contains("'id'"),
        "{first}"
    );
    assert_eq!(messages[1], "{oldSchemaVersion: 2}");
    let right = order(json!([id(), { "name": "more", "type": "int", "default": 0 }]));
    for path in [format!("{trial}/1"), trial.to_owned()] {
        let (_, verdict) = registry.post(&format!("{path}?verbose=True"), &right).await;
        assert_eq!(verdict, json!({ "is_compatible": true, "messages": [] }));
    }
    // Of a subject that is not there yet, everything may be the first.
    let unborn = "/compatibility/subjects/none/versions";
    let (_, verdict) = registry.post(unborn, &right).await;
    assert_eq!(verdict, json!({ "is_compatible": true }));
    assert_eq!(registry.get(subject).await.1, json!([1, 2]));
    registry.stop().await;
}

#[tokio::test]
async fn the_registrys_own_level_holds_where_a_subject_has_none() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    registry
        .put("/config", json!({ "compatibility": "NONE" }))
        .await;
    registry.register("a-value", r#""string""#).await;
    assert_eq!(registry.register("a-value", r#""int""#).await.0, 200);
    registry
        .put("/config/a-value", json!({ "compatibility": "FULL" }))
        .await;
    assert_eq!(registry.register("a-value", r#""long""#).await.0, 409);
    let before = registry.delete("/config/a-value").await;
    assert_eq!(before, (200, json!({ "compatibilityLevel": "FULL" })));
    assert_eq!(registry.register("a-value", r#""boolean""#).await.0, 200);
    let before = registry.delete("/config").await;
    assert_eq!(before, (200, json!({ "compatibilityLevel": "NONE" })));
    assert_eq!(registry.register("a-value", r#""null""#).await.0, 409);
    let mode = json!({ "mode": "READWRITE" });
    assert_eq!(registry.get("/mode").await, (200, mode.clone()));
    assert_eq!(
        registry.put("/mode", mode.clone()).await,
        (200, mode.clone())
    );
    let of_subject = registry.get("/mode/a-value?defaultToGlobal=true").await;
    assert_eq!(of_subject, (200, mode));
    registry.stop().await;
}
