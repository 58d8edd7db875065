//! Summaries of rooms that this server is not in, from servers that are
//! (<https://spec.matrix.org/v1.19/server-server-api/#spaces>).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_net::FederationClient;
use plexus_net::federation::api::space::get_hierarchy;
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::membership::Membership;
use plexus_rooms::Rooms;
use plexus_rooms::summary::{SpaceChild, is_in_one_of, parse_children};
use plexus_store::DbError;
use serde::{Deserialize, Serialize};

/// How long a response, or its absence, is cached.
const CACHE_LIFETIME: Duration = Duration::from_secs(300);
/// The most responses that are cached, and how many bytes of them: their servers choose how large each is.
const MAX_CACHED: usize = 1_000;
const MAX_CACHED_BYTES: usize = 16 * 1024 * 1024;
const MAX_SERVERS_PER_ROOM: usize = 3;
/// How many requests to other servers one request of a client may cause.
const MAX_REQUESTS: u32 = 30;

/// A room's summary as another server wrote it.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct RemoteSummary {
    /// The room that is described.
    pub room_id: RoomId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    canonical_alias: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
    #[serde(default)]
    num_joined_members: u64,
    #[serde(default)]
    world_readable: bool,
    #[serde(default)]
    guest_can_join: bool,
    #[serde(default = "public")]
    join_rule: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    room_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    room_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encryption: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    allowed_room_ids: Vec<RoomId>,
}

/// Returns the default of `join_rule`.
fn public() -> String {
    "public".to_owned()
}

/// A room as another server described it.
#[derive(Debug)]
pub struct RemoteRoom {
    /// The room's own description.
    pub summary: RemoteSummary,
    /// The `m.space.child` events of a space, in order.
    pub children: Vec<SpaceChild>,
    /// Rooms of the space that the server described in the same response.
    pub rooms: HashMap<RoomId, Arc<RemoteRoom>>,
}

impl RemoteRoom {
    /// Returns the room's entry in a response to `/hierarchy`, with these of its children.
    ///
    /// # Errors
    /// When the summary cannot be serialized.
    pub fn write(&self, children: &[SpaceChild]) -> Result<String, serde_json::Error> {
        let mut out = serde_json::to_string(&self.summary)?;
        out.truncate(out.len().saturating_sub(1));
        let children: Vec<&str> = children.iter().map(|child| child.json.as_str()).collect();
        out.push_str(&format!(",\"children_state\":[{}]}}", children.join(",")));
        Ok(out)
    }
}

#[derive(Deserialize)]
struct HierarchyRoom {
    #[serde(flatten)]
    summary: RemoteSummary,
    #[serde(default)]
    children_state: Vec<Object>,
}

impl HierarchyRoom {
    fn into_room(self, rooms: HashMap<RoomId, Arc<RemoteRoom>>) -> RemoteRoom {
        let children = parse_children(self.summary.room_type.as_deref(), self.children_state);
        RemoteRoom { summary: self.summary, children, rooms }
    }
}

/// Requests summaries of rooms from other servers, and caches them for a while.
pub struct RemoteRoomSummaries {
    rooms: Arc<Rooms>,
    client: Arc<FederationClient>,
    clock: Clock,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    entries: BTreeMap<(ServerName, RoomId), CacheEntry>,
    /// The oldest first.
    order: VecDeque<(ServerName, RoomId)>,
    bytes: usize,
}

struct CacheEntry {
    /// On the monotonic clock.
    fetched_at: Duration,
    /// `None` when the server did not describe the room.
    room: Option<Arc<RemoteRoom>>,
    /// How large the response was.
    bytes: usize,
}

/// How many more requests to other servers one request of a client may cause.
pub struct RequestBudget(u32);

impl Default for RequestBudget {
    fn default() -> Self {
        Self(MAX_REQUESTS)
    }
}

impl RemoteRoomSummaries {
    /// Creates the service with an empty cache.
    #[must_use]
    pub fn new(rooms: Arc<Rooms>, client: Arc<FederationClient>, clock: Clock) -> Self {
        Self { rooms, client, clock, cache: Mutex::default() }
    }

    /// Asks `servers` in turn, and returns the first description of the room that the user may see.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(
        &self,
        user: &UserId,
        room: &RoomId,
        servers: &[ServerName],
        budget: &mut RequestBudget,
    ) -> Result<Option<Arc<RemoteRoom>>, DbError> {
        let others = servers.iter().filter(|server| *server != self.rooms.server_name());
        for server in others.take(MAX_SERVERS_PER_ROOM) {
            if let Some(found) = self.get(server, room, budget).await
                && self.is_accessible(user, &found.summary).await?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Whether the user may see such a room. The server that described it has only checked what this server may see.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_accessible(&self, user: &UserId, summary: &RemoteSummary) -> Result<bool, DbError> {
        if summary.world_readable || matches!(&*summary.join_rule, "public" | "knock" | "knock_restricted") {
            return Ok(true);
        }
        if let Some(room) = self.rooms.get_readable(&summary.room_id).await?
            && room.view().state.membership(user.as_str()) == Some(Membership::Invite)
        {
            return Ok(true);
        }
        is_in_one_of(&self.rooms, &self.rooms.memberships().of(user).await?, &summary.allowed_room_ids).await
    }

    async fn get(&self, server: &ServerName, room: &RoomId, budget: &mut RequestBudget) -> Option<Arc<RemoteRoom>> {
        let (key, now) = ((server.clone(), room.clone()), self.clock.monotonic());
        if let Some(entry) = self.cache.lock().entries.get(&key)
            && now.saturating_sub(entry.fetched_at) < CACHE_LIFETIME
        {
            return entry.room.clone();
        }
        budget.0 = budget.0.checked_sub(1)?;
        let (fetched, bytes) = self.fetch(server, room).await.unzip();
        let fetched = fetched.map(Arc::new);
        let entry = CacheEntry { fetched_at: now, room: fetched.clone(), bytes: bytes.unwrap_or_default() };
        self.cache.lock().insert(key, entry);
        fetched
    }

    /// Returns the room, and how large the response was, in bytes.
    async fn fetch(&self, server: &ServerName, room: &RoomId) -> Option<(RemoteRoom, usize)> {
        let response = get_hierarchy::call(&self.client, server, room).await;
        let response = response.inspect_err(|error| tracing::debug!(%room, "no summary of the room: {error}")).ok()?;
        let parsed = serde_json::from_str::<HierarchyRoom>(response.room.get());
        let parsed = parsed.inspect_err(|error| tracing::debug!(%room, "no summary of the room: {error}")).ok()?;
        if parsed.summary.room_id != *room {
            return None;
        }
        let bytes = response.children.iter().fold(response.room.get().len(), |sum, child| sum + child.get().len());
        // One malformed room does not hide the others.
        let children = response.children.iter();
        let children = children.filter_map(|child| serde_json::from_str::<HierarchyRoom>(child.get()).ok());
        let children = children.map(|child| (child.summary.room_id.clone(), Arc::new(child.into_room(HashMap::new()))));
        let children = children.collect();
        Some((parsed.into_room(children), bytes))
    }
}

impl Cache {
    fn insert(&mut self, key: (ServerName, RoomId), entry: CacheEntry) {
        self.bytes += entry.bytes;
        match self.entries.insert(key.clone(), entry) {
            Some(before) => self.bytes -= before.bytes,
            None => self.order.push_back(key),
        }
        while (self.order.len() > MAX_CACHED || self.bytes > MAX_CACHED_BYTES)
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.entries.remove(&oldest).map_or(0, |entry| entry.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_responses_displace_others() {
        let mut cache = Cache::default();
        let key = |number: usize| {
            let server = ServerName::try_from(format!("s{number}.example")).unwrap();
            (server, RoomId::try_from("!room:a.example".to_owned()).unwrap())
        };
        let entry = |bytes| CacheEntry { fetched_at: Duration::ZERO, room: None, bytes };
        for number in 0..20 {
            cache.insert(key(number), entry(1024 * 1024));
        }
        assert_eq!((cache.entries.len(), cache.bytes), (16, MAX_CACHED_BYTES));
        cache.insert(key(19), entry(1));
        assert_eq!((cache.entries.len(), cache.bytes), (16, 15 * 1024 * 1024 + 1));
        cache.insert(key(20), entry(MAX_CACHED_BYTES + 1));
        assert_eq!((cache.entries.len(), cache.bytes), (0, 0));
    }
}
