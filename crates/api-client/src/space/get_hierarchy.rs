//! GET /_matrix/client/v1/rooms/{roomId}/hierarchy

use std::collections::HashSet;
use std::sync::Arc;

use plexus_http::{ApiError, Auth, Path, Query, RawJson, State};
use plexus_protocol::id::{RoomId, UserId};
use plexus_rooms::summary::{SpaceChild, is_accessible, space_children, with_children};
use plexus_rooms::{Room, Rooms};
use serde::Deserialize;

const MAX_LIMIT: usize = 50;
/// A space may not make the server walk further than this for one request.
const MAX_VISITED: usize = 2_000;

#[derive(Debug, Deserialize)]
pub struct Request {
    #[serde(default)]
    suggested_only: bool,
    limit: Option<u64>,
    max_depth: Option<u64>,
    from: Option<String>,
}

pub async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    Path(room_id): Path<RoomId>,
    Query(request): Query<Request>,
) -> Result<RawJson, ApiError> {
    let forbidden = || ApiError::forbidden(format!("User {} not in room {room_id}", requester.user_id));
    let root = rooms.get(&room_id).await?.ok_or_else(forbidden)?;
    if !is_accessible(&rooms, &root, Some(&requester.user_id)).await? {
        return Err(forbidden());
    }
    let from = match request.from.as_deref() {
        None => 0,
        Some(from) => from
            .strip_prefix('h')
            .and_then(|offset| offset.parse::<usize>().ok())
            .ok_or_else(|| ApiError::invalid_param("from is not a token of this server"))?,
    };
    let limit = request.limit.map_or(MAX_LIMIT, |limit| usize::try_from(limit).unwrap_or(MAX_LIMIT));
    let limit = limit.clamp(1, MAX_LIMIT);
    let walk = Walk {
        rooms: &rooms,
        user: &requester.user_id,
        suggested_only: request.suggested_only,
        max_depth: request.max_depth.unwrap_or(u64::MAX),
    };
    let (page, more) = walk.page(root, from, limit).await?;
    let mut out = format!("{{\"rooms\":[{}]", page.join(","));
    if more {
        out.push_str(&format!(",\"next_batch\":\"h{}\"", from + page.len()));
    }
    out.push('}');
    Ok(RawJson(out.into()))
}

/// A walk through a space, depth first.
struct Walk<'a> {
    rooms: &'a Rooms,
    user: &'a UserId,
    suggested_only: bool,
    max_depth: u64,
}

impl Walk<'_> {
    /// The rooms `from..from + limit` of the walk, written, and whether there are more.
    async fn page(&self, root: Arc<Room>, from: usize, limit: usize) -> Result<(Vec<String>, bool), ApiError> {
        let mut page = Vec::new();
        let mut seen = HashSet::from([root.id.clone()]);
        let mut waiting = vec![(root, 0)];
        let mut number = 0;
        while let Some((room, depth)) = waiting.pop() {
            if number >= from + limit || number >= MAX_VISITED {
                return Ok((page, number < MAX_VISITED));
            }
            let mut children = space_children(&room).await?;
            if self.suggested_only {
                children.retain(|child| child.suggested);
            }
            if number >= from {
                page.push(with_children(&room, &children).map_err(|error| ApiError::internal(&error))?);
            }
            number += 1;
            if depth < self.max_depth {
                for child in children.iter().rev() {
                    if let Some(room) = self.visit(child, &mut seen).await? {
                        waiting.push((room, depth + 1));
                    }
                }
            }
        }
        Ok((page, false))
    }

    async fn visit(&self, child: &SpaceChild, seen: &mut HashSet<RoomId>) -> Result<Option<Arc<Room>>, ApiError> {
        if !seen.insert(child.room_id.clone()) {
            return Ok(None);
        }
        let Some(room) = self.rooms.get(&child.room_id).await? else { return Ok(None) };
        Ok(is_accessible(self.rooms, &room, Some(self.user)).await?.then_some(room))
    }
}
