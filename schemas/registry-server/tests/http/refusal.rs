//! What is refused, and with which of Confluent's codes.

use registry_server::{Error, RegistryServer, Settings};
use reqwest::Method;
use serde_json::json;

use crate::client::{Registry, schema};

#[tokio::test]
async fn refusals_have_confluents_codes() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    registry.register("a-value", &schema("one")).await;
    let one = schema("one");
    let posted = |schema: &str| Some(json!({ "schema": schema }));
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    let versions = "/subjects/a-value/versions";
    let large = " ".repeat(600_000);
    let larger = " ".repeat(2_000_000);
    let long = format!("/subjects/{}/versions", "s".repeat(300));
    let of_type = |name: &str| Some(json!({ "schema": "{}", "schemaType": name }));
    let cases = [
        (&get, "/subjects/none/versions", None, 40401),
        (&get, "/subjects/none/versions/1", None, 40401),
        (&post, "/subjects/none", posted(&one), 40401),
        (
            &post,
            "/compatibility/subjects/none/versions/latest",
            posted(&one),
            40401,
        ),
        (&delete, "/subjects/none", None, 40401),
        (&delete, "/subjects/none/versions/1", None, 40401),
        (&get, "/subjects/a-value/versions/2", None, 40402),
        (
            &post,
            "/compatibility/subjects/a-value/versions/2",
            posted(&one),
            40402,
        ),
        (&delete, "/subjects/a-value/versions/2", None, 40402),
        (&get, "/subjects/a-value/versions/0", None, 42202),
        (&get, "/subjects/a-value/versions/newest", None, 42202),
        (&delete, "/subjects/a-value/versions/newest", None, 42202),
        (&get, "/schemas/ids/2", None, 40403),
        (&get, "/schemas/ids/0", None, 40403),
        (&get, "/schemas/ids/x", None, 40403),
        (&get, "/schemas/ids/2147483648", None, 40403),
        (&get, "/schemas/ids/4294967295", None, 40403),
        (&get, "/schemas/ids/2/versions", None, 40403),
        (&post, "/subjects/a-value", posted(&schema("two")), 40403),
        (&delete, "/subjects/a-value?permanent=true", None, 40405),
        (
            &delete,
            "/subjects/a-value/versions/1?permanent=true",
            None,
            40407,
        ),
        (&get, "/config/a-value", None, 40408),
        (&delete, "/config/a-value", None, 40408),
        (&get, "/mode/a-value", None, 40409),
        (&post, versions, posted(r#"{"type":"strange"}"#), 42201),
        (&post, versions, posted("{"), 42201),
        (&post, versions, posted(&large), 42201),
        (&post, versions, of_type("JSON"), 42201),
        (&post, versions, of_type("PROTOBUF"), 42201),
        (&post, versions, posted(&larger), 413),
        (&post, versions, Some(json!({ "type": "string" })), 422),
        (&post, &long, posted(&one), 42208),
        (&post, "/subjects/a%00/versions", posted(&one), 42208),
        (
            &put,
            "/config",
            Some(json!({ "compatibility": "SIDEWAYS" })),
            42203,
        ),
        (&put, "/config", Some(json!({})), 42203),
        (
            &put,
            "/config",
            Some(json!({ "compatibility": "NONE", "normalize": true })),
            422,
        ),
        (&put, "/mode", Some(json!({ "mode": "READONLY" })), 42204),
        (&get, "/contexts", None, 404),
        (&put, "/subjects/a-value", None, 405),
    ];
    for (method, path, body, code) in cases {
        let refused = registry.refused(method.clone(), path, body).await;
        assert_eq!(refused, code, "{method} {path}");
    }
    assert_eq!(registry.get("/subjects").await.1, json!(["a-value"]));
    assert_eq!(registry.get(versions).await.1, json!([1]));
    registry.stop().await;
}

#[tokio::test]
async fn what_is_not_served_is_refused_by_name() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    let schema = schema("one");
    let refused = [
        (
            json!({ "schema": "{}", "schemaType": "PROTOBUF" }),
            "PROTOBUF",
        ),
        (
            json!({ "schema": schema, "references": [{ "name": "shop.Money" }] }),
            "shop.Money",
        ),
        (
            json!({ "schema": schema, "ruleSet": { "domainRules": [] } }),
            "rules",
        ),
    ];
    for (body, named) in refused {
        let path = "/subjects/a-value/versions";
        let (code, message) = registry.refusal(Method::POST, path, Some(body)).await;
        assert_eq!(code, 42201);
        assert!(message.contains(named), "{message}");
    }
    registry.stop().await;
}

#[tokio::test]
async fn a_directory_is_served_once_and_a_port_listened_on_once() {
    let place = tempfile::tempdir().unwrap();
    let registry = Registry::start(place.path()).await;
    let again = RegistryServer::start(Settings::new(place.path())).await;
    assert!(matches!(again, Err(Error::InUse { .. })), "{again:?}");
    let url = registry.server.url();
    let port = url.rsplit_once(':').unwrap().1.parse().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let taken = RegistryServer::start(Settings::new(elsewhere.path()).port(port)).await;
    assert!(matches!(taken, Err(Error::Listen { .. })), "{taken:?}");
    registry.stop().await;
}
