//! Writes the response.

use std::collections::BTreeMap;

use plexus_http::ApiError;
use plexus_protocol::id::RoomId;
use plexus_protocol::json::ObjectWriter;
use plexus_rooms::ClientFormat;
use plexus_rooms::timeline;
use plexus_service::event_json::{push_event, push_state};
use plexus_service::search::{FoundEvent, FoundPage, SearchOrder};

use plexus_sync::UserSettings;

use super::context::push_context;
use super::request::{Batch, Criteria};

/// The size of a response after which its page ends, in bytes. One more result and its room's state may be in it.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The parts of the response.
pub(super) struct Response<'a> {
    pub(super) criteria: &'a Criteria,
    pub(super) settings: &'a UserSettings,
    pub(super) format: ClientFormat<'a>,
    /// The group that is paged.
    pub(super) group_room: Option<&'a RoomId>,
}

impl Response<'_> {
    /// Writes the response. A page that is too large ends early.
    pub(super) async fn write(&self, mut page: FoundPage) -> Result<String, ApiError> {
        let criteria = self.criteria;
        let mut out = String::from("{\"search_categories\":{\"room_events\":");
        let mut body = ObjectWriter::open(&mut out);
        let states = self.push_results(body.key("results"), &mut page).await?;
        body.number("count", page.count);
        body.strings("highlights", page.highlights());
        if criteria.include_state {
            let mut written = ObjectWriter::open(body.key("state"));
            for (id, state) in &states {
                written.raw(id.as_str(), state);
            }
            written.close();
        }
        if criteria.by_room || criteria.by_sender {
            self.push_groups(body.key("groups"), &page);
        }
        if let Some(next) = page.next {
            body.string("next_batch", &Batch::write(next, self.group_room));
        }
        body.close();
        out.push_str("}}");
        Ok(out)
    }

    /// Appends the results as far as they fit, and leaves the others to the next page. Returns the states of their
    /// rooms, if they are wanted.
    async fn push_results(&self, out: &mut String, page: &mut FoundPage) -> Result<BTreeMap<RoomId, String>, ApiError> {
        let mut states: BTreeMap<RoomId, String> = BTreeMap::new();
        let (mut state_bytes, mut written) = (0, 0);
        out.push('[');
        for found in &page.events {
            if written > 0 {
                if out.len() + state_bytes > MAX_BYTES {
                    break;
                }
                out.push(',');
            }
            let mut result = ObjectWriter::open(out);
            result.number("rank", found.rank);
            push_event(result.key("result"), &found.room, &self.format, &found.event).await?;
            if let Some(size) = self.criteria.context {
                push_context(result.key("context"), found, self.settings, &self.format, size).await?;
            }
            result.close();
            if self.criteria.include_state && !states.contains_key(&found.room.id) {
                let state = self.state(found).await?;
                state_bytes += state.len();
                states.insert(found.room.id.clone(), state);
            }
            written += 1;
        }
        out.push(']');
        page.truncate(written);
        Ok(states)
    }

    /// Writes the state of a result's room: the present one, or that when the user left.
    async fn state(&self, found: &FoundEvent) -> Result<String, ApiError> {
        let room = &found.room;
        let last = room.view().position;
        let state = match timeline::state_position(self.format.user, room, found.access, last).await? {
            Some(position) => timeline::state_at(room, position).await?,
            None => Vec::new(),
        };
        let mut out = String::new();
        push_state(&mut out, room, &self.format, state).await?;
        Ok(out)
    }

    fn push_groups(&self, out: &mut String, page: &FoundPage) {
        let mut groups = ObjectWriter::open(out);
        if self.criteria.by_room {
            self.push_group(groups.key("room_id"), page, true, |found| found.room.id.as_str());
        }
        if self.criteria.by_sender {
            self.push_group(groups.key("sender"), page, false, |found| found.event.event.pdu.sender().as_str());
        }
        groups.close();
    }

    /// Appends the results by a key, groups in the order of their first results. Rooms can be paged by themselves when
    /// the newest events come first.
    fn push_group(
        &self,
        out: &mut String,
        page: &FoundPage,
        is_room: bool,
        key: impl for<'f> Fn(&'f FoundEvent) -> &'f str,
    ) {
        let mut groups: Vec<(&str, Vec<&FoundEvent>)> = Vec::new();
        for found in &page.events {
            let key = key(found);
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, events)) => events.push(found),
                None => groups.push((key, vec![found])),
            }
        }
        let next = page.next.filter(|_| is_room && self.criteria.order == SearchOrder::Recent);
        let mut written = ObjectWriter::open(out);
        for (order, (key, events)) in groups.iter().enumerate() {
            let mut group = ObjectWriter::open(written.key(key));
            group.number("order", order);
            group.strings("results", events.iter().map(|found| found.event.event.pdu.event_id().as_str()));
            if let (Some(next), Some(first)) = (next, events.first()) {
                group.string("next_batch", &Batch::write(next, Some(&first.room.id)));
            }
            group.close();
        }
        written.close();
    }
}
