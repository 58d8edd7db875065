//! The scheduled tasks that accept invites for users (`auto_accept_invites`).

use plexus_protocol::event::Pdu;
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::json::{Object, Value};
use plexus_protocol::membership::Membership;
use plexus_store::Position;
use plexus_store::repo::scheduled_tasks::{ScheduledTask, TaskStatus};

use crate::model::current_state::StateChange;
use crate::model::room::Room;

/// The kind of the scheduled tasks that accept invites. The resource is the invited user.
pub const ACCEPT_TASK: &str = "accept_invite";

const ROOM_ID: &str = "room_id";
const SENDER: &str = "sender";
const IS_DIRECT: &str = "is_direct";

/// Which invites are accepted for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedInvites {
    /// Only invites to direct chats.
    pub only_direct: bool,
    /// Only invites by users of this server.
    pub only_local: bool,
}

/// An invite that is to be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteToAccept {
    /// The room.
    pub room_id: RoomId,
    /// The user who invites.
    pub sender: UserId,
    /// Whether the room is a direct chat.
    pub is_direct: bool,
}

impl AcceptedInvites {
    /// Returns the task that accepts an invite at `position`, if the event is such an invite and `changes` the state.
    pub(crate) fn task(
        self,
        own_server: &ServerName,
        room: &Room,
        pdu: &Pdu,
        changes: &[StateChange],
        position: Position,
        now_ms: u64,
    ) -> Option<ScheduledTask> {
        let (user, _, _) = changes.iter().filter_map(StateChange::membership).find(|(user, kind, _)| {
            *kind == Membership::Invite && Some(user.as_str()) == pdu.state_key() && pdu.event_type() == "m.room.member"
        })?;
        let is_local = |user: &UserId| user.server_name() == own_server.as_str();
        let is_direct = pdu.content().get_bool(IS_DIRECT) == Some(true);
        if !is_local(&user) || (self.only_local && !is_local(pdu.sender())) || (self.only_direct && !is_direct) {
            return None;
        }
        let mut parameters = Object::from([(IS_DIRECT, is_direct)]);
        parameters.insert(ROOM_ID, room.id.as_str());
        parameters.insert(SENDER, pdu.sender().as_str());
        Some(ScheduledTask {
            task_id: format!("{ACCEPT_TASK}_{position}"),
            kind: ACCEPT_TASK.to_owned(),
            status: TaskStatus::Scheduled,
            timestamp_ms: now_ms,
            resource_id: Some(user.to_string()),
            parameters: Value::Object(parameters).to_json(),
            result: None,
            error: None,
            attempts: 0,
        })
    }
}

impl InviteToAccept {
    /// Reads the parameters of a task; `None` if they are not of this kind.
    #[must_use]
    pub fn read(parameters: &Object) -> Option<Self> {
        Some(Self {
            room_id: RoomId::try_from(parameters.get_str(ROOM_ID)?).ok()?,
            sender: UserId::try_from(parameters.get_str(SENDER)?).ok()?,
            is_direct: parameters.get_bool(IS_DIRECT)?,
        })
    }
}
