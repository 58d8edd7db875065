//! The data with which all parts of a delta are read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use plexus_rooms::{ClientFormat, Room, UserRooms};
use plexus_store::repo::receipts::Receipt;
use plexus_store::{DbError, Position, RoomNid, StickyEvent, Tx, repo};

use super::events::AccountData;
use super::request::{DeltaParts, DeltaRequest, Now};
use super::sent_members::NewMembers;
use crate::filter::Filter;
use crate::settings::UserSettings;

/// How often the position is taken again because a membership in memory is newer.
const MAX_RETRIES: usize = 100;

/// A delta that is being read: the request, the user's settings and memberships, and the position up to which it goes.
pub(crate) struct Context<'c> {
    pub parts: &'c DeltaParts,
    pub request: &'c DeltaRequest,
    pub now: Now,
    pub now_ms: u64,
    pub settings: Arc<UserSettings>,
    pub memberships: UserRooms,
    /// The member events that the delta brings to the device.
    pub new_members: Mutex<NewMembers>,
    /// All receipts of the user's rooms, where they were read at once.
    pub receipts: Option<HashMap<RoomNid, Vec<Arc<Receipt>>>>,
    /// The sticky events that the delta brings.
    pub sticky: BTreeMap<RoomNid, Vec<StickyEvent>>,
}

/// The changes of a room that are known before it is read.
#[derive(Default)]
pub(super) struct RoomHints {
    pub typing: bool,
    pub account_data: Vec<AccountData>,
}

impl<'c> Context<'c> {
    pub(crate) async fn new(parts: &'c DeltaParts, request: &'c DeltaRequest, now: Now) -> Result<Self, DbError> {
        let settings = parts.settings.get(&request.user).await?;
        let memberships = parts.rooms.memberships().of(&request.user).await?;
        let now_ms = parts.clock.now_ms();
        let (new_members, receipts, sticky) = (Mutex::default(), None, BTreeMap::new());
        let mut context = Self { parts, request, now, now_ms, settings, memberships, new_members, receipts, sticky };
        context.wait_for_memberships().await;
        Ok(context)
    }

    /// Moves `now` until it covers all memberships. One that is newer is committed already and about to be published; a
    /// room that was left has to be read up to the leave.
    async fn wait_for_memberships(&mut self) {
        let newest = self.memberships.iter().map(|membership| membership.position).max().unwrap_or(0);
        for _ in 0..MAX_RETRIES {
            if newest <= self.now.position {
                break;
            }
            tokio::task::yield_now().await;
            self.now = Now { position: self.parts.db.committed(), ..self.now };
        }
    }

    /// Returns all receipts of the rooms that the user is in.
    pub(super) async fn all_receipts(&self) -> Result<HashMap<RoomNid, Vec<Arc<Receipt>>>, DbError> {
        let rooms: Vec<RoomNid> = self.memberships.joined().collect();
        let upto = self.now.position;
        let read = move |tx: &mut Tx<'_>| repo::receipts::in_rooms(tx, &rooms, 0, upto);
        let found: Vec<Receipt> = self.parts.db.read(read).await?;
        let mut by_room: HashMap<RoomNid, Vec<Arc<Receipt>>> = HashMap::new();
        for receipt in found {
            by_room.entry(receipt.room).or_default().push(Arc::new(receipt));
        }
        Ok(by_room)
    }

    /// Whether a receipt is shown to the user: other users' private ones are not, nor those of ignored users.
    pub(crate) fn shows_receipt(&self, receipt: &Receipt) -> bool {
        receipt.user == self.request.user
            || !(receipt.is_private() || self.settings.ignored.contains(receipt.user.as_str()))
    }

    pub(super) fn filter(&self) -> &'c Filter {
        &self.request.filter
    }

    /// Returns where the changes begin; 0 without a token.
    pub(crate) fn since_position(&self) -> Position {
        self.request.since.map_or(0, |since| since.position.min(self.now.position))
    }

    /// Whether the filter and the configuration allow a room in the delta.
    pub(super) fn allows_room(&self, room: &Room) -> bool {
        let id = room.id.as_str();
        self.filter().room.allows_room(id) && !self.parts.options.exclude_rooms.contains(id)
    }

    pub(crate) fn format(&self) -> ClientFormat<'_> {
        self.request.format(self.now_ms)
    }

    /// Returns the position from which on the device sees a room that the user is in; `None` while it does not.
    pub(crate) fn visible_from(&self, room: &Room) -> Option<Position> {
        room.view().visible_from(self.filter().lazy_load_members())
    }
}
