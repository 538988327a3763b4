//! A client of a registry that runs in the test.

use std::path::Path;

use registry_server::{RegistryServer, Settings};
use reqwest::{Client, Method};
use serde_json::{Value, json};

pub(crate) struct Registry {
    pub(crate) server: RegistryServer,
    pub(crate) client: Client,
}

impl Registry {
    pub(crate) async fn start(directory: &Path) -> Self {
        Self {
            server: RegistryServer::start(Settings::new(directory))
                .await
                .unwrap(),
            client: Client::new(),
        }
    }

    pub(crate) async fn stop(self) {
        drop(self.client);
        self.server.stop().await.unwrap();
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
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

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, None).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (u16, Value) {
        self.ask(Method::DELETE, path, None).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn post(&self, path: &str, schema: &str) -> (u16, Value) {
        self.ask(Method::POST, path, Some(json!({ "schema": schema })))
            .await
    }

    pub(crate) async fn register(&self, subject: &str, schema: &str) -> (u16, Value) {
        let path = format!("/subjects/{subject}/versions");
        self.post(&path, schema).await
    }

    /// Asks for what must be refused, and returns the error code and the message.
    pub(crate) async fn refusal(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (u64, String) {
        let (status, answer) = self.ask(method, path, body).await;
        let code = answer["error_code"].as_u64().unwrap();
        let expected = if code > 999 { code / 100 } else { code };
        assert_eq!(u64::from(status), expected, "{path}: {answer}");
        let message = answer["message"].as_str().unwrap().to_owned();
        assert!(!message.is_empty());
        (code, message)
    }

    pub(crate) async fn refused(&self, method: Method, path: &str, body: Option<Value>) -> u64 {
        self.refusal(method, path, body).await.0
    }
}

/// A record with one optional field of this name: any two may follow each other.
pub(crate) fn schema(name: &str) -> String {
    json!({ "type": "record", "name": "row", "fields": [
        { "name": name, "type": ["null", "string"], "default": null },
    ]})
    .to_string()
}
