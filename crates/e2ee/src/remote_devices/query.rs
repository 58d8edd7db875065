//! `POST /keys/query` of clients for users of other servers: from the stored lists of tracked users, otherwise from
//! their servers.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::device_keys::QueriedKeys;
use futures_util::StreamExt as _;
use plexus_net::FederationError;
use plexus_net::federation::api::keys::get_keys;
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_store::repo::remote_devices::{self as repo, RemoteDevice, RemoteDeviceList, RemoteList};
use plexus_store::{DbError, Tx, readable};

use super::{RemoteDevices, announce, received};

/// The most servers that are queried at the same time for one request.
const MAX_SERVERS_AT_ONCE: usize = 32;
/// The most lists that are written in one step.
const MAX_LISTS_PER_STEP: usize = 100;

/// Server to why it could not be queried.
pub type Failures = BTreeMap<ServerName, FederationError>;

/// The keys of users of other servers.
#[derive(Debug, Default)]
pub struct Queried {
    /// The keys; the stored ones for users of servers that could not be queried.
    pub keys: QueriedKeys,
    /// The servers that could not be queried.
    pub failures: Failures,
}

/// A query for one user.
struct UserQuery {
    /// All devices if it is empty.
    devices: Vec<String>,
    /// Whether the response is stored.
    track: bool,
    /// The revision of the stored list.
    revision: Option<i64>,
    /// The stored list, which is out of date.
    stored: Option<RemoteDeviceList>,
}

type UserQueries = BTreeMap<UserId, UserQuery>;

/// Takes the keys of a user out of a response.
fn take_keys(response: &mut get_keys::Response, user: &UserId) -> RemoteDeviceList {
    let key = |keys: &mut BTreeMap<String, Object>| {
        keys.remove(user.as_str()).and_then(|key| received::cross_signing_key(user, &key))
    };
    RemoteDeviceList {
        stream_id: None,
        master_key: key(&mut response.master_keys),
        self_signing_key: key(&mut response.self_signing_keys),
        devices: received::devices(user, response.device_keys.remove(user.as_str()).unwrap_or_default()),
    }
}

impl RemoteDevices {
    /// Returns the keys of users of other servers: of all their devices where the list is empty. Other servers have
    /// `timeout` to respond.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn query(&self, wanted: BTreeMap<UserId, Vec<String>>, timeout: Duration) -> Result<Queried, DbError> {
        let mut queried = Queried::default();
        let mut by_server: BTreeMap<ServerName, UserQueries> = BTreeMap::new();
        let mut stored = self.stored(wanted.keys()).await?;
        for (user, devices) in wanted {
            let (list, outdated) = match stored.remove(user.as_str()) {
                Some((RemoteList { ask_ts: None, .. }, current)) => {
                    show(&user, &devices, &current, &mut queried.keys);
                    continue;
                }
                Some((list, outdated)) => (Some(list), Some(outdated)),
                None => (None, None),
            };
            let track = list.is_some() || (self.has_capacity() && self.is_in_encrypted_room(&user).await?);
            let query = UserQuery { devices, track, revision: list.map(|list| list.revision), stored: outdated };
            // A user id holds the name of a server.
            if let Ok(server) = ServerName::try_from(user.server_name()) {
                by_server.entry(server).or_default().insert(user, query);
            }
        }
        let asked = by_server.into_iter().map(|(server, queries)| self.ask(server, queries, timeout));
        let mut responses = futures_util::stream::iter(asked).buffer_unordered(MAX_SERVERS_AT_ONCE);
        while let Some((server, queries, response)) = responses.next().await {
            self.add_response(server, queries, response, &mut queried).await?;
        }
        Ok(queried)
    }

    async fn stored(
        &self,
        users: impl Iterator<Item = &UserId>,
    ) -> Result<BTreeMap<String, (RemoteList, RemoteDeviceList)>, DbError> {
        let users: Vec<String> = users.map(UserId::to_string).collect();
        let read = move |tx: &mut Tx<'_>| {
            let users: Vec<&str> = users.iter().map(String::as_str).collect();
            let lists = repo::lists(tx, &users)?;
            let tracked: Vec<&str> = lists.iter().map(|list| list.user_id.as_str()).collect();
            let devices = repo::devices(tx, &tracked)?;
            Ok::<_, DbError>(by_user(lists, devices))
        };
        self.parts.db.read(read).await
    }

    async fn ask(
        &self,
        server: ServerName,
        queries: UserQueries,
        timeout: Duration,
    ) -> (ServerName, UserQueries, Result<get_keys::Response, FederationError>) {
        // All devices of tracked users, to be stored.
        let devices = |query: &UserQuery| if query.track { Vec::new() } else { query.devices.clone() };
        let device_keys = queries.iter().map(|(user, query)| (user, devices(query))).collect();
        let request = get_keys::Request { device_keys };
        let response = get_keys::call(&self.parts.client, &server, &request, timeout).await;
        (server, queries, response)
    }

    async fn add_response(
        &self,
        server: ServerName,
        queries: UserQueries,
        response: Result<get_keys::Response, FederationError>,
        queried: &mut Queried,
    ) -> Result<(), DbError> {
        let mut response = match response {
            Ok(response) => response,
            Err(error) => {
                for (user, query) in &queries {
                    if let Some(stored) = &query.stored {
                        show(user, &query.devices, stored, &mut queried.keys);
                    }
                }
                queried.failures.insert(server, error);
                return Ok(());
            }
        };
        let mut tracked = Vec::new();
        for (user, query) in queries {
            let received = take_keys(&mut response, &user);
            show(&user, &query.devices, &received, &mut queried.keys);
            if query.track {
                tracked.push((user, received, query.revision));
            }
        }
        while !tracked.is_empty() {
            let step = tracked.split_off(tracked.len().saturating_sub(MAX_LISTS_PER_STEP));
            self.store(step).await?;
        }
        Ok(())
    }

    async fn store(&self, received: Vec<(UserId, RemoteDeviceList, Option<i64>)>) -> Result<(), DbError> {
        let now = self.parts.clock.now_ms();
        let write = move |tx: &mut Tx<'_>| {
            let mut new = Vec::new();
            for (user, list, revision) in &received {
                if store(tx, user, list, *revision, now)? {
                    new.push(user.clone());
                }
            }
            Ok::<_, DbError>(new)
        };
        let new = self.parts.db.write(write).await?;
        self.tracked.fetch_add(new.len() as u64, Ordering::Relaxed);
        self.outdated.notify_one();
        // They may have left while their server was queried.
        new.iter().for_each(|user| self.departed.put(0, user));
        Ok(())
    }
}

fn by_user(lists: Vec<RemoteList>, devices: Vec<RemoteDevice>) -> BTreeMap<String, (RemoteList, RemoteDeviceList)> {
    let without_devices = |list: &RemoteList| RemoteDeviceList {
        stream_id: list.stream_id,
        master_key: list.master_key.clone(),
        self_signing_key: list.self_signing_key.clone(),
        devices: Vec::new(),
    };
    let mut users: BTreeMap<String, (RemoteList, RemoteDeviceList)> =
        lists.into_iter().map(|list| (list.user_id.clone(), (list.clone(), without_devices(&list)))).collect();
    for device in devices {
        if let Some((_, list)) = users.get_mut(&device.user_id) {
            list.devices.push((device.device_id, device.key_json));
        }
    }
    users
}

/// Stores a received list, unless a newer one is stored. `revision` is that of the list that was stored when it was
/// queried. Returns whether the user is newly tracked.
fn store(
    tx: &mut Tx<'_>,
    user: &UserId,
    received: &RemoteDeviceList,
    revision: Option<i64>,
    now: u64,
) -> Result<bool, DbError> {
    let known = by_user(repo::lists(tx, &[user.as_str()])?, repo::devices(tx, &[user.as_str()])?);
    let Some((list, before)) = known.get(user.as_str()) else {
        repo::replace(tx, user.as_str(), received, None)?;
        return Ok(true);
    };
    if list.ask_ts.is_some() {
        // An update that came meanwhile may be newer than the response.
        repo::replace(tx, user.as_str(), received, (revision != Some(list.revision)).then_some(now))?;
        if *before != (RemoteDeviceList { stream_id: before.stream_id, ..received.clone() }) {
            announce(tx, user)?;
        }
    }
    Ok(false)
}

/// Adds the wanted devices of a list, and its cross-signing keys, as far as they can be read.
fn show(user: &UserId, wanted: &[String], list: &RemoteDeviceList, keys: &mut QueriedKeys) {
    let bad = |error| DbError::bad_data(format!("the devices of {user}"), error);
    let parse = |json: &String| readable(Object::parse(json).map_err(bad));
    let of_user = keys.device_keys.entry(user.clone()).or_default();
    for (device, json) in &list.devices {
        if wanted.is_empty() || wanted.contains(device) {
            of_user.extend(parse(json).map(|keys| (device.clone(), keys)));
        }
    }
    keys.master_keys.extend(list.master_key.as_ref().and_then(parse).map(|key| (user.clone(), key)));
    keys.self_signing_keys.extend(list.self_signing_key.as_ref().and_then(parse).map(|key| (user.clone(), key)));
}
