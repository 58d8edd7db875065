//! `GET /_matrix/client/v3/initialSync`: all rooms of a user with their state and last events
//! (<https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync>).

use std::collections::HashSet;
use std::sync::Arc;

use plexus_protocol::event::client::basic_event_json;
use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::json::ObjectWriter;
use plexus_protocol::membership::Membership;
use plexus_rooms::{ClientFormat, TimelineEvent};
use plexus_store::{DbError, RoomNid, repo};

use crate::SyncEngine;
use crate::delta::{
    AccountData, DeltaRequest, EventList, ProfileFields, RoomDelta, RoomSink, StrippedRoomDelta, SyncDelta,
    TimelineDelta,
};
use crate::filter::Filter;
use crate::presence;
use crate::token::SyncToken;

/// The most events of one room.
const MAX_EVENTS_OF_ROOM: u64 = 100;

/// A request for all rooms of a user.
#[derive(Debug)]
pub struct InitialSyncRequest {
    /// The user who asks.
    pub user: UserId,
    /// The most events of one room.
    pub limit: u64,
    /// Whether rooms that the user has left are wanted too.
    pub archived: bool,
}

impl SyncEngine {
    /// Returns the body of the response of `/initialSync`, JSON.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn initial_sync(&self, request: InitialSyncRequest) -> Result<String, DbError> {
        let mut filter = Filter::default();
        filter.room.include_leave = request.archived;
        filter.room.timeline.event.limit = Some(request.limit.min(MAX_EVENTS_OF_ROOM));
        let request = DeltaRequest {
            user: request.user,
            // The messages for a device are left to `/sync`, which acknowledges them.
            device: None,
            since: None,
            filter: Arc::new(filter),
            full_state: true,
            state_after: true,
            profiles: ProfileFields::None,
            sticky: false,
        };
        let parts = self.deltas().parts();
        let now_ms = parts.clock.now_ms();
        let format = ClientFormat { user: &request.user, device_id: None, now_ms, room_id: true };
        let own: Vec<RoomNid> = parts.rooms.memberships().of(&request.user).await?.iter().map(|it| it.room).collect();
        let published = parts.db.read(move |tx| repo::rooms::published_among(tx, &own)).await?;
        let published = parts.rooms.ids(&published).await?.into_iter().collect();
        let rooms = RoomInfos { format, published, rooms: Vec::new() };
        let delta = self.deltas().read(&request, self.now(), rooms).await?;
        // The response has no place for sticky events: they come with the first `/sync` that goes on from here.
        let sticky = (!parts.rooms.sticky_events().is_empty()).then_some(0);
        let end = SyncToken { sticky, ..delta.upto.token() };
        Ok(response(&delta, end, now_ms))
    }
}

fn response(delta: &SyncDelta<RoomInfos<'_>>, end: SyncToken, now_ms: u64) -> String {
    let mut body = String::new();
    let mut members = ObjectWriter::open(&mut body);
    members.string("end", &end.to_string());
    write_account_data(&mut members, &delta.account_data);
    let presence: Vec<String> = delta.presence.iter().map(|(user, view)| presence::event(user, view, now_ms)).collect();
    members.array("presence", presence.iter().map(String::as_str));
    members.array("rooms", delta.rooms.rooms.iter().map(String::as_str));
    members.close();
    body
}

/// Writes rooms as they are read.
struct RoomInfos<'w> {
    format: ClientFormat<'w>,
    /// Those of the user's rooms that are in the room directory.
    published: HashSet<RoomId>,
    /// JSON
    rooms: Vec<String>,
}

impl RoomSink for RoomInfos<'_> {
    fn add(&mut self, room_id: &RoomId, room: RoomDelta) {
        let mut json = String::new();
        let mut info = ObjectWriter::open(&mut json);
        info.string("room_id", room_id.as_str());
        info.string("visibility", if self.published.contains(room_id) { "public" } else { "private" });
        match room {
            RoomDelta::Joined(room) => {
                info.string("membership", Membership::Join.as_str());
                self.write_contents(&mut info, &room.state, &room.timeline, &room.account_data);
            }
            RoomDelta::Left(room) => {
                let own = room.timeline.events.iter().rev().chain(room.state.iter()).find(|event| self.is_own(event));
                let membership = own.and_then(|event| Membership::of(&event.pdu)).unwrap_or(Membership::Leave);
                info.string("membership", membership.as_str());
                self.write_contents(&mut info, &room.state, &room.timeline, &room.account_data);
            }
            RoomDelta::Invited(StrippedRoomDelta { member, .. }) => {
                info.string("membership", Membership::Invite.as_str());
                info.string("inviter", member.pdu.sender().as_str());
                member.write_client(info.key("invite"), &self.format, None, None);
            }
            // The endpoint is older than knocks.
            RoomDelta::Knocked(_) => return,
        }
        info.close();
        self.rooms.push(json);
    }

    fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }
}

impl RoomInfos<'_> {
    fn write_contents(
        &self,
        info: &mut ObjectWriter<'_>,
        state: &EventList,
        timeline: &TimelineDelta,
        account_data: &[AccountData],
    ) {
        let mut messages = ObjectWriter::open(info.key("messages"));
        let last = timeline.events.last().map_or(timeline.prev_batch.position, |last| last.position);
        messages.string("start", &timeline.prev_batch.to_string());
        messages.string("end", &SyncToken { position: last, ..timeline.prev_batch }.to_string());
        let events: Vec<String> = timeline.events.iter().map(|event| self.event(event)).collect();
        messages.array("chunk", events.iter().map(String::as_str));
        messages.close();
        let state: Vec<String> = state.iter().map(|event| self.event(event)).collect();
        info.array("state", state.iter().map(String::as_str));
        write_account_data(info, account_data);
    }

    fn event(&self, event: &TimelineEvent) -> String {
        let mut json = String::new();
        event.write_client(&mut json, &self.format, None, None);
        json
    }

    fn is_own(&self, event: &TimelineEvent) -> bool {
        event.pdu.event_type() == "m.room.member" && event.pdu.state_key() == Some(self.format.user.as_str())
    }
}

fn write_account_data(out: &mut ObjectWriter<'_>, account_data: &[AccountData]) {
    let events: Vec<String> =
        account_data.iter().map(|data| basic_event_json(&data.event_type, &data.content)).collect();
    out.array("account_data", events.iter().map(String::as_str));
}
