//! GET /_matrix/client/v3/rooms/{roomId}/members

use std::sync::Arc;

use plexus_base::Clock;
use plexus_http::room_errors::send_error;
use plexus_http::{ApiError, AuthGuest, Path, Query, RawJson, State};
use plexus_protocol::id::RoomId;
use plexus_protocol::membership::Membership;
use plexus_rooms::{Rooms, StateEntry, TimelineEvent, timeline};
use plexus_service::event_json::{client_format, push_state};
use serde::Deserialize;

use crate::access::readable_room;
use crate::paging_token::position_of;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    at: Option<String>,
    membership: Option<String>,
    not_membership: Option<String>,
}

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(rooms): State<Arc<Rooms>>,
    State(clock): State<Clock>,
    Path(room_id): Path<RoomId>,
    Query(request): Query<Request>,
) -> Result<RawJson, ApiError> {
    let (room, access) = readable_room(&rooms, &room_id, &requester.user_id).await?;
    rooms.full_state(&room).await.map_err(|error| send_error(error.into()))?;
    let view = room.view();
    let at = request.at.as_deref().map(position_of).transpose()?.unwrap_or(view.position);
    let at = timeline::state_position(&requester.user_id, &room, access, at).await?.ok_or_else(|| {
        ApiError::forbidden(format!("User {} may not see who was in room {room_id} then", requester.user_id))
    })?;
    let mut members: Vec<Arc<TimelineEvent>> = if at >= view.position {
        let entries: Vec<Arc<StateEntry>> = view.state.of_type("m.room.member").cloned().collect();
        timeline::state_events(&room, &entries).await?
    } else {
        let state = timeline::state_at(&room, at).await?;
        state.into_iter().filter(|event| event.pdu.event_type() == "m.room.member").collect()
    };
    members.retain(|event| {
        let membership = Membership::of(&event.pdu).map(Membership::as_str);
        request.membership.as_deref().is_none_or(|wanted| membership == Some(wanted))
            && request.not_membership.as_deref().is_none_or(|unwanted| membership != Some(unwanted))
    });
    let mut out = String::from("{\"chunk\":");
    push_state(&mut out, &room, &client_format(&requester, clock.now_ms()), members).await?;
    out.push('}');
    Ok(RawJson(out.into()))
}
