//! PUT /_matrix/federation/v1/3pid/onbind

use std::net::IpAddr;
use std::sync::Arc;

use plexus_base::Clock;
use plexus_base::rate_limiter::network;
use plexus_http::{ApiError, ClientIp, Empty, Json, RateLimiter, State};
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_rooms::{MembershipChanger, MembershipError, Profiles, ThirdPartyInviteClaim};
use serde::Deserialize;

/// The most invites in one request that are handled.
const MAX_INVITES: u32 = 100;
/// How many invites one client address may bring per second in the long run.
const INVITES_PER_SECOND: f64 = 1.0;

/// Counts the invites that each address has brought: anybody may bring them, and each may cost a request to another
/// server.
pub struct BroughtInvites(RateLimiter<IpAddr>);

impl BroughtInvites {
    /// Creates the limiter.
    pub fn new(clock: &Clock) -> Self {
        Self(RateLimiter::new(clock.clone(), INVITES_PER_SECOND, f64::from(MAX_INVITES)))
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    mxid: UserId,
    #[serde(default)]
    invites: Vec<Invite>,
}

#[derive(Debug, Deserialize)]
struct Invite {
    mxid: UserId,
    room_id: RoomId,
    sender: UserId,
    signed: Object,
}

/// Handles the notification of an identity server that a local user owns an address that was invited to rooms. The
/// invites carry their own proof, so that anybody may bring them; if one fails, the others are made all the same.
pub(crate) async fn handle(
    ClientIp(ip): ClientIp,
    State(brought): State<Arc<BroughtInvites>>,
    State(own): State<ServerName>,
    State(profiles): State<Arc<Profiles>>,
    State(members): State<Arc<MembershipChanger>>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    let user = request.mxid;
    if user.server_name() != own.as_str() || profiles.find(&user).await?.is_none() {
        return Err(ApiError::not_found("No such user"));
    }
    let invites = u32::try_from(request.invites.len()).ok().filter(|invites| *invites <= MAX_INVITES);
    let invites = invites.ok_or_else(|| ApiError::invalid_param(format!("More than {MAX_INVITES} invites")))?;
    brought.0.take(&network(ip), invites)?;
    for invite in request.invites {
        let Invite { mxid, room_id, sender, signed } = invite;
        if mxid != user || signed.get_str("mxid") != Some(user.as_str()) {
            tracing::info!(room = %room_id, "an identity server sent an invite of {mxid} as one of {user}");
            continue;
        }
        let by = sender.clone();
        let redemption = ThirdPartyInviteClaim { room_id: room_id.clone(), sender, target: user.clone(), signed };
        if let Err(error) = redeem(&members, &own, redemption).await {
            tracing::info!(room = %room_id, "{user}, whose address {by} invited, cannot be invited: {error}");
        }
    }
    Ok(Empty)
}

async fn redeem(
    members: &MembershipChanger,
    own: &ServerName,
    redemption: ThirdPartyInviteClaim,
) -> Result<(), MembershipError> {
    if redemption.sender.server_name() == own.as_str() {
        return members.claim_third_party_invite(redemption).await.map(drop);
    }
    members.forward_third_party_invite(redemption).await
}
