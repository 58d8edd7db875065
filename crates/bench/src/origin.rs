//! Another server, simulated by this program: it signs events, serves its key over TLS, and sends to a target.

use axum::Router;
use axum::routing::put;
use http::Method;
use plexus_protocol::event::build::{self, BuildError, PduBuilder};
use plexus_protocol::event::{Pdu, PduError};
use plexus_protocol::id::{EventId, IdError, RoomId, ServerName, UserId};
use plexus_protocol::json::{Object, ParseError};
use plexus_protocol::rules::{RoomVersion, RoomVersionRules, UnknownRoomVersion};
use plexus_testkit::Peer;
use serde_json::{Value, json};

use crate::http::{Connection, Request};
use crate::target::{Target, TargetError, ask, parse, text};
use crate::user::encode;

/// Why an event for a target's room cannot be created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OriginError {
    #[error(transparent)]
    Json(#[from] ParseError),
    #[error(transparent)]
    Pdu(#[from] PduError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Version(#[from] UnknownRoomVersion),
    #[error(transparent)]
    Id(#[from] IdError),
}

/// A server that communicates with one target.
pub(crate) struct Origin {
    peer: Peer,
    connection: Connection,
    destination: ServerName,
    transactions: u64,
}

/// A user of an [`Origin`] in a room of the target.
pub(crate) struct Member {
    room_id: RoomId,
    user_id: UserId,
    version: RoomVersion,
    /// The auth events of the user's messages.
    auth_events: Vec<EventId>,
    /// The join event.
    pub joined: EventId,
    depth: u64,
}

/// A transaction to send.
pub(crate) struct Transaction {
    path: String,
    authorization: String,
    body: String,
}

impl Origin {
    /// Starts a server on its own port, which accepts everything it receives.
    pub(crate) async fn start(target: &Target, destination: &str) -> Result<Self, TargetError> {
        let routes = |_: &ServerName| {
            Router::new().route("/_matrix/federation/v1/send/{transaction}", put(async || r#"{"pdus":{}}"#))
        };
        let destination = ServerName::try_from(destination).map_err(|error| OriginError::from(error).of("name"))?;
        Ok(Self {
            peer: Peer::answering(routes).await,
            connection: target.connect().await?,
            destination,
            transactions: 0,
        })
    }

    /// Joins a public room of the target.
    pub(crate) async fn join(&mut self, room_id: &str) -> Result<Member, TargetError> {
        let user_id = self.peer.user("sender");
        let versions: Vec<String> =
            RoomVersion::ALL.iter().map(|version| format!("ver={}", version.as_str())).collect();
        let (room, user) = (encode(room_id), encode(&user_id));
        let path = format!("/_matrix/federation/v1/make_join/{room}/{user}?{}", versions.join("&"));
        let made = self.call(&Method::GET, &path, None).await?;
        let (join, version) = self.finish(&path, &made).map_err(|error| error.of("make_join"))?;
        let path = format!("/_matrix/federation/v2/send_join/{room}/{}", encode(join.event_id().as_str()));
        let body = parse(&path, join.json().as_bytes())?;
        let answer = self.call(&Method::PUT, &path, Some(&body)).await?;
        let auth_events = allowing(&answer, &join, version).map_err(|error| error.of("send_join"))?;
        Ok(Member {
            room_id: join.room_id().clone(),
            user_id: join.sender().clone(),
            version,
            auth_events,
            joined: join.event_id().clone(),
            depth: join.depth(),
        })
    }

    /// Signs the event that `make_join` returned.
    fn finish(&self, path: &str, made: &Value) -> Result<(Pdu, RoomVersion), OriginError> {
        let version = text(path, made, "room_version").unwrap_or_default();
        let version = RoomVersion::ALL.into_iter().find(|known| known.as_str() == version);
        let version = version.ok_or_else(|| UnknownRoomVersion(made.to_string()))?;
        let template = Object::parse(&made.get("event").unwrap_or_default().to_string())?;
        Ok((build::finish(template, version, self.peer.key(), self.peer.name())?, version))
    }

    /// Creates a message of `member` that follows `after`.
    pub(crate) fn message(&self, member: &mut Member, after: Vec<EventId>, now_ms: u64) -> Result<Pdu, TargetError> {
        member.depth += 1;
        let content = r#"{"body":"a message of some forty letters or so","msgtype":"m.text"}"#;
        let made = Object::parse(content).map_err(OriginError::from).and_then(|content| {
            let builder = PduBuilder {
                room_id: Some(member.room_id.clone()),
                sender: member.user_id.clone(),
                event_type: "m.room.message".to_owned(),
                state_key: None,
                content,
                unsigned: None,
                redacts: None,
                prev_events: after,
                auth_events: member.auth_events.clone(),
                depth: member.depth,
                origin_server_ts: now_ms,
            };
            Ok(builder.build(member.version, self.peer.key(), self.peer.name())?)
        });
        made.map_err(|error| error.of("room"))
    }

    /// Creates a transaction of events.
    pub(crate) fn transaction(&mut self, pdus: &[Pdu], now_ms: u64) -> Result<Transaction, TargetError> {
        self.transactions += 1;
        let path = format!("/_matrix/federation/v1/send/{now_ms}-{}", self.transactions);
        let pdus: Result<Vec<Value>, _> = pdus.iter().map(|pdu| parse(&path, pdu.json().as_bytes())).collect();
        let body = json!({ "origin": self.peer.name().as_str(), "origin_server_ts": now_ms, "pdus": pdus? });
        let authorization = self.peer.sign(&self.destination, &Method::PUT, &path, Some(&body));
        Ok(Transaction { path, authorization, body: body.to_string() })
    }

    /// Sends a transaction.
    pub(crate) async fn send(&mut self, transaction: &Transaction) -> Result<(), TargetError> {
        let Transaction { path, authorization, body } = transaction;
        let request = Request::json("PUT", path, Some(authorization), Some(body.as_bytes()));
        ask(&mut self.connection, request).await.map(drop)
    }

    async fn call(&mut self, method: &Method, path: &str, body: Option<&Value>) -> Result<Value, TargetError> {
        let authorization = self.peer.sign(&self.destination, method, path, body);
        let body = body.map(ToString::to_string);
        let body = body.as_deref().map(str::as_bytes);
        let request = Request::json(method.as_str(), path, Some(&authorization), body);
        parse(path, ask(&mut self.connection, request).await?.body)
    }
}

/// Returns the auth events for messages of the joined user, from the state in the response to `send_join`.
fn allowing(answer: &Value, join: &Pdu, version: RoomVersion) -> Result<Vec<EventId>, OriginError> {
    let rules: &RoomVersionRules = version.rules();
    let mut allowing = vec![join.event_id().clone()];
    for event in answer.get("state").and_then(Value::as_array).into_iter().flatten() {
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        if kind == "m.room.power_levels" || (kind == "m.room.create" && !rules.create_event_is_room_id) {
            allowing.push(Pdu::parse(&event.to_string(), version)?.event_id().clone());
        }
    }
    Ok(allowing)
}

impl OriginError {
    /// Converts to an error of the target, in the response `what`.
    fn of(self, what: &'static str) -> TargetError {
        TargetError::Wrong { what, why: self.to_string() }
    }
}
