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

impl SenderRules {
    /// Whether server notices are sent to the room: the user who sends them is in it.
    #[must_use]
    pub fn is_notices_room(&self, room: &Room) -> bool {
        let membership = |user: &UserId| room.view().state.membership(user.as_str());
        self.notices_user.as_ref().and_then(membership) == Some(Membership::Join)
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
