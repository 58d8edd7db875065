//! `m.device_list_update` and `m.signing_key_update`
//! (<https://spec.matrix.org/v1.19/server-server-api/#device-management>).

use std::collections::BTreeMap;
use std::sync::Arc;

use plexus_e2ee::DeviceKeys;
use plexus_e2ee::device_keys::DeviceList;
use plexus_protocol::id::UserId;
use plexus_protocol::json::{Object, ObjectWriter};
use plexus_store::repo::device_lists::{self, DeviceChange};
use plexus_store::{DbError, Position};
use plexus_sync::to_device::edu;
use quick_cache::sync::Cache;

pub(super) const DEVICE_LIST_UPDATE: &str = "m.device_list_update";
/// The name of `m.signing_key_update` before it was in the specification; Synapse sends both.
const UNSTABLE_SIGNING_KEY_UPDATE: &str = "org.matrix.signing_key_update";
/// The most users whose newest device list update is kept in memory; for others the database has it.
const STREAM_IDS_CAPACITY: usize = 10_000;

/// Builds the EDUs about devices of this server's users.
pub(super) struct DeviceUpdates {
    device_keys: DeviceKeys,
    /// Whether other servers get the names of devices.
    tell_device_names: bool,
    /// The stream ids of the newest device list updates that were sent. Owned by the process that delivers; after a
    /// restart the database has them.
    stream_ids: Cache<UserId, Position>,
}

impl DeviceUpdates {
    pub(super) fn new(device_keys: DeviceKeys, tell_device_names: bool) -> Self {
        Self { device_keys, tell_device_names, stream_ids: Cache::new(STREAM_IDS_CAPACITY) }
    }

    /// Returns the devices and cross-signing keys of a user, as other servers see them.
    pub(super) async fn device_list(&self, user: &UserId) -> Result<Option<DeviceList>, DbError> {
        self.device_keys.device_list(user, self.tell_device_names).await
    }

    /// Records that a change is sent to the servers that share a room with the user. Returns the stream id of the
    /// update before it. A change that was replaced before it was sent has no place in the sequence.
    pub(super) fn record_sent(&self, user: &UserId, change: &DeviceChange) -> Option<Position> {
        if change.device_id == device_lists::CROSS_SIGNING {
            return None;
        }
        let before = self.stream_ids.get(user).filter(|before| *before < change.position);
        self.stream_ids.insert(user.clone(), change.position);
        before.or(change.previous)
    }

    /// Returns the EDUs for a change of a local user's devices, with the keys as they are now; `None`, with a line in
    /// the log, if the keys of the device cannot be read: other servers must not take it for deleted. `previous` is the
    /// stream id of the update before it.
    pub(super) async fn edus(
        &self,
        user: &UserId,
        change: &DeviceChange,
        previous: Option<Position>,
    ) -> Result<Option<Arc<[String]>>, DbError> {
        match self.build(user, change, previous).await {
            Ok(edus) => Ok(Some(edus.into())),
            Err(error) if error.is_bad_data() => {
                tracing::warn!("other servers are not sent change {} of devices of {user}: {error}", change.position);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn build(
        &self,
        user: &UserId,
        change: &DeviceChange,
        previous: Option<Position>,
    ) -> Result<Vec<String>, DbError> {
        if change.device_id == device_lists::CROSS_SIGNING {
            return self.signing_key_update(user).await;
        }
        let wanted = BTreeMap::from([(user.clone(), vec![change.device_id.clone()])]);
        let found = self.device_keys.query_for_server(wanted, self.tell_device_names).await?;
        let keys = found.device_keys.get(user).and_then(|devices| devices.get(&change.device_id));
        if found.unreadable_devices.contains(&(user.clone(), change.device_id.clone())) {
            let place = format!("device_keys.key_json of {user}, device {}", change.device_id);
            return Err(DbError::bad_data(place, "not an object"));
        }
        Ok(vec![edu(DEVICE_LIST_UPDATE, &update_content(user, change, keys, previous))])
    }

    async fn signing_key_update(&self, user: &UserId) -> Result<Vec<String>, DbError> {
        let list = self.device_keys.device_list(user, false).await?;
        let mut content = String::new();
        let mut members = ObjectWriter::open(&mut content);
        if let Some(list) = list {
            if let Some(key) = list.master_key {
                members.raw("master_key", &key.to_json());
            }
            if let Some(key) = list.self_signing_key {
                members.raw("self_signing_key", &key.to_json());
            }
        }
        members.string("user_id", user.as_str());
        members.close();
        Ok(vec![edu("m.signing_key_update", &content), edu(UNSTABLE_SIGNING_KEY_UPDATE, &content)])
    }
}

/// Returns the content of an `m.device_list_update`: the device with its keys, or that it is gone.
pub(super) fn update_content(
    user: &UserId,
    change: &DeviceChange,
    keys: Option<&Object>,
    previous: Option<Position>,
) -> String {
    let mut content = String::new();
    let mut members = ObjectWriter::open(&mut content);
    match keys {
        None => members.raw("deleted", "true"),
        Some(keys) => {
            let name = keys.get_object("unsigned").and_then(|unsigned| unsigned.get_str("device_display_name"));
            if let Some(name) = name {
                members.string("device_display_name", name);
            }
        }
    }
    members.string("device_id", &change.device_id);
    if let Some(keys) = keys {
        members.raw("keys", &keys.to_json());
    }
    members.array("prev_id", previous.map(|previous| previous.to_string()).as_deref());
    members.number("stream_id", change.position);
    members.string("user_id", user.as_str());
    members.close();
    content
}
