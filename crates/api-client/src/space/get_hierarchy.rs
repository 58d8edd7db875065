//! GET /_matrix/client/v1/rooms/{roomId}/hierarchy

use std::collections::HashSet;
use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, Path, Query, RawJson, State, non_empty};
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_rooms::summary::{SpaceChild, is_accessible, space_children, with_children};
use plexus_rooms::{Room, Rooms};
use plexus_store::DbError;
use serde::Deserialize;

use plexus_service::{RemoteRoom, RemoteRoomSummaries, RequestBudget};

const MAX_LIMIT: usize = 50;
/// The most rooms that are visited for one request.
const MAX_VISITED: usize = 2_000;
/// The most rooms that are looked up for one request, including those that the user may not see.
const MAX_LOOKED_UP: usize = 5_000;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    #[serde(default)]
    suggested_only: bool,
    limit: Option<u64>,
    max_depth: Option<u64>,
    #[serde(default, deserialize_with = "non_empty")]
    from: Option<String>,
    /// Servers to ask about the first room (MSC4235).
    #[serde(default, rename = "org.matrix.msc4235.via")]
    via: Vec<ServerName>,
}

impl Request {
    /// Returns the beginning of the tokens of such requests: `max_depth` and `suggested_only` are the same for all
    /// pages.
    fn walked(&self) -> String {
        let depth = self.max_depth.map(|depth| depth.to_string()).unwrap_or_default();
        format!("{}{depth}_", if self.suggested_only { "s" } else { "h" })
    }
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(remote): State<Arc<RemoteRoomSummaries>>,
    State(config): State<Arc<Config>>,
    Path(room_id): Path<RoomId>,
    Query(request): Query<Request>,
) -> Result<RawJson, ApiError> {
    let walked = request.walked();
    let from = match request.from.as_deref() {
        None => 0,
        Some(from) => from
            .strip_prefix(walked.as_str())
            .and_then(|offset| offset.parse::<usize>().ok())
            .ok_or_else(|| ApiError::invalid_param("from is not a token of this server for such a request"))?,
    };
    if request.limit == Some(0) {
        return Err(ApiError::invalid_param("limit must be greater than zero"));
    }
    let limit = request.limit.map_or(MAX_LIMIT, |limit| usize::try_from(limit).unwrap_or(MAX_LIMIT));
    let limit = limit.min(MAX_LIMIT);
    let mut walk = Walk {
        rooms: &rooms,
        remote: &remote,
        user: &requester.user_id,
        suggested_only: request.suggested_only,
        max_depth: request.max_depth.unwrap_or(u64::MAX),
        budget: RequestBudget::default(),
        waiting: Vec::new(),
        looked_up: 0,
    };
    let named = if config.experimental.experimental_features.msc4235_enabled { request.via } else { Vec::new() };
    let of_id = room_id.server_name().and_then(|name| ServerName::try_from(name).ok());
    let via: Vec<ServerName> = named.into_iter().chain(of_id).collect();
    let root = walk.visit(&room_id, &via, None).await?;
    let root = root.ok_or_else(|| ApiError::forbidden(format!("User {} not in room {room_id}", requester.user_id)))?;
    let (page, more) = walk.page(root, room_id, from, limit).await?;
    let mut out = format!("{{\"rooms\":[{}]", page.join(","));
    if more {
        out.push_str(&format!(",\"next_batch\":\"{walked}{}\"", from.saturating_add(page.len())));
    }
    out.push('}');
    Ok(RawJson(out.into()))
}

/// A walk through a space, depth first.
struct Walk<'a> {
    rooms: &'a Rooms,
    remote: &'a RemoteRoomSummaries,
    user: &'a UserId,
    suggested_only: bool,
    max_depth: u64,
    budget: RequestBudget,
    waiting: Vec<Unvisited>,
    /// How many rooms were looked up, whether or not the user may see them.
    looked_up: usize,
}

/// A room of the walk.
enum Visited {
    Local(Arc<Room>),
    Remote(Arc<RemoteRoom>),
}

/// A room that the walk has not visited yet.
struct Unvisited {
    room_id: RoomId,
    via: Vec<ServerName>,
    /// Its space, when another server described it.
    space: Option<Arc<RemoteRoom>>,
    depth: u64,
}

impl Walk<'_> {
    /// Returns the rooms `from..from + limit` of the walk as JSON, and whether there are more.
    async fn page(
        &mut self,
        root: Visited,
        root_id: RoomId,
        from: usize,
        limit: usize,
    ) -> Result<(Vec<String>, bool), ApiError> {
        let mut page = Vec::new();
        let mut seen = HashSet::from([root_id]);
        let mut number = 0;
        let mut next = Some((root, 0));
        while let Some((visited, depth)) = next {
            if number >= from.saturating_add(limit) || number >= MAX_VISITED {
                return Ok((page, number < MAX_VISITED));
            }
            let mut children = visited.children().await?;
            children.retain(|child| child.suggested || !self.suggested_only);
            if number >= from {
                page.push(visited.write(&children).map_err(|error| ApiError::internal(&error))?);
            }
            number += 1;
            if depth < self.max_depth {
                let space = match &visited {
                    Visited::Remote(space) => Some(Arc::clone(space)),
                    Visited::Local(_) => None,
                };
                let new = children.into_iter().rev().filter(|child| seen.insert(child.room_id.clone()));
                self.waiting.extend(new.map(|SpaceChild { room_id, via, .. }| {
                    let space = space.clone();
                    Unvisited { room_id, via, space, depth: depth + 1 }
                }));
            }
            next = self.next().await?;
        }
        Ok((page, false))
    }

    /// Returns the next room that the user may see, and its depth.
    async fn next(&mut self) -> Result<Option<(Visited, u64)>, DbError> {
        while let Some(Unvisited { room_id, via, space, depth }) = self.waiting.pop() {
            self.looked_up += 1;
            if self.looked_up > MAX_LOOKED_UP {
                return Ok(None);
            }
            if let Some(visited) = self.visit(&room_id, &via, space.as_deref()).await? {
                return Ok(Some((visited, depth)));
            }
        }
        Ok(None)
    }

    /// Returns the room if the user may see it: from this server, from the response that described its space, or from
    /// one of the servers in `via`.
    async fn visit(
        &mut self,
        room_id: &RoomId,
        via: &[ServerName],
        space: Option<&RemoteRoom>,
    ) -> Result<Option<Visited>, DbError> {
        let local = self.rooms.get_readable(room_id).await?;
        // The state of a room that no local user is in may be out of date.
        if let Some(room) = local.as_ref().filter(|room| !room.view().local_joined.is_empty()) {
            let accessible = is_accessible(self.rooms, room, Some(self.user)).await?;
            return Ok(accessible.then(|| Visited::Local(Arc::clone(room))));
        }
        if let Some(room) = space.and_then(|space| space.rooms.get(room_id))
            && self.remote.is_accessible(self.user, &room.summary).await?
        {
            return Ok(Some(Visited::Remote(Arc::clone(room))));
        }
        let remote = self.remote.find(self.user, room_id, via, &mut self.budget).await?;
        if let Some(room) = remote {
            return Ok(Some(Visited::Remote(room)));
        }
        let Some(room) = local.filter(|room| room.view().extremities().next().is_some()) else { return Ok(None) };
        Ok(is_accessible(self.rooms, &room, Some(self.user)).await?.then_some(Visited::Local(room)))
    }
}

impl Visited {
    async fn children(&self) -> Result<Vec<SpaceChild>, DbError> {
        match self {
            Self::Local(room) => space_children(room).await,
            Self::Remote(room) => Ok(room.children.clone()),
        }
    }

    fn write(&self, children: &[SpaceChild]) -> Result<String, serde_json::Error> {
        match self {
            Self::Local(room) => with_children(room, children),
            Self::Remote(room) => room.write(children),
        }
    }
}
