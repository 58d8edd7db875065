//! The parts that the endpoints about rooms share: events as JSON, and refusals.

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use plexus_federation::ReceiveError;
use plexus_federation::serve::{self, SentMembershipError, ServeError};
use plexus_http::federation::peer_error;
use plexus_http::room_errors::policy_refusal;
use plexus_http::{ApiError, RawJson};
use plexus_protocol::event::PduError;
use plexus_protocol::id::ServerName;
use plexus_rooms::{LimitError, MembershipError, Room, SendError};
use plexus_store::{DbError, EventNid};
use serde_json::json;
use std::sync::Arc;

/// How many events of a long response are in memory at a time.
const EVENTS_AT_ONCE: usize = 500;

/// Returns events as a transaction (server-server API, "Transactions").
pub(crate) fn transaction(origin: &ServerName, now_ms: u64, pdus: &[String]) -> RawJson {
    let origin = json!(origin.as_str());
    let pdus = pdus.join(",");
    RawJson(format!("{{\"origin\":{origin},\"origin_server_ts\":{now_ms},\"pdus\":[{pdus}]}}").into())
}

/// A part of a response that is written while it is sent.
#[derive(Debug)]
pub(crate) enum Part {
    /// JSON as it is.
    Text(String),
    /// Events, with commas between.
    Events(Vec<EventNid>),
}

/// Returns a 200 response of many events, which are read from the database while it is sent. If that fails, the
/// response breaks off.
pub(crate) fn streamed(room: Arc<Room>, parts: Vec<Part>) -> Response {
    let mut pieces = Vec::new();
    for part in parts {
        match part {
            Part::Text(text) => pieces.push((true, Part::Text(text))),
            Part::Events(events) => {
                let chunks = events.chunks(EVENTS_AT_ONCE).enumerate();
                pieces.extend(chunks.map(|(number, chunk)| (number == 0, Part::Events(chunk.to_vec()))));
            }
        }
    }
    let body = stream::try_unfold((room, pieces.into_iter()), async |(room, mut pieces)| {
        let Some((first, piece)) = pieces.next() else { return Ok::<_, DbError>(None) };
        let text = match piece {
            Part::Text(text) => text,
            Part::Events(events) => {
                let pdus = serve::pdus(&room, &events).await.inspect_err(|error| tracing::error!("{error}"))?.join(",");
                if first { pdus } else { format!(",{pdus}") }
            }
        };
        Ok(Some((Bytes::from(text), (room, pieces))))
    });
    let mut response = Body::from_stream(body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Returns the error for a server whose request was refused.
pub(crate) fn refused(error: ServeError) -> ApiError {
    let bad_request = |code, error: ServeError| ApiError::new(StatusCode::BAD_REQUEST, code, error.to_string());
    match error {
        ServeError::UnknownRoom | ServeError::UnknownEvent => ApiError::not_found(error.to_string()),
        ServeError::NotInRoom
        | ServeError::DeniedByAcl
        | ServeError::UserOfOtherServer
        | ServeError::NotInAllowedRoom
        | ServeError::Forbidden(_) => ApiError::forbidden(error.to_string()),
        ServeError::IncompatibleVersion(version) => {
            bad_request("M_INCOMPATIBLE_ROOM_VERSION", error).with("room_version", version.as_str())
        }
        ServeError::UnableToAuthoriseJoin => bad_request("M_UNABLE_TO_AUTHORISE_JOIN", error),
        ServeError::UnableToGrantJoin => bad_request("M_UNABLE_TO_GRANT_JOIN", error),
        ServeError::NotAnAuthoriser(_) => bad_request("M_FORBIDDEN", error),
        ServeError::Limit(error) => limited(error),
        ServeError::Send(SendError::TooLarge(_) | SendError::Malformed(_)) => bad_request("M_INVALID_PARAM", error),
        ServeError::Send(SendError::Db(error)) => error.into(),
        ServeError::Send(SendError::Refused(refusal)) => policy_refusal(*refusal),
        ServeError::Send(error) => ApiError::internal(&error),
        ServeError::Db(error) => error.into(),
    }
}

/// Returns the error for a server whose member event or invite was not accepted.
pub(crate) fn not_accepted(error: SentMembershipError) -> ApiError {
    match error {
        SentMembershipError::Refused(error) => refused(error),
        SentMembershipError::Malformed(PduError::TooLarge(_)) => ApiError::too_large(error.to_string()),
        SentMembershipError::Malformed(_) | SentMembershipError::Unfit(_) => ApiError::invalid_param(error.to_string()),
        SentMembershipError::NotAllowed => ApiError::forbidden(error.to_string()),
        SentMembershipError::Receive(error) => not_received(error),
    }
}

/// Returns the error for a server whose event was not accepted.
pub(crate) fn not_received(error: ReceiveError) -> ApiError {
    match error {
        ReceiveError::Malformed(PduError::TooLarge(_)) => ApiError::too_large(error.to_string()),
        ReceiveError::Malformed(_) | ReceiveError::Signature(_) | ReceiveError::NotAnInvite => {
            ApiError::invalid_param(error.to_string())
        }
        ReceiveError::Limit(error) => limited(error),
        ReceiveError::Refused(refusal) => policy_refusal(*refusal),
        ReceiveError::StrippedState(_) => ApiError::too_large(error.to_string()),
        ReceiveError::OtherRoom => ApiError::invalid_param(error.to_string()),
        ReceiveError::NotInRoom => ApiError::not_found(error.to_string()),
        ReceiveError::DeniedByAcl | ReceiveError::InviterNotInRoom => ApiError::forbidden(error.to_string()),
        ReceiveError::OtherVersion => ApiError::invalid_param(error.to_string()),
        ReceiveError::MissingEvents => ApiError::unknown(error.to_string()),
        ReceiveError::Contended | ReceiveError::Panicked => ApiError::internal(&error),
        ReceiveError::Db(error) => error.into(),
    }
}

/// Returns the error for a server that requested an invite which was not made.
pub(crate) fn not_invited(error: MembershipError) -> ApiError {
    let text = error.to_string();
    match error {
        MembershipError::Send(SendError::UnknownRoom) => ApiError::not_found(text),
        MembershipError::Send(SendError::TooLarge(_) | SendError::Malformed(_)) => ApiError::invalid_param(text),
        MembershipError::Send(SendError::Contended) => ApiError::unknown(text),
        MembershipError::Send(SendError::Db(error)) => error.into(),
        MembershipError::Send(SendError::Refused(refusal)) => policy_refusal(*refusal),
        MembershipError::Remote(error) => peer_error(&error),
        MembershipError::Limit(error) => limited(error),
        MembershipError::TargetNotInRoom
        | MembershipError::NotBanned
        | MembershipError::Banned
        | MembershipError::NotInAllowedRoom
        | MembershipError::UnableToGrantJoin
        | MembershipError::GuestsForbidden
        | MembershipError::RemoteUser
        | MembershipError::NoServer
        | MembershipError::BadState
        | MembershipError::StillInRoom
        | MembershipError::TooComplex(_)
        | MembershipError::NotInvited
        | MembershipError::NoticesInvite
        | MembershipError::IdentityKey
        | MembershipError::Send(_) => ApiError::forbidden(text),
    }
}

/// Returns the error for a server that exceeded a limit.
fn limited(error: LimitError) -> ApiError {
    match error {
        LimitError::RateLimited(limited) => limited.into(),
        LimitError::InvitesBlocked => ApiError::forbidden("This server does not accept room invites"),
        LimitError::RoomBlocked | LimitError::NoticesUserInvited => ApiError::forbidden(error.to_string()),
        LimitError::RoomPurged => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", error.to_string()),
        LimitError::InviteBlocked => {
            ApiError::new(StatusCode::FORBIDDEN, "M_INVITE_BLOCKED", "You are not permitted to invite this user")
        }
    }
}
