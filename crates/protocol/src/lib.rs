//! The Matrix protocol as pure functions of their arguments: no IO, no clock, no randomness, no async, no logging.
//!
//! - [`id`]: users, rooms, aliases, events, servers
//! - [`rules`]: room versions 1 to 12, each a difference from the last
//! - [`json`]: JSON as Matrix signs it
//! - [`policy`]: servers that recommend a room's events
//! - [`power_levels`]: who may do what
//! - [`auth`]: the authorization rules
//! - [`state_res`]: one room state from several
//! - [`push_rules`]: what users are notified of
//! - [`visibility`]: who may see an event
//! - [`event`]: PDUs: parse, build, hash, redact, sign, verify, client formats
//! - [`x_matrix`]: signed requests between servers
//! - [`acl`], [`glob`]: server ACLs, and the patterns they are made of
//!
//! What a server does with an event it receives, in short: parse it, verify it, check it against the auth events it
//! names and against the state of the room, and where states differ, resolve them.
//!
//! ```
//! use std::collections::HashMap;
//!
//! use plexus_protocol::{
//!     auth::{self, AuthEvent},
//!     event::{Pdu, auth_types::auth_event_keys, build::PduBuilder, sign},
//!     id::{EventId, RoomId, ServerName},
//!     json::Object,
//!     rules::RoomVersion,
//!     state_res::{AuthGraph, Resolution, State, resolve},
//! };
//!
//! let version = RoomVersion::V12;
//! let rules = version.rules();
//! // A program keeps these in its store: the events of a room, their auth graph, and states over it.
//! let mut events: HashMap<EventId, AuthEvent> = HashMap::new();
//! let mut graph = AuthGraph::new();
//! let mut state = State::default();
//!
//! // What another server sends: it makes a room, joins it, and gives it two topics at once.
//! let server: ServerName = "example.org".parse()?;
//! let key = sign::SigningKey::generate(&[1; 32], "a_AbCd");
//! let send = |room_id: Option<&RoomId>, state: &State, graph: &AuthGraph, event_type: &str, state_key: &str, content: Object| {
//!     let sender = "@alice:example.org".parse()?;
//!     let keys = auth_event_keys(rules, event_type, &sender, Some(state_key), &content);
//!     let auth_events = keys.iter().filter_map(|(kind, key)| Some(graph.id(state.get(graph.key(kind, key)?)?).clone()));
//!     let event = PduBuilder {
//!         room_id: room_id.cloned(),
//!         sender,
//!         event_type: event_type.to_owned(),
//!         state_key: Some(state_key.to_owned()),
//!         auth_events: auth_events.collect(),
//!         // In truth: what the event follows.
//!         prev_events: graph.create().map(|create| graph.id(create).clone()).into_iter().collect(),
//!         content,
//!         depth: 1,
//!         origin_server_ts: 1_700_000_000_000,
//!         redacts: None,
//!         unsigned: None,
//!     };
//!     Ok::<Pdu, Box<dyn std::error::Error>>(event.build(version, &key, &server)?)
//! };
//!
//! // What this server does with it.
//! let known_key = sign::KnownKey { key: key.public_key(), valid_until_ts: u64::MAX };
//! let mut receive = |json: &str, state: &State, graph: &mut AuthGraph| {
//!     let pdu = Pdu::parse_remote(json, version)?;
//!     sign::verify(&pdu, &|_server, _key_id| Some(known_key))?;
//!     // If the hash does not match, the redacted event takes its place: `event::redact`.
//!     assert!(pdu.content_hash_matches());
//!     auth::check_state_independent(rules, &pdu, &|id| events.get(id).cloned())?;
//!     auth::check(rules, &pdu, &|event_type, state_key| {
//!         let node = state.get(graph.key(event_type, state_key)?)?;
//!         Some(events.get(graph.id(node))?.pdu.clone())
//!     })?;
//!     graph.add(&pdu);
//!     events.insert(pdu.event_id().clone(), AuthEvent { pdu: pdu.clone(), rejected: false });
//!     let mut after = state.clone();
//!     after.set(graph, graph.node(pdu.event_id()).ok_or("its auth chain is incomplete")?);
//!     Ok::<(Pdu, State), Box<dyn std::error::Error>>((pdu, after))
//! };
//!
//! let create = send(None, &state, &graph, "m.room.create", "", Object::from([("room_version", "12")]))?;
//! (_, state) = receive(create.json(), &state, &mut graph)?;
//! let room_id = Some(create.room_id());
//! let join = Object::from([("membership", "join")]);
//! let join = send(room_id, &state, &graph, "m.room.member", "@alice:example.org", join)?;
//! (_, state) = receive(join.json(), &state, &mut graph)?;
//! let first = send(room_id, &state, &graph, "m.room.topic", "", Object::from([("topic", "first")]))?;
//! let second = send(room_id, &state, &graph, "m.room.topic", "", Object::from([("topic", "second")]))?;
//!
//! // Two branches, of which one state is made.
//! let (_, left) = receive(first.json(), &state, &mut graph)?;
//! let (_, right) = receive(second.json(), &state, &mut graph)?;
//! let lookup = |id: &EventId| events.get(id).cloned();
//! let Resolution::Resolved(resolved) = resolve(rules, &graph, &[left, right], &lookup)? else {
//!     panic!("everything is at hand");
//! };
//! assert_eq!(resolved.len(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod acl;
pub mod auth;
pub mod event;
pub mod glob;
pub mod id;
pub mod join_rule;
pub mod json;
pub mod membership;
pub mod policy;
pub mod power_levels;
pub mod push_rules;
pub mod rules;
pub mod state_res;
pub mod visibility;
pub mod x_matrix;
