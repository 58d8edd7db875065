//! Member events that clients send as state events.

use plexus_accounts::Requester;
use plexus_protocol::id::{EventId, UserId};
use plexus_rooms::{Authority, MembershipChange, MembershipChanger, MembershipError, NewEvent};

use crate::profile_rules::{ProfileRuleError, ProfileRules};

/// Why a member event did not change a membership.
#[derive(Debug, thiserror::Error)]
pub enum MemberEventError {
    /// The state key is not a user id.
    #[error("The state key is no user id: {0}")]
    StateKey(String),
    /// The content names no membership.
    #[error("The content has no membership")]
    NoMembership,
    /// The content names a membership that does not exist.
    #[error("Unknown membership")]
    UnknownMembership,
    /// Only the user can join.
    #[error("Cannot force another user to join.")]
    ForcedJoin,
    /// Guests only join and leave.
    #[error("Guest access not allowed")]
    GuestsForbidden,
    /// The name or avatar is not allowed.
    #[error(transparent)]
    Profile(#[from] ProfileRuleError),
    /// The membership cannot be changed so.
    #[error(transparent)]
    Membership(#[from] MembershipError),
}

/// The account for which an event is sent.
#[derive(Debug, Clone, Copy)]
pub struct SendingAccount {
    /// Whether it is a guest's.
    pub is_guest: bool,
    /// Whether it is a server administrator's.
    pub is_admin: bool,
    /// Whether it is shadow-banned: its events seem to be sent, and reach nobody.
    pub shadow_banned: bool,
    /// Whether the rate limits of users apply.
    pub is_rate_limited: bool,
}

impl SendingAccount {
    /// Returns the authority by which the account changes memberships.
    #[must_use]
    pub fn authority(self) -> Authority {
        match (self.is_admin, self.is_rate_limited) {
            (false, true) => Authority::User,
            (true, true) => Authority::Administrator,
            (false, false) => Authority::UnlimitedUser,
            (true, false) => Authority::UnlimitedAdministrator,
        }
    }
}

impl From<&Requester> for SendingAccount {
    fn from(requester: &Requester) -> Self {
        let Requester { is_guest, is_admin, shadow_banned, .. } = *requester;
        Self { is_guest, is_admin, shadow_banned, is_rate_limited: requester.is_rate_limited() }
    }
}

/// Sets the membership that a member event names, with the same effect as the endpoint for that membership.
pub(crate) async fn set_membership(
    members: &MembershipChanger,
    profile_rules: &ProfileRules,
    account: SendingAccount,
    mut event: NewEvent,
) -> Result<EventId, MemberEventError> {
    let target = UserId::try_from(event.state_key.as_deref().unwrap_or_default())
        .map_err(|error| MemberEventError::StateKey(error.to_string()))?;
    let membership = event.content.get_str("membership").ok_or(MemberEventError::NoMembership)?.to_owned();
    let own = target == event.sender;
    if account.is_guest && !(own && matches!(&*membership, "join" | "leave")) {
        return Err(MemberEventError::GuestsForbidden);
    }
    profile_rules.apply_to_member(&mut event.content, account.shadow_banned).await?;
    let change = MembershipChange {
        room_id: event.room_id,
        sender: event.sender,
        target,
        reason: None,
        content: event.content,
        via: Vec::new(),
        transaction: event.transaction,
        origin_server_ts: event.origin_server_ts,
        authority: account.authority(),
    };
    let changed = match &*membership {
        "join" if own => members.join(change, account.is_guest).await,
        "join" => return Err(MemberEventError::ForcedJoin),
        "invite" => members.invite(change).await,
        "knock" if own => members.knock(change).await,
        "leave" if own => members.leave(change).await,
        "leave" => members.remove(change).await,
        "ban" => members.ban(change).await,
        _ => return Err(MemberEventError::UnknownMembership),
    };
    Ok(changed?.event_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_administrator_stays_one_without_rate_limits() {
        let authority = |is_admin, is_rate_limited| {
            SendingAccount { is_guest: false, is_admin, shadow_banned: false, is_rate_limited }.authority()
        };
        assert_eq!(authority(true, false), Authority::UnlimitedAdministrator);
        assert_eq!(authority(false, false), Authority::UnlimitedUser);
        assert_eq!(authority(true, true), Authority::Administrator);
        assert_eq!(authority(false, true), Authority::User);
    }
}
