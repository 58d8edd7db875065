//! A room of any size on another server, to be joined.

mod log;
mod routes;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use plexus_protocol::event::Pdu;
use plexus_protocol::event::build::{self, PduBuilder};
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::{EventId, RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::peer::Peer;
use log::Log;
use routes::Rooms;

/// When the generated rooms began, Unix ms.
const BEGAN: u64 = 1_700_000_000_000;
/// Every so many members have changed their profile once: their first join is in the auth chain only.
const RENAMED: usize = 10;

/// How large a room is to be.
#[derive(Clone, Copy, Debug)]
pub struct BigRoom {
    /// Its version.
    pub version: RoomVersion,
    /// How many users are joined.
    pub members: usize,
    /// How many state events there are, members included.
    pub state_events: usize,
}

impl BigRoom {
    /// A public room of version 11 with so many joined users and, with their member events, so many state events.
    #[must_use]
    pub fn new(members: usize, state_events: usize) -> Self {
        Self { version: RoomVersion::V11, members: members.max(1), state_events }
    }

    /// Makes the room on a new peer, which answers for it. Its members are users of that peer and, in turn, of
    /// `others`.
    pub async fn host(self, others: &[&Peer]) -> RoomHost {
        let others: Vec<_> = others.iter().map(|peer| (peer.name().clone(), peer.key().clone())).collect();
        self.host_for(&others).await
    }

    /// As [`Self::host`], of any servers whose keys are known.
    pub async fn host_for(self, others: &[(ServerName, SigningKey)]) -> RoomHost {
        let room = Arc::new(std::sync::OnceLock::new());
        let routed = Arc::clone(&room);
        let peer = Peer::answering(|_| routes::routes(Rooms { room: routed, is_host: true })).await;
        let mut servers = vec![(peer.name().clone(), peer.key().clone())];
        servers.extend_from_slice(others);
        let made = tokio::task::spawn_blocking(move || HostedRoom::make(self, servers)).await;
        let made = Arc::new(made.expect("the room can be made"));
        assert!(room.set(Arc::clone(&made)).is_ok(), "the room is made once");
        RoomHost { peer, room: made }
    }
}

/// A server, and the room on it.
pub struct RoomHost {
    /// The server.
    pub peer: Peer,
    /// The room.
    pub room: Arc<HostedRoom>,
}

/// A room on another server.
pub struct HostedRoom {
    id: RoomId,
    version: RoomVersion,
    /// The host is the first.
    servers: Vec<(ServerName, SigningKey)>,
    log: Mutex<Log>,
    ways: Mutex<Ways>,
    state_is_told: watch::Sender<bool>,
}

/// How the host answers.
#[derive(Clone, Debug)]
pub struct Ways {
    /// Whether members are left out where the joining server agrees.
    pub omits_members: bool,
    /// After how many bytes the answer to `send_join` breaks off.
    pub joins_break_off: Option<usize>,
    /// After how many bytes the next answer to `state` breaks off.
    pub states_break_off: Option<usize>,
    /// Whether `state` and `state_ids` are refused.
    pub refuses_state: bool,
    /// Whether `send_join` and `send_leave` are known in version 1 only.
    pub only_version_1: bool,
    /// The event that is nearest to any time, for one that lies.
    pub nearest: Option<Value>,
    /// Whether `state` and `state_ids` are refused for the joins of other servers' users.
    pub refuses_state_at_joins: bool,
    /// Whether `backfill` and `get_missing_events` are refused.
    pub refuses_history: bool,
    /// Events that are told with every state.
    pub also: Vec<Bytes>,
    /// The member in whose name the host lets users of other servers in.
    pub authoriser: Option<UserId>,
    /// Whether the answer to `send_join` has the events that allow the join.
    pub tells_what_allows_joins: bool,
    /// How many of the last events a template follows.
    pub prev_events: usize,
    /// Whether `make_join` is refused.
    pub refuses_joins: bool,
    /// Whether `make_leave` fails.
    pub fails_leaves: bool,
    /// More servers that are said to be in the room.
    pub other_servers: Vec<String>,
}

impl Default for Ways {
    fn default() -> Self {
        Self {
            omits_members: true,
            joins_break_off: None,
            states_break_off: None,
            refuses_state: false,
            only_version_1: false,
            nearest: None,
            refuses_state_at_joins: false,
            refuses_history: false,
            also: Vec::new(),
            authoriser: None,
            tells_what_allows_joins: true,
            prev_events: 1,
            refuses_joins: false,
            fails_leaves: false,
            other_servers: Vec::new(),
        }
    }
}

/// Part of the room's events, as JSON.
struct Told {
    state: Vec<Bytes>,
    auth_chain: Vec<Bytes>,
}

impl RoomHost {
    /// Another server that answers for the room, and does not refuse its state.
    pub async fn another(&self) -> Peer {
        let room = Arc::new(std::sync::OnceLock::from(Arc::clone(&self.room)));
        Peer::answering(|_| routes::routes(Rooms { room, is_host: false })).await
    }
}

impl HostedRoom {
    fn make(size: BigRoom, servers: Vec<(ServerName, SigningKey)>) -> Self {
        let version = size.version;
        let names: Vec<ServerName> = servers.iter().map(|(name, _)| name.clone()).collect();
        let creator = user_of(&names, 0);
        let mut room = Self {
            id: RoomId::try_from(format!("!big:{}", names[0])).expect("a room id"),
            version,
            servers,
            log: Mutex::default(),
            ways: Mutex::default(),
            state_is_told: watch::Sender::new(true),
        };
        let create = room.create(&creator);
        room.id = create.room_id().clone();
        room.add(&create);
        room.send(&creator, "m.room.member", Some(creator.as_str()), json!({ "membership": "join" }));
        let mut levels = json!({ "users": { creator.as_str(): 100 }, "state_default": 50 });
        if version.rules().create_event_is_room_id {
            levels["users"] = json!({});
        }
        room.send(&creator, "m.room.power_levels", Some(""), levels.clone());
        room.send(&creator, "m.room.join_rules", Some(""), json!({ "join_rule": "public" }));
        room.send(&creator, "m.room.history_visibility", Some(""), json!({ "history_visibility": "shared" }));
        room.send(&creator, "m.room.name", Some(""), json!({ "name": "Big room" }));
        // Whoever joined before was let in by other power levels.
        for number in 1..size.members {
            if number == size.members / 2 {
                levels["invite"] = json!(10);
                room.send(&creator, "m.room.power_levels", Some(""), levels.clone());
            }
            let user = user_of(&names, number);
            let join = |name: String| json!({ "membership": "join", "displayname": name });
            room.send(&user, "m.room.member", Some(user.as_str()), join(format!("Member {number}")));
            if number % RENAMED == 0 {
                room.send(&user, "m.room.member", Some(user.as_str()), join(format!("Renamed {number}")));
            }
        }
        let others = size.state_events.saturating_sub(room.log.lock().state_len());
        for number in 0..others {
            let content = json!({ "number": number, "text": "a setting of some integration of the room" });
            room.send(&creator, "org.example.setting", Some(&format!("setting-{number}")), content);
        }
        room
    }

    fn create(&self, creator: &UserId) -> Pdu {
        let mut content = json!({ "room_version": self.version.as_str() });
        if !self.version.rules().auth.creator_is_sender {
            content["creator"] = json!(creator.as_str());
        }
        let builder = PduBuilder {
            room_id: (!self.version.rules().create_event_is_room_id).then(|| self.id.clone()),
            sender: creator.clone(),
            event_type: "m.room.create".to_owned(),
            state_key: Some(String::new()),
            content: object(&content),
            unsigned: None,
            redacts: None,
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            depth: 1,
            origin_server_ts: BEGAN,
        };
        let (name, key) = &self.servers[0];
        builder.build(self.version, key, name).expect("an event that can be built")
    }

    /// Its id.
    pub fn id(&self) -> &RoomId {
        &self.id
    }

    /// Its version.
    pub fn version(&self) -> RoomVersion {
        self.version
    }

    /// The user who made it.
    pub fn creator(&self) -> UserId {
        self.member(0)
    }

    /// The user who joined as number `number`, from 0.
    pub fn member(&self, number: usize) -> UserId {
        let names: Vec<ServerName> = self.servers.iter().map(|(name, _)| name.clone()).collect();
        user_of(&names, number)
    }

    /// How many users are joined now.
    pub fn joined(&self) -> usize {
        self.log.lock().joined()
    }

    /// How many state events there are now.
    pub fn state_len(&self) -> usize {
        self.log.lock().state_len()
    }

    /// The events it has, by id and JSON, in their order.
    pub fn events(&self) -> Vec<(String, Value)> {
        let log = self.log.lock();
        log.events().map(|event| (event.id.to_string(), serde_json::from_slice(&event.json).expect("JSON"))).collect()
    }

    /// The next event of one of its members, signed by that user's server; it is part of the room, and nobody is told.
    ///
    /// # Panics
    /// When the user is not of one of the servers it was made for.
    pub fn send(&self, sender: &UserId, event_type: &str, state_key: Option<&str>, content: Value) -> Pdu {
        let pdu = self.compose(sender, event_type, state_key, &content);
        self.add(&pdu);
        pdu
    }

    /// As [`Self::send`], of an event that follows these.
    ///
    /// # Panics
    /// When the user is not of one of the servers it was made for.
    pub fn send_after(
        &self,
        prev_events: &[EventId],
        sender: &UserId,
        event_type: &str,
        state_key: Option<&str>,
        content: &Value,
    ) -> Pdu {
        let mut template = self.template(sender, event_type, state_key, content);
        let prev_events: Vec<plexus_protocol::json::Value> = prev_events.iter().map(|id| id.as_str().into()).collect();
        template.insert("prev_events", prev_events);
        let pdu = self.finish(template, sender);
        self.add(&pdu);
        pdu
    }

    /// As [`Self::send_after`], of a message that claims this depth.
    ///
    /// # Panics
    /// When the user is not of one of the servers it was made for.
    pub fn send_at_depth(&self, depth: u64, prev_events: &[EventId], sender: &UserId, content: &Value) -> Pdu {
        let mut template = self.template(sender, "m.room.message", None, content);
        let prev_events: Vec<plexus_protocol::json::Value> = prev_events.iter().map(|id| id.as_str().into()).collect();
        template.insert("prev_events", prev_events);
        template.insert("depth", depth);
        let pdu = self.finish(template, sender);
        self.add(&pdu);
        pdu
    }

    /// As [`Self::send`], but it is no part of the room.
    pub fn compose(&self, sender: &UserId, event_type: &str, state_key: Option<&str>, content: &Value) -> Pdu {
        let template = self.template(sender, event_type, state_key, content);
        self.finish(template, sender)
    }

    fn finish(&self, template: Object, sender: &UserId) -> Pdu {
        let signs = self.servers.iter().find(|(name, _)| name.as_str() == sender.server_name());
        let (name, key) = signs.expect("the user's server is known");
        build::finish(template, self.version, key, name).expect("an event that can be built")
    }

    /// How it answers from now on.
    pub fn set_ways(&self, change: impl FnOnce(&mut Ways)) {
        change(&mut self.ways.lock());
    }

    /// Whether `state` and `state_ids` are answered at once, or when this is called with `true`.
    pub fn tell_state(&self, at_once: bool) {
        self.state_is_told.send_replace(at_once);
    }

    /// The event that `sender` would send next, to be completed.
    fn template(&self, sender: &UserId, event_type: &str, state_key: Option<&str>, content: &Value) -> Object {
        let content = object(content);
        let log = self.log.lock();
        let auth_events = log.auth_events(self.version, sender, event_type, state_key, &content);
        let builder = PduBuilder {
            room_id: Some(self.id.clone()),
            sender: sender.clone(),
            event_type: event_type.to_owned(),
            state_key: state_key.map(str::to_owned),
            content,
            unsigned: None,
            redacts: None,
            prev_events: log.last().into_iter().collect(),
            auth_events,
            depth: log.len() as u64 + 1,
            origin_server_ts: BEGAN + log.len() as u64,
        };
        builder.into_template(self.version)
    }

    fn add(&self, pdu: &Pdu) {
        self.log.lock().add(pdu);
    }

    fn ways(&self) -> Ways {
        self.ways.lock().clone()
    }
}

fn user_of(servers: &[ServerName], number: usize) -> UserId {
    let server = &servers[number % servers.len()];
    UserId::try_from(format!("@member-{number}:{server}")).expect("a user id")
}

fn object(content: &Value) -> Object {
    Object::parse(&content.to_string()).expect("serde_json writes JSON")
}
