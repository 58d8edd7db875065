//! The Matrix protocol as pure functions of their arguments: no IO, no clock, no randomness, no async, no logging.
//!
//! - [`id`]: identifiers of users, rooms, aliases, events and servers
//! - [`rules`]: room versions 1 to 12, each defined by its differences from the previous one
//! - [`json`]: JSON as Matrix signs it
//! - [`event`]: PDUs: parsing, building, hashing, redacting, signing, verifying, client formats
//! - [`auth`]: the authorization rules
//! - [`membership`], [`join_rule`], [`power_levels`]: the parts of the room state that these rules read
//! - [`state_res`]: state resolution
//! - [`visibility`]: which events a user may see
//! - [`push_rules`]: which events notify a user
//! - [`policy`]: policy servers
//! - [`x_matrix`]: authentication of requests between servers
//! - [`invite_permission`]: which invites a user accepts
//! - [`ignored_users`]: whose events a user does not want to see
//! - [`acl`], [`glob`]: server ACLs, and their patterns
//!
//! In short, a server that receives an event parses it, verifies it, checks it against the auth events it names and
//! against the state of the room, and resolves states where branches differ.
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
//! // A server keeps these in its database: the events of a room, their auth graph, and states over it.
//! let mut events: HashMap<EventId, AuthEvent> = HashMap::new();
//! let mut graph = AuthGraph::new();
//! let mut state = State::default();
//!
//! // Another server creates a room, joins it, and sets two topics at the same time.
//! let server: ServerName = "example.org".parse()?;
//! let key = sign::SigningKey::generate(&[1; 32], "a_AbCd");
//! let send = |room_id: Option<&RoomId>,
//!             state: &State,
//!             graph: &AuthGraph,
//!             event_type: &str,
//!             state_key: &str,
//!             content: Object| {
//!     let sender = "@alice:example.org".parse()?;
//!     let keys = auth_event_keys(rules, event_type, &sender, Some(state_key), &content);
//!     let node = |kind: &str, key: &str| state.get(graph.key(kind, key)?);
//!     let auth_events = keys.iter().filter_map(|(kind, key)| Some(graph.id(node(kind, key)?).clone()));
//!     let event = PduBuilder {
//!         room_id: room_id.cloned(),
//!         sender,
//!         event_type: event_type.to_owned(),
//!         state_key: Some(state_key.to_owned()),
//!         auth_events: auth_events.collect(),
//!         // A real server names the forward extremities of the room.
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
//! // This server receives the events.
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
//! // Two branches are resolved to one state.
//! let (_, left) = receive(first.json(), &state, &mut graph)?;
//! let (_, right) = receive(second.json(), &state, &mut graph)?;
//! let lookup = |id: &EventId| events.get(id).cloned();
//! let Resolution::Resolved(resolved) = resolve(rules, &graph, &[left, right], &lookup)? else {
//!     panic!("everything is at hand");
//! };
//! assert_eq!(resolved.len(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(missing_docs, unreachable_pub)]

pub mod acl;
pub mod auth;
pub mod event;
pub mod glob;
pub mod id;
pub mod ignored_users;
pub mod invite_permission;
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
