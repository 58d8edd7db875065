//! A homeserver to measure.

use std::io;

use plexus_base::Random;
use serde_json::Value;

use crate::http::{Connection, Reply, Request};
use crate::process::Process;

/// The prefix of the client-server API.
pub(crate) const CLIENT: &str = "/_matrix/client/v3";

/// Why a target could not be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("{0:?} is not http://HOST:PORT")]
    Address(String),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{method} {path} was answered {status}: {body}")]
    Refused { method: String, path: String, status: u16, body: String },
    #[error("{path} was answered without {field:?}: {body}")]
    Missing { path: String, field: &'static str, body: String },
    #[error("the target's {what} is wrong: {why}")]
    Wrong { what: &'static str, why: String },
    #[error("{what} took more than {seconds} s")]
    Late { what: String, seconds: u64 },
}

/// A homeserver.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub name: String,
    /// Its process, if it is known and on this machine.
    pub process: Option<Process>,
    host: String,
    shared_secret: Option<String>,
    random: Random,
}

impl Target {
    /// Parses `[NAME=]http://HOST:PORT`.
    pub(crate) fn parse(written: &str, shared_secret: Option<String>) -> Result<Self, TargetError> {
        let (name, url) = written.split_once('=').unwrap_or((written, written));
        let host = url.strip_prefix("http://").map(|host| host.trim_end_matches('/'));
        let host = host.filter(|host| host.contains(':') && !host.contains('/'));
        let host = host.ok_or_else(|| TargetError::Address(written.to_owned()))?;
        let (name, host) = (name.to_owned(), host.to_owned());
        Ok(Self { name, host, process: None, shared_secret, random: Random::system() })
    }

    /// Opens a connection to it.
    pub(crate) async fn connect(&self) -> io::Result<Connection> {
        Connection::open(&self.host).await
    }

    /// Returns an unused name.
    pub(crate) fn unique(&self) -> String {
        format!("bench-{}", self.random.alphanumeric(12).to_lowercase())
    }

    /// Returns the processor time of its process in seconds, if known.
    pub(crate) fn processor_seconds(&self) -> Option<f64> {
        self.process?.processor_seconds()
    }

    /// Returns the size of its caches in bytes, if metrics at the same address report it.
    pub(crate) async fn cache_bytes(&self) -> Option<f64> {
        let mut connection = self.connect().await.ok()?;
        let reply = ask(&mut connection, Request::json("GET", "/_synapse/metrics", None, None)).await.ok()?;
        let text = std::str::from_utf8(reply.body).ok()?;
        let values = text.lines().filter(|line| line.starts_with("plexus_cache_bytes{"));
        values.map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// Returns the shared secret for registering users, if there is one.
    pub(crate) fn shared_secret(&self) -> Option<&str> {
        self.shared_secret.as_deref()
    }
}

/// Sends a request and parses the JSON of the response.
pub(crate) async fn call(
    connection: &mut Connection,
    method: &str,
    path: &str,
    authorization: Option<&str>,
    body: Option<&Value>,
) -> Result<Value, TargetError> {
    let body = body.map(ToString::to_string);
    let request = Request::json(method, path, authorization, body.as_deref().map(str::as_bytes));
    parse(path, ask(connection, request).await?.body)
}

/// Sends a request; any status other than 200 is an error.
pub(crate) async fn ask<'a>(connection: &'a mut Connection, request: Request<'_>) -> Result<Reply<'a>, TargetError> {
    let reply = connection.ask(request).await?;
    if reply.status == 200 {
        return Ok(reply);
    }
    Err(TargetError::Refused {
        method: request.method.to_owned(),
        path: request.path.to_owned(),
        status: reply.status,
        body: String::from_utf8_lossy(reply.body).into_owned(),
    })
}

/// Parses the JSON of the response of `path`.
pub(crate) fn parse(path: &str, body: &[u8]) -> Result<Value, TargetError> {
    serde_json::from_slice(body).map_err(|_| TargetError::Missing {
        path: path.to_owned(),
        field: "JSON",
        body: String::from_utf8_lossy(body).into_owned(),
    })
}

/// Returns the string `field` in the response of `path`.
pub(crate) fn text(path: &str, answer: &Value, field: &'static str) -> Result<String, TargetError> {
    let value = answer.get(field).and_then(Value::as_str);
    value.map(str::to_owned).ok_or_else(|| TargetError::Missing {
        path: path.to_owned(),
        field,
        body: answer.to_string(),
    })
}
