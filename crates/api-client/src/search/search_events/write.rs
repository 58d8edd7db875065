//! Writes the response.

use std::collections::BTreeMap;
use std::sync::Arc;

use plexus_http::ApiError;
use plexus_protocol::id::RoomId;
use plexus_protocol::json::ObjectWriter;
use plexus_rooms::timeline::{self, Access};
use plexus_rooms::{ClientFormat, Room};
use plexus_service::event_json::{push_event, push_state};
use plexus_service::search::{FoundEvent, FoundPage, SearchOrder};

use super::context::push_context;
use super::request::{Batch, Criteria};

/// The parts of the response.
pub(super) struct Response<'a> {
    pub(super) criteria: &'a Criteria,
    pub(super) page: &'a FoundPage,
    pub(super) format: ClientFormat<'a>,
    /// The group that is paged.
    pub(super) group_room: Option<&'a RoomId>,
}

impl Response<'_> {
    pub(super) async fn write(&self) -> Result<String, ApiError> {
        let Self { criteria, page, .. } = self;
        let mut out = String::from("{\"search_categories\":{\"room_events\":");
        let mut body = ObjectWriter::open(&mut out);
        body.number("count", page.count);
        body.strings("highlights", page.highlights.iter().map(String::as_str));
        self.push_results(body.key("results")).await?;
        if criteria.include_state {
            self.push_states(body.key("state")).await?;
        }
        if criteria.by_room || criteria.by_sender {
            self.push_groups(body.key("groups"));
        }
        if let Some(next) = page.next {
            body.string("next_batch", &Batch::write(next, self.group_room));
        }
        body.close();
        out.push_str("}}");
        Ok(out)
    }

    async fn push_results(&self, out: &mut String) -> Result<(), ApiError> {
        out.push('[');
        for (at, found) in self.page.events.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            let mut result = ObjectWriter::open(out);
            result.number("rank", found.rank);
            push_event(result.key("result"), &found.room, &self.format, &found.event).await?;
            if let Some(size) = self.criteria.context {
                push_context(result.key("context"), found, &self.format, size).await?;
            }
            result.close();
        }
        out.push(']');
        Ok(())
    }

    /// Appends the state of each room with results: the present one, or that when the user left.
    async fn push_states(&self, out: &mut String) -> Result<(), ApiError> {
        let mut rooms: BTreeMap<&RoomId, (&Arc<Room>, Access)> = BTreeMap::new();
        for found in &self.page.events {
            rooms.insert(&found.room.id, (&found.room, found.access));
        }
        let mut states = ObjectWriter::open(out);
        for (id, (room, access)) in rooms {
            let last = room.view().position;
            let state = match timeline::state_position(self.format.user, room, access, last).await? {
                Some(position) => timeline::state_at(room, position).await?,
                None => Vec::new(),
            };
            push_state(states.key(id.as_str()), room, &self.format, state).await?;
        }
        states.close();
        Ok(())
    }

    fn push_groups(&self, out: &mut String) {
        let mut groups = ObjectWriter::open(out);
        if self.criteria.by_room {
            self.push_group(groups.key("room_id"), true, |found| found.room.id.as_str());
        }
        if self.criteria.by_sender {
            self.push_group(groups.key("sender"), false, |found| found.event.event.pdu.sender().as_str());
        }
        groups.close();
    }

    /// Appends the results by a key, groups in the order of their first results. Rooms can be paged by themselves when
    /// the newest events come first.
    fn push_group(&self, out: &mut String, is_room: bool, key: impl for<'f> Fn(&'f FoundEvent) -> &'f str) {
        let mut groups: Vec<(&str, Vec<&FoundEvent>)> = Vec::new();
        for found in &self.page.events {
            let key = key(found);
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, events)) => events.push(found),
                None => groups.push((key, vec![found])),
            }
        }
        let next = self.page.next.filter(|_| is_room && self.criteria.order == SearchOrder::Recent);
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
