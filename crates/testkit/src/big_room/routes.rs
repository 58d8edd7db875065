//! The endpoints of the host of a room.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use bytes::Bytes;
use futures_util::stream;
use plexus_protocol::event::{Pdu, sign};
use plexus_protocol::id::UserId;
use serde_json::{Value, json};

use super::{EventLists, HostedRoom};

/// The room, once it is made, on a server that is in it.
#[derive(Clone)]
pub(super) struct Rooms {
    pub room: Arc<OnceLock<Arc<HostedRoom>>>,
    /// Whether this is the server on which the room was made.
    pub is_host: bool,
}

type Asked = Query<HashMap<String, String>>;

/// Responses are sent in pieces of this size.
const PIECE: usize = 64 * 1024;

pub(super) fn routes(room: Rooms) -> Router {
    let at = |rest: &str| format!("/_matrix/federation/{rest}");
    Router::new()
        .route(&at("v1/make_join/{room}/{user}"), get(make_join))
        .route(&at("v2/send_join/{room}/{event}"), put(send_join))
        .route(&at("v1/make_leave/{room}/{user}"), get(make_leave))
        .route(&at("v2/send_leave/{room}/{event}"), put(send_leave))
        .route(&at("v1/send_join/{room}/{event}"), put(send_join_v1))
        .route(&at("v1/send_leave/{room}/{event}"), put(send_leave_v1))
        .route(&at("v1/timestamp_to_event/{room}"), get(near))
        .route(&at("v1/state/{room}"), get(state))
        .route(&at("v1/state_ids/{room}"), get(state_ids))
        .route(&at("v1/event/{event}"), get(event))
        .route(&at("v1/event_auth/{room}/{event}"), get(event_auth))
        .route(&at("v1/backfill/{room}"), get(backfill))
        .route(&at("v1/get_missing_events/{room}"), post(get_missing_events))
        .route(&at("v1/send/{txn}"), put(send))
        .with_state(room)
}

fn hosted(rooms: &Rooms) -> Result<Arc<HostedRoom>, Refusal> {
    rooms.room.get().map(Arc::clone).ok_or(Refusal("M_NOT_FOUND"))
}

/// A response with status 404 and this error code.
struct Refusal(&'static str);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (StatusCode::NOT_FOUND, json!({ "errcode": self.0, "error": "" }).to_string()).into_response()
    }
}

async fn make_join(State(rooms): State<Rooms>, Path((_, user)): Path<(String, String)>) -> Result<Response, Refusal> {
    if hosted(&rooms)?.ways().refuses_joins {
        let refusal = json!({ "errcode": "M_FORBIDDEN", "error": "not you" }).to_string();
        return Ok((StatusCode::FORBIDDEN, refusal).into_response());
    }
    make(&rooms, &user, "join")
}

async fn make_leave(State(rooms): State<Rooms>, Path((_, user)): Path<(String, String)>) -> Result<Response, Refusal> {
    if hosted(&rooms)?.ways().fails_leaves {
        return Ok((StatusCode::INTERNAL_SERVER_ERROR, "{}").into_response());
    }
    make(&rooms, &user, "leave")
}

fn make(rooms: &Rooms, user: &str, membership: &str) -> Result<Response, Refusal> {
    let room = hosted(rooms)?;
    let user = UserId::try_from(user).map_err(|_| Refusal("M_INVALID_PARAM"))?;
    let mut content = json!({ "membership": membership });
    if let Some(authoriser) = room.ways().authoriser.filter(|_| membership == "join") {
        content["join_authorised_via_users_server"] = json!(authoriser.as_str());
    }
    let event = room.template(&user, "m.room.member", Some(user.as_str()), &content);
    let mut event: Value = serde_json::from_str(&event.to_json()).map_err(|_| Refusal("M_UNKNOWN"))?;
    let last = room.ways().prev_events;
    if last > 1 {
        event["prev_events"] = json!(room.log.lock().last_ids(last));
    }
    Ok(json!({ "room_version": room.version().as_str(), "event": event }).to_string().into_response())
}

async fn send_join(State(rooms): State<Rooms>, Query(asked): Asked, body: Bytes) -> Result<Response, Refusal> {
    let room = hosted(&rooms)?;
    if room.ways().only_version_1 {
        return Err(Refusal("M_UNRECOGNIZED"));
    }
    take_join(&room, &asked, &body)
}

async fn send_join_v1(State(rooms): State<Rooms>, body: Bytes) -> Result<Response, Refusal> {
    let answer = take_join(&*hosted(&rooms)?, &HashMap::new(), &body)?;
    with_status(answer).await
}

async fn send_leave_v1(State(rooms): State<Rooms>, body: Bytes) -> Result<Response, Refusal> {
    let answer = take_leave(&*hosted(&rooms)?, &body)?;
    with_status(answer).await
}

/// Converts a response to version 1: the status and the response in an array.
async fn with_status(answer: Response) -> Result<Response, Refusal> {
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.map_err(|_| Refusal("M_UNKNOWN"))?;
    Ok([&b"[200, "[..], &body, &b"]\n"[..]].concat().into_response())
}

fn take_join(room: &HostedRoom, asked: &HashMap<String, String>, body: &Bytes) -> Result<Response, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| Refusal("M_NOT_JSON"))?;
    let join = Pdu::parse_remote(text, room.version()).map_err(|_| Refusal("M_BAD_JSON"))?;
    let ways = room.ways();
    let (name, key) = room.servers.first().ok_or(Refusal("M_UNKNOWN"))?;
    let join = match ways.authoriser {
        Some(_) => sign::add_signature(&join, key, name).map_err(|_| Refusal("M_TOO_LARGE"))?,
        None => join,
    };
    let omits = ways.omits_members && asked.get("omit_members").is_some_and(|value| value == "true");
    let creator = room.creator();
    let only_member = omits.then_some(creator.as_str());
    let (mut lists, servers) = {
        let mut log = room.log.lock();
        let mut servers = log.servers();
        servers.extend(ways.other_servers);
        log.hand_in(&join);
        let (at, _) = log.find(join.event_id().as_str()).ok_or(Refusal("M_UNKNOWN"))?;
        (log.before(at, only_member, ways.tells_what_allows_joins), servers)
    };
    lists.state.extend(ways.also);
    let head = json!({
        "origin": room.creator().server_name(),
        "members_omitted": omits,
        "servers_in_room": servers,
    });
    let event = format!("\"event\":{}", join.json());
    Ok(in_pieces(&head, "state", lists, Some(event.into()), ways.joins_break_off))
}

async fn send_leave(State(rooms): State<Rooms>, body: Bytes) -> Result<Response, Refusal> {
    let room = hosted(&rooms)?;
    if room.ways().only_version_1 {
        return Err(Refusal("M_UNRECOGNIZED"));
    }
    take_leave(&room, &body)
}

fn take_leave(room: &HostedRoom, body: &Bytes) -> Result<Response, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| Refusal("M_NOT_JSON"))?;
    room.add(&Pdu::parse_remote(text, room.version()).map_err(|_| Refusal("M_BAD_JSON"))?);
    Ok("{}".into_response())
}

/// Waits until the state may be sent.
async fn wait_for_state(rooms: &Rooms, event: &str) -> Result<Arc<HostedRoom>, Refusal> {
    let room = hosted(rooms)?;
    // The room outlives its responses.
    let _ = room.may_send_state.subscribe().wait_for(|may_send| *may_send).await;
    let ways = room.ways();
    let refuses = ways.refuses_state || (ways.refuses_state_at_joins && room.log.lock().joins_others(event));
    if refuses && rooms.is_host { Err(Refusal("M_NOT_FOUND")) } else { Ok(room) }
}

async fn state(State(rooms): State<Rooms>, Query(asked): Asked) -> Result<Response, Refusal> {
    let id = asked.get("event_id").map_or("", String::as_str);
    let room = wait_for_state(&rooms, id).await?;
    let mut ways = room.ways();
    room.set_ways(|now| ways.states_break_off = now.states_break_off.take());
    let mut lists = {
        let log = room.log.lock();
        let (at, _) = log.find(id).ok_or(Refusal("M_NOT_FOUND"))?;
        log.before(at, None, true)
    };
    lists.state.extend(ways.also);
    Ok(in_pieces(&json!({}), "pdus", lists, None, ways.states_break_off))
}

async fn state_ids(State(rooms): State<Rooms>, Query(asked): Asked) -> Result<Response, Refusal> {
    let id = asked.get("event_id").map_or("", String::as_str);
    let room = wait_for_state(&rooms, id).await?;
    let log = room.log.lock();
    let (at, _) = log.find(id).ok_or(Refusal("M_NOT_FOUND"))?;
    let (pdu_ids, auth_chain_ids) = log.ids_before(at);
    Ok(json!({ "pdu_ids": pdu_ids, "auth_chain_ids": auth_chain_ids }).to_string().into_response())
}

async fn event(State(rooms): State<Rooms>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let room = hosted(&rooms)?;
    let log = room.log.lock();
    let (_, event) = log.find(&id).ok_or(Refusal("M_NOT_FOUND"))?;
    let event: Value = serde_json::from_slice(&event.json).map_err(|_| Refusal("M_UNKNOWN"))?;
    Ok(json!({ "origin": "", "origin_server_ts": 0, "pdus": [event] }).to_string().into_response())
}

/// Returns the event nearest to `ts`.
async fn near(State(rooms): State<Rooms>, Query(asked): Asked) -> Result<Response, Refusal> {
    let room = hosted(&rooms)?;
    if room.ways().never_sends_nearest {
        std::future::pending::<()>().await;
    }
    if let Some(lie) = room.ways().nearest {
        return Ok(lie.to_string().into_response());
    }
    let ts: u64 = asked.get("ts").and_then(|ts| ts.parse().ok()).ok_or(Refusal("M_INVALID_PARAM"))?;
    let forward = asked.get("dir").is_some_and(|dir| dir == "f");
    let times = room.events().into_iter().map(|(id, event)| (event["origin_server_ts"].as_u64().unwrap_or(0), id));
    let found = if forward {
        times.filter(|(at, _)| *at >= ts).min_by_key(|(at, _)| *at)
    } else {
        times.filter(|(at, _)| *at <= ts).max_by_key(|(at, _)| *at)
    };
    let (at, id) = found.ok_or(Refusal("M_NOT_FOUND"))?;
    Ok(json!({ "event_id": id, "origin_server_ts": at }).to_string().into_response())
}

async fn event_auth(State(rooms): State<Rooms>, Path((_, id)): Path<(String, String)>) -> Result<Response, Refusal> {
    let room = hosted(&rooms)?;
    let log = room.log.lock();
    let (at, _) = log.find(&id).ok_or(Refusal("M_NOT_FOUND"))?;
    let chain = log.auth_chain(at);
    let chain: Vec<&str> = chain.iter().filter_map(|event| std::str::from_utf8(event).ok()).collect();
    Ok(format!("{{\"auth_chain\":[{}]}}", chain.join(",")).into_response())
}

/// Returns the named events and the events before them.
async fn backfill(State(rooms): State<Rooms>, Query(asked): Query<Vec<(String, String)>>) -> Result<Response, Refusal> {
    let room = hosted(&rooms)?;
    let mut limit = 0_usize;
    let mut from = Vec::new();
    for (name, value) in asked {
        match &*name {
            "v" => from.push(value),
            "limit" => limit = value.parse().map_err(|_| Refusal("M_INVALID_PARAM"))?,
            _ => {}
        }
    }
    let events = room.history(&from, &[], limit).await?;
    Ok(json!({ "origin": "", "origin_server_ts": 0, "pdus": events }).to_string().into_response())
}

async fn get_missing_events(State(rooms): State<Rooms>, body: Bytes) -> Result<Response, Refusal> {
    let room = hosted(&rooms)?;
    let asked: Value = serde_json::from_slice(&body).map_err(|_| Refusal("M_NOT_JSON"))?;
    let ids = |name: &str| {
        let ids = asked[name].as_array().into_iter().flatten();
        ids.filter_map(|id| Some(id.as_str()?.to_owned())).collect::<Vec<_>>()
    };
    let limit = asked["limit"].as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(10).min(20);
    let mut events = room.history(&ids("latest_events"), &ids("earliest_events"), limit).await?;
    events.reverse();
    Ok(json!({ "events": events }).to_string().into_response())
}

impl HostedRoom {
    async fn history(&self, from: &[String], known: &[String], limit: usize) -> Result<Vec<Value>, Refusal> {
        if self.ways().never_sends_history {
            std::future::pending::<()>().await;
        }
        if self.ways().refuses_history {
            return Err(Refusal("M_NOT_FOUND"));
        }
        let events = self.log.lock().back_from(from, known, limit);
        events.iter().map(|event| serde_json::from_slice(event).map_err(|_| Refusal("M_UNKNOWN"))).collect()
    }
}

/// Adds events from the joined server to the room.
async fn send(State(rooms): State<Rooms>, body: Bytes) -> Result<Response, Refusal> {
    let room = hosted(&rooms)?;
    let transaction: Value = serde_json::from_slice(&body).map_err(|_| Refusal("M_NOT_JSON"))?;
    for event in transaction["pdus"].as_array().into_iter().flatten() {
        if let Ok(pdu) = Pdu::parse_remote(&event.to_string(), room.version())
            && pdu.room_id() == room.id()
        {
            room.add(&pdu);
        }
    }
    Ok(r#"{"pdus":{}}"#.into_response())
}

/// Streams an object with the members of `head`, `more`, and the two lists of events.
fn in_pieces(head: &Value, state: &str, lists: EventLists, more: Option<Bytes>, breaks_off: Option<usize>) -> Response {
    let EventLists { state: events, auth_chain } = lists;
    let mut pieces = Vec::new();
    let mut piece: Vec<u8> = head.to_string().into_bytes();
    piece.pop();
    let has_members = piece.len() > 1;
    let mut first = !has_members;
    let mut begin = |piece: &mut Vec<u8>| {
        if !std::mem::take(&mut first) {
            piece.push(b',');
        }
    };
    if let Some(more) = more {
        begin(&mut piece);
        piece.extend_from_slice(&more);
    }
    for (name, events) in [("auth_chain", auth_chain), (state, events)] {
        begin(&mut piece);
        piece.extend_from_slice(format!("\"{name}\":[").as_bytes());
        for (number, event) in events.iter().enumerate() {
            if number > 0 {
                piece.push(b',');
            }
            piece.extend_from_slice(event);
            if piece.len() >= PIECE {
                pieces.push(Bytes::from(std::mem::take(&mut piece)));
            }
        }
        piece.push(b']');
    }
    piece.push(b'}');
    pieces.push(piece.into());
    let mut left = breaks_off.unwrap_or(usize::MAX);
    let pieces = pieces.into_iter().map(move |piece| match left.checked_sub(piece.len()) {
        Some(rest) => {
            left = rest;
            Ok(piece)
        }
        None => Err(std::io::Error::other("the answer breaks off here")),
    });
    let mut response = Response::new(Body::from_stream(stream::iter(pieces)));
    response.headers_mut().insert("Content-Type", http::HeaderValue::from_static("application/json"));
    response
}
