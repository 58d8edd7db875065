//! Joins that another server has accepted, or may have, and that failed here afterwards: the other server believes the
//! user to be in the room until it is sent a leave.

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

use super::Remote;
use crate::receive::ReceiveError;

/// How many users' failed joins of a room are remembered.
const MAX_REMEMBERED: usize = 1_000;
/// How long to wait each time before a server that could not be reached is sent the leave again.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(600), Duration::from_secs(3_600)];
/// The same for somebody who was invited. The leave uses the invite up: they have some time to try again first.
const PAUSES_OF_INVITED: [Duration; 2] = [Duration::from_secs(600), Duration::from_secs(3_600)];

/// The HTTP status of a request that is to be made again later.
const RATE_LIMITED: u16 = 429;

/// The joins through other servers. In memory only, owned by [`super::RemoteMembershipChanger`].
#[derive(Default)]
pub(super) struct RemoteJoins {
    of_user: Mutex<HashMap<(RoomId, UserId), SharedJoins>>,
}

/// A user's joins of a room, of which there is one at a time.
#[derive(Default)]
pub(super) struct UserJoins {
    /// The servers that may have accepted a join that failed here.
    pub accepted_by: Vec<ServerName>,
    /// How many there have been.
    pub count: u64,
}

/// Locked as long as one of the joins is under way.
type SharedJoins = Arc<tokio::sync::Mutex<UserJoins>>;

/// What became of a join that is taken back.
pub(super) enum TakenBack {
    /// A server has accepted this leave.
    Left(EventId),
    /// No server believes the user to be in the room, or the user is in it.
    Nothing,
    /// A server that may have accepted the join does not take the leave.
    Unreachable(MembershipError),
}

impl RemoteJoins {
    /// Waits for the user's other joins of the room to end.
    pub async fn of(&self, room: &RoomId, user: &UserId) -> OwnedMutexGuard<UserJoins> {
        let joins = {
            let mut of_user = self.of_user.lock();
            let is_used = |joins: &SharedJoins| Arc::strong_count(joins) > 1;
            of_user.retain(|_, joins| is_used(joins) || joins.try_lock().is_ok_and(|it| !it.accepted_by.is_empty()));
            if of_user.len() >= MAX_REMEMBERED {
                of_user.retain(|_, joins| is_used(joins));
            }
            Arc::clone(of_user.entry((room.clone(), user.clone())).or_default())
        };
        joins.lock_owned().await
    }
}

impl Remote {
    /// Tells the servers that may have accepted a join which failed here that the user is not in the room, now or
    /// later.
    pub(super) async fn give_up_join(self, change: MembershipChange, joins: &mut UserJoins) {
        let count = joins.count;
        let pauses = if !joins.accepted_by.is_empty() && self.is_invited(&change).await {
            PAUSES_OF_INVITED.as_slice()
        } else if matches!(self.take_back(&change, joins).await, TakenBack::Unreachable(_)) {
            PAUSES.as_slice()
        } else {
            return;
        };
        let background = self.receiver.writer.background.clone();
        background.spawn_abortable("taking back of a join", async move {
            self.keep_taking_back(&change, count, pauses).await;
        });
    }

    async fn is_invited(&self, change: &MembershipChange) -> bool {
        let room = self.rooms.get(&change.room_id).await.ok().flatten();
        let membership = room.and_then(|room| room.view().state.membership(change.target.as_str()));
        membership == Some(Membership::Invite)
    }

    /// Takes back the join that was the user's number `count`, unless there has been another since.
    async fn keep_taking_back(&self, change: &MembershipChange, count: u64, pauses: &[Duration]) {
        for pause in pauses {
            self.receiver.writer.clock.sleep(*pause).await;
            let mut joins = self.joins.of(&change.room_id, &change.target).await;
            if joins.count != count || !matches!(self.take_back(change, &mut joins).await, TakenBack::Unreachable(_)) {
                return;
            }
        }
        tracing::warn!(
            room = %change.room_id,
            "a join that failed could not be taken back; other servers may list the user until they leave the room"
        );
    }

    /// Sends a leave to the servers that may have accepted a join of the user's.
    pub(super) async fn take_back(&self, change: &MembershipChange, joins: &mut UserJoins) -> TakenBack {
        match self.joined_by(change).await {
            Ok(None) => {}
            Ok(Some(_)) => joins.accepted_by.clear(),
            Err(error) => return TakenBack::Unreachable(error),
        }
        let leave = MembershipChange { reason: None, content: Object::new(), ..change.clone() };
        let mut result = TakenBack::Nothing;
        for server in joins.accepted_by.clone() {
            match self.leave_via(&leave, &server).await {
                Ok(event) => {
                    // The other servers in the room learn of it from that one.
                    joins.accepted_by.clear();
                    if let Err(error) = self.keep_leave(&event).await {
                        tracing::warn!(room = %leave.room_id, "a leave could not be stored: {error}");
                    }
                    return TakenBack::Left(event.event_id().clone());
                }
                Err(error) => {
                    tracing::info!(room = %leave.room_id, "a join could not be taken back at {server}: {error}");
                    if is_refusal(&error) {
                        joins.accepted_by.retain(|other| *other != server);
                    } else {
                        result = TakenBack::Unreachable(error);
                    }
                }
            }
        }
        result
    }

    /// Stores a leave, after which the user can forget the room and has no invite to it any more.
    async fn keep_leave(&self, leave: &Pdu) -> Result<(), ReceiveError> {
        let room = out_of_band::known_or_new(&self.receiver.writer, leave.room_id(), leave.room_version()).await?;
        // Where other users of this server are in the room, the leave comes like any other event.
        if !room.view().is_out_of_band() {
            return Ok(());
        }
        Ok(out_of_band::set_membership(&self.receiver.writer, &room, leave).await?)
    }
}

/// Whether a server has no such member, or will not let them leave however often it is asked.
fn is_refusal(error: &MembershipError) -> bool {
    let MembershipError::Remote(PeerError::Refused { status, .. }) = error else { return false };
    (400..500).contains(status) && *status != RATE_LIMITED
}
