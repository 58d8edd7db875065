//! PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}

use std::sync::Arc;

use plexus_http::room_errors::{client_event_error, membership_error};
use plexus_http::{ApiError, AuthGuest, Json, JsonBody, Path, Requester, State, require_not_suspended};
use plexus_protocol::id::{EventId, RoomId, UserId};
use plexus_protocol::json::Object;
use plexus_rooms::{Authority, MembershipChange, MembershipChanger, NewEvent};
use plexus_service::ClientEventSender;
use plexus_service::RateLimits;
use plexus_sync::Presence;

use crate::sending::EventSent;

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(events): State<Arc<ClientEventSender>>,
    State(members): State<Arc<MembershipChanger>>,
    State(limits): State<Arc<RateLimits>>,
    State(presence): State<Arc<Presence>>,
    Path((room_id, event_type, state_key)): Path<(RoomId, String, String)>,
    Json(content): Json<Object>,
) -> Result<JsonBody<EventSent>, ApiError> {
    if event_type == "m.room.member" {
        require_not_suspended(&requester)?;
        limits.message.check(&requester.user_id)?;
        let event_id = set_membership(&requester, &members, room_id, &state_key, content).await?;
        presence.active(&requester.user_id);
        return Ok(JsonBody(EventSent { event_id }));
    }
    let event = NewEvent {
        room_id,
        sender: requester.user_id.clone(),
        event_type,
        state_key: Some(state_key),
        content,
        redacts: None,
        origin_server_ts: None,
        transaction: None,
    };
    require_not_suspended(&requester)?;
    let event_id = events.send(&requester, event).await.map_err(client_event_error)?;
    Ok(JsonBody(EventSent { event_id }))
}

/// As [`handle`], with an empty state key, which the path may leave out.
pub(crate) async fn without_key(
    auth: AuthGuest,
    events: State<Arc<ClientEventSender>>,
    members: State<Arc<MembershipChanger>>,
    limits: State<Arc<RateLimits>>,
    presence: State<Arc<Presence>>,
    Path((room_id, event_type)): Path<(RoomId, String)>,
    content: Json<Object>,
) -> Result<JsonBody<EventSent>, ApiError> {
    handle(auth, events, members, limits, presence, Path((room_id, event_type, String::new())), content).await
}

/// Sets a membership: a member event has the same effect as the endpoint for that membership.
async fn set_membership(
    requester: &Requester,
    members: &MembershipChanger,
    room_id: RoomId,
    state_key: &str,
    content: Object,
) -> Result<EventId, ApiError> {
    let target = UserId::try_from(state_key)
        .map_err(|error| ApiError::invalid_param(format!("The state key is no user id: {error}")))?;
    let membership =
        content.get_str("membership").ok_or_else(|| ApiError::bad_json("The content has no membership"))?.to_owned();
    let own = target == requester.user_id;
    if requester.is_guest && !(own && matches!(&*membership, "join" | "leave")) {
        // Guests only join and leave, as with the endpoints for that.
        return Err(ApiError::guests_forbidden());
    }
    let change = MembershipChange {
        room_id,
        sender: requester.user_id.clone(),
        target,
        reason: None,
        content,
        via: Vec::new(),
        authority: Authority::of_user(requester.is_admin),
    };
    let changed = match &*membership {
        "join" if own => members.join(change, requester.is_guest).await,
        "join" => return Err(ApiError::forbidden("Cannot force another user to join.")),
        "invite" => members.invite(change).await,
        "knock" if own => members.knock(change).await,
        "leave" if own => members.leave(change).await,
        "leave" => members.remove(change).await,
        "ban" => members.ban(change).await,
        _ => return Err(ApiError::bad_json("Unknown membership")),
    };
    Ok(changed.map_err(membership_error)?.event_id)
}
