//! The engine's errors as clients read them.

use http::StatusCode;
use plexus_http::{ApiError, Requester};
use plexus_net::federation::FederationError;
use plexus_protocol::auth::AuthRejection;
use plexus_rooms::{ContentError, CreateError, LimitError, MembershipError, ReceiveError, SendError};

/// Why an event was not sent.
pub(crate) fn send_error(error: SendError) -> ApiError {
    let text = error.to_string();
    match error {
        SendError::UnknownRoom => ApiError::not_found("Unknown room"),
        SendError::Forbidden(
            AuthRejection::InvalidPowerLevel(_)
            | AuthRejection::InvalidPowerLevelsUser(_)
            | AuthRejection::CreatorInPowerLevels(_),
        ) => ApiError::unknown(text),
        SendError::Content(error) => content_error(&error),
        SendError::Forbidden(_)
        | SendError::RedactionForbidden
        | SendError::RedactionOfProtected
        | SendError::Membership => ApiError::forbidden(text),
        SendError::TooLarge(_) => ApiError::too_large(text),
        SendError::Malformed(_) => ApiError::bad_json(text),
        SendError::RedactsNothing => ApiError::missing_param(text),
        SendError::UnknownRedactionTarget => ApiError::not_found(text),
        SendError::DuplicateAnnotation => bad_request("M_DUPLICATE_ANNOTATION", text),
        SendError::BadRelation(_) => ApiError::unknown(text),
        SendError::AliasNotOfRoom(_) => bad_request("M_BAD_ALIAS", text),
        SendError::InvalidAlias(_) | SendError::MemberContent(_) => ApiError::invalid_param(text),
        SendError::Policy(error) => remote_error(&error),
        SendError::Receive(ReceiveError::Db(error)) => error.into(),
        SendError::Receive(error) => ApiError::internal(&error),
        SendError::Contended | SendError::StatePending => {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", text)
        }
        SendError::Db(error) => error.into(),
    }
}

/// What is wrong with an event's content, with the code that Synapse has for it.
fn content_error(error: &ContentError) -> ApiError {
    let text = error.to_string();
    match error {
        ContentError::WrongType { .. } | ContentError::LifetimesReversed => ApiError::bad_json(text),
        ContentError::AliasType(..) | ContentError::CreateAgain => ApiError::invalid_param(text),
        ContentError::MissingText(_)
        | ContentError::NotState(_)
        | ContentError::AclDeniesSelf(_)
        | ContentError::NoReplacementRoom
        | ContentError::ReplacedByItself => ApiError::unknown(text),
    }
}

/// Why a membership was not changed.
pub(crate) fn membership_error(error: MembershipError) -> ApiError {
    let text = error.to_string();
    match error {
        MembershipError::TargetNotInRoom
        | MembershipError::NotInAllowedRoom
        | MembershipError::RemoteUser
        | MembershipError::NotInvited
        | MembershipError::IdentityKey => ApiError::forbidden(text),
        MembershipError::NotBanned | MembershipError::Banned => {
            ApiError::new(StatusCode::FORBIDDEN, "M_BAD_STATE", text)
        }
        MembershipError::UnableToGrantJoin => bad_request("M_UNABLE_TO_GRANT_JOIN", text),
        MembershipError::GuestsForbidden => guests_forbidden(),
        MembershipError::StillInRoom => ApiError::unknown(text),
        MembershipError::NoServer => {
            ApiError::not_found("Can't join remote room because no servers that are in the room have been provided.")
        }
        MembershipError::BadState | MembershipError::Receive(_) => {
            ApiError::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", text)
        }
        MembershipError::Limit(error) => limit_error(error),
        MembershipError::Remote(error) => remote_error(&error),
        MembershipError::Send(error) => send_error(error),
    }
}

/// Why a room was not created.
pub(crate) fn create_error(error: CreateError) -> ApiError {
    let text = error.to_string();
    match error {
        CreateError::InvalidState { error: SendError::TooLarge(_), .. } => ApiError::too_large(text),
        CreateError::InvalidState { error: SendError::Malformed(_), .. } => ApiError::bad_json(text),
        CreateError::InvalidState { error: error @ (SendError::AliasNotOfRoom(_) | SendError::Content(_)), .. } => {
            send_error(error)
        }
        CreateError::InvalidState { .. } => bad_request("M_INVALID_ROOM_STATE", text),
        CreateError::AliasTaken => bad_request("M_ROOM_IN_USE", text),
        CreateError::Limit(error) => limit_error(error),
        CreateError::Other(error) => send_error(error),
    }
}

fn limit_error(error: LimitError) -> ApiError {
    match error {
        LimitError::RateLimited(limited) => limited.into(),
        LimitError::InvitesBlocked => ApiError::forbidden("Invites have been disabled on this server"),
    }
}

pub(crate) fn guests_forbidden() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "M_GUEST_ACCESS_FORBIDDEN", "Guest access not allowed")
}

/// What another server said when it was needed, as far as it is for the client to know: a refusal is passed on.
pub(crate) fn remote_error(error: &FederationError) -> ApiError {
    match error {
        FederationError::Status { status, errcode: Some(errcode), error: message, .. } if status.is_client_error() => {
            let message = message.clone().unwrap_or_default();
            ApiError::new(*status, errcode.clone(), message)
        }
        FederationError::NotAllowed(_) => ApiError::forbidden(error.to_string()),
        error => {
            tracing::info!("{error}");
            ApiError::new(
                StatusCode::BAD_GATEWAY,
                "M_UNKNOWN",
                "The other server could not be reached or did not answer as it should",
            )
        }
    }
}

/// 403 for suspended users, who may read and leave but not write (client-server API, "Account suspension").
pub(crate) fn require_not_suspended(requester: &Requester) -> Result<(), ApiError> {
    if requester.suspended {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "M_USER_SUSPENDED",
            "This action is not permitted while the account is suspended",
        ));
    }
    Ok(())
}

pub(crate) fn bad_request(errcode: &'static str, text: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, errcode, text)
}
