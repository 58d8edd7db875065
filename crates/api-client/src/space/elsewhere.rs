//! Rooms that this server is not in, as other servers tell them (server-server API, "Querying for public space information").

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_net::{Call, FederationClient};
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_rooms::summary::{SpaceChild, is_in_one_of, told_children};
use plexus_rooms::{MembershipKind, Rooms};
use plexus_store::DbError;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::remote::percent_encoded;

/// How long an answer, also that there is none, is taken as it was.
const KEPT: Duration = Duration::from_secs(300);
/// How many answers are kept.
const MOST_KEPT: usize = 1_000;
/// The most of an answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 2 * 1024 * 1024;
/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many of a room's servers are asked.
const SERVERS: usize = 3;
/// How many questions one request of a client may cost.
const QUESTIONS: u32 = 30;

/// What a room looks like from outside, as another server says.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Summary {
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

/// A room without a join rule is public.
fn public() -> String {
    "public".to_owned()
}

/// A room as another server tells it.
#[derive(Debug)]
pub(crate) struct Told {
    pub summary: Summary,
    /// What makes it a space, in order.
    pub children: Vec<SpaceChild>,
    /// The rooms in it that the server tells of as well.
    pub rooms: HashMap<RoomId, Arc<Told>>,
}

impl Told {
    /// As hierarchies have it, JSON.
    pub fn write(&self, children: &[SpaceChild]) -> Result<String, serde_json::Error> {
        let mut out = serde_json::to_string(&self.summary)?;
        out.truncate(out.len().saturating_sub(1));
        let children: Vec<&str> = children.iter().map(|child| child.json.as_str()).collect();
        out.push_str(&format!(",\"children_state\":[{}]}}", children.join(",")));
        Ok(out)
    }
}

#[derive(Deserialize)]
struct Answer {
    room: ToldRoom,
    #[serde(default)]
    children: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct ToldRoom {
    #[serde(flatten)]
    summary: Summary,
    #[serde(default)]
    children_state: Vec<Object>,
}

impl ToldRoom {
    fn into_told(self, rooms: HashMap<RoomId, Arc<Told>>) -> Told {
        let children = told_children(self.summary.room_type.as_deref(), self.children_state);
        Told { summary: self.summary, children, rooms }
    }
}

/// What was answered, and when.
type Kept = (Duration, Option<Arc<Told>>);

/// Asks other servers about rooms, and remembers for a while what they said.
pub struct RoomsElsewhere {
    rooms: Arc<Rooms>,
    others: Arc<FederationClient>,
    clock: Clock,
    kept: Mutex<Answers>,
}

#[derive(Default)]
struct Answers {
    of: BTreeMap<(ServerName, RoomId), Kept>,
    /// The oldest first.
    order: VecDeque<(ServerName, RoomId)>,
}

/// What one request of a client may still ask.
pub(crate) struct Questions(u32);

impl Default for Questions {
    fn default() -> Self {
        Self(QUESTIONS)
    }
}

impl RoomsElsewhere {
    /// Asks by `others` about rooms that `rooms` does not hold.
    pub fn new(rooms: Arc<Rooms>, others: Arc<FederationClient>, clock: Clock) -> Self {
        Self { rooms, others, clock, kept: Mutex::default() }
    }

    /// The room as the first of `servers` tells it that knows it, when the user may be shown it.
    pub(crate) async fn find(
        &self,
        user: &UserId,
        room: &RoomId,
        servers: &[ServerName],
        questions: &mut Questions,
    ) -> Result<Option<Arc<Told>>, DbError> {
        for server in servers.iter().filter(|server| *server != self.rooms.server_name()).take(SERVERS) {
            if let Some(told) = self.told(server, room, questions).await
                && self.is_accessible(user, &told.summary).await?
            {
                return Ok(Some(told));
            }
        }
        Ok(None)
    }

    /// Whether the user may be shown such a room: the server that told it knows only what its members' servers may see.
    pub(crate) async fn is_accessible(&self, user: &UserId, summary: &Summary) -> Result<bool, DbError> {
        if summary.world_readable || matches!(&*summary.join_rule, "public" | "knock" | "knock_restricted") {
            return Ok(true);
        }
        if let Some(room) = self.rooms.get_readable(&summary.room_id).await?
            && room.view().state.membership(user.as_str()) == Some(MembershipKind::Invite)
        {
            return Ok(true);
        }
        is_in_one_of(&self.rooms, &self.rooms.memberships().of(user).await?, &summary.allowed_room_ids).await
    }

    async fn told(&self, server: &ServerName, room: &RoomId, questions: &mut Questions) -> Option<Arc<Told>> {
        let (key, now) = ((server.clone(), room.clone()), self.clock.monotonic());
        if let Some((at, told)) = self.kept.lock().of.get(&key)
            && now.saturating_sub(*at) < KEPT
        {
            return told.clone();
        }
        questions.0 = questions.0.checked_sub(1)?;
        let told = self.ask(server, room).await.map(Arc::new);
        let mut kept = self.kept.lock();
        if kept.of.insert(key.clone(), (now, told.clone())).is_none() {
            kept.order.push_back(key);
        }
        while kept.order.len() > MOST_KEPT
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.of.remove(&oldest);
        }
        told
    }

    async fn ask(&self, server: &ServerName, room: &RoomId) -> Option<Told> {
        let path = format!("/_matrix/federation/v1/hierarchy/{}", percent_encoded(room.as_str()));
        let call = Call::get(path).timeout(PATIENCE).max_answer_bytes(MAX_ANSWER_BYTES);
        let answer: Answer = match self.others.call_json(server, call).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(%room, "not told of: {error}");
                return None;
            }
        };
        if answer.room.summary.room_id != *room {
            return None;
        }
        // One room that makes no sense does not hide the others.
        let children = answer.children.iter().filter_map(|child| serde_json::from_str::<ToldRoom>(child.get()).ok());
        let children = children.map(|child| (child.summary.room_id.clone(), Arc::new(child.into_told(HashMap::new()))));
        let children = children.collect();
        Some(answer.room.into_told(children))
    }
}
