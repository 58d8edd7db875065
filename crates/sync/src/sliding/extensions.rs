//! What a response holds besides rooms.

mod account_data;
mod profiles;
mod receipts;
mod sticky;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::membership::Membership;
use plexus_store::repo::to_device::ReadLimits;
use plexus_store::{DbError, Position, RoomNid};

use profiles::leave_out_profiles;

use super::lists::Selection;
use super::pos::Pos;
use super::request::{ExtensionRooms, SlidingRequest, ToDeviceExtension};
use super::rooms::RoomUpdates;
use crate::delta::context::Context;
use crate::delta::{
    AccountData, DeviceListDelta, KeyCounts, ProfileFields, ProfileUpdates, UserChanges, all_user_changes,
    device_lists, to_device,
};
use crate::notifier::MaybeChanged;
use crate::thread_subscriptions::{SubscriptionChanges, read_changes};
use crate::{receipts as receipt_events, typing};
pub(super) use sticky::StickyUpdate;

/// What a response holds besides rooms; `None`: it was not asked for.
#[derive(Debug, Default)]
pub(super) struct ExtensionUpdates {
    pub to_device: Option<ToDeviceUpdate>,
    pub e2ee: Option<E2eeUpdate>,
    pub account_data: Option<AccountDataUpdate>,
    /// `m.receipt` events, JSON.
    pub receipts: BTreeMap<RoomId, String>,
    /// `m.typing` events, JSON.
    pub typing: BTreeMap<RoomId, String>,
    pub sticky: Option<StickyUpdate>,
    pub profiles: ProfileUpdates,
    pub thread_subscriptions: SubscriptionChanges,
}

/// Messages to the device.
#[derive(Debug)]
pub(super) struct ToDeviceUpdate {
    pub next_batch: Position,
    /// Whether there are more messages, even if the client gets none of these.
    pub has_more: bool,
    /// JSON
    pub events: Vec<String>,
}

/// Changes that concern end-to-end encryption.
#[derive(Debug)]
pub(super) struct E2eeUpdate {
    pub device_lists: DeviceListDelta,
    /// `None` for a session without a device.
    pub key_counts: Option<Arc<KeyCounts>>,
}

/// Account data that the client does not have.
#[derive(Debug, Default)]
pub(super) struct AccountDataUpdate {
    pub global: Vec<AccountData>,
    pub rooms: BTreeMap<RoomId, Vec<AccountData>>,
}

impl ExtensionUpdates {
    /// Whether there is nothing worth a response. Changed key counts are not.
    pub(super) fn is_empty(&self) -> bool {
        self.to_device.as_ref().is_none_or(|update| update.events.is_empty() && !update.has_more)
            && self.e2ee.as_ref().is_none_or(|update| update.device_lists.is_empty())
            && self.account_data.as_ref().is_none_or(AccountDataUpdate::is_empty)
            && self.receipts.is_empty()
            && self.typing.is_empty()
            && self.sticky.as_ref().is_none_or(|update| update.rooms.is_empty() && !update.has_more)
            && self.profiles.is_empty()
            && self.thread_subscriptions.is_empty()
    }
}

impl AccountDataUpdate {
    pub(super) fn is_empty(&self) -> bool {
        self.global.is_empty() && self.rooms.is_empty()
    }
}

/// The rooms that extensions are about, and what their client has of them.
pub(super) struct ExtensionReader<'r> {
    pub context: &'r Context<'r>,
    pub request: &'r SlidingRequest,
    pub selection: &'r Selection,
    /// What the client had before.
    pub from: Option<Pos>,
}

impl ExtensionReader<'_> {
    /// Reads what the request asks for besides rooms, and key counts that were read before. `rooms`: the rooms of the
    /// same response.
    pub(super) async fn read(
        &self,
        key_counts: Option<Arc<KeyCounts>>,
        rooms: &mut RoomUpdates,
    ) -> Result<ExtensionUpdates, DbError> {
        let extensions = &self.request.extensions;
        let mut updates = ExtensionUpdates::default();
        if let Some(to_device) = extensions.to_device {
            updates.to_device = Some(self.to_device(to_device).await?);
        }
        let needs_users = extensions.e2ee || self.context.request.profiles != ProfileFields::None;
        let users = if needs_users { all_user_changes::read(self.context).await? } else { UserChanges::default() };
        if extensions.e2ee {
            let device_lists = device_lists::changed(self.context, &users).await?;
            updates.e2ee = Some(E2eeUpdate { device_lists, key_counts });
        }
        // What comes while an extension is left out is sent when it is asked for again.
        match &extensions.account_data {
            Some(wanted) => {
                updates.account_data = Some(account_data::account_data(self, &self.rooms(wanted), rooms).await?);
            }
            None => account_data::leave_out_account_data(self, rooms).await?,
        }
        match &extensions.receipts {
            Some(wanted) => updates.receipts = receipts::receipts(self, &self.joined(wanted), rooms).await?,
            None => receipts::mark_unsent_receipts(self, &BTreeSet::new(), rooms),
        }
        if let Some(wanted) = &extensions.typing {
            updates.typing = self.typing(&self.joined(wanted), rooms);
        }
        if let Some(wanted) = extensions.sticky_events {
            updates.sticky = Some(self.sticky_events(wanted, rooms).await?);
        }
        match &extensions.profiles {
            Some(wanted) => updates.profiles = self.profiles(&self.joined(&wanted.rooms), &users, rooms).await?,
            None => leave_out_profiles(rooms),
        }
        if let Some(limit) = extensions.thread_subscriptions {
            updates.thread_subscriptions = self.thread_subscriptions(limit).await?;
        }
        Ok(updates)
    }

    async fn thread_subscriptions(&self, limit: u64) -> Result<SubscriptionChanges, DbError> {
        let Context { parts, request, now, .. } = self.context;
        let after = self.from.map_or(0, |from| from.position);
        let is_initial = self.from.is_none();
        let index = parts.notifier.index();
        let is_unchanged = index.account_data_changed(&request.user, after) == MaybeChanged::Known(false);
        let is_in_use = parts.settings.predefined_rules().thread_subscriptions;
        if !is_in_use || (is_unchanged && !is_initial) {
            return Ok(SubscriptionChanges::default());
        }
        read_changes(&parts.db, &parts.rooms, &request.user, (after, now.position), limit).await
    }

    async fn to_device(&self, wanted: ToDeviceExtension) -> Result<ToDeviceUpdate, DbError> {
        let now = self.context.now.position;
        // One of the future is of a database that is no longer there.
        let since = wanted.since.filter(|since| *since <= now).unwrap_or(0);
        if since == now {
            return Ok(ToDeviceUpdate { next_batch: since, has_more: false, events: Vec::new() });
        }
        let limits = ReadLimits { messages: wanted.limit.max(1), ..to_device::MAX_MESSAGES };
        let messages = to_device::messages(self.context, since, limits).await?;
        let (more_after, events) = (messages.more_after, messages.events);
        Ok(ToDeviceUpdate { next_batch: more_after.unwrap_or(now), has_more: more_after.is_some(), events })
    }

    /// Returns the rooms that an extension is about.
    fn rooms(&self, wanted: &ExtensionRooms) -> BTreeSet<RoomNid> {
        let ExtensionRooms { lists, rooms } = wanted;
        let is_wanted = |nid: &RoomNid| {
            let Some(relevant) = self.selection.rooms.get(nid) else { return false };
            let is_listed = relevant.lists.iter().any(|list| lists.as_ref().is_none_or(|lists| lists.contains(list)));
            let id = relevant.known.facts.id.as_str();
            let is_named = rooms.as_ref().is_none_or(|rooms| rooms.iter().any(|room| room == id));
            is_listed || (relevant.is_subscribed && is_named)
        };
        self.selection.rooms.keys().copied().filter(is_wanted).collect()
    }

    /// Returns the rooms that an extension is about and the user is in.
    fn joined(&self, wanted: &ExtensionRooms) -> BTreeSet<RoomNid> {
        let mut rooms = self.rooms(wanted);
        rooms.retain(|nid| self.context.memberships.get(*nid).is_some_and(|it| it.kind == Membership::Join));
        rooms
    }

    fn id(&self, nid: RoomNid) -> Option<RoomId> {
        self.selection.rooms.get(&nid).map(|relevant| relevant.known.facts.id.clone())
    }

    fn typing(&self, rooms: &BTreeSet<RoomNid>, updates: &RoomUpdates) -> BTreeMap<RoomId, String> {
        let service = &self.context.parts.typing;
        let since = self.from.map_or(0, |from| from.ephemeral);
        let changed: BTreeSet<RoomNid> = match self.from {
            Some(_) => service.changed_rooms(since).into_iter().collect(),
            None => BTreeSet::new(),
        };
        let mut events = BTreeMap::new();
        for nid in rooms {
            let is_new = updates.updates.get(nid).is_some_and(|update| update.initial);
            if !is_new && !changed.contains(nid) {
                continue;
            }
            let users = self.typing_members(*nid);
            if let Some(id) = self.id(*nid).filter(|_| changed.contains(nid) || !users.is_empty()) {
                events.insert(id, typing::event(&users));
            }
        }
        events
    }

    fn typing_members(&self, nid: RoomNid) -> Vec<UserId> {
        let mut users = self.context.parts.typing.users(nid);
        if let Some(room) = self.context.parts.rooms.loaded(nid).filter(|_| !users.is_empty()) {
            let view = room.view();
            let ignored = &self.context.settings.ignored;
            users.retain(|user| {
                view.state.membership(user.as_str()) == Some(Membership::Join) && !ignored.contains(user.as_str())
            });
        }
        users
    }
}

/// Returns the `m.receipt` event of receipts that the user may see.
fn receipt_event(receipts: &[Arc<plexus_store::repo::receipts::Receipt>], context: &Context<'_>) -> Option<String> {
    receipt_events::event(receipts.iter().filter(|receipt| context.shows_receipt(receipt)).map(|receipt| &**receipt))
}
