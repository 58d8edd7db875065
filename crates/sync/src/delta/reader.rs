//! Reads a whole delta.

use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_store::{DbError, Position};

use super::context::Context;
use super::device_lists::{self, DeviceListDelta};
use super::events::AccountData;
use super::key_counts::{KeyCountCache, KeyCounts};
use super::request::{DeltaParts, DeltaRequest, Now};
use super::rooms::{self, RoomDeltas, RoomSink};
use super::sent_members::SentMembers;
use super::to_device::{self, MessagesDelta};
use super::{account_data, has_changes, presence};
use crate::presence::PresenceView;

/// What changed for a user's device. `rooms` is what the rooms were handed to.
#[derive(Debug)]
pub struct SyncDelta<R = RoomDeltas> {
    /// The point up to which this covers everything.
    pub upto: Now,
    /// Global account data.
    pub account_data: Vec<AccountData>,
    /// The users whose presence changed, and those that the user has met.
    pub presence: Vec<(UserId, PresenceView)>,
    pub messages: MessagesDelta,
    pub device_lists: DeviceListDelta,
    /// `None` for a session without a device.
    pub key_counts: Option<Arc<KeyCounts>>,
    pub rooms: R,
}

impl<R: RoomSink> SyncDelta<R> {
    /// Whether nothing changed. Changed key counts are not worth a response of their own.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.account_data.is_empty()
            && self.presence.is_empty()
            && self.messages.is_empty()
            && self.device_lists.is_empty()
            && self.rooms.is_empty()
    }
}

/// Reads what changed.
pub struct DeltaReader {
    parts: DeltaParts,
    sent_members: SentMembers,
    key_counts: KeyCountCache,
}

impl DeltaReader {
    #[must_use]
    pub fn new(parts: DeltaParts) -> Self {
        Self { parts, sent_members: SentMembers::default(), key_counts: KeyCountCache::default() }
    }

    /// What this reads from.
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
        let device = request.device.as_deref().unwrap_or_default();
        let sent = self.sent_members.of(&request.user, device, request.since.is_none());
        let context = Context::new(&self.parts, request, sent, now).await?;
        let account_data = account_data::changed(&context).await?;
        let users = rooms::changed(&context, account_data.rooms, &mut rooms).await?;
        Ok(SyncDelta {
            upto: context.now,
            account_data: account_data.global,
            messages: to_device::messages(&context).await?,
            device_lists: device_lists::changed(&context, &users).await?,
            presence: presence::changed(&context, &users).await?,
            key_counts: self.key_counts(request).await?,
            rooms,
        })
    }

    /// Whether there may be changes up to `now`, by what is in memory. False only if there are certainly none.
    pub(crate) fn may_have_changes(&self, request: &DeltaRequest, now: Now) -> bool {
        has_changes::may_have_changes(&self.parts, request, now)
    }

    /// Deletes the messages to the device up to `upto`, which the client has.
    pub(crate) async fn acknowledge(&self, request: &DeltaRequest, upto: Position) -> Result<(), DbError> {
        to_device::acknowledge(&self.parts, request, upto).await
    }

    /// The counts of the device's one-time keys and its unused fallback keys.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn key_counts(&self, request: &DeltaRequest) -> Result<Option<Arc<KeyCounts>>, DbError> {
        let Some(device) = &request.device else { return Ok(None) };
        let index = self.parts.notifier.index();
        Ok(Some(self.key_counts.get(&self.parts.db, index, &request.user, device).await?))
    }
}
