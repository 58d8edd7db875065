//! Invites users of other servers (<https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room>).

use std::time::Duration;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_rooms::actions::membership::MembershipError;
use plexus_rooms::actions::profile;
use plexus_rooms::model::room::Room;
use plexus_store::repo;
use serde_json::value::RawValue;

use crate::peers::Peers;
use crate::receive::{PduReceiver, ReceiveError};
use crate::serve;

/// How long an invite waits for the profile of a user of another server.
const PROFILE_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns the display name and avatar of a user of another server, or nothing if that server does not respond within
/// [`PROFILE_TIMEOUT`].
pub(super) async fn remote_profile(peers: &dyn Peers, server: &ServerName, user: &UserId) -> Object {
    #[expect(clippy::disallowed_methods, reason = "bounds the wait for another machine")]
    let response = tokio::time::timeout(PROFILE_TIMEOUT, peers.profile(server, user, PROFILE_TIMEOUT)).await;
    let mut profile = match response {
        Ok(Ok(profile)) => profile,
        Ok(Err(error)) => {
            tracing::debug!("{user} is invited without name and avatar: {error}");
            Object::new()
        }
        Err(_) => Object::new(),
    };
    profile.retain(|field, value| {
        let fits = |text: &str| {
            repo::profiles::longest(field).is_some_and(|longest| text.chars().count() <= longest)
                && !text.contains('\0')
        };
        profile::is_in_member_events(field) && value.as_str().is_some_and(fits)
    });
    profile
}

/// Returns the invite with the signature of the invited user's server.
pub(super) async fn signed(
    receiver: &PduReceiver,
    room: &Room,
    server: &ServerName,
    invite: &Pdu,
) -> Result<Pdu, MembershipError> {
    let events = serve::stripped_state_events(&receiver.rooms, room, Some(invite.sender())).await?;
    let events = events.into_iter().filter_map(|event| RawValue::from_string(event).ok()).collect();
    let signed = receiver.peers.invite(server, invite, events).await?;
    let copy = Pdu::parse_remote(signed.get(), room.version).map_err(ReceiveError::from)?;
    // Only the signature of the returned event is used. No server would accept the invite without it.
    let signed = receiver.verifier.with_valid_signatures(invite, &copy, server.as_str()).await;
    signed.map_err(ReceiveError::from)?.ok_or(MembershipError::RemoteUser)
}
