//! The body of a `send_join` or `state` response: what is read does not depend on how the body is cut into chunks, and
//! agrees with reading it as a whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plexus_federation::peers::{StatePart, StateReader};
use plexus_protocol::event::Pdu;
use plexus_protocol::rules::RoomVersion;

/// The events and other parts, in order; `None` when the body is malformed.
fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Option<Vec<String>> {
    let mut reader = StateReader::new();
    let mut seen = Vec::new();
    for chunk in chunks {
        reader.read(chunk).ok()?;
        while let Some(part) = reader.next_part() {
            note(&part, &mut seen);
        }
    }
    if let Some(part) = reader.finish().ok()? {
        note(&part, &mut seen);
    }
    Some(seen)
}

fn note(part: &StatePart, seen: &mut Vec<String>) {
    match part {
        StatePart::Join(event) => seen.push(format!("join {}", event.get())),
        StatePart::MembersOmitted => seen.push("members omitted".to_owned()),
        StatePart::Servers(names) => seen.push(format!("servers {names:?}")),
        StatePart::State(events) => seen.extend(events.iter().map(|event| format!("state {}", event.get()))),
        StatePart::AuthChain(events) => seen.extend(events.iter().map(|event| format!("auth {}", event.get()))),
    }
}

fuzz_target!(|data: (u8, u8, &[u8])| {
    let (size, version, body) = data;
    let whole = read(std::iter::once(body));
    let chunked = read(body.chunks(usize::from(size).max(1)));
    assert_eq!(whole, chunked);
    let Some(parts) = whole else { return };
    let version = RoomVersion::ALL[usize::from(version) % RoomVersion::ALL.len()];
    for event in parts.iter().filter_map(|part| part.split_once(' ')).map(|(_, event)| event) {
        let _ = Pdu::parse_remote(event, version);
    }
});
