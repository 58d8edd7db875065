//! Errors of the room engine and of the services on it, as clients read them.

use http::StatusCode;
use plexus_net::PolicyRefusal;
use plexus_protocol::auth::AuthRejection;
use plexus_rooms::PeerError;
use plexus_rooms::directory::DirectoryError;
use plexus_rooms::{ContentError, CreateError, LimitError, MembershipError, SendError};
use plexus_service::delayed_events::DelayedSendError;
use plexus_service::{
    ClientEventError, MemberEventError, ProfileRuleError, RemoteProfileError, ReportError, ResolveError,
    RoomDirectoryError,
};

use crate::ApiError;
use crate::auth::{locked, suspended};
use crate::federation::{self, federation_error};

/// Returns the client's error for an event that was not sent.
pub fn send_error(error: SendError) -> ApiError {
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
        SendError::DuplicateAnnotation => ApiError::bad_request("M_DUPLICATE_ANNOTATION", text),
        SendError::BadRelation(_) => ApiError::unknown(text),
        SendError::AliasNotOfRoom(_) => ApiError::bad_request("M_BAD_ALIAS", text),
        SendError::AliasUnresolved { .. } => ApiError::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", text),
        SendError::TooManyAliases(_) => ApiError::invalid_param(text),
        SendError::InvalidAlias(_) | SendError::MemberContent(_) => ApiError::invalid_param(text),
        SendError::Policy(error) => remote_error(&error),
        SendError::Refused(refusal) => policy_refusal(*refusal),
        SendError::MissingEvents => ApiError::internal(&error),
        SendError::Contended | SendError::StatePending(_) => {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", text)
        }
        SendError::Db(error) => error.into(),
    }
}

/// Returns the client's error for what a policy hook refuses: as in Synapse 403, with what the hook's response says.
pub fn policy_refusal(refusal: PolicyRefusal) -> ApiError {
    let PolicyRefusal { errcode, error, fields } = refusal;
    let refused = ApiError::new(StatusCode::FORBIDDEN, errcode, error);
    fields.into_iter().fold(refused, |refused, (name, value)| refused.with(&name, value))
}

/// Returns the client's error for the content of an event, with Synapse's code.
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

/// Returns the client's error for an event that was not sent, rate limits included.
pub fn client_event_error(error: ClientEventError) -> ApiError {
    match error {
        ClientEventError::Limited(error) => error.into(),
        ClientEventError::Send(error) => send_error(error),
        ClientEventError::Member(error) => member_event_error(error),
        ClientEventError::Db(error) => error.into(),
    }
}

/// Returns the client's error for a member event that was not sent.
/// Maps the refusal of a name or avatar.
pub fn profile_rule_error(error: ProfileRuleError) -> ApiError {
    match error {
        ProfileRuleError::Avatar => ApiError::forbidden(error.to_string()),
        ProfileRuleError::Db(error) => error.into(),
    }
}

fn member_event_error(error: MemberEventError) -> ApiError {
    let text = error.to_string();
    match error {
        MemberEventError::StateKey(_) => ApiError::invalid_param(text),
        MemberEventError::NoMembership | MemberEventError::UnknownMembership => ApiError::bad_json(text),
        MemberEventError::ForcedJoin => ApiError::forbidden(text),
        MemberEventError::GuestsForbidden => ApiError::guests_forbidden(),
        MemberEventError::Profile(error) => profile_rule_error(error),
        MemberEventError::Membership(error) => membership_error(error),
    }
}

/// Returns the client's error for a delayed event that was not sent.
pub fn delayed_send_error(error: DelayedSendError) -> ApiError {
    let text = error.to_string();
    match error {
        DelayedSendError::Overtaken => ApiError::new(StatusCode::CONFLICT, "M_UNKNOWN", text)
            .with("org.matrix.msc4140.errcode", "M_CANCELLED_BY_STATE_UPDATE"),
        DelayedSendError::Deactivated => ApiError::new(StatusCode::FORBIDDEN, "M_USER_DEACTIVATED", text),
        DelayedSendError::Locked => locked(),
        DelayedSendError::Suspended => suspended(),
        DelayedSendError::Failed => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", text),
        DelayedSendError::Event(error) => client_event_error(error),
    }
}

/// Returns the client's error for a room that was not found by its id or alias.
pub fn resolve_error(error: ResolveError) -> ApiError {
    match error {
        ResolveError::Invalid { .. } => ApiError::invalid_param(error.to_string()),
        ResolveError::UnknownAlias(_) | ResolveError::NoServer => ApiError::not_found(error.to_string()),
        ResolveError::Remote(error) => federation_error(&error),
        ResolveError::Db(error) => error.into(),
    }
}

/// Returns the client's error for a profile that another server did not return.
pub fn remote_profile_error(error: &RemoteProfileError) -> ApiError {
    match error {
        RemoteProfileError::NoServer | RemoteProfileError::NoField => ApiError::not_found(error.to_string()),
        RemoteProfileError::Remote(error) => federation_error(error),
    }
}

/// Returns the client's error for a membership that was not changed.
pub fn membership_error(error: MembershipError) -> ApiError {
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
        MembershipError::UnableToGrantJoin => ApiError::bad_request("M_UNABLE_TO_GRANT_JOIN", text),
        MembershipError::GuestsForbidden => ApiError::guests_forbidden(),
        MembershipError::StillInRoom => ApiError::unknown(text),
        MembershipError::NoServer => {
            ApiError::not_found("Can't join remote room because no servers that are in the room have been provided.")
        }
        MembershipError::NoticesInvite => {
            ApiError::new(StatusCode::FORBIDDEN, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM", text)
        }
        MembershipError::BadState => ApiError::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", text),
        MembershipError::TooComplex(_) => ApiError::bad_request("M_RESOURCE_LIMIT_EXCEEDED", text),
        MembershipError::Limit(error) => limit_error(error),
        MembershipError::Remote(error) => remote_error(&error),
        MembershipError::Send(error) => send_error(error),
    }
}

/// Returns the client's error for a page of the room directory that was not read.
pub fn directory_error(error: DirectoryError) -> ApiError {
    match error {
        DirectoryError::Since => ApiError::invalid_param(error.to_string()),
        DirectoryError::Db(error) => error.into(),
    }
}

/// Returns the client's error for a change of the room directory that was not made.
pub fn room_directory_error(error: RoomDirectoryError) -> ApiError {
    match error {
        RoomDirectoryError::Refused(refusal) => policy_refusal(refusal),
        RoomDirectoryError::AliasTaken(_) => ApiError::new(StatusCode::CONFLICT, "M_UNKNOWN", error.to_string()),
        RoomDirectoryError::Bound(error) => error.into(),
    }
}

/// Returns the client's error for a room that was not created.
pub fn create_error(error: CreateError) -> ApiError {
    let text = error.to_string();
    match error {
        CreateError::InvalidState { error: SendError::TooLarge(_), .. } => ApiError::too_large(text),
        CreateError::InvalidState { error: SendError::Malformed(_), .. } => ApiError::bad_json(text),
        CreateError::InvalidState { error: error @ (SendError::AliasNotOfRoom(_) | SendError::Content(_)), .. } => {
            send_error(error)
        }
        CreateError::InvalidState { .. } => ApiError::bad_request("M_INVALID_ROOM_STATE", text),
        CreateError::UpgradeInProgress => ApiError::unknown(text),
        CreateError::AliasTaken => ApiError::bad_request("M_ROOM_IN_USE", text),
        CreateError::Limit(error) => limit_error(error),
        CreateError::Other(error) => send_error(error),
    }
}

/// Returns the client's error for a change that a limit of this server does not allow.
pub fn limit_error(error: LimitError) -> ApiError {
    match error {
        LimitError::RateLimited(limited) => limited.into(),
        LimitError::InvitesBlocked => ApiError::forbidden("Invites have been disabled on this server"),
        LimitError::RoomBlocked | LimitError::NoticesUserInvited => ApiError::forbidden(error.to_string()),
        LimitError::RoomPurged => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", error.to_string()),
        LimitError::InviteBlocked => {
            ApiError::new(StatusCode::FORBIDDEN, "M_INVITE_BLOCKED", "You are not permitted to invite this user")
        }
    }
}

/// Returns the client's error for a change of membership in which another server did not take part. What that server
/// says about the room or the user is passed on.
pub fn remote_error(error: &PeerError) -> ApiError {
    if let Some(refusal) = federation::refusal(error) {
        return refusal;
    }
    if let PeerError::NotAllowed(_) = error {
        return ApiError::forbidden(error.to_string());
    }
    tracing::info!("{error}");
    let text = "The other server could not be reached or did not answer as it should";
    ApiError::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", text)
}

impl From<ReportError> for ApiError {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Limited(refused) => refused.into(),
            ReportError::Bound(error) => error.into(),
        }
    }
}
