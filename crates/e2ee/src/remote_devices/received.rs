//! The part of what another server sends of its users' devices that is stored: keys of that user and that device, of a
//! usual size.

use plexus_net::federation::api::device::get_devices;
use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_store::repo::remote_devices::RemoteDeviceList;

/// The most devices of a user that are stored.
pub(super) const MAX_DEVICES: usize = 1_000;
/// The largest keys of one device, or cross-signing key, that are stored, in bytes of JSON.
pub(super) const MAX_KEY_BYTES: usize = 64 * 1024;
/// The most bytes of JSON that the keys of all devices of a user may take.
pub(super) const MAX_LIST_BYTES: usize = 2 * 1024 * 1024;
/// The longest device id, in bytes (client-server API, "Device IDs", has no limit; Synapse's is 512).
const MAX_ID_BYTES: usize = 512;
/// The longest name of a device that is stored, in bytes.
const MAX_NAME_BYTES: usize = 1_024;

/// Returns the list of a user, as it is stored.
pub(super) fn list(response: get_devices::Response) -> RemoteDeviceList {
    let user = &response.user_id;
    let named = response.devices.into_iter().filter_map(|device| {
        let mut keys = device.keys?;
        name(&mut keys, device.device_display_name);
        Some((device.device_id, keys))
    });
    RemoteDeviceList {
        stream_id: Some(response.stream_id),
        master_key: response.master_key.and_then(|key| cross_signing_key(user, &key)),
        self_signing_key: response.self_signing_key.and_then(|key| cross_signing_key(user, &key)),
        devices: devices(user, named),
    }
}

/// Sets or removes the name in a device's keys.
pub(super) fn name(keys: &mut Object, name: Option<String>) {
    match name.filter(|name| name.len() <= MAX_NAME_BYTES) {
        Some(name) => _ = keys.insert("unsigned", Object::from([("device_display_name", name)])),
        None => _ = keys.remove("unsigned"),
    }
}

/// Returns the devices of a user that are stored, in order of device id.
pub(super) fn devices(user: &UserId, received: impl IntoIterator<Item = (String, Object)>) -> Vec<(String, String)> {
    let mut kept: Vec<(String, String)> =
        received.into_iter().filter_map(|(id, keys)| Some((id.clone(), device(user, &id, &keys)?))).collect();
    kept.sort_unstable();
    kept.dedup_by(|one, next| one.0 == next.0);
    let mut bytes = 0;
    let fits = |(at, (_, keys)): (usize, &(String, String))| {
        bytes += keys.len();
        at < MAX_DEVICES && bytes <= MAX_LIST_BYTES
    };
    let fitting = kept.iter().enumerate().map(fits).take_while(|fits| *fits).count();
    if fitting < kept.len() {
        tracing::info!("{fitting} of the {} devices of {user} are stored", kept.len());
    }
    kept.truncate(fitting);
    kept
}

/// Returns the keys of one device, as they are stored, if they are that device's.
pub(super) fn device(user: &UserId, device_id: &str, keys: &Object) -> Option<String> {
    let fits = keys.get_str("user_id") == Some(user.as_str()) && keys.get_str("device_id") == Some(device_id);
    // PostgreSQL cannot store NUL in text.
    let is_id = !device_id.is_empty() && device_id.len() <= MAX_ID_BYTES && !device_id.contains('\0');
    Some(keys.to_json()).filter(|json| fits && is_id && json.len() <= MAX_KEY_BYTES)
}

/// Returns a cross-signing key, as it is stored, if it is that user's.
pub(super) fn cross_signing_key(user: &UserId, key: &Object) -> Option<String> {
    let fits = key.get_str("user_id") == Some(user.as_str());
    Some(key.to_json()).filter(|json| fits && json.len() <= MAX_KEY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(user: &str, device: &str) -> Object {
        Object::from([("user_id", user), ("device_id", device)])
    }

    #[test]
    fn only_keys_of_that_user_and_device_are_stored() {
        let user = UserId::try_from("@a:x").unwrap();
        let received = [
            ("B".to_owned(), keys("@a:x", "B")),
            ("C".to_owned(), keys("@a:x", "D")),
            ("E".to_owned(), keys("@b:x", "E")),
            ("".to_owned(), keys("@a:x", "")),
            ("F\0".to_owned(), keys("@a:x", "F\0")),
            ("A".to_owned(), keys("@a:x", "A")),
            ("A".to_owned(), keys("@a:x", "A")),
        ];
        let kept = devices(&user, received);
        assert_eq!(kept.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["A", "B"]);
    }

    #[test]
    fn no_user_has_more_devices_than_fit() {
        let user = UserId::try_from("@a:x").unwrap();
        let many = (0..MAX_DEVICES + 5).map(|at| (format!("D{at:05}"), keys("@a:x", &format!("D{at:05}"))));
        assert_eq!(devices(&user, many).len(), MAX_DEVICES);
        let large = (0..100).map(|at| {
            let mut keys = keys("@a:x", &format!("D{at:05}"));
            keys.insert("padding", "x".repeat(60_000));
            (format!("D{at:05}"), keys)
        });
        let kept = devices(&user, large);
        assert!(kept.iter().map(|(_, keys)| keys.len()).sum::<usize>() <= MAX_LIST_BYTES);
        assert_eq!(kept.len(), MAX_LIST_BYTES / 60_100);
        let mut huge = keys("@a:x", "A");
        huge.insert("padding", "x".repeat(MAX_KEY_BYTES));
        assert_eq!(devices(&user, [("A".to_owned(), huge)]), []);
    }
}
