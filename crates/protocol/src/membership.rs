//! Memberships: the relation of a user to a room
//! ([`m.room.member`](https://spec.matrix.org/v1.19/client-server-api/#mroommember)).

use crate::event::Pdu;

/// The value of `membership` in an `m.room.member` event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Membership {
    /// `invite`
    Invite,
    /// `join`
    Join,
    /// `knock` (room version 7 and later)
    Knock,
    /// `leave`: the user left, was kicked, rejected an invite, or was unbanned.
    Leave,
    /// `ban`
    Ban,
}

impl Membership {
    /// Returns the membership that a member event sets; `None` when it has no known one.
    pub fn of(event: &Pdu) -> Option<Self> {
        Self::parse(event.content().get_str("membership")?)
    }

    /// Parses the value of `membership`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "invite" => Some(Self::Invite),
            "join" => Some(Self::Join),
            "knock" => Some(Self::Knock),
            "leave" => Some(Self::Leave),
            "ban" => Some(Self::Ban),
            _ => None,
        }
    }

    /// Returns the value of `membership`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invite => "invite",
            Self::Join => "join",
            Self::Knock => "knock",
            Self::Leave => "leave",
            Self::Ban => "ban",
        }
    }
}
