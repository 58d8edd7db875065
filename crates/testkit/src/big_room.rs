//! A room of any size on another server, for joining.

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

/// The start of the generated rooms, in Unix ms.
const BEGAN: u64 = 1_700_000_000_000;
/// One in this many members has changed their profile once: their first join is only in the auth chain.
const RENAMED: usize = 10;

/// The size of a room.
#[derive(Clone, Copy, Debug)]
pub struct BigRoom {
    /// The room version.
    pub version: RoomVersion,
    /// The number of joined users.
    pub members: usize,
    /// The number of state events, including members.
    pub state_events: usize,
}

impl BigRoom {
    /// A public room of version 11 with this many joined users and, including their member events, this many state
    /// events.
    #[must_use]
    pub fn new(members: usize, state_events: usize) -> Self {
        Self { version: RoomVersion::V11, members: members.max(1), state_events }
    }

    /// Creates the room on a new peer, which serves it. Its members are users of that peer and, in turn, of `others`.
    pub async fn host(self, others: &[&Peer]) -> RoomHost {
        let others: Vec<_> = others.iter().map(|peer| (peer.name().clone(), peer.key().clone())).collect();
        self.host_for(&others).await
    }

    /// Like [`Self::host`], with any servers whose keys are known.
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

/// A server and the room on it.
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
    may_send_state: watch::Sender<bool>,
}

/// How the host responds.
#[derive(Clone, Debug)]
pub struct Ways {
    /// Whether members are omitted if the joining server agrees.
    pub omits_members: bool,
    /// After how many bytes the response to `send_join` breaks off.
    pub joins_break_off: Option<usize>,
    /// After how many bytes the next response to `state` breaks off.
    pub states_break_off: Option<usize>,
    /// Whether `state` and `state_ids` are refused.
    pub refuses_state: bool,
    /// Whether only version 1 of `send_join` and `send_leave` is known.
    pub only_version_1: bool,
    /// The event nearest to any time, for a lying server.
    pub nearest: Option<Value>,
    /// Whether there is no response to `timestamp_to_event`.
    pub never_sends_nearest: bool,
    /// Whether `state` and `state_ids` are refused for the joins of other servers' users.
    pub refuses_state_at_joins: bool,
    /// Whether `backfill` and `get_missing_events` are refused.
    pub refuses_history: bool,
    /// Whether there is no response to `backfill` and `get_missing_events`.
    pub never_sends_history: bool,
    /// Events that are sent with every state.
    pub also: Vec<Bytes>,
    /// The member who authorises restricted joins of other servers' users.
    pub authoriser: Option<UserId>,
    /// Whether the response to `send_join` has the auth events of the join.
    pub tells_what_allows_joins: bool,
    /// How many of the last events an event template follows.
    pub prev_events: usize,
    /// Whether `make_join` is refused.
    pub refuses_joins: bool,
    /// Whether `make_leave` fails.
    pub fails_leaves: bool,
    /// More servers that are claimed to be in the room.
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
            never_sends_nearest: false,
            refuses_state_at_joins: false,
            refuses_history: false,
            never_sends_history: false,
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

/// A part of the room's events, as JSON.
struct EventLists {
    state: Vec<Bytes>,
    auth_chain: Vec<Bytes>,
}

impl RoomHost {
    /// Starts another server that serves the room and does not refuse its state.
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
            may_send_state: watch::Sender::new(true),
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
        // Users who joined earlier were authorized by other power levels.
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

    /// The room id.
    pub fn id(&self) -> &RoomId {
        &self.id
    }

    /// The room version.
    pub fn version(&self) -> RoomVersion {
        self.version
    }

    /// The user who created it.
    pub fn creator(&self) -> UserId {
        self.member(0)
    }

    /// The user who joined as number `number`, counted from 0.
    pub fn member(&self, number: usize) -> UserId {
        let names: Vec<ServerName> = self.servers.iter().map(|(name, _)| name.clone()).collect();
        user_of(&names, number)
    }

    /// The number of joined users.
    pub fn joined(&self) -> usize {
        self.log.lock().joined()
    }

    /// The number of state events.
    pub fn state_len(&self) -> usize {
        self.log.lock().state_len()
    }

    /// The room's events, by id and JSON, in order.
    pub fn events(&self) -> Vec<(String, Value)> {
        let log = self.log.lock();
        log.events().map(|event| (event.id.to_string(), serde_json::from_slice(&event.json).expect("JSON"))).collect()
    }

    /// Adds the next event of a member to the room, signed by the member's server, and sends it to nobody.
    ///
    /// # Panics
    /// When the user is not on one of the servers for which the room was made.
    pub fn send(&self, sender: &UserId, event_type: &str, state_key: Option<&str>, content: Value) -> Pdu {
        let pdu = self.compose(sender, event_type, state_key, &content);
        self.add(&pdu);
        pdu
    }

    /// Like [`Self::send`], for an event that follows these.
    ///
    /// # Panics
    /// When the user is not on one of the servers for which the room was made.
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

    /// Like [`Self::send_after`], for a message that claims this depth.
    ///
    /// # Panics
    /// When the user is not on one of the servers for which the room was made.
    pub fn send_at_depth(&self, depth: u64, prev_events: &[EventId], sender: &UserId, content: &Value) -> Pdu {
        let mut template = self.template(sender, "m.room.message", None, content);
        let prev_events: Vec<plexus_protocol::json::Value> = prev_events.iter().map(|id| id.as_str().into()).collect();
        template.insert("prev_events", prev_events);
        template.insert("depth", depth);
        let pdu = self.finish(template, sender);
        self.add(&pdu);
        pdu
    }

    /// Like [`Self::send`], but the event does not become part of the room.
    pub fn compose(&self, sender: &UserId, event_type: &str, state_key: Option<&str>, content: &Value) -> Pdu {
        let template = self.template(sender, event_type, state_key, content);
        self.finish(template, sender)
    }

    fn finish(&self, template: Object, sender: &UserId) -> Pdu {
        let signs = self.servers.iter().find(|(name, _)| name.as_str() == sender.server_name());
        let (name, key) = signs.expect("the user's server is known");
        build::finish(template, self.version, key, name).expect("an event that can be built")
    }

    /// Changes how the host responds from now on.
    pub fn set_ways(&self, change: impl FnOnce(&mut Ways)) {
        change(&mut self.ways.lock());
    }

    /// Whether `state` and `state_ids` are answered immediately, or only after this is called with `true`.
    pub fn tell_state(&self, at_once: bool) {
        self.may_send_state.send_replace(at_once);
    }

    /// Returns the next event of `sender`, to be completed.
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
