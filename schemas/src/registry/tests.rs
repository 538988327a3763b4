//! What an answer says: something of the schema, of us, or of the registry's health.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;

/// How an answer is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Schema,
    NotFound,
    Refused,
    Unauthorized,
    Unavailable,
}

/// Asks a server that answers once.
async fn asked(status: &str, body: &str) -> Said {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let read = client.read(&mut [0; 4096]).unwrap();
        assert!(read > 0);
        // Who has read enough may hang up.
        client.write_all(answer.as_bytes()).ok();
    });
    let registry = HttpRegistry::new(&address).unwrap();
    let said = match registry.schema_by_id(SchemaId(u32::MAX)).await {
        Ok(_) => Said::Schema,
        Err(RegistryError::NotFound { .. }) => Said::NotFound,
        Err(RegistryError::Refused { .. }) => Said::Refused,
        Err(RegistryError::Unauthorized { .. }) => Said::Unauthorized,
        Err(RegistryError::Unavailable { .. }) => Said::Unavailable,
        Err(error) => panic!("{error}"),
    };
    server.join().unwrap();
    said
}

#[tokio::test]
async fn only_the_registrys_own_words_say_something_of_a_schema() {
    let long = "x".repeat(SCHEMA_BYTES_MAX);
    let long_schema = format!(r#"{{"schema":"{long}"}}"#);
    let cases = [
        ("200 OK", r#"{"schema":"\"long\""}"#, Said::Schema),
        (
            "404 Not Found",
            r#"{"error_code":40403,"message":"Schema not found"}"#,
            Said::NotFound,
        ),
        (
            "404 Not Found",
            r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#,
            Said::Unavailable,
        ),
        (
            "422 Unprocessable Entity",
            r#"{"error_code":42201,"message":"Invalid id"}"#,
            Said::Refused,
        ),
        (
            "400 Bad Request",
            r#"{"error_code":400,"message":"For input string"}"#,
            Said::Refused,
        ),
        ("200 OK", &long_schema, Said::Refused),
        // Somebody else's words, and states of the registry.
        ("404 Not Found", "<html>nginx</html>", Said::Unavailable),
        (
            "400 Bad Request",
            "<html>The plain HTTP request was sent to HTTPS port</html>",
            Said::Unavailable,
        ),
        ("200 OK", &long, Said::Unavailable),
        ("404 Not Found", &long, Said::Unavailable),
        ("302 Found", "", Said::Unavailable),
        ("408 Request Timeout", "", Said::Unavailable),
        (
            "429 Too Many Requests",
            r#"{"error_code":429}"#,
            Said::Unavailable,
        ),
        (
            "500 Internal Server Error",
            r#"{"error_code":50001}"#,
            Said::Unavailable,
        ),
        (
            "401 Unauthorized",
            r#"{"error_code":40101}"#,
            Said::Unauthorized,
        ),
        (
            "403 Forbidden",
            r#"{"error_code":40301}"#,
            Said::Unauthorized,
        ),
    ];
    for (status, body, expected) in cases {
        let said = asked(status, body).await;
        let start: String = body.chars().take(80).collect();
        assert_eq!(said, expected, "{status}: {start}");
    }
}
