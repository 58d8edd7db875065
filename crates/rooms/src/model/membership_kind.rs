//! The values of `membership` in an `m.room.member` event.

use plexus_protocol::auth::Membership;
use plexus_protocol::event::Pdu;

/// A user's membership of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MembershipKind {
    /// `invite`
    Invite,
    /// `join`
    Join,
    /// `knock`
    Knock,
    /// `leave`: left, was kicked, rejected an invite, or was unbanned.
    Leave,
    /// `ban`
    Ban,
}

impl From<MembershipKind> for Membership {
    fn from(kind: MembershipKind) -> Self {
        match kind {
            MembershipKind::Invite => Self::Invite,
            MembershipKind::Join => Self::Join,
            MembershipKind::Knock => Self::Knock,
            MembershipKind::Leave => Self::Leave,
            MembershipKind::Ban => Self::Ban,
        }
    }
}

impl From<Membership> for MembershipKind {
    fn from(membership: Membership) -> Self {
        match membership {
            Membership::Invite => Self::Invite,
            Membership::Join => Self::Join,
            Membership::Knock => Self::Knock,
            Membership::Leave => Self::Leave,
            Membership::Ban => Self::Ban,
        }
    }
}

impl MembershipKind {
    /// The membership a member event sets; `None` when the content has none that is known.
    #[must_use]
    pub fn of(pdu: &Pdu) -> Option<Self> {
        pdu.content().get("membership")?.as_str().and_then(Self::parse)
    }

    /// Reads the value of `membership`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "invite" => Self::Invite,
            "join" => Self::Join,
            "knock" => Self::Knock,
            "leave" => Self::Leave,
            "ban" => Self::Ban,
            _ => return None,
        })
    }

    /// The value of `membership`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invite => "invite",
            Self::Join => "join",
            Self::Knock => "knock",
            Self::Leave => "leave",
            Self::Ban => "ban",
        }
    }

    /// The number the database stores.
    #[must_use]
    pub fn code(self) -> i64 {
        match self {
            Self::Leave => 0,
            Self::Join => 1,
            Self::Invite => 2,
            Self::Knock => 3,
            Self::Ban => 4,
        }
    }

    /// Reads the number the database stores.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        Some(match code {
            0 => Self::Leave,
            1 => Self::Join,
            2 => Self::Invite,
            3 => Self::Knock,
            4 => Self::Ban,
            _ => return None,
        })
    }
}
