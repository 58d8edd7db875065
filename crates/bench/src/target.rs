//! A homeserver to drive, and its users.

use std::fmt::Write as _;
use std::io;

use hmac::{Hmac, KeyInit as _, Mac as _};
use plexus_base::Random;
use serde_json::{Value, json};
use sha1::Sha1;

use crate::http::{Connection, Reply, Request};

const CLIENT: &str = "/_matrix/client/v3";
const PASSWORD: &str = "plexus-bench";

/// Why a target could not be driven.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("{0:?} is not http://HOST:PORT")]
    Address(String),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{method} {path} was answered {status}: {body}")]
    Refused { method: String, path: String, status: u16, body: String },
    #[error("{path} was answered without {field:?}: {body}")]
    Missing { path: String, field: &'static str, body: String },
}

/// A homeserver.
#[derive(Debug, Clone)]
pub struct Target {
    pub name: String,
    host: String,
    shared_secret: Option<String>,
    random: Random,
}

/// A user with a connection of their own.
#[derive(Debug)]
pub struct User {
    pub user_id: String,
    pub token: String,
    connection: Connection,
    transactions: u64,
}

impl Target {
    /// Reads `[NAME=]http://HOST:PORT`.
    pub fn parse(written: &str, shared_secret: Option<String>) -> Result<Self, TargetError> {
        let (name, url) = written.split_once('=').unwrap_or((written, written));
        let host = url.strip_prefix("http://").map(|host| host.trim_end_matches('/'));
        let host = host.filter(|host| host.contains(':') && !host.contains('/'));
        let host = host.ok_or_else(|| TargetError::Address(written.to_owned()))?;
        Ok(Self { name: name.to_owned(), host: host.to_owned(), shared_secret, random: Random::system() })
    }

    /// Registers a new user.
    pub async fn user(&self) -> Result<User, TargetError> {
        let username = format!("bench-{}", self.random.alphanumeric(12).to_lowercase());
        let mut connection = Connection::open(&self.host).await?;
        let (path, body) = match &self.shared_secret {
            Some(secret) => {
                let path = "/_synapse/admin/v1/register";
                let answer = call(&mut connection, "GET", path, None, None).await?;
                let nonce = text(path, &answer, "nonce")?;
                let mac = mac(secret, &nonce, &username);
                let body = json!({
                    "nonce": nonce, "username": username, "password": PASSWORD, "admin": false, "mac": mac,
                });
                (path.to_owned(), body)
            }
            None => {
                let auth = json!({ "type": "m.login.dummy" });
                let body = json!({ "username": username, "password": PASSWORD, "auth": auth });
                (format!("{CLIENT}/register"), body)
            }
        };
        let answer = call(&mut connection, "POST", &path, None, Some(&body)).await?;
        Ok(User {
            user_id: text(&path, &answer, "user_id")?,
            token: text(&path, &answer, "access_token")?,
            connection,
            transactions: 0,
        })
    }
}

impl User {
    /// Makes a room that anybody may join; its id.
    pub async fn create_room(&mut self) -> Result<String, TargetError> {
        let path = format!("{CLIENT}/createRoom");
        let answer = self.call("POST", &path, Some(&json!({ "preset": "public_chat" }))).await?;
        text(&path, &answer, "room_id")
    }

    /// Joins a room.
    pub async fn join(&mut self, room_id: &str) -> Result<(), TargetError> {
        let path = format!("{CLIENT}/join/{}", encode(room_id));
        self.call("POST", &path, Some(&json!({}))).await?;
        Ok(())
    }

    /// Sends a text message.
    pub async fn send(&mut self, room_id: &str, body: &str) -> Result<(), TargetError> {
        self.transactions += 1;
        let path = format!("{CLIENT}/rooms/{}/send/m.room.message/{}", encode(room_id), self.transactions);
        self.call("PUT", &path, Some(&json!({ "msgtype": "m.text", "body": body }))).await?;
        Ok(())
    }

    /// Syncs, from the beginning without `since`. Returns the next token and the size of the answer in bytes.
    pub async fn sync(&mut self, since: Option<&str>, timeout_ms: u64) -> Result<(String, usize), TargetError> {
        let mut path = format!("{CLIENT}/sync?timeout={timeout_ms}");
        if let Some(since) = since {
            path.push_str("&since=");
            path.push_str(since);
        }
        let request = Request { method: "GET", path: &path, token: Some(&self.token), body: None };
        let reply = check(&request, self.connection.ask(request).await?)?;
        let answer = parse(&path, &reply)?;
        Ok((text(&path, &answer, "next_batch")?, reply.body.len()))
    }

    /// Syncs without looking at the answer, for scenarios that count requests.
    pub async fn sync_unread(&mut self, path: &str) -> Result<(), TargetError> {
        let request = Request { method: "GET", path, token: Some(&self.token), body: None };
        check(&request, self.connection.ask(request).await?).map(drop)
    }

    async fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, TargetError> {
        call(&mut self.connection, method, path, Some(&self.token), body).await
    }
}

async fn call(
    connection: &mut Connection,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> Result<Value, TargetError> {
    let body = body.map(ToString::to_string);
    let request = Request { method, path, token, body: body.as_deref().map(str::as_bytes) };
    let reply = check(&request, connection.ask(request).await?)?;
    parse(path, &reply)
}

fn check(request: &Request<'_>, reply: Reply) -> Result<Reply, TargetError> {
    if reply.status == 200 {
        return Ok(reply);
    }
    Err(TargetError::Refused {
        method: request.method.to_owned(),
        path: request.path.to_owned(),
        status: reply.status,
        body: String::from_utf8_lossy(&reply.body).into_owned(),
    })
}

fn parse(path: &str, reply: &Reply) -> Result<Value, TargetError> {
    serde_json::from_slice(&reply.body).map_err(|_| TargetError::Missing {
        path: path.to_owned(),
        field: "JSON",
        body: String::from_utf8_lossy(&reply.body).into_owned(),
    })
}

fn text(path: &str, answer: &Value, field: &'static str) -> Result<String, TargetError> {
    let value = answer.get(field).and_then(Value::as_str);
    value.map(str::to_owned).ok_or_else(|| TargetError::Missing {
        path: path.to_owned(),
        field,
        body: answer.to_string(),
    })
}

fn encode(id: &str) -> String {
    let mut out = String::new();
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The proof of knowing the shared secret, as Synapse's admin API describes it.
fn mac(secret: &str, nonce: &str, username: &str) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(format!("{nonce}\0{username}\0{PASSWORD}\0notadmin").as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
