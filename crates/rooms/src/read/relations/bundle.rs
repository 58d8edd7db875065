//! Bundled aggregations: the edits, references and thread that clients get together with an event
//! (<https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events>).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use plexus_protocol::event::relation::relates_to;
use plexus_protocol::id::{EventId, UserId};
use plexus_protocol::json::write_string;
use plexus_store::repo::relations::{self, Related, RelatedCount};
use plexus_store::{DbError, EventNid, RoomNid, Tx, event_key};

use crate::model::room::Room;
use crate::model::stored_events;
use crate::model::timeline_event::{ClientFormat, TimelineEvent};
use crate::read::timeline::without_erased;

const EDIT: &[u8] = b"m.replace";
const REFERENCE: &[u8] = b"m.reference";
const THREAD: &[u8] = b"m.thread";

/// The maximum number of an event's edits that are compared, those that arrived last.
const MAX_EDITS: usize = 50;
/// The maximum number of references, and of replies in a thread, that are read. Older references are left out; older
/// replies are counted even if the reader may not see them.
const MAX_RELATED: usize = 1_000;

/// The aggregation of an event's relations, for `unsigned.m.relations`.
#[derive(Default)]
struct Aggregation {
    /// Edits by the event's sender.
    edits: Vec<EventNid>,
    references: Vec<EventNid>,
    thread: Option<Thread>,
}

struct Thread {
    latest: EventNid,
    replies: u64,
    /// Whether the reader has sent the root or one of the replies.
    took_part: bool,
}

/// An event that others may relate to.
struct Target {
    key: Vec<u8>,
    sender: UserId,
}

/// The related events of some events.
#[derive(Default)]
struct Found {
    /// In the order of the timeline.
    related: Vec<Related>,
    /// The number of replies that are not in `related`, by the thread's root.
    older_replies: HashMap<Vec<u8>, u64>,
    /// The targets in whose threads the reader has replied.
    took_part: HashSet<Vec<u8>>,
}

impl Found {
    fn read(tx: &mut Tx<'_>, room: RoomNid, reader: &UserId, targets: &[Target]) -> Result<Self, DbError> {
        let keys: Vec<Vec<u8>> = targets.iter().map(|target| target.key.clone()).collect();
        let types = [EDIT, REFERENCE, THREAD].map(<[u8]>::to_vec);
        let mut found = Self::default();
        for RelatedCount { target, rel_type, count } in relations::counts(tx, room, &keys, &types)? {
            let Some(Target { key, sender }) = targets.iter().find(|it| it.key == target) else { continue };
            // "Validity of replacement events": only the sender's.
            let related = match &*rel_type {
                EDIT => relations::newest_of_sender(tx, room, key, sender.as_str(), EDIT, MAX_EDITS)?,
                other => relations::newest(tx, room, key, other, MAX_RELATED)?,
            };
            if rel_type == THREAD {
                let own = relations::newest_of_sender(tx, room, key, reader.as_str(), THREAD, 1)?;
                found.took_part.extend(own.into_iter().map(|reply| reply.target));
                found.older_replies.insert(target, count.saturating_sub(related.len() as u64));
            }
            found.related.extend(related);
        }
        found.related.sort_by_key(|other| other.position);
        if !found.older_replies.is_empty() {
            let ignored = super::ignored_by(tx, reader)?;
            found.related.retain(|other| other.rel_type != THREAD || !ignored.contains(&other.sender));
        }
        Ok(found)
    }
}

/// The aggregations of some events, and the events that they show.
#[derive(Default)]
struct Aggregations {
    by_event: HashMap<EventNid, Aggregation>,
    others: HashMap<EventNid, Arc<TimelineEvent>>,
}

impl Aggregations {
    async fn read(room: &Room, format: &ClientFormat<'_>, events: &[Arc<TimelineEvent>]) -> Result<Self, DbError> {
        let targets = possible_targets(room, events);
        if targets.is_empty() {
            return Ok(Self::default());
        }
        let (nid, version, reader) = (room.nid, room.version, format.user.clone());
        let Found { related, older_replies, took_part } =
            room.db.read(move |tx| Found::read(tx, nid, &reader, &targets)).await?;
        let related = super::visible(room, format.user, related).await?;
        if related.is_empty() {
            return Ok(Self::default());
        }
        let mut by_event = aggregate(events, &related);
        for event in events {
            let key = event_key::encode(event.pdu.event_id());
            if let Some(thread) = by_event.get_mut(&event.nid).and_then(|found| found.thread.as_mut()) {
                thread.replies += older_replies.get(&key).copied().unwrap_or(0);
                thread.took_part = event.pdu.sender() == format.user || took_part.contains(&key);
            }
        }
        let mut wanted: Vec<EventNid> = Vec::new();
        for aggregation in by_event.values() {
            wanted.extend(&aggregation.edits);
            wanted.extend(&aggregation.references);
            wanted.extend(aggregation.thread.as_ref().map(|thread| thread.latest));
        }
        let others = room.db.read(move |tx| stored_events::by_nids(tx, version, &wanted)).await?;
        let others = without_erased(format.user, room, others).await?;
        Ok(Self { by_event, others: others.into_iter().map(|event| (event.nid, event)).collect() })
    }

    /// Returns the newest replies of the threads.
    fn latest_replies(&self) -> Vec<Arc<TimelineEvent>> {
        let threads = self.by_event.values().filter_map(|aggregation| aggregation.thread.as_ref());
        threads.filter_map(|thread| self.others.get(&thread.latest).cloned()).collect()
    }

    /// Returns the JSON of the events' aggregations. `of_replies`: those of the newest replies of threads.
    fn write(
        &self,
        events: &[Arc<TimelineEvent>],
        format: &ClientFormat<'_>,
        of_replies: &HashMap<EventNid, String>,
    ) -> HashMap<EventNid, String> {
        let written = events.iter().filter_map(|event| {
            let aggregation = self.by_event.get(&event.nid)?;
            Some((event.nid, write(aggregation, event, &self.others, format, of_replies)?))
        });
        written.collect()
    }
}

/// Returns the JSON of `unsigned.m.relations` for each event that has relations visible to the reader (`format.user`).
///
/// # Errors
/// When the database fails.
pub async fn bundle(
    room: &Room,
    format: &ClientFormat<'_>,
    events: &[Arc<TimelineEvent>],
) -> Result<HashMap<EventNid, String>, DbError> {
    let found = Aggregations::read(room, format, events).await?;
    // A reply is in no thread of its own, so this goes no deeper.
    let replies = found.latest_replies();
    let of_replies = Aggregations::read(room, format, &replies).await?.write(&replies, format, &HashMap::new());
    Ok(found.write(events, format, &of_replies))
}

/// Returns the events that others may relate to. Related events come later, so that memory decides for recent events.
fn possible_targets(room: &Room, events: &[Arc<TimelineEvent>]) -> Vec<Target> {
    let view = room.view();
    let oldest = events.iter().map(|event| event.position).min().unwrap_or(0);
    let related_to: Option<HashSet<EventId>> = (oldest >= view.recent_after).then(|| {
        let later = view.recent.iter().filter(|event| event.position > oldest);
        later.filter_map(|event| Some(relates_to(event.pdu.content())?.0)).collect()
    });
    events
        .iter()
        .filter(|event| !event.is_redacted && event.pdu.state_key().is_none())
        .map(|event| &event.pdu)
        .filter(|pdu| related_to.as_ref().is_none_or(|targets| targets.contains(pdu.event_id())))
        .map(|pdu| Target { key: event_key::encode(pdu.event_id()), sender: pdu.sender().clone() })
        .collect()
}

fn aggregate(events: &[Arc<TimelineEvent>], related: &[Related]) -> HashMap<EventNid, Aggregation> {
    let by_key: HashMap<Vec<u8>, &Arc<TimelineEvent>> =
        events.iter().map(|event| (event_key::encode(event.pdu.event_id()), event)).collect();
    let mut aggregations: HashMap<EventNid, Aggregation> = HashMap::new();
    for other in related {
        let Some(event) = by_key.get(&other.target) else { continue };
        let aggregation = aggregations.entry(event.nid).or_default();
        match &*other.rel_type {
            // "Validity of replacement events": same sender, same type.
            EDIT if other.sender == event.pdu.sender().as_str()
                && other.event_type == event.pdu.event_type().as_bytes() =>
            {
                aggregation.edits.push(other.event_nid);
            }
            REFERENCE => aggregation.references.push(other.event_nid),
            THREAD => {
                let replies = aggregation.thread.as_ref().map_or(0, |thread| thread.replies);
                let latest = other.event_nid;
                aggregation.thread = Some(Thread { latest, replies: replies + 1, took_part: false });
            }
            _ => {}
        }
    }
    aggregations
}

/// Whether an edit has what replaces the content: that of an encrypted one is encrypted, too.
fn is_valid(edit: &TimelineEvent) -> bool {
    let pdu = &edit.pdu;
    let has_content = pdu.event_type() == "m.room.encrypted" || pdu.content().get_object("m.new_content").is_some();
    has_content && pdu.state_key().is_none()
}

fn write(
    aggregation: &Aggregation,
    event: &TimelineEvent,
    others: &HashMap<EventNid, Arc<TimelineEvent>>,
    format: &ClientFormat<'_>,
    of_replies: &HashMap<EventNid, String>,
) -> Option<String> {
    let mut members: Vec<String> = Vec::new();
    let format = ClientFormat { room_id: true, ..*format };
    let is_edit = relates_to(event.pdu.content()).is_some_and(|(_, rel_type)| rel_type == "m.replace");
    let edits = aggregation.edits.iter().filter_map(|nid| others.get(nid)).filter(|edit| !is_edit && is_valid(edit));
    let latest = edits.max_by_key(|edit| (edit.pdu.origin_server_ts(), edit.pdu.event_id().as_str()));
    if let Some(edit) = latest {
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
    if let Some(Thread { latest, replies, took_part }) = &aggregation.thread
        && let Some(latest) = others.get(latest)
    {
        let mut out = String::from("\"m.thread\":{\"latest_event\":");
        latest.write_client(&mut out, &format, None, of_replies.get(&latest.nid).map(String::as_str));
        out.push_str(&format!(",\"count\":{replies},\"current_user_participated\":{took_part}}}"));
        members.push(out);
    }
    (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
}
