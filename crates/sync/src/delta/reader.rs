//! Reads a whole delta.

use std::sync::Arc;

use parking_lot::Mutex;
use plexus_protocol::id::UserId;
use plexus_rooms::Room;
use plexus_store::{DbError, Position};

use super::context::Context;
use super::device_lists::{self, DeviceListDelta};
use super::events::AccountData;
use super::key_counts::{KeyCountCache, KeyCounts};
use super::profiles::{self, ProfileUpdates};
use super::request::{DeltaParts, DeltaRequest, Now};
use super::rooms::{self, RoomDeltas, RoomSink};
use super::sent_members::{NewMembers, SentMembers};
use super::sticky::StickyPage;
use super::to_device::{self, MessagesDelta};
use super::{account_data, has_changes, presence, sticky};
use crate::presence::PresenceView;

/// The changes for a user's device. `rooms` is the sink that took the rooms.
#[derive(Debug)]
pub struct SyncDelta<R = RoomDeltas> {
    /// The point up to which this covers everything.
    pub upto: Now,
    /// Global account data.
    pub account_data: Vec<AccountData>,
    /// The users whose presence changed, and those who have come to share a room with the user.
    pub presence: Vec<(UserId, PresenceView)>,
    /// The profiles that the client follows and that changed, of users who share a room with the user.
    pub profiles: ProfileUpdates,
    /// Messages to the device that it has not acknowledged.
    pub messages: MessagesDelta,
    /// Set when there are more sticky events: the position after which they are.
    pub sticky_after: Option<Position>,
    /// The users whose devices changed.
    pub device_lists: DeviceListDelta,
    /// `None` for a session without a device.
    pub key_counts: Option<Arc<KeyCounts>>,
    /// The rooms that changed, as far as the sink keeps them.
    pub rooms: R,
    /// The member events among these that the device did not have. Given to [`DeltaReader::record_sent`] once the
    /// response is written.
    pub new_members: NewMembers,
}

impl<R: RoomSink> SyncDelta<R> {
    /// Whether nothing changed. Changed key counts are not worth a response of their own. With more sticky events to
    /// come there is a new position, even if the user is shown none of these.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.account_data.is_empty()
            && self.presence.is_empty()
            && self.profiles.is_empty()
            && self.messages.is_empty()
            && self.device_lists.is_empty()
            && self.rooms.is_empty()
            && self.sticky_after.is_none()
    }
}

/// Reads deltas.
pub struct DeltaReader {
    parts: DeltaParts,
    sent_members: SentMembers,
    key_counts: KeyCountCache,
}

impl DeltaReader {
    /// Creates a reader. One serves all devices: it remembers which members each has been sent.
    #[must_use]
    pub fn new(parts: DeltaParts) -> Self {
        Self { parts, sent_members: SentMembers::default(), key_counts: KeyCountCache::default() }
    }

    /// Returns the services from which this reads.
    pub fn parts(&self) -> &DeltaParts {
        &self.parts
    }

    /// Reads what changed after the request's token up to `now`, or a little later. Each room is added to `rooms`
    /// before the next is read.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read<R: RoomSink>(
        &self,
        request: &DeltaRequest,
        now: Now,
        mut rooms: R,
    ) -> Result<SyncDelta<R>, DbError> {
        let mut context = Context::new(&self.parts, request, now).await?;
        let since = request.since.map(|since| since.position);
        let new_members = self.sent_members.begin(&request.user, device_of(request), since);
        context.new_members = Mutex::new(new_members);
        if request.since.is_none() {
            context.receipts = Some(context.all_receipts().await?);
        }
        let after = request.since.map_or(0, |since| since.sticky_position().min(context.now.position));
        let is_wanted = |room: &Room| context.allows_room(room);
        let page = if request.sticky {
            sticky::page(&context, after, sticky::MAX_STICKY_EVENTS, is_wanted).await?
        } else {
            StickyPage::default()
        };
        context.sticky = page.rooms;
        let account_data = account_data::changed(&context).await?;
        let users = rooms::changed(&context, account_data.rooms, &mut rooms).await?;
        Ok(SyncDelta {
            upto: context.now,
            account_data: account_data.global,
            sticky_after: page.more_after,
            messages: to_device::unacknowledged(&context).await?,
            device_lists: device_lists::changed(&context, &users).await?,
            presence: presence::changed(&context, &users).await?,
            profiles: profiles::changed(&context, &users).await?,
            key_counts: self.key_counts(request).await?,
            rooms,
            new_members: context.new_members.into_inner(),
        })
    }

    /// Records that the member events of a delta up to `upto` have been sent to the device, so that lazy loading does
    /// not send them again, unless the device asks from an earlier position.
    pub fn record_sent(&self, request: &DeltaRequest, members: NewMembers, upto: Now) {
        self.sent_members.record(&request.user, device_of(request), members, upto.position);
    }

    /// Whether there may be changes up to `now`, by what is in memory. False only if there are certainly none.
    pub(crate) fn may_have_changes(&self, request: &DeltaRequest, now: Now) -> bool {
        has_changes::may_have_changes(&self.parts, request, now)
    }

    /// Deletes the messages to the device up to `upto`, which the client has.
    pub(crate) async fn acknowledge(&self, request: &DeltaRequest, upto: Position) -> Result<(), DbError> {
        to_device::acknowledge(&self.parts, request, upto).await
    }

    /// Returns the counts of the device's one-time keys and its unused fallback keys.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn key_counts(&self, request: &DeltaRequest) -> Result<Option<Arc<KeyCounts>>, DbError> {
        let Some(device) = &request.device else { return Ok(None) };
        let index = self.parts.notifier.index();
        Ok(Some(self.key_counts.get(&self.parts.db, index, &request.user, device).await?))
    }
}

/// Returns the device that a request is from; empty for sessions without one.
fn device_of(request: &DeltaRequest) -> &str {
    request.device.as_deref().unwrap_or_default()
}
