//! The body of one transaction (application service API, "Pushing events"), with the extensions of MSC2409 and MSC3202.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plexus_base::AppService;
use plexus_protocol::id::UserId;
use plexus_protocol::json::{Object, ObjectWriter, Value};
use plexus_rooms::{ClientFormat, TimelineEvent};
use plexus_store::Position;
use plexus_store::repo::one_time_keys::UserKeys;
use plexus_store::repo::to_device::TargetedMessage;

use super::content::LogContent;
use super::extensions::Extensions;
use super::extras::Ephemeral;

/// The member of a body with the messages for devices.
const TO_DEVICE: &str = "de.sorunome.msc2409.to_device";

/// What a transaction holds.
pub(super) struct Transaction<'t> {
    pub(super) service: &'t AppService,
    pub(super) extensions: Extensions,
    pub(super) entries: &'t [(Position, LogContent)],
    pub(super) ephemeral: &'t [Ephemeral],
    /// The keys of its users' devices.
    pub(super) keys: &'t BTreeMap<String, UserKeys>,
}

impl Transaction<'_> {
    /// Returns the body. The events are as `reader`, the service's own user, reads them.
    pub(super) fn body(&self, reader: &UserId, now_ms: u64) -> String {
        let mut body = String::new();
        let mut members = ObjectWriter::open(&mut body);
        write_list(members.key("events"), self.entries.iter(), |(_, content), out| match content {
            LogContent::Event { event, stripped_state } => {
                write_event(event, stripped_state.as_deref(), reader, now_ms, out);
                true
            }
            LogContent::ToDevice { .. } | LogContent::DeviceList(_) => false,
        });
        let names = [
            (self.service.receive_ephemeral, "ephemeral"),
            (self.service.push_ephemeral, "de.sorunome.msc2409.ephemeral"),
        ];
        for (_, name) in names.iter().filter(|(wanted, _)| *wanted) {
            write_list(members.key(name), self.ephemeral.iter(), |event, out| {
                out.push_str(&event.json);
                true
            });
        }
        if self.service.gets_ephemeral() && self.extensions.to_device {
            write_list(members.key(TO_DEVICE), self.entries.iter(), |(_, content), out| {
                let LogContent::ToDevice { target, message } = content else { return false };
                write_message(target, message, out);
                true
            });
        }
        if self.service.msc3202 && self.extensions.msc3202 {
            self.write_keys(&mut members);
        }
        members.close();
        body
    }

    fn write_keys(&self, members: &mut ObjectWriter<'_>) {
        let changed: BTreeSet<&str> = self.entries.iter().filter_map(|(_, content)| changed_user(content)).collect();
        if !changed.is_empty() {
            let mut lists = ObjectWriter::open(members.key("org.matrix.msc3202.device_lists"));
            lists.strings("changed", changed);
            lists.strings("left", []);
            lists.close();
        }
        if self.keys.is_empty() {
            return;
        }
        // Two spellings are in use.
        for name in ["org.matrix.msc3202.device_one_time_key_counts", "org.matrix.msc3202.device_one_time_keys_count"] {
            let mut users = ObjectWriter::open(members.key(name));
            for (user, devices) in self.keys {
                let mut by_device = ObjectWriter::open(users.key(user));
                for (device, keys) in devices {
                    let mut counts = ObjectWriter::open(by_device.key(device));
                    keys.counts.iter().for_each(|(algorithm, count)| counts.number(algorithm, count));
                    counts.close();
                }
                by_device.close();
            }
            users.close();
        }
        let mut users = ObjectWriter::open(members.key("org.matrix.msc3202.device_unused_fallback_key_types"));
        for (user, devices) in self.keys {
            let mut by_device = ObjectWriter::open(users.key(user));
            for (device, keys) in devices {
                by_device.strings(device, keys.unused_fallback_types.iter().map(String::as_str));
            }
            by_device.close();
        }
        users.close();
    }
}

fn changed_user(content: &LogContent) -> Option<&str> {
    match content {
        LogContent::DeviceList(user) => Some(user),
        LogContent::Event { .. } | LogContent::ToDevice { .. } => None,
    }
}

fn write_list<T>(out: &mut String, items: impl Iterator<Item = T>, write: impl Fn(T, &mut String) -> bool) {
    out.push('[');
    let begin = out.len();
    for item in items {
        let before = out.len();
        if before > begin {
            out.push(',');
        }
        if !write(item, out) {
            out.truncate(before);
        }
    }
    out.push(']');
}

fn write_event(
    event: &TimelineEvent,
    stripped_state: Option<&[String]>,
    reader: &UserId,
    now_ms: u64,
    out: &mut String,
) {
    let format = ClientFormat { user: reader, device_id: None, now_ms, room_id: true };
    event.write_client(out, &format, None, None);
    if let Some(state) = stripped_state {
        // `unsigned` is the last member of an event.
        out.truncate(out.len() - "}}".len());
        let is_knock = event.pdu.content().get_str("membership") == Some("knock");
        out.push_str(if is_knock { ",\"knock_room_state\":" } else { ",\"invite_room_state\":" });
        write_list(out, state.iter(), |event, out| {
            out.push_str(event);
            true
        });
        out.push_str("}}");
    }
}

/// Writes a message for a device, which says which one.
fn write_message(target: &TargetedMessage, message: &str, out: &mut String) {
    let mut members = ObjectWriter::open(out);
    members.string("to_device_id", &target.device);
    members.string("to_user_id", &target.user);
    members.close();
    if let Some(rest) = message.strip_prefix('{') {
        out.pop();
        out.push(',');
        out.push_str(rest);
    }
}

/// Returns the users and devices to which a body has messages.
pub(super) fn devices_with_messages(body: &str) -> BTreeSet<(String, String)> {
    let Ok(Value::Object(body)) = Value::parse(body) else { return BTreeSet::new() };
    let messages = body.get_array(TO_DEVICE).unwrap_or_default().iter().filter_map(Value::as_object);
    let target = |message: &Object| {
        Some((message.get_str("to_user_id")?.to_owned(), message.get_str("to_device_id")?.to_owned()))
    };
    messages.filter_map(target).collect()
}

/// Returns the messages for devices among entries of the log.
pub(super) fn messages(entries: &[(Position, LogContent)]) -> Vec<TargetedMessage> {
    let target = |(_, content): &(Position, LogContent)| match content {
        LogContent::ToDevice { target, .. } => Some(target.clone()),
        LogContent::Event { .. } | LogContent::DeviceList(_) => None,
    };
    entries.iter().filter_map(target).collect()
}

/// A transaction as it is sent, and repeated until it is accepted.
#[derive(Debug, Clone)]
pub(super) struct PreparedTransaction {
    pub(super) txn_id: String,
    /// With it, the service has everything up to here.
    pub(super) upto: Position,
    pub(super) body: Arc<str>,
    /// The messages for devices that it holds.
    pub(super) messages: Vec<TargetedMessage>,
}
