//! A small client for any server.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use plexus_net::http::send_operator_command;
use serde_json::{Value, json};

/// Called with every request (method, path and query) and its response.
pub type Inspector = Arc<dyn Fn(&Method, &str, &Answer) + Send + Sync>;

/// A client of the server at a URL.
#[derive(Clone)]
pub struct Client {
    url: String,
    inspector: Option<Inspector>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A server's response.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as JSON; null when it is not JSON.
    pub body: Value,
    /// The raw body.
    pub bytes: Bytes,
}

/// A registered user with a session.
#[derive(Debug, Clone)]
pub struct TestUser {
    /// The user id.
    pub id: String,
    /// The access token.
    pub token: String,
    /// The device of the session.
    pub device_id: String,
}

impl Client {
    /// Returns a client of the server at `url`, which has no slash at the end.
    pub fn new(url: String) -> Self {
        Self { url, inspector: None }
    }

    /// Returns the client with an inspector of its responses.
    #[must_use]
    pub fn inspected(self, inspector: Option<Inspector>) -> Self {
        Self { inspector, ..self }
    }

    /// Returns the inspector of responses.
    pub(crate) fn inspector(&self) -> Option<Inspector> {
        self.inspector.clone()
    }

    /// Returns the server's URL, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request with a JSON body, if any, and reads the response.
    pub async fn request(&self, method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> Answer {
        let body = body.map(|body| Bytes::from(body.to_string()));
        let headers = [("Content-Type", "application/json")];
        self.send(method, path, token, &headers, body.unwrap_or_default()).await
    }

    /// Sends any request and reads the response.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let request = request.body(body).expect("the test's request is one");
        let method = request.method().clone();
        let answer = send_operator_command(request).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        let answer = Answer {
            status: answer.status.as_u16(),
            headers: answer.headers,
            body: serde_json::from_slice(&answer.body).unwrap_or_default(),
            bytes: answer.body,
        };
        if let Some(inspector) = &self.inspector {
            inspector(&method, path, &answer);
        }
        answer
    }

    /// GET
    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.request(Method::GET, path, Some(token), None).await
    }

    /// POST
    pub async fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        self.request(Method::POST, path, Some(token), Some(body)).await
    }

    /// PUT
    pub async fn put(&self, path: &str, token: &str, body: Value) -> Answer {
        self.request(Method::PUT, path, Some(token), Some(body)).await
    }

    /// DELETE
    pub async fn delete(&self, path: &str, token: &str) -> Answer {
        self.request(Method::DELETE, path, Some(token), None).await
    }

    /// Registers `@<name>:<server>` with the password `password of <name>`.
    pub async fn register(&self, name: &str) -> TestUser {
        let body = json!({
            "username": name,
            "password": format!("password of {name}"),
            "auth": { "type": "m.login.dummy" },
        });
        self.new_session("/_matrix/client/v3/register", body).await
    }

    /// Logs in a user that [`Self::register`] created.
    pub async fn log_in(&self, name: &str) -> TestUser {
        let body = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": name },
            "password": format!("password of {name}"),
        });
        self.new_session("/_matrix/client/v3/login", body).await
    }

    async fn new_session(&self, path: &str, body: Value) -> TestUser {
        let answer = self.request(Method::POST, path, None, Some(body)).await;
        let field = |field: &str| answer.ok()[field].as_str().unwrap_or_default().to_owned();
        TestUser { id: field("user_id"), token: field("access_token"), device_id: field("device_id") }
    }
}

impl Answer {
    /// Returns the body of a 200; panics with the response otherwise.
    pub fn ok(&self) -> &Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.bytes));
        &self.body
    }

    /// Returns status and errcode, for comparison.
    pub fn refusal(&self) -> (u16, &str) {
        (self.status, self.body["errcode"].as_str().unwrap_or_default())
    }
}
