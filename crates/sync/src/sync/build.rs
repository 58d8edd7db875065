//! Putting an answer together.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use plexus_protocol::membership::Membership;
use plexus_rooms::{ClientFormat, Room, RoomMembership, TimelineEvent, UserRooms};
use plexus_store::repo::receipts::Receipt;
use plexus_store::{DbError, Position, RoomNid, Tx, repo};

use super::account_data::AccountDataNews;
use super::devices::{DeviceLists, Encounters, Messages, push_strings};
use super::lazy::DeviceMembers;
use super::news::is_joined;
use super::{Now, SyncEngine, SyncParts, SyncRequest, fields};
use crate::filter::{EventFormat, Filter};
use crate::json::Members;
use crate::notifier::Known;
use crate::settings::UserSettings;
use crate::token::SyncToken;

/// How often a build starts over because a membership in memory is newer than what it may tell.
const MAX_RETRIES: usize = 100;

/// An answer.
pub(super) struct Answer {
    pub body: String,
    /// Whether it tells anything.
    pub has_news: bool,
}

/// An answer in the making: the request, what the user set up, and up to where it tells.
pub(super) struct Build<'b> {
    pub engine: &'b SyncEngine,
    pub request: &'b SyncRequest,
    pub now: Now,
    pub now_ms: u64,
    pub settings: Arc<UserSettings>,
    pub memberships: UserRooms,
    pub sent: Arc<DeviceMembers>,
    /// In an initial sync all receipts of the user's rooms, read at once.
    pub receipts: Option<HashMap<RoomNid, Vec<Receipt>>>,
}

/// The rooms of an answer: room id to JSON.
#[derive(Default)]
pub(super) struct RoomSections {
    pub join: BTreeMap<String, String>,
    pub invite: BTreeMap<String, String>,
    pub knock: BTreeMap<String, String>,
    pub leave: BTreeMap<String, String>,
    pub encounters: Encounters,
}

/// What happened in a joined room, as far as the answer knows before looking at the room.
#[derive(Default)]
pub(super) struct Hints {
    pub typing: bool,
    pub account_data: Vec<String>,
}

impl<'b> Build<'b> {
    /// Everything from the request's token up to `now`, or a little later.
    pub async fn answer(engine: &'b SyncEngine, request: &'b SyncRequest, now: Now) -> Result<(Answer, Now), DbError> {
        let parts = &engine.parts;
        let mut build = Self {
            engine,
            request,
            now,
            now_ms: parts.clock.now_ms(),
            settings: parts.settings.get(&request.user).await?,
            memberships: UserRooms::default(),
            sent: engine.sent_members.of(
                &request.user,
                request.device.as_deref().unwrap_or_default(),
                request.since.is_none(),
            ),
            receipts: None,
        };
        build.settle().await?;
        if request.since.is_none() {
            build.receipts = Some(build.all_receipts().await?);
        }
        let account_data = build.account_data().await?;
        let AccountDataNews { global, rooms } = account_data;
        let sections = build.rooms(rooms).await?;
        let messages = build.messages().await?;
        let lists = build.device_lists(&sections.encounters).await?;
        let presence = build.presence(&sections.encounters).await?;
        let now = build.now;
        Ok((build.write(&global, &presence, &messages, &lists, &sections).await?, now))
    }

    /// An answer without news.
    pub async fn empty_answer(
        engine: &SyncEngine,
        request: &SyncRequest,
        next_batch: SyncToken,
    ) -> Result<String, DbError> {
        let mut body = String::with_capacity(256);
        let mut members = Members::open(&mut body);
        members.text("next_batch", &next_batch.to_string());
        let parts = &engine.parts;
        engine.key_counts.write(&mut members, &parts.db, parts.notifier.index(), request).await?;
        members.close();
        Ok(body)
    }

    /// Takes the memberships. One that is newer than the position is committed already and about to be published: wait for
    /// that, because a room that was left has to be told up to the leave.
    async fn settle(&mut self) -> Result<(), DbError> {
        let parts = self.parts();
        self.memberships = parts.rooms.memberships().of(&self.request.user).await?;
        let newest = self.memberships.iter().map(|membership| membership.position).max().unwrap_or(0);
        for _ in 0..MAX_RETRIES {
            if newest <= self.now.position {
                break;
            }
            tokio::task::yield_now().await;
            self.now = Now { position: parts.db.committed(), ..self.now };
        }
        Ok(())
    }

    async fn all_receipts(&self) -> Result<HashMap<RoomNid, Vec<Receipt>>, DbError> {
        let rooms: Vec<RoomNid> = self.memberships.joined().collect();
        let upto = self.now.position;
        let read = move |tx: &mut Tx<'_>| repo::receipts::in_rooms(tx, &rooms, 0, upto);
        let found: Vec<Receipt> = self.parts().db.read(read).await?;
        let mut of_rooms: HashMap<RoomNid, Vec<Receipt>> = HashMap::new();
        for receipt in found {
            of_rooms.entry(receipt.room).or_default().push(receipt);
        }
        Ok(of_rooms)
    }

    pub fn parts(&self) -> &'b SyncParts {
        &self.engine.parts
    }

    pub fn filter(&self) -> &'b Filter {
        &self.request.filter
    }

    /// Where news begin; 0 in an initial sync.
    pub fn since_position(&self) -> Position {
        self.request.since.map_or(0, |since| since.position.min(self.now.position))
    }

    /// The JSON of an event for this device. `membership` is the user's at the event, `relations` its aggregations.
    pub fn event_json(&self, event: &TimelineEvent, membership: Option<&str>, relations: Option<&str>) -> String {
        let filter = self.filter();
        let json = match filter.event_format {
            EventFormat::Federation => event.pdu.json().to_owned(),
            EventFormat::Client => {
                let mut json = String::with_capacity(event.pdu.content_json().len() + 512);
                event.write_client(&mut json, &self.format(), membership, relations);
                json
            }
        };
        match &filter.event_fields {
            Some(wanted) => fields::select(&json, wanted),
            None => json,
        }
    }

    pub fn format(&self) -> ClientFormat<'_> {
        ClientFormat {
            user: &self.request.user,
            device_id: self.request.device.as_deref(),
            now_ms: self.now_ms,
            room_id: false,
        }
    }

    async fn rooms(&self, account_data: HashMap<String, Vec<String>>) -> Result<RoomSections, DbError> {
        let mut hints = self.candidates();
        for (room_id, events) in account_data {
            let Ok(id) = plexus_protocol::id::RoomId::try_from(room_id) else { continue };
            if let Some(room) = self.parts().rooms.get_readable(&id).await? {
                hints.entry(room.nid).or_default().account_data = events;
            }
        }
        let mut sections = RoomSections::default();
        for (nid, hints) in hints {
            let Some(membership) = self.memberships.get(nid) else { continue };
            if !self.is_told(membership) {
                continue;
            }
            match self.room(*membership, hints, &mut sections).await {
                // The client gets everything else.
                Err(error) if error.is_bad_data() => {
                    tracing::warn!(room = nid, user = %self.request.user, "a room is left out of a sync: {error}");
                }
                told => told?,
            }
        }
        Ok(sections)
    }

    async fn room(&self, membership: RoomMembership, hints: Hints, sections: &mut RoomSections) -> Result<(), DbError> {
        let Some(room) = self.parts().rooms.get_readable_nid(membership.room).await? else { return Ok(()) };
        let id = room.id.as_str();
        if !self.filter().room.allows_room(id) || self.parts().options.exclude_rooms.contains(id) {
            return Ok(());
        }
        let (section, json) = match membership.kind {
            // Its state is not here yet, or was not at the position up to which this answer tells.
            Membership::Join if self.told_from(&room).is_none_or(|from| from > self.now.position) => return Ok(()),
            Membership::Join => {
                let json = self.joined(&room, &membership, hints, &mut sections.encounters).await?;
                (&mut sections.join, json)
            }
            Membership::Invite => (&mut sections.invite, self.invited(&room, &membership).await?),
            Membership::Knock => (&mut sections.knock, self.knocked(&room, &membership).await?),
            Membership::Leave | Membership::Ban => {
                let json = self.left(&room, &membership, hints, &mut sections.encounters).await?;
                (&mut sections.leave, json)
            }
        };
        if let Some(json) = json {
            section.insert(id.to_owned(), json);
        }
        Ok(())
    }

    /// From which position on this device is told of a room that the user is in.
    pub(super) fn told_from(&self, room: &Room) -> Option<Position> {
        room.view().told_from(self.filter().lazy_load_members())
    }

    /// Whether a room with this membership has a place in the answer at all.
    fn is_told(&self, membership: &RoomMembership) -> bool {
        let new = self.request.since.is_none() || membership.position > self.since_position();
        match membership.kind {
            Membership::Join => true,
            Membership::Invite | Membership::Knock => new || self.request.full_state,
            Membership::Leave | Membership::Ban => match self.request.since {
                // A forgotten room, too: the user's other devices do not know yet that the user has left it.
                Some(_) => new,
                None => self.filter().room.include_leave && !membership.forgotten,
            },
        }
    }

    /// The rooms in which something may have happened.
    fn candidates(&self) -> BTreeMap<RoomNid, Hints> {
        let all = || self.memberships.iter().map(|membership| (membership.room, Hints::default())).collect();
        let Some(since) = self.request.since else { return all() };
        if self.request.full_state {
            return all();
        }
        let position = self.since_position();
        let index = self.parts().notifier.index();
        let joined = |room| is_joined(&self.memberships, room);
        let mut hints: BTreeMap<RoomNid, Hints> =
            match index.rooms_changed(position, joined, || self.memberships.joined()) {
                Known::Yes(rooms) => rooms.into_iter().map(|room| (room, Hints::default())).collect(),
                Known::No => all(),
            };
        if index.membership_changed(&self.request.user, position) != Known::Yes(false) {
            let changed = self.memberships.iter().filter(|membership| membership.position > position);
            hints.extend(changed.map(|membership| (membership.room, Hints::default())));
        }
        for room in self.parts().typing.changed_rooms(since.ephemeral) {
            if joined(room) {
                hints.entry(room).or_default().typing = true;
            }
        }
        hints
    }

    async fn write(
        &self,
        account_data: &[String],
        presence: &[String],
        messages: &Messages,
        lists: &DeviceLists,
        sections: &RoomSections,
    ) -> Result<Answer, DbError> {
        let mut body = String::with_capacity(4096);
        let mut members = Members::open(&mut body);
        let next_batch = SyncToken { to_device: messages.told_to, ..self.now.token() };
        members.text("next_batch", &next_batch.to_string());
        // There are more messages than fit: the token says where they go on, whether the client got any of these or
        // not.
        let mut has_news = messages.told_to.is_some();
        for (name, events) in [("account_data", account_data), ("presence", presence), ("to_device", &messages.events)]
        {
            if !events.is_empty() {
                has_news = true;
                members.events(name, events.iter().map(String::as_str));
            }
        }
        has_news |= lists.write(&mut members) | sections.write(&mut members);
        let parts = self.parts();
        self.engine.key_counts.write(&mut members, &parts.db, parts.notifier.index(), self.request).await?;
        members.close();
        Ok(Answer { body, has_news })
    }
}

impl RoomSections {
    fn write(&self, out: &mut Members<'_>) -> bool {
        let sections = [("join", &self.join), ("invite", &self.invite), ("knock", &self.knock), ("leave", &self.leave)];
        if sections.iter().all(|(_, rooms)| rooms.is_empty()) {
            return false;
        }
        let mut members = Members::open(out.key("rooms"));
        for (name, rooms) in sections.into_iter().filter(|(_, rooms)| !rooms.is_empty()) {
            let mut section = Members::open(members.key(name));
            rooms.iter().for_each(|(room_id, json)| section.raw(room_id, json));
            section.close();
        }
        members.close();
        true
    }
}

impl DeviceLists {
    fn write(&self, out: &mut Members<'_>) -> bool {
        if self.changed.is_empty() && self.left.is_empty() {
            return false;
        }
        let mut members = Members::open(out.key("device_lists"));
        for (name, users) in [("changed", &self.changed), ("left", &self.left)] {
            push_strings(members.key(name), users.iter().map(plexus_protocol::id::UserId::as_str));
        }
        members.close();
        true
    }
}
