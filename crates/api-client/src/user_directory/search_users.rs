//! POST /_matrix/client/v3/user_directory/search

use std::collections::HashSet;
use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, Json, JsonBody, State};
use plexus_protocol::id::UserId;
use plexus_protocol::json::Value;
use plexus_rooms::{JoinRule, Rooms};
use plexus_store::repo::user_directory::{self, Found};
use plexus_store::{DbError, RoomNid};
use serde::{Deserialize, Serialize};

use crate::rate_limits::RateLimits;

const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: usize = 50;
/// How many users are looked at in one go, and how often, before an answer is given.
const CANDIDATES: u32 = 100;
const ROUNDS: usize = 5;

#[derive(Debug, Deserialize)]
pub struct Request {
    search_term: String,
    limit: Option<u64>,
}

#[derive(Serialize)]
pub struct Response {
    results: Vec<User>,
    limited: bool,
}

#[derive(Serialize)]
struct User {
    user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
}

pub async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(config): State<Arc<Config>>,
    State(limits): State<Arc<RateLimits>>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    limits.user_directory.check(&requester.user_id)?;
    let mut response = Response { results: Vec::new(), limited: false };
    let term = request.search_term.trim().trim_start_matches('@').to_owned();
    if !config.rooms.user_directory.enabled || term.is_empty() {
        return Ok(JsonBody(response));
    }
    let limit = request.limit.map_or(DEFAULT_LIMIT, |limit| usize::try_from(limit).unwrap_or(MAX_LIMIT));
    let limit = limit.min(MAX_LIMIT);
    let own: HashSet<RoomNid> = rooms.memberships().of(&requester.user_id).await?.joined().collect();
    let all = config.rooms.user_directory.search_all_users;
    let locked = config.rooms.user_directory.show_locked_users;
    let mut after = String::new();
    for _ in 0..ROUNDS {
        let (term, from) = (term.clone(), after.clone());
        let found =
            rooms.database().read(move |tx| user_directory::containing(tx, &term, &from, CANDIDATES, locked)).await?;
        let Some(last) = found.last() else { return Ok(JsonBody(response)) };
        after.clone_from(&last.user_id);
        for user in found {
            if user.user_id == requester.user_id.as_str() || !(all || is_visible(&rooms, &own, &user).await?) {
                continue;
            }
            if response.results.len() == limit {
                response.limited = true;
                return Ok(JsonBody(response));
            }
            response.results.push(shown(user));
        }
    }
    response.limited = true;
    Ok(JsonBody(response))
}

/// Users are found by those they share a room with, and by everybody when they are in a public room.
async fn is_visible(rooms: &Rooms, own: &HashSet<RoomNid>, user: &Found) -> Result<bool, DbError> {
    let Ok(id) = UserId::try_from(user.user_id.as_str()) else { return Ok(false) };
    let theirs = rooms.memberships().of(&id).await?;
    if theirs.joined().any(|room| own.contains(&room)) {
        return Ok(true);
    }
    for nid in theirs.joined() {
        if let Some(room) = rooms.get_readable_nid(nid).await?
            && room.view().join_rule == JoinRule::Public
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn shown(user: Found) -> User {
    let text = |json: Option<String>| {
        let value = Value::parse(&json?).ok()?;
        value.as_str().map(str::to_owned)
    };
    User { display_name: text(user.displayname), avatar_url: text(user.avatar_url), user_id: user.user_id }
}
