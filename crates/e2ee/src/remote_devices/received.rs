//! What another server says of its users' devices, as far as it is believed: what is about that user and that device, and of a
//! size that real keys have.

use plexus_net::federation::api::device::get_devices;
use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_store::repo::remote_devices::ToldList;

/// The most devices of a user that are kept.
pub(super) const MOST_DEVICES: usize = 1_000;
/// The longest keys of one device, or cross-signing key, that are kept, in bytes of JSON.
pub(super) const MOST_KEY_BYTES: usize = 64 * 1024;
/// How much the keys of all devices of a user may take, in bytes of JSON.
pub(super) const MOST_LIST_BYTES: usize = 2 * 1024 * 1024;
/// The longest device id, in bytes (client-server API, "Device IDs", has no limit; Synapse's is 512).
const MOST_ID_BYTES: usize = 512;
/// The longest name of a device that is kept, in bytes.
const MOST_NAME_BYTES: usize = 1_024;

/// The list that a server has returned of one of its users.
pub(super) fn list(response: get_devices::Response) -> ToldList {
    let user = &response.user_id;
    let named = response.devices.into_iter().filter_map(|device| {
        let mut keys = device.keys?;
        name(&mut keys, device.device_display_name);
        Some((device.device_id, keys))
    });
    ToldList {
        stream_id: Some(response.stream_id),
        master_key: response.master_key.and_then(|key| cross_signing_key(user, &key)),
        self_signing_key: response.self_signing_key.and_then(|key| cross_signing_key(user, &key)),
        devices: devices(user, named),
    }
}

/// Sets or removes the name in a device's keys.
pub(super) fn name(keys: &mut Object, name: Option<String>) {
    match name.filter(|name| name.len() <= MOST_NAME_BYTES) {
        Some(name) => _ = keys.insert("unsigned", Object::from([("device_display_name", name)])),
        None => _ = keys.remove("unsigned"),
    }
}

/// Those of a user's devices that are kept, in order of device id.
pub(super) fn devices(user: &UserId, told: impl IntoIterator<Item = (String, Object)>) -> Vec<(String, String)> {
    let mut kept: Vec<(String, String)> =
        told.into_iter().filter_map(|(id, keys)| Some((id.clone(), device(user, &id, &keys)?))).collect();
    kept.sort_unstable();
    kept.dedup_by(|one, next| one.0 == next.0);
    let mut bytes = 0;
    let fits = |(at, (_, keys)): (usize, &(String, String))| {
        bytes += keys.len();
        at < MOST_DEVICES && bytes <= MOST_LIST_BYTES
    };
    let fitting = kept.iter().enumerate().map(fits).take_while(|fits| *fits).count();
    if fitting < kept.len() {
        tracing::info!("of the {} devices of {user} {fitting} are kept", kept.len());
    }
    kept.truncate(fitting);
    kept
}

/// The keys of one device as they are stored, if they are that device's.
pub(super) fn device(user: &UserId, device_id: &str, keys: &Object) -> Option<String> {
    let fits = keys.get_str("user_id") == Some(user.as_str()) && keys.get_str("device_id") == Some(device_id);
    // What PostgreSQL cannot store as text is no id.
    let is_id = !device_id.is_empty() && device_id.len() <= MOST_ID_BYTES && !device_id.contains('\0');
    Some(keys.to_json()).filter(|json| fits && is_id && json.len() <= MOST_KEY_BYTES)
}

/// A cross-signing key as it is stored, if it is that user's.
pub(super) fn cross_signing_key(user: &UserId, key: &Object) -> Option<String> {
    let fits = key.get_str("user_id") == Some(user.as_str());
    Some(key.to_json()).filter(|json| fits && json.len() <= MOST_KEY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(user: &str, device: &str) -> Object {
        Object::from([("user_id", user), ("device_id", device)])
    }

    #[test]
    fn only_what_is_about_that_user_and_device_is_kept() {
        let user = UserId::try_from("@a:x").unwrap();
        let told = [
            ("B".to_owned(), keys("@a:x", "B")),
            ("C".to_owned(), keys("@a:x", "D")),
            ("E".to_owned(), keys("@b:x", "E")),
            ("".to_owned(), keys("@a:x", "")),
            ("F\0".to_owned(), keys("@a:x", "F\0")),
            ("A".to_owned(), keys("@a:x", "A")),
            ("A".to_owned(), keys("@a:x", "A")),
        ];
        let kept = devices(&user, told);
        assert_eq!(kept.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["A", "B"]);
    }

    #[test]
    fn nobody_has_more_devices_than_fit() {
        let user = UserId::try_from("@a:x").unwrap();
        let many = (0..MOST_DEVICES + 5).map(|at| (format!("D{at:05}"), keys("@a:x", &format!("D{at:05}"))));
        assert_eq!(devices(&user, many).len(), MOST_DEVICES);
        let large = (0..100).map(|at| {
            let mut keys = keys("@a:x", &format!("D{at:05}"));
            keys.insert("padding", "x".repeat(60_000));
            (format!("D{at:05}"), keys)
        });
        let kept = devices(&user, large);
        assert!(kept.iter().map(|(_, keys)| keys.len()).sum::<usize>() <= MOST_LIST_BYTES);
        assert_eq!(kept.len(), MOST_LIST_BYTES / 60_100);
        let mut huge = keys("@a:x", "A");
        huge.insert("padding", "x".repeat(MOST_KEY_BYTES));
        assert_eq!(devices(&user, [("A".to_owned(), huge)]), []);
    }
}
