//! One-time keys of other servers' users.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt as _;
use plexus_e2ee::device_keys::{Claimed, DeviceClaims};
use plexus_net::federation::api::keys::claim_keys;
use plexus_net::{FederationClient, FederationError};
use plexus_protocol::id::{ServerName, UserId};
use serde_json::{Value, json};

/// How many servers are asked at the same time for one request.
const MAX_CONCURRENT_REQUESTS: usize = 32;
/// The shortest that this server waits for others, whatever a client asks for.
const MIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that a client may have this server wait for others.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The `failures` of a response: from a server's name to why it did not respond.
pub type KeyFailures = BTreeMap<String, Value>;

/// Returns how long other servers have for their responses: the request's `timeout`, bounded.
#[must_use]
pub fn remote_key_timeout(timeout_ms: Option<u64>) -> Duration {
    timeout_ms.map_or(DEFAULT_TIMEOUT, Duration::from_millis).clamp(MIN_TIMEOUT, MAX_TIMEOUT)
}

/// Claims one-time keys from the servers of the users in `claims`, and adds them to `claimed`. Returns the servers that
/// did not respond.
pub async fn claim_remote_keys(
    client: &FederationClient,
    claims: DeviceClaims,
    timeout: Duration,
    claimed: &mut Claimed,
) -> KeyFailures {
    let ask = |server: ServerName, users: DeviceClaims| async move {
        let response = claim_keys::call(client, &server, &claim_keys::Request { one_time_keys: &users }, timeout).await;
        (server, users, response)
    };
    let mut failures = KeyFailures::new();
    for (server, users, response) in for_each_server(claims, ask).await {
        match response {
            Ok(mut keys) => {
                for (user, claims) in users {
                    let mut devices = keys.remove(user.as_str()).unwrap_or_default();
                    devices.retain(|device, _| claims.contains_key(device));
                    if !devices.is_empty() {
                        claimed.insert(user, devices);
                    }
                }
            }
            Err(error) => {
                failures.insert(server.to_string(), key_failure(&error));
            }
        }
    }
    failures
}

/// Groups the users by their servers, and calls `ask` for each server. Returns the results in no particular order.
async fn for_each_server<T, A: Future>(
    users: BTreeMap<UserId, T>,
    ask: impl Fn(ServerName, BTreeMap<UserId, T>) -> A,
) -> Vec<A::Output> {
    let mut by_server: BTreeMap<ServerName, BTreeMap<UserId, T>> = BTreeMap::new();
    for (user, value) in users {
        // The server name of a user id is always valid.
        if let Ok(server) = ServerName::try_from(user.server_name()) {
            by_server.entry(server).or_default().insert(user, value);
        }
    }
    let requests = by_server.into_iter().map(|(server, users)| ask(server, users));
    futures_util::stream::iter(requests).buffer_unordered(MAX_CONCURRENT_REQUESTS).collect().await
}

/// Returns the entry of `failures` for the error, as Synapse writes it.
#[must_use]
pub fn key_failure(error: &FederationError) -> Value {
    let status = match error {
        FederationError::NotAllowed(_) => 403,
        FederationError::Status { status, .. } => status.as_u16(),
        _ => 503,
    };
    json!({ "status": status, "errcode": "M_UNREACHABLE", "message": error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_cannot_have_this_server_wait_for_no_time_or_for_ever() {
        let seconds = [None, Some(0), Some(20_000), Some(u64::MAX)].map(|ms| remote_key_timeout(ms).as_secs());
        assert_eq!(seconds, [10, 5, 20, 60]);
    }
}
