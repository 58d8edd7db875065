//! POST /_matrix/client/v3/user_directory/search

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, Json, JsonBody, State};
use plexus_rooms::{FoundUser, UserDirectory, UserSearch};
use plexus_store::repo::user_directory::Scope;
use serde::{Deserialize, Serialize};

use plexus_service::{RateLimits, check_limit};

const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: usize = 50;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    search_term: String,
    limit: Option<u64>,
}

#[derive(Serialize)]
pub(crate) struct Response {
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

impl From<FoundUser> for User {
    fn from(user: FoundUser) -> Self {
        Self { user_id: user.user_id, display_name: user.display_name, avatar_url: user.avatar_url }
    }
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(directory): State<Arc<UserDirectory>>,
    State(config): State<Arc<Config>>,
    State(limits): State<Arc<RateLimits>>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    check_limit(&limits.user_directory, &requester)?;
    let options = &config.rooms.user_directory;
    if !options.enabled {
        return Ok(JsonBody(Response { results: Vec::new(), limited: false }));
    }
    let limit = request.limit.map_or(DEFAULT_LIMIT, |limit| usize::try_from(limit).unwrap_or(MAX_LIMIT));
    let scope = Scope {
        searcher: requester.user_id.as_str().to_owned(),
        all: options.search_all_users,
        local_only: options.exclude_remote_users,
        locked: options.show_locked_users,
    };
    let search = UserSearch { scope, prefer_local: options.prefer_local_users, limit: limit.min(MAX_LIMIT) };
    let (found, limited) = directory.search(&requester.user_id, &request.search_term, search).await?;
    Ok(JsonBody(Response { results: found.into_iter().map(User::from).collect(), limited }))
}
