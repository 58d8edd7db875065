//! Withdraws joins that another server may have accepted and that failed here afterwards: for the other server the user
//! is in the room until it receives a leave.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::{EventId, RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::membership::Membership;
use plexus_rooms::PeerError;
use plexus_rooms::actions::membership::{MembershipChange, MembershipError};
use plexus_rooms::write::out_of_band;
use tokio::sync::OwnedMutexGuard;

use super::RemoteChange;
use crate::receive::ReceiveError;

/// How many failed joins are remembered, counted by user and room.
const MAX_REMEMBERED: usize = 1_000;
/// The pauses before a leave is sent again to a server that could not be reached.
const RETRY_PAUSES: [Duration; 4] =
    [Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(600), Duration::from_secs(3_600)];
/// The same for an invited user. The leave ends the invite, so the user first has time to try again.
const RETRY_PAUSES_IF_INVITED: [Duration; 2] = [Duration::from_secs(600), Duration::from_secs(3_600)];

/// The HTTP status `429 Too Many Requests`: the server may accept the leave later.
const RATE_LIMITED: u16 = 429;

/// The joins through other servers. In memory only, owned by [`super::RemoteMembershipChanger`].
#[derive(Default)]
pub(super) struct RemoteJoins {
    of_user: Mutex<HashMap<(RoomId, UserId), LockedJoins>>,
}

/// A user's joins of a room, which run one after the other.
#[derive(Default)]
pub(super) struct UserJoins {
    /// The servers that may have accepted a join that failed here.
    pub accepted_by: Vec<ServerName>,
    /// How many joins there have been.
    pub count: u64,
}

/// Locked while one of the joins is running.
type LockedJoins = Arc<tokio::sync::Mutex<UserJoins>>;

/// The outcome of withdrawing a join.
pub(super) enum Withdrawal {
    /// A server has accepted the leave with this id.
    Left(EventId),
    /// No server may have accepted a join that failed here.
    NotNeeded,
    /// A server that may have accepted the join has not accepted the leave.
    Failed(MembershipError),
}

impl RemoteJoins {
    /// Waits for the user's other joins of the room to end.
    pub(crate) async fn of(&self, room: &RoomId, user: &UserId) -> OwnedMutexGuard<UserJoins> {
        let joins = {
            let mut of_user = self.of_user.lock();
            let is_used = |joins: &LockedJoins| Arc::strong_count(joins) > 1;
            of_user.retain(|_, joins| is_used(joins) || joins.try_lock().is_ok_and(|it| !it.accepted_by.is_empty()));
            if of_user.len() >= MAX_REMEMBERED {
                of_user.retain(|_, joins| is_used(joins));
            }
            Arc::clone(of_user.entry((room.clone(), user.clone())).or_default())
        };
        joins.lock_owned().await
    }
}

impl RemoteChange {
    /// Sends a leave to the servers that may have accepted a join which failed here, now or later.
    pub(super) async fn withdraw_failed_join(self, change: MembershipChange, joins: &mut UserJoins) {
        let count = joins.count;
        let pauses = if !joins.accepted_by.is_empty() && self.is_invited(&change).await {
            RETRY_PAUSES_IF_INVITED.as_slice()
        } else if matches!(self.withdraw_join(&change, joins).await, Withdrawal::Failed(_)) {
            RETRY_PAUSES.as_slice()
        } else {
            return;
        };
        let background = self.receiver.background.clone();
        background.spawn_abortable("withdrawal of a failed join", async move {
            self.retry_withdrawal(&change, count, pauses).await;
        });
    }

    async fn is_invited(&self, change: &MembershipChange) -> bool {
        let room = self.rooms.get(&change.room_id).await.ok().flatten();
        let membership = room.and_then(|room| room.view().state.membership(change.target.as_str()));
        membership == Some(Membership::Invite)
    }

    /// Withdraws the user's join number `count`, unless there has been another one since.
    async fn retry_withdrawal(&self, change: &MembershipChange, count: u64, pauses: &[Duration]) {
        for pause in pauses {
            self.receiver.clock.sleep(*pause).await;
            let mut joins = self.joins.of(&change.room_id, &change.target).await;
            if joins.count != count || !matches!(self.withdraw_join(change, &mut joins).await, Withdrawal::Failed(_)) {
                return;
            }
        }
        tracing::warn!(
            room = %change.room_id,
            "a failed join could not be withdrawn; for other servers the user may be in the room until they leave it"
        );
    }

    /// Sends a leave to the servers that may have accepted a join of the user.
    pub(super) async fn withdraw_join(&self, change: &MembershipChange, joins: &mut UserJoins) -> Withdrawal {
        match self.existing_join(change).await {
            Ok(None) => {}
            Ok(Some(_)) => joins.accepted_by.clear(),
            Err(error) => return Withdrawal::Failed(error),
        }
        let leave = MembershipChange { reason: None, content: Object::new(), transaction: None, ..change.clone() };
        let mut result = Withdrawal::NotNeeded;
        for server in joins.accepted_by.clone() {
            match self.leave_via(&leave, &server).await {
                Ok(event) => {
                    // That server sends the leave to the room's other servers.
                    joins.accepted_by.clear();
                    if let Err(error) = self.store_leave(&event).await {
                        tracing::warn!(room = %leave.room_id, "a leave could not be stored: {error}");
                    }
                    return Withdrawal::Left(event.event_id().clone());
                }
                Err(error) => {
                    tracing::info!(room = %leave.room_id, "withdrawing a join through {server} failed: {error}");
                    if is_refusal(&error) {
                        joins.accepted_by.retain(|other| *other != server);
                    } else {
                        result = Withdrawal::Failed(error);
                    }
                }
            }
        }
        result
    }

    /// Stores a leave. Afterwards the user can forget the room, and is no longer invited.
    async fn store_leave(&self, leave: &Pdu) -> Result<(), ReceiveError> {
        let room = out_of_band::known_or_new(&self.receiver.writer, leave.room_id(), leave.room_version()).await?;
        // If users of this server are in the room, the leave is received like any other event.
        if !room.view().is_out_of_band() {
            return Ok(());
        }
        Ok(out_of_band::set_membership(&self.receiver.writer, &room, leave).await?)
    }
}

/// Whether the server refuses the leave, and would refuse it again.
fn is_refusal(error: &MembershipError) -> bool {
    let MembershipError::Remote(PeerError::Refused { status, .. }) = error else { return false };
    (400..500).contains(status) && *status != RATE_LIMITED
}
