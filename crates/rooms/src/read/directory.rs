//! The room directory (<https://spec.matrix.org/v1.19/client-server-api/#published-room-directory>), and the servers
//! through which a room can be joined.

use std::cmp::Reverse;
use std::collections::HashMap;

use plexus_protocol::id::ServerName;
use plexus_protocol::membership::Membership;
use plexus_store::DbError;
use serde::{Deserialize, Serialize};

use crate::model::room::Room;
use crate::model::room_summary::RoomSummary;
use crate::model::rooms::Rooms;
pub use crate::read::summary::DirectoryNetworks;
use crate::read::summary::published_rooms;

/// The maximum number of rooms of a page.
const MAX_LIMIT: usize = 500;
/// The maximum number of servers for an alias.
const MAX_SERVERS: usize = 100;

/// A filter of rooms.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
pub struct DirectoryFilter {
    /// A text in the name, topic or alias, without regard to case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generic_search_term: Option<String>,
    /// `null` stands for rooms without a type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_types: Option<Vec<Option<String>>>,
}

/// A request for a page of the directory.
#[derive(Debug, Clone, Default)]
pub struct DirectoryQuery {
    /// The maximum number of rooms.
    pub limit: Option<u64>,
    /// `next_batch` or `prev_batch` of another page.
    pub since: Option<String>,
    /// The filter of rooms.
    pub filter: DirectoryFilter,
    /// The networks of the rooms.
    pub networks: DirectoryNetworks,
}

/// A page of the directory, as the specification writes it.
#[derive(Debug, Serialize)]
pub struct DirectoryPage {
    /// The rooms, those with the most members first.
    pub chunk: Vec<RoomSummary>,
    /// The token of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
    /// The token of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_batch: Option<String>,
    /// The number of rooms on all pages.
    pub total_room_count_estimate: usize,
}

/// A page could not be returned.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// `since` is not a valid token.
    #[error("since is not a token of this server")]
    Since,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl DirectoryPage {
    /// Returns a page without rooms.
    #[must_use]
    pub fn empty() -> Self {
        Self { chunk: Vec::new(), next_batch: None, prev_batch: None, total_room_count_estimate: 0 }
    }

    /// Returns a page of this server's directory.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub async fn of(rooms: &Rooms, query: DirectoryQuery) -> Result<Self, DirectoryError> {
        // As in Synapse an empty token counts as absent.
        let start = match query.since.as_deref().filter(|since| !since.is_empty()) {
            None => 0,
            Some(since) => {
                since.strip_prefix('o').and_then(|offset| offset.parse().ok()).ok_or(DirectoryError::Since)?
            }
        };
        let mut chunk = published_rooms(rooms, query.networks).await?;
        let term = query.filter.generic_search_term.unwrap_or_default().to_lowercase();
        let types = query.filter.room_types;
        chunk
            .retain(|room| types.as_ref().is_none_or(|types| types.contains(&room.room_type)) && mentions(room, &term));
        let total = chunk.len();
        let limit = query.limit.filter(|limit| *limit > 0).and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(MAX_LIMIT).min(MAX_LIMIT);
        let chunk: Vec<RoomSummary> = chunk.into_iter().skip(start).take(limit).collect();
        let end = start.saturating_add(chunk.len());
        Ok(Self {
            next_batch: (end < total).then(|| format!("o{end}")),
            prev_batch: (start > 0).then(|| format!("o{}", start.saturating_sub(limit))),
            total_room_count_estimate: total,
            chunk,
        })
    }
}

/// Whether the name, topic or alias contains a term in lower case.
fn mentions(room: &RoomSummary, term: &str) -> bool {
    [&room.name, &room.topic, &room.canonical_alias]
        .into_iter()
        .flatten()
        .any(|text| text.to_lowercase().contains(term))
        || term.is_empty()
}

/// Returns servers through which a room can be joined: `own` first, then those with the most joined users.
#[must_use]
pub fn servers_in(room: &Room, own: &ServerName) -> Vec<ServerName> {
    let view = room.view();
    let mut users: HashMap<&str, u64> = HashMap::new();
    let members = view.state.of_type("m.room.member");
    for member in members.filter(|entry| entry.membership == Some(Membership::Join)) {
        if let Some((_, server)) = member.state_key.split_once(':')
            && server != own.as_str()
        {
            *users.entry(server).or_default() += 1;
        }
    }
    let mut servers: Vec<(&str, u64)> = users.into_iter().collect();
    servers.sort_unstable_by_key(|(server, users)| (Reverse(*users), *server));
    let others = servers.into_iter().filter_map(|(server, _)| ServerName::try_from(server).ok());
    std::iter::once(own.clone()).chain(others).take(MAX_SERVERS).collect()
}
