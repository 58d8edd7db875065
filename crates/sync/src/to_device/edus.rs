//! The `m.direct_to_device` EDUs that carry messages to users of one other server.

use serde_json::value::RawValue;

use plexus_protocol::id::UserId;
use plexus_protocol::json::{ObjectWriter, string_len};
use plexus_store::Position;

use super::NewMessages;

/// The largest EDU, in bytes. The specification has no bound for EDUs; this is the one for events (client-server API,
/// "Size limits"), and where Synapse splits messages to devices.
pub const MAX_EDU_BYTES: usize = 65_536;

/// `{"content":…,"edu_type":…}`
pub fn edu(edu_type: &str, content: &str) -> String {
    let mut out = String::with_capacity(content.len() + 48);
    let mut members = ObjectWriter::open(&mut out);
    members.raw("content", content);
    members.string("edu_type", edu_type);
    members.close();
    out
}

/// The messages to one user's devices.
pub(super) type UserMessages<'m> = (&'m UserId, Vec<(&'m str, &'m RawValue)>);

/// Returns how many bytes of an EDU can hold messages.
pub(super) fn room(new: &NewMessages) -> usize {
    MAX_EDU_BYTES.saturating_sub(edu("m.direct_to_device", &content(new, &[], Position::MAX)).len())
}

/// Returns how many of these bytes one message takes, if it is the only one.
pub(super) fn bytes(user: &UserId, device: &str, message: &RawValue) -> usize {
    user_bytes(user) + device_bytes(device, message)
}

/// `"user":{},`
fn user_bytes(user: &UserId) -> usize {
    string_len(user.as_str()) + 4
}

/// `"device":message,`
fn device_bytes(device: &str, message: &RawValue) -> usize {
    string_len(device) + message.get().len() + 2
}

/// Distributes messages among EDUs that have `room` bytes for them each, in their order.
pub(super) fn split<'m>(messages: Vec<UserMessages<'m>>, room: usize) -> Vec<Vec<UserMessages<'m>>> {
    let mut parts: Vec<Vec<UserMessages<'m>>> = Vec::new();
    let mut left = 0;
    for (user, devices) in messages {
        for (device, message) in devices {
            let same_user = parts.last().and_then(|part| part.last()).is_some_and(|(last, _)| *last == user);
            let more = device_bytes(device, message) + if same_user { 0 } else { user_bytes(user) };
            if parts.is_empty() || more > left {
                left = room.saturating_sub(bytes(user, device, message));
                parts.push(vec![(user, vec![(device, message)])]);
                continue;
            }
            left -= more;
            let Some(part) = parts.last_mut() else { continue };
            match part.last_mut() {
                Some((last, of_user)) if *last == user => of_user.push((device, message)),
                _ => part.push((user, vec![(device, message)])),
            }
        }
    }
    parts
}

/// Returns the content of an EDU. `position`, under which it is queued, identifies it.
pub(super) fn content(new: &NewMessages, messages: &[UserMessages<'_>], position: Position) -> String {
    let mut out = String::new();
    let mut content = ObjectWriter::open(&mut out);
    content.string("message_id", &position.to_string());
    let mut by_user = ObjectWriter::open(content.key("messages"));
    for (user, devices) in messages {
        let mut by_device = ObjectWriter::open(by_user.key(user.as_str()));
        devices.iter().for_each(|(device, message)| by_device.raw(device, message.get()));
        by_device.close();
    }
    by_user.close();
    content.string("sender", new.sender.as_str());
    content.string("type", &new.event_type);
    content.close();
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn raw(bytes: usize) -> Box<RawValue> {
        RawValue::from_string(format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8))).unwrap()
    }

    fn new() -> NewMessages {
        NewMessages {
            sender: "@alice:here".parse().unwrap(),
            device: None,
            txn_id: "1".to_owned(),
            event_type: "m.\"test\"".to_owned(),
            messages: BTreeMap::new(),
        }
    }

    #[test]
    fn each_edu_is_as_large_as_it_may_be_and_nothing_is_lost() {
        let new = new();
        let users: Vec<UserId> = (0..7).map(|user| format!("@user{user}:there").parse().unwrap()).collect();
        let devices: Vec<String> = (0..40).map(|device| format!("DEVICE\"{device}")).collect();
        let messages: Vec<Box<RawValue>> = (0..40).map(|device| raw(100 + 97 * device)).collect();
        let of_user = |user| {
            (user, devices.iter().zip(&messages).map(|(device, message)| (device.as_str(), &**message)).collect())
        };
        let all: Vec<UserMessages<'_>> = users.iter().map(of_user).collect();
        let parts = split(all.clone(), room(&new));
        let sizes: Vec<usize> =
            parts.iter().map(|part| edu("m.direct_to_device", &content(&new, part, 1)).len()).collect();
        assert!(sizes.iter().all(|size| *size <= MAX_EDU_BYTES), "{sizes:?}");
        assert!(sizes.iter().rev().skip(1).all(|size| *size > MAX_EDU_BYTES - 4_200), "{sizes:?}");
        let flat = |parts: &[Vec<UserMessages<'_>>]| -> Vec<(String, String, String)> {
            let each = |(user, devices): &UserMessages<'_>| -> Vec<(String, String, String)> {
                let one = |(device, message): &(&str, &RawValue)| {
                    (user.to_string(), (*device).to_owned(), message.get().to_owned())
                };
                devices.iter().map(one).collect()
            };
            parts.iter().flatten().flat_map(each).collect()
        };
        assert_eq!(flat(&parts), flat(&[all]));
    }

    #[test]
    fn the_largest_message_fills_an_edu_exactly() {
        let new = new();
        let user: UserId = "@bob:there".parse().unwrap();
        // A comma, which the only message has not, is counted for each user and each device.
        let largest = raw(room(&new) - bytes(&user, "D", &raw(8)) + 8);
        assert_eq!(bytes(&user, "D", &largest), room(&new));
        let parts = split(vec![(&user, vec![("D", &largest), ("E", &largest)])], room(&new));
        assert_eq!(parts.len(), 2);
        let size = edu("m.direct_to_device", &content(&new, &parts[0], Position::MAX)).len();
        assert_eq!(size, MAX_EDU_BYTES - 2);
    }

    #[test]
    fn a_user_with_many_devices_is_counted_once() {
        let (bob, carol): (UserId, UserId) = ("@bob:there".parse().unwrap(), "@carol:there".parse().unwrap());
        let message = raw(100);
        let devices = || vec![("D", &*message), ("E", &*message)];
        let sizes = |room| -> Vec<Vec<usize>> {
            let parts = split(vec![(&bob, devices()), (&carol, devices())], room);
            parts.iter().map(|part| part.iter().map(|(_, devices)| devices.len()).collect()).collect()
        };
        let room = user_bytes(&bob) + user_bytes(&carol) + 4 * device_bytes("D", &message);
        assert_eq!(sizes(room), [vec![2, 2]]);
        assert_eq!(sizes(room - 1), [vec![2, 1], vec![1]]);
    }

    #[test]
    fn users_without_messages_take_no_edu() {
        let user: UserId = "@bob:there".parse().unwrap();
        assert!(split(vec![(&user, Vec::new())], 1_000).is_empty());
    }
}
