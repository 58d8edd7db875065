//! PUT /_matrix/federation/v1/exchange_third_party_invite/{roomId}

use std::sync::Arc;

use plexus_http::{ApiError, Empty, Json, Path, State};
use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::json::Object;
use plexus_rooms::{MembershipChanger, ThirdPartyInviteClaim};
use serde::Deserialize;

use crate::responses::not_invited;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    r#type: String,
    room_id: RoomId,
    sender: UserId,
    state_key: UserId,
    content: Content,
}

#[derive(Debug, Deserialize)]
struct Content {
    membership: String,
    third_party_invite: ThirdPartyInvite,
}

#[derive(Debug, Deserialize)]
struct ThirdPartyInvite {
    signed: Object,
}

/// Invites a user of another server, who owns an address that a local user invited. The invite carries its own proof,
/// so that any server may bring it.
pub(crate) async fn handle(
    State(members): State<Arc<MembershipChanger>>,
    Path(room_id): Path<RoomId>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    if request.r#type != "m.room.member" || request.content.membership != "invite" || request.room_id != room_id {
        return Err(ApiError::invalid_param("The event is no invite to this room"));
    }
    let Request { sender, state_key: target, content, .. } = request;
    let signed = content.third_party_invite.signed;
    members
        .claim_third_party_invite(ThirdPartyInviteClaim { room_id, sender, target, signed })
        .await
        .map_err(not_invited)?;
    Ok(Empty)
}
