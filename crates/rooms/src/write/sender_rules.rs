//! Rules about users of this server, whatever the rooms allow. Checked where events are made, so that no endpoint
//! leads around them.

use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;

use crate::model::limits::LimitError;
use crate::model::room::Room;

/// The rules about users of this server, besides those of rooms.
#[derive(Clone, Debug, Default)]
pub struct SenderRules {
    /// The user who sends server notices. Nobody can invite that user, nor reject that user's invites.
    pub notices_user: Option<UserId>,
}

/// Whether `user` has created the room, and is in it. What is for one user only is not sent to rooms that others made.
#[must_use]
pub fn is_notices_room_of(room: &Room, user: &UserId) -> bool {
    let view = room.view();
    let is_creator = view.event_in_memory("m.room.create", "").is_some_and(|create| create.sender() == user);
    is_creator && view.state.membership(user.as_str()) == Some(Membership::Join)
}

impl SenderRules {
    /// Whether server notices are sent to the room: the user who sends them has created it, and is in it.
    #[must_use]
    pub fn is_notices_room(&self, room: &Room) -> bool {
        self.notices_user.as_ref().is_some_and(|user| is_notices_room_of(room, user))
    }

    /// Checks that none of the invited users is the one who sends server notices.
    ///
    /// # Errors
    /// [`LimitError::NoticesUserInvited`]
    pub fn check_invites<'a>(&self, targets: impl IntoIterator<Item = &'a UserId>) -> Result<(), LimitError> {
        let is_invited = targets.into_iter().any(|target| Some(target) == self.notices_user.as_ref());
        if is_invited { Err(LimitError::NoticesUserInvited) } else { Ok(()) }
    }
}
