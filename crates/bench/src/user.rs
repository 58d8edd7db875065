//! A user of a target, and the requests of users.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;

use crate::http::{Connection, Reply, Request};
use crate::target::{CLIENT, Target, TargetError, ask, call, parse, text};

const PASSWORD: &str = "plexus-bench";

/// A user with their own connection.
#[derive(Debug)]
pub(crate) struct User {
    pub user_id: String,
    pub device_id: String,
    /// The value of the `Authorization` header.
    authorization: String,
    connection: Connection,
    transactions: u64,
}

impl User {
    /// Registers a new user.
    pub(crate) async fn register(target: &Target) -> Result<Self, TargetError> {
        let username = target.unique();
        let mut connection = target.connect().await?;
        let (path, body) = match target.shared_secret() {
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
        Self::registered(&path, &answer, connection)
    }

    /// Logs a user in on a new device.
    pub(crate) async fn log_in(target: &Target, user_id: &str) -> Result<Self, TargetError> {
        let path = format!("{CLIENT}/login");
        let identifier = json!({ "type": "m.id.user", "user": user_id });
        let body = json!({ "type": "m.login.password", "identifier": identifier, "password": PASSWORD });
        let mut connection = target.connect().await?;
        let answer = call(&mut connection, "POST", &path, None, Some(&body)).await?;
        Self::registered(&path, &answer, connection)
    }

    /// Registers a guest, which needs no password hash; where guests are not allowed, a user.
    pub(crate) async fn register_guest(target: &Target) -> Result<Self, TargetError> {
        let path = format!("{CLIENT}/register?kind=guest");
        let mut connection = target.connect().await?;
        match call(&mut connection, "POST", &path, None, Some(&json!({}))).await {
            Ok(answer) => Self::registered(&path, &answer, connection),
            Err(TargetError::Refused { .. }) => Self::register(target).await,
            Err(error) => Err(error),
        }
    }

    /// Returns the user in the response to a registration.
    fn registered(path: &str, answer: &Value, connection: Connection) -> Result<Self, TargetError> {
        Ok(Self {
            user_id: text(path, answer, "user_id")?,
            device_id: text(path, answer, "device_id")?,
            authorization: format!("Bearer {}", text(path, answer, "access_token")?),
            connection,
            transactions: 0,
        })
    }

    /// Returns the same user with another connection.
    pub(crate) async fn again(&self, target: &Target) -> Result<Self, TargetError> {
        Ok(Self {
            user_id: self.user_id.clone(),
            device_id: self.device_id.clone(),
            authorization: self.authorization.clone(),
            connection: target.connect().await?,
            // Far from those of the others: with a repeated transaction id the request would do nothing.
            transactions: self.transactions + (1 << 32),
        })
    }

    /// Creates a room that anybody may join; returns its id.
    pub(crate) async fn create_room(&mut self) -> Result<String, TargetError> {
        self.create(&json!({ "preset": "public_chat" })).await
    }

    /// Creates a room that anybody may join, including guests; returns its id.
    pub(crate) async fn create_open_room(&mut self) -> Result<String, TargetError> {
        let open = json!({ "type": "m.room.guest_access", "state_key": "", "content": { "guest_access": "can_join" } });
        self.create(&json!({ "preset": "public_chat", "initial_state": [open] })).await
    }

    async fn create(&mut self, body: &Value) -> Result<String, TargetError> {
        let path = format!("{CLIENT}/createRoom");
        let answer = self.call("POST", &path, Some(body)).await?;
        text(&path, &answer, "room_id")
    }

    /// Joins a room.
    pub(crate) async fn join(&mut self, room_id: &str) -> Result<(), TargetError> {
        self.post(&format!("{CLIENT}/join/{}", encode(room_id)), "{}").await
    }

    /// Sends a text message.
    pub(crate) async fn send(&mut self, room_id: &str, body: &str) -> Result<(), TargetError> {
        let transaction = self.next_transaction().to_string();
        self.send_as(room_id, body, &transaction).await
    }

    /// Sends a text message with a transaction id of the caller.
    pub(crate) async fn send_as(&mut self, room_id: &str, body: &str, transaction: &str) -> Result<(), TargetError> {
        let content = json!({ "msgtype": "m.text", "body": body }).to_string();
        self.put(&message_path(room_id, transaction), &content).await
    }

    /// Sends a text message; returns its event id.
    pub(crate) async fn send_for_id(&mut self, room_id: &str, body: &str) -> Result<String, TargetError> {
        let path = message_path(room_id, &self.next_transaction().to_string());
        let content = json!({ "msgtype": "m.text", "body": body });
        let answer = self.call("PUT", &path, Some(&content)).await?;
        text(&path, &answer, "event_id")
    }

    /// Syncs, from the beginning without `since`. Returns the next token and the size of the response in bytes.
    pub(crate) async fn sync(&mut self, since: Option<&str>, timeout_ms: u64) -> Result<(String, usize), TargetError> {
        let path = sync_path(since, timeout_ms);
        let body = self.ask("GET", &path, None).await?.body;
        Ok((text(&path, &parse(&path, body)?, "next_batch")?, body.len()))
    }

    /// Syncs. Returns the next token, and whether the response contains `word`.
    pub(crate) async fn sync_for(
        &mut self,
        since: &str,
        timeout_ms: u64,
        word: &str,
    ) -> Result<(String, bool), TargetError> {
        let path = sync_path(Some(since), timeout_ms);
        let body = self.ask("GET", &path, None).await?.body;
        let found = body.windows(word.len()).any(|window| window == word.as_bytes());
        Ok((text(&path, &parse(&path, body)?, "next_batch")?, found))
    }

    /// Sends a GET and ignores the response, for scenarios that count requests.
    pub(crate) async fn get(&mut self, path: &str) -> Result<(), TargetError> {
        self.ask("GET", path, None).await.map(drop)
    }

    /// Posts JSON and ignores the response.
    pub(crate) async fn post(&mut self, path: &str, body: &str) -> Result<(), TargetError> {
        self.ask("POST", path, Some(body.as_bytes())).await.map(drop)
    }

    /// Puts JSON and ignores the response.
    pub(crate) async fn put(&mut self, path: &str, body: &str) -> Result<(), TargetError> {
        self.ask("PUT", path, Some(body.as_bytes())).await.map(drop)
    }

    /// Returns the number of the next transaction.
    pub(crate) fn next_transaction(&mut self) -> u64 {
        self.transactions += 1;
        self.transactions
    }

    /// Sends a request and parses the JSON of the response.
    pub(crate) async fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, TargetError> {
        call(&mut self.connection, method, path, Some(&self.authorization), body).await
    }

    async fn ask(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Reply<'_>, TargetError> {
        ask(&mut self.connection, Request::json(method, path, Some(&self.authorization), body)).await
    }

    /// Uploads a file; returns its `mxc:` address without the scheme.
    pub(crate) async fn upload(&mut self, bytes: &[u8]) -> Result<String, TargetError> {
        let path = "/_matrix/media/v3/upload";
        let authorization = Some(self.authorization.as_str());
        let content_type = "application/octet-stream";
        let request = Request { method: "POST", path, authorization, content_type, body: Some(bytes) };
        let answer = parse(path, ask(&mut self.connection, request).await?.body)?;
        let address = text(path, &answer, "content_uri")?;
        let short = address.strip_prefix("mxc://").map(str::to_owned);
        short.ok_or(TargetError::Missing { path: path.to_owned(), field: "mxc://", body: address })
    }
}

fn sync_path(since: Option<&str>, timeout_ms: u64) -> String {
    let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
    format!("{CLIENT}/sync?timeout={timeout_ms}{since}")
}

fn message_path(room_id: &str, transaction: &str) -> String {
    format!("{CLIENT}/rooms/{}/send/m.room.message/{transaction}", encode(room_id))
}

/// Percent-encodes an id for a path.
pub(crate) fn encode(id: &str) -> String {
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

/// Returns the proof of knowing the shared secret, as in Synapse's admin API.
fn mac(secret: &str, nonce: &str, username: &str) -> String {
    // HMAC accepts keys of any length.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(format!("{nonce}\0{username}\0{PASSWORD}\0notadmin").as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
