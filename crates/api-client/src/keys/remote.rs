//! Keys of users of other servers, asked of these.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt as _;
use plexus_accounts::keys::{Claimed, DeviceClaims};
use plexus_net::{Call, FederationClient, FederationError};
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::Object;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The most servers asked at once for one request.
const AT_ONCE: usize = 32;
/// The longest that a client may have us wait for other servers, and how long we wait when it does not say.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The most of one server's answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Server to why it could not be asked.
pub type Failures = BTreeMap<String, Value>;

/// The time a request's `timeout` (ms) gives the other servers.
pub fn timeout(timeout_ms: Option<u64>) -> Duration {
    timeout_ms.map_or(DEFAULT_TIMEOUT, Duration::from_millis).min(MAX_TIMEOUT)
}

#[derive(Deserialize)]
struct ClaimAnswer {
    #[serde(default)]
    one_time_keys: BTreeMap<String, BTreeMap<String, Object>>,
}

/// Adds to `claimed` what the servers of the users in `claims` hand out.
pub async fn claim(
    client: &FederationClient,
    claims: DeviceClaims,
    timeout: Duration,
    claimed: &mut Claimed,
) -> Failures {
    let path = "/_matrix/federation/v1/user/keys/claim";
    let ask = |server: ServerName, users: DeviceClaims| async move {
        let answer = ask::<ClaimAnswer>(client, &server, path, &json!({ "one_time_keys": users }), timeout).await;
        (server, users, answer)
    };
    let mut failures = Failures::new();
    for (server, users, answer) in asked(claims, ask).await {
        match answer {
            Ok(mut answer) => {
                for (user, wanted) in users {
                    let mut devices = answer.one_time_keys.remove(user.as_str()).unwrap_or_default();
                    devices.retain(|device, _| wanted.contains_key(device));
                    if !devices.is_empty() {
                        claimed.insert(user, devices);
                    }
                }
            }
            Err(error) => {
                failures.insert(server.to_string(), failure(&error));
            }
        }
    }
    failures
}

/// What `ask` has of each server about its users.
async fn asked<T, A: Future>(
    users: BTreeMap<UserId, T>,
    ask: impl Fn(ServerName, BTreeMap<UserId, T>) -> A,
) -> Vec<A::Output> {
    let mut by_server: BTreeMap<ServerName, BTreeMap<UserId, T>> = BTreeMap::new();
    for (user, what) in users {
        // A user id holds the name of a server.
        if let Ok(server) = ServerName::try_from(user.server_name()) {
            by_server.entry(server).or_default().insert(user, what);
        }
    }
    let questions = by_server.into_iter().map(|(server, users)| ask(server, users));
    futures_util::stream::iter(questions).buffer_unordered(AT_ONCE).collect().await
}

async fn ask<T: serde::de::DeserializeOwned>(
    client: &FederationClient,
    server: &ServerName,
    path: &str,
    body: &(impl Serialize + ?Sized),
    timeout: Duration,
) -> Result<T, FederationError> {
    let body = serde_json::to_string(body).map_err(|error| FederationError::Malformed(error.to_string()))?;
    client.call_json(server, Call::post(path, body).timeout(timeout).max_answer_bytes(MAX_ANSWER_BYTES)).await
}

/// An entry of `failures`, as Synapse writes them.
pub fn failure(error: &FederationError) -> Value {
    let status = match error {
        FederationError::NotAllowed(_) => 403,
        FederationError::Status { status, .. } => status.as_u16(),
        _ => 503,
    };
    json!({ "status": status, "errcode": "M_UNREACHABLE", "message": error.to_string() })
}
