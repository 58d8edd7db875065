//! Bundled aggregations: what clients are told of an event's edits, references and thread along with the event.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use plexus_protocol::id::{EventId, UserId};
use plexus_protocol::json::write_string;
use plexus_store::repo::relations::Related;
use plexus_store::{DbError, EventNid, event_key, repo};

use crate::model::room::Room;
use crate::model::stored_events;
use crate::model::timeline_event::{ClientFormat, TimelineEvent};
use crate::read::timeline::without_erased;
use plexus_protocol::event::relation::relates_to;

/// What an event's `unsigned.m.relations` is made from.
#[derive(Default)]
struct Aggregation {
    /// The newest valid edit.
    edit: Option<EventNid>,
    references: Vec<EventNid>,
    /// The thread's newest event, how many there are, and whether the reader is among their senders.
    thread: Option<(EventNid, u64, bool)>,
}

/// For each of `events` that has any, the JSON of its `unsigned.m.relations`: of what the reader may see, who is named
/// in `format`.
pub async fn bundle(
    room: &Room,
    format: &ClientFormat<'_>,
    events: &[Arc<TimelineEvent>],
) -> Result<HashMap<EventNid, String>, DbError> {
    let targets = possible_targets(room, events);
    if targets.is_empty() {
        return Ok(HashMap::new());
    }
    let (nid, version) = (room.nid, room.version);
    let related = room.db.read(move |tx| repo::relations::of_targets(tx, nid, &targets)).await?;
    let related = super::seen(room, format.user, related).await?;
    if related.is_empty() {
        return Ok(HashMap::new());
    }
    let aggregations = aggregate(events, &related, format.user);
    let mut wanted: Vec<EventNid> = Vec::new();
    for aggregation in aggregations.values() {
        wanted.extend(aggregation.edit);
        wanted.extend(&aggregation.references);
        wanted.extend(aggregation.thread.map(|(latest, ..)| latest));
    }
    let others = room.db.read(move |tx| stored_events::by_nids(tx, version, &wanted)).await?;
    let others = without_erased(format.user, room, others).await?;
    let others: HashMap<EventNid, Arc<TimelineEvent>> = others.into_iter().map(|event| (event.nid, event)).collect();
    let written = events.iter().filter_map(|event| {
        let aggregation = aggregations.get(&event.nid)?;
        Some((event.nid, write(aggregation, event, &others, format)?))
    });
    Ok(written.collect())
}

/// The stored ids of those events that something may relate to. What relates to an event comes after it: for recent events
/// memory knows.
fn possible_targets(room: &Room, events: &[Arc<TimelineEvent>]) -> Vec<Vec<u8>> {
    let view = room.view();
    let oldest = events.iter().map(|event| event.position).min().unwrap_or(0);
    let related_to: Option<HashSet<EventId>> = (oldest >= view.recent_after).then(|| {
        let later = view.recent.iter().filter(|event| event.position > oldest);
        later.filter_map(|event| Some(relates_to(event.pdu.content())?.0)).collect()
    });
    events
        .iter()
        .filter(|event| !event.is_redacted && event.pdu.state_key().is_none())
        .map(|event| event.pdu.event_id())
        .filter(|id| related_to.as_ref().is_none_or(|targets| targets.contains(*id)))
        .map(event_key::encode)
        .collect()
}

fn aggregate(events: &[Arc<TimelineEvent>], related: &[Related], reader: &UserId) -> HashMap<EventNid, Aggregation> {
    let by_key: HashMap<Vec<u8>, &Arc<TimelineEvent>> =
        events.iter().map(|event| (event_key::encode(event.pdu.event_id()), event)).collect();
    let mut aggregations: HashMap<EventNid, Aggregation> = HashMap::new();
    for other in related {
        let Some(event) = by_key.get(&other.target) else { continue };
        let aggregation = aggregations.entry(event.nid).or_default();
        match &*other.rel_type {
            // "Validity of replacement events": same sender, same type.
            b"m.replace"
                if other.sender == event.pdu.sender().as_str()
                    && other.event_type == event.pdu.event_type().as_bytes() =>
            {
                aggregation.edit = Some(other.event_nid);
            }
            b"m.reference" => aggregation.references.push(other.event_nid),
            b"m.thread" => {
                let own = other.sender == reader.as_str();
                let (_, count, took_part) = aggregation.thread.unwrap_or((0, 0, event.pdu.sender() == reader));
                aggregation.thread = Some((other.event_nid, count + 1, took_part || own));
            }
            _ => {}
        }
    }
    aggregations
}

fn write(
    aggregation: &Aggregation,
    event: &TimelineEvent,
    others: &HashMap<EventNid, Arc<TimelineEvent>>,
    format: &ClientFormat<'_>,
) -> Option<String> {
    let mut members: Vec<String> = Vec::new();
    let format = ClientFormat { room_id: true, ..*format };
    let edit = aggregation.edit.and_then(|nid| others.get(&nid)).filter(|edit| {
        // What is encrypted has its new content inside.
        (edit.pdu.event_type() == "m.room.encrypted" || edit.pdu.content().get_object("m.new_content").is_some())
            && relates_to(event.pdu.content()).is_none_or(|(_, rel_type)| rel_type != "m.replace")
    });
    if let Some(edit) = edit {
        let mut out = String::from("\"m.replace\":");
        edit.write_client(&mut out, &format, None, None);
        members.push(out);
    }
    let references: Vec<_> = aggregation.references.iter().filter_map(|nid| others.get(nid)).collect();
    if !references.is_empty() {
        let mut out = String::from("\"m.reference\":{\"chunk\":[");
        for (at, reference) in references.iter().enumerate() {
            out.push_str(if at == 0 { "{\"event_id\":" } else { ",{\"event_id\":" });
            write_string(reference.pdu.event_id().as_str(), &mut out);
            out.push('}');
        }
        out.push_str("]}");
        members.push(out);
    }
    if let Some((latest, count, took_part)) = aggregation.thread
        && let Some(latest) = others.get(&latest)
    {
        let mut out = String::from("\"m.thread\":{\"latest_event\":");
        latest.write_client(&mut out, &format, None, None);
        out.push_str(&format!(",\"count\":{count},\"current_user_participated\":{took_part}}}"));
        members.push(out);
    }
    (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
}
