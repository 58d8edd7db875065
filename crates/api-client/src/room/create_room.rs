//! POST /_matrix/client/v3/createRoom

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use plexus_base::AppServices;
use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, JsonBody, JsonOrEmpty, Requester, State, require_not_suspended};
use plexus_protocol::id::{RoomAlias, RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::{
    Authority, InitialState, MembershipChange, MembershipChanger, NewRoom, Preset, RoomCreator, RoomDefaults, Rooms,
};
use plexus_store::{Database, repo};
use serde::{Deserialize, Serialize};

use plexus_http::room_errors::{create_error, membership_error, profile_rule_error};
use plexus_service::{DirectoryRules, ProfileRules, RateLimits, SendingAccount, check_limit};

use crate::alias::require_alias_allowed;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    visibility: Option<String>,
    preset: Option<String>,
    room_version: Option<String>,
    room_alias_name: Option<String>,
    name: Option<String>,
    topic: Option<String>,
    #[serde(default)]
    invite: Vec<UserId>,
    #[serde(default)]
    invite_3pid: Vec<Object>,
    creation_content: Option<Object>,
    power_level_content_override: Option<Object>,
    #[serde(default)]
    initial_state: Vec<InitialEvent>,
    #[serde(default)]
    is_direct: bool,
}

/// The most events of `initial_state`: they are written in one transaction, for which everybody waits.
const MAX_INITIAL_STATE: usize = 1_000;

#[derive(Debug, Deserialize)]
struct InitialEvent {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default)]
    state_key: String,
    content: Object,
}

#[derive(Serialize)]
pub(crate) struct Response {
    room_id: RoomId,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_alias: Option<RoomAlias>,
}

#[expect(clippy::too_many_arguments, reason = "a handler's parameters are its powers")]
pub(crate) async fn handle(
    Auth(requester): Auth,
    State(db): State<Database>,
    State(rooms): State<Arc<Rooms>>,
    State(creator): State<Arc<RoomCreator>>,
    State(members): State<Arc<MembershipChanger>>,
    State(config): State<Arc<Config>>,
    State(app_services): State<Arc<AppServices>>,
    State(limits): State<Arc<RateLimits>>,
    State(profile_rules): State<Arc<ProfileRules>>,
    JsonOrEmpty(request): JsonOrEmpty<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    require_not_suspended(&requester)?;
    let mut new = new_room(&requester, rooms.server_name(), &config, request)?;
    let own_members = new
        .initial_state
        .iter_mut()
        .filter(|it| it.event_type == "m.room.member" && it.state_key == *new.creator.as_str());
    for own in own_members {
        let applied = profile_rules.apply_to_member(&mut own.content, requester.shadow_banned);
        applied.await.map_err(profile_rule_error)?;
    }
    check_limit(&limits.room_creation, &requester)?;
    if let Some(alias) = &new.alias {
        require_alias_allowed(&app_services, &requester, alias)?;
        require_free(&db, alias).await?;
    }
    let room_alias = new.alias.clone();
    let own = rooms.server_name().as_str();
    let elsewhere: Vec<UserId> = new.invite.iter().filter(|user| user.server_name() != own).cloned().collect();
    let is_direct = new.is_direct;
    let room = creator.create(new).await.map_err(create_error)?;
    for target in elsewhere {
        // As in Synapse the room stays if somebody cannot be invited, but the request fails.
        let change = MembershipChange {
            room_id: room.id.clone(),
            sender: requester.user_id.clone(),
            target,
            reason: None,
            content: if is_direct { Object::from([("is_direct", true)]) } else { Object::new() },
            via: Vec::new(),
            transaction: None,
            origin_server_ts: None,
            // Counted with the room's other invites.
            authority: Authority::Server,
        };
        members.invite(change).await.map_err(membership_error)?;
    }
    Ok(JsonBody(Response { room_id: room.id.clone(), room_alias }))
}

/// Checks the request, and converts it.
fn new_room(
    requester: &Requester,
    server_name: &ServerName,
    config: &Config,
    request: Request,
) -> Result<NewRoom, ApiError> {
    let user = &requester.user_id;
    let published = match request.visibility.as_deref() {
        None | Some("private") => false,
        Some("public") => true,
        Some(_) => return Err(ApiError::invalid_param("visibility must be public or private")),
    };
    let preset = match request.preset.as_deref() {
        None if published => Preset::PublicChat,
        None | Some("private_chat") => Preset::PrivateChat,
        Some("trusted_private_chat") => Preset::TrustedPrivateChat,
        Some("public_chat") => Preset::PublicChat,
        Some(other) => return Err(ApiError::bad_json(format!("{other:?} is not a valid preset"))),
    };
    let version = request.room_version.as_deref().unwrap_or(&config.server.default_room_version);
    let version = supported_version(version)?;
    if !request.invite_3pid.is_empty() {
        return Err(ApiError::forbidden("This server does not invite by address: it has no identity server"));
    }
    let alias = request.room_alias_name.map(|name| alias(&name, server_name)).transpose()?;
    if let Some(alias) = &alias
        && !DirectoryRules::alias_creation(config).allow(user, &[alias.as_str()], "")
    {
        return Err(ApiError::forbidden("Not allowed to create alias"));
    }
    // As in Synapse the room is created, but not listed, if the rules do not let it into the directory.
    let aliases: Vec<&str> = alias.iter().map(RoomAlias::as_str).collect();
    let published = published && DirectoryRules::publication(config).allow(user, &aliases, "");
    let invited = if requester.shadow_banned { Vec::new() } else { request.invite };
    let invite: BTreeSet<_> = invited.into_iter().filter(|invited| invited != user).collect();
    if request.initial_state.len() > MAX_INITIAL_STATE {
        return Err(ApiError::too_large(format!(
            "A room begins with at most {MAX_INITIAL_STATE} events of initial_state"
        )));
    }
    let initial_state = request.initial_state.into_iter().map(|it| InitialState {
        event_type: it.event_type,
        state_key: it.state_key,
        content: it.content,
    });
    let defaults = RoomDefaults::of(&config.rooms, preset);
    let mut power_levels = defaults.power_levels;
    for (key, value) in request.power_level_content_override.into_iter().flatten() {
        power_levels.insert(key, value);
    }
    Ok(NewRoom {
        room_id: None,
        creator: user.clone(),
        version,
        preset,
        published,
        alias,
        name: request.name,
        topic: request.topic,
        creation_content: request.creation_content.unwrap_or_default(),
        power_levels,
        initial_state: initial_state.collect(),
        invite: invite.into_iter().collect(),
        is_direct: request.is_direct,
        encrypted: defaults.encrypted,
        invite_profiles: config.server.include_profile_data_on_invite,
        creator_profile: Object::new(),
        authority: SendingAccount::from(requester).authority(),
    })
}

/// Parses a room version, if this server creates such rooms.
pub(super) fn supported_version(version: &str) -> Result<RoomVersion, ApiError> {
    version.parse().map_err(|_| {
        ApiError::bad_request("M_UNSUPPORTED_ROOM_VERSION", "Your homeserver does not support this room version")
    })
}

fn alias(localpart: &str, server: &ServerName) -> Result<RoomAlias, ApiError> {
    if localpart.is_empty() || localpart.chars().any(char::is_whitespace) {
        return Err(ApiError::invalid_param("Invalid characters in room alias"));
    }
    RoomAlias::new(localpart, server).map_err(|error| ApiError::invalid_param(format!("room_alias_name {error}")))
}

/// 400 if the alias exists already. Which of two simultaneous requests gets it is decided when the room is committed.
async fn require_free(db: &Database, alias: &RoomAlias) -> Result<(), ApiError> {
    let text = alias.as_str().to_owned();
    if db.read(move |tx| repo::aliases::get(tx, &text)).await?.is_some() {
        return Err(ApiError::bad_request("M_ROOM_IN_USE", "Room alias already taken"));
    }
    Ok(())
}
