//! GET /_matrix/client/v1/rooms/{roomId}/hierarchy

use std::collections::HashSet;
use std::sync::Arc;

use plexus_http::{ApiError, Auth, Path, Query, RawJson, State, non_empty};
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_rooms::summary::{SpaceChild, is_accessible, space_children, with_children};
use plexus_rooms::{Room, Rooms};
use plexus_store::DbError;
use serde::Deserialize;

use super::elsewhere::{Questions, RoomsElsewhere, Told};

const MAX_LIMIT: usize = 50;
/// A space may not make the server walk further than this for one request.
const MAX_VISITED: usize = 2_000;

#[derive(Debug, Deserialize)]
pub struct Request {
    #[serde(default)]
    suggested_only: bool,
    limit: Option<u64>,
    max_depth: Option<u64>,
    #[serde(default, deserialize_with = "non_empty")]
    from: Option<String>,
}

pub async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(elsewhere): State<Arc<RoomsElsewhere>>,
    Path(room_id): Path<RoomId>,
    Query(request): Query<Request>,
) -> Result<RawJson, ApiError> {
    let from = match request.from.as_deref() {
        None => 0,
        Some(from) => from
            .strip_prefix('h')
            .and_then(|offset| offset.parse::<usize>().ok())
            .ok_or_else(|| ApiError::invalid_param("from is not a token of this server"))?,
    };
    let limit = request.limit.map_or(MAX_LIMIT, |limit| usize::try_from(limit).unwrap_or(MAX_LIMIT));
    let limit = limit.clamp(1, MAX_LIMIT);
    let mut walk = Walk {
        rooms: &rooms,
        elsewhere: &elsewhere,
        user: &requester.user_id,
        suggested_only: request.suggested_only,
        max_depth: request.max_depth.unwrap_or(u64::MAX),
        questions: Questions::default(),
    };
    let via: Vec<ServerName> = room_id.server_name().and_then(|name| name.try_into().ok()).into_iter().collect();
    let root = walk.visit(&room_id, &via, None).await?;
    let root = root.ok_or_else(|| ApiError::forbidden(format!("User {} not in room {room_id}", requester.user_id)))?;
    let (page, more) = walk.page(root, room_id, from, limit).await?;
    let mut out = format!("{{\"rooms\":[{}]", page.join(","));
    if more {
        out.push_str(&format!(",\"next_batch\":\"h{}\"", from.saturating_add(page.len())));
    }
    out.push('}');
    Ok(RawJson(out.into()))
}

/// A walk through a space, depth first.
struct Walk<'a> {
    rooms: &'a Rooms,
    elsewhere: &'a RoomsElsewhere,
    user: &'a UserId,
    suggested_only: bool,
    max_depth: u64,
    questions: Questions,
}

/// A room on the way.
enum Stop {
    Here(Arc<Room>),
    Elsewhere(Arc<Told>),
}

impl Walk<'_> {
    /// The rooms `from..from + limit` of the walk, written, and whether there are more.
    async fn page(
        &mut self,
        root: Stop,
        root_id: RoomId,
        from: usize,
        limit: usize,
    ) -> Result<(Vec<String>, bool), ApiError> {
        let mut page = Vec::new();
        let mut seen = HashSet::from([root_id]);
        let mut waiting = vec![(root, 0)];
        let mut number = 0;
        while let Some((stop, depth)) = waiting.pop() {
            if number >= from.saturating_add(limit) || number >= MAX_VISITED {
                return Ok((page, number < MAX_VISITED));
            }
            let mut children = stop.children().await?;
            children.retain(|child| child.suggested || !self.suggested_only);
            if number >= from {
                page.push(stop.write(&children).map_err(|error| ApiError::internal(&error))?);
            }
            number += 1;
            if depth < self.max_depth {
                let told = match &stop {
                    Stop::Elsewhere(told) => Some(Arc::clone(told)),
                    Stop::Here(_) => None,
                };
                for child in children.iter().rev().filter(|child| seen.insert(child.room_id.clone())) {
                    if let Some(stop) = self.visit(&child.room_id, &child.via, told.as_deref()).await? {
                        waiting.push((stop, depth + 1));
                    }
                }
            }
        }
        Ok((page, false))
    }

    /// The room, when the user may be shown it: as it is here, else as it was told with its space, else as one of the servers
    /// in `via` tells it.
    async fn visit(
        &mut self,
        room_id: &RoomId,
        via: &[ServerName],
        space: Option<&Told>,
    ) -> Result<Option<Stop>, DbError> {
        let known = self.rooms.get_readable(room_id).await?;
        // Of a room that nobody here is in any more, others know better what it is like.
        if let Some(room) = known.as_ref().filter(|room| !room.view().local_joined.is_empty()) {
            let shown = is_accessible(self.rooms, room, Some(self.user)).await?;
            return Ok(shown.then(|| Stop::Here(Arc::clone(room))));
        }
        if let Some(told) = space.and_then(|space| space.rooms.get(room_id))
            && self.elsewhere.is_accessible(self.user, &told.summary).await?
        {
            return Ok(Some(Stop::Elsewhere(Arc::clone(told))));
        }
        let told = self.elsewhere.find(self.user, room_id, via, &mut self.questions).await?;
        if let Some(told) = told {
            return Ok(Some(Stop::Elsewhere(told)));
        }
        let Some(room) = known.filter(|room| room.view().extremities().next().is_some()) else { return Ok(None) };
        Ok(is_accessible(self.rooms, &room, Some(self.user)).await?.then_some(Stop::Here(room)))
    }
}

impl Stop {
    async fn children(&self) -> Result<Vec<SpaceChild>, DbError> {
        match self {
            Self::Here(room) => space_children(room).await,
            Self::Elsewhere(told) => Ok(told.children.clone()),
        }
    }

    fn write(&self, children: &[SpaceChild]) -> Result<String, serde_json::Error> {
        match self {
            Self::Here(room) => with_children(room, children),
            Self::Elsewhere(told) => told.write(children),
        }
    }
}
