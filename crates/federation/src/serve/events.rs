//! Reads the events that are returned to other servers.

use std::collections::HashMap;

use plexus_protocol::event::{Pdu, redact};
use plexus_protocol::id::EventId;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::ErasedUsers;
use plexus_rooms::model::room::Room;
use plexus_rooms::model::stored_events;
use plexus_store::repo::event_graph::{self, GraphEvent};
use plexus_store::repo::events::Verdict;
use plexus_store::{DbError, EventNid, RoomNid, Tx, event_key};

/// A stored event.
pub(super) struct FoundEvent {
    pub row: GraphEvent,
    pub pdu: Pdu,
}

impl FoundEvent {
    /// Parses a row. Returns `None`, and logs it, if the event cannot be read.
    fn new(row: GraphEvent, version: RoomVersion) -> Option<Self> {
        let pdu = plexus_store::readable(parse(&row, version))?;
        Some(Self { row, pdu })
    }

    /// Whether the event is in the room's graph.
    pub(crate) fn is_placed(&self) -> bool {
        self.row.known.snapshot_nid.is_some()
    }

    /// Whether the event is rejected. Rejected events are not returned.
    pub(crate) fn is_rejected(&self) -> bool {
        self.row.known.verdict == Verdict::Rejected
    }

    /// Returns the event's JSON, redacted if it was redacted or is not `visible`.
    pub(crate) fn into_json(self, visible: bool) -> String {
        if visible && self.row.redacted_by.is_none() {
            self.pdu.json().to_owned()
        } else {
            redact::redact(&self.pdu).json().to_owned()
        }
    }
}

/// Returns events of a room by id, including outliers and rejected events. Unknown and unreadable events and events of
/// other rooms are left out.
pub(super) fn by_ids(
    tx: &mut Tx<'_>,
    room: (RoomNid, RoomVersion),
    ids: &[EventId],
) -> Result<Vec<FoundEvent>, DbError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let (room, version) = room;
    let keys: Vec<Vec<u8>> = ids.iter().map(event_key::encode).collect();
    let mut found = Vec::with_capacity(ids.len());
    for row in event_graph::by_ids(tx, &keys)? {
        // Ids of different room versions may have the same stored form.
        if row.known.room_nid == room
            && let Some(event) = FoundEvent::new(row, version)
            && ids.contains(event.pdu.event_id())
        {
            found.push(event);
        }
    }
    Ok(found)
}

/// Returns the JSON of events of the room, in the order given. Redacted events are returned redacted, and so are member
/// events that erased users sent or that are about them: a redacted copy still has the membership and the event id,
/// without names and reasons.
///
/// # Errors
/// When one of them cannot be read: an incomplete state or auth chain would be taken for a complete one.
pub async fn pdus(room: &Room, nids: &[EventNid]) -> Result<Vec<String>, DbError> {
    read_pdus(room, nids).await?.into_iter().collect()
}

/// Like [`pdus`], without events that cannot be read.
pub(super) async fn readable_pdus(room: &Room, nids: &[EventNid]) -> Result<Vec<String>, DbError> {
    Ok(read_pdus(room, nids).await?.into_iter().filter_map(plexus_store::readable).collect())
}

async fn read_pdus(room: &Room, nids: &[EventNid]) -> Result<Vec<Result<String, DbError>>, DbError> {
    let (wanted, version, erased) = (nids.to_vec(), room.version, room.erased.clone());
    room.db
        .read(move |tx| {
            let rows = event_graph::by_nids(tx, &wanted)?;
            let mut rows: HashMap<EventNid, GraphEvent> =
                rows.into_iter().map(|row| (row.known.event_nid, row)).collect();
            let json = |row: GraphEvent| {
                if row.redacted_by.is_none() && !is_erased_member(&row, version, &erased) {
                    return row.json.map_err(|error| stored_events::bad_event(row.known.event_nid, error));
                }
                Ok(redact::redact(&parse(&row, version)?).json().to_owned())
            };
            Ok(wanted.iter().filter_map(|nid| rows.remove(nid)).map(json).collect())
        })
        .await
}

/// The keys of a member event's content, beside `membership`, that the authorization rules read.
const READ_BY_AUTH_RULES: [&str; 2] = ["third_party_invite", "join_authorised_via_users_server"];

/// Whether the row is a member event that is returned redacted because its sender or its target has been erased.
fn is_erased_member(row: &GraphEvent, version: RoomVersion, erased: &ErasedUsers) -> bool {
    if erased.is_empty() || !row.json.as_ref().is_ok_and(|json| json.contains("m.room.member")) {
        return false;
    }
    parse(row, version).is_ok_and(|pdu| hides_member(&pdu, |user| erased.contains(user)))
}

/// Whether a member event is returned redacted, given which users have been erased. It is not if its redacted form
/// lacks keys that the authorization rules read: other servers would reject it and the events that depend on it.
fn hides_member(pdu: &Pdu, is_erased: impl Fn(&str) -> bool) -> bool {
    if pdu.event_type() != "m.room.member"
        || !(is_erased(pdu.sender().as_str()) || pdu.state_key().is_some_and(is_erased))
    {
        return false;
    }
    let redacted = redact::redacted_content(pdu.event_type(), pdu.content(), &pdu.rules().redaction);
    READ_BY_AUTH_RULES.iter().all(|key| redacted.get(key) == pdu.content().get(key))
}

/// Parses the event of a row, which is not redacted.
pub(super) fn parse(row: &GraphEvent, version: RoomVersion) -> Result<Pdu, DbError> {
    stored_events::parse_event((row.known.event_nid, &row.known.event_id), &row.json, version)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn member(version: RoomVersion, content: Value) -> Pdu {
        let event = json!({
            "type": "m.room.member",
            "room_id": "!room:example.org",
            "sender": "@sender:example.org",
            "state_key": "@target:example.org",
            "content": content,
            "origin_server_ts": 1,
            "depth": 2,
            "prev_events": [],
            "auth_events": [],
            "hashes": {"sha256": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
            "signatures": {},
        });
        let id = "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
        Pdu::from_stored(&event.to_string(), id, version).unwrap()
    }

    #[test]
    fn member_events_of_erased_users_are_hidden_unless_the_authorization_rules_need_them() {
        let invite = member(RoomVersion::V10, json!({"membership": "invite", "displayname": "Target"}));
        assert!(hides_member(&invite, |user| user == "@sender:example.org"));
        assert!(hides_member(&invite, |user| user == "@target:example.org"));
        assert!(!hides_member(&invite, |user| user == "@other:example.org"));
        let authorised = json!({"membership": "join", "join_authorised_via_users_server": "@target:example.org"});
        assert!(!hides_member(&member(RoomVersion::V8, authorised.clone()), |_| true));
        assert!(hides_member(&member(RoomVersion::V9, authorised), |_| true));
        let redeemed = json!({"membership": "invite", "third_party_invite": {"signed": {}, "display_name": "T"}});
        assert!(!hides_member(&member(RoomVersion::V10, redeemed), |_| true));
    }
}
