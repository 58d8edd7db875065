//! Joining a room through a server that lies about it.

use plexus_http::JsonBody as Json;

use super::*;

use crate::client::say;

const VERSION: RoomVersion = RoomVersion::V11;

/// A state event of the liar's room, signed as it should be.
fn state_event(peer: &Peer, room: &str, (event_type, key): (&str, &str), content: Value, auth: &[String]) -> Value {
    let event = json!({
        "type": event_type, "state_key": key, "sender": peer.user("owner"), "room_id": room,
            "depth": auth.len() + 1,
        "origin_server_ts": 1_700_000_000_000_u64, "content": content, "auth_events": auth,
        "prev_events": auth.last().into_iter().collect::<Vec<_>>(),
    });
    forge(event, VERSION, peer)
}

/// The state of a room that the liar made up, each event signed as it should be.
fn state(peer: &Peer, room: &str) -> Vec<Value> {
    let owner = peer.user("owner");
    let mut ids: Vec<String> = Vec::new();
    let mut event = |event_type: &str, key: &str, content: Value| {
        let event = state_event(peer, room, (event_type, key), content, &ids);
        ids.push(id_of(&event, VERSION));
        event
    };
    vec![
        event("m.room.create", "", json!({ "room_version": VERSION.as_str() })),
        event("m.room.member", &owner, json!({ "membership": "join" })),
        event("m.room.power_levels", "", json!({ "users": { &owner: 100 } })),
        event("m.room.join_rules", "", json!({ "join_rule": "public" })),
    ]
}

type Lie = (&'static str, fn(&[Value]) -> Response);

fn send_join_response(state: Vec<Value>, auth_chain: Vec<Value>) -> Response {
    Json(json!({ "state": state, "auth_chain": auth_chain, "origin": "x" })).into_response()
}

fn changed(state: &[Value], change: impl Fn(&mut Value)) -> Vec<Value> {
    let mut state = state.to_vec();
    state.iter_mut().for_each(change);
    state
}

const LIES: &[Lie] = &[
    ("nothing", |_| Response::new(Body::empty())),
    ("no JSON", |_| Response::new(Body::from("{\"state\":["))),
    ("a list", |_| Json(json!([])).into_response()),
    ("no state", |state| send_join_response(Vec::new(), state.to_vec())),
    ("state that is no list", |_| Json(json!({ "state": {}, "auth_chain": 1 })).into_response()),
    ("events that are none", |_| send_join_response(vec![json!(1), json!(null), json!({}), json!([])], Vec::new())),
    ("no create event", |state| send_join_response(state[1..].to_vec(), state[1..].to_vec())),
    ("nothing signed", |state| send_join_response(changed(state, |event| event["signatures"] = json!({})), Vec::new())),
    ("another's signatures", |state| {
        send_join_response(changed(state, |event| event["sender"] = json!("@alice:test.example")), Vec::new())
    }),
    ("another room's events", |state| {
        send_join_response(changed(state, |event| event["room_id"] = json!("!other:test.example")), Vec::new())
    }),
    ("another join", |state| {
        let body = json!({ "state": [], "auth_chain": [], "event": state[1], "members_omitted": "maybe" });
        Json(body).into_response()
    }),
    ("a body without an end", |_| {
        let piece = || Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b'['; 65_536]));
        Response::new(Body::from_stream(futures_util::stream::repeat_with(piece)))
    }),
    ("a refusal", |_| (StatusCode::FORBIDDEN, r#"{"errcode":"M_FORBIDDEN","error":"no"}"#).into_response()),
    ("a redirect", |_| (StatusCode::FOUND, [("location", "/")]).into_response()),
];

/// How the liar answers for a room of this state, which Alice joins.
fn host(stage: &Stage, room: &str, state: &[Value], tell: impl Fn() -> Response + Send + Sync + 'static) {
    host_for(stage, room, &stage.alice.id, state, tell);
}

/// How the liar answers for a room of this state, which `user` joins.
fn host_for(
    stage: &Stage,
    room: &str,
    user: &str,
    state: &[Value],
    tell: impl Fn() -> Response + Send + Sync + 'static,
) {
    let ids: Vec<String> = state.iter().map(|event| id_of(event, VERSION)).collect();
    let template = json!({
        "type": "m.room.member", "state_key": user, "sender": user, "room_id": room, "depth": 9,
        "origin_server_ts": 1_700_000_000_000_u64, "content": { "membership": "join" },
        "auth_events": [ids[0], ids[2], ids[3]], "prev_events": [ids[3]],
    });
    let made = json!({ "room_version": "11", "event": template });
    stage.liar.answers(move |uri| match uri {
        _ if uri.contains("/make_join/") => Some(Json(made.clone()).into_response()),
        _ if uri.contains("/send_join/") => Some(tell()),
        _ => None,
    });
}

async fn join(stage: &Stage, room: &str, lie: &str) -> Answer {
    let path = format!("{CLIENT}/join/{room}?via={}", stage.liar.peer.name());
    let joining = stage.server.post(&path, &stage.alice.token, json!({}));
    plexus_testkit::within(BOUND, joining).await.unwrap_or_else(|_| panic!("{lie}: no answer"))
}

async fn is_joined(stage: &Stage, room: &str) -> bool {
    let rooms = stage.server.get(&format!("{CLIENT}/joined_rooms"), &stage.alice.token).await;
    rooms.ok()["joined_rooms"].as_array().unwrap().contains(&json!(room))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_is_described_wrongly_is_not_joined() {
    for stage in Stage::on_each("11").await {
        for (number, (lie, tell)) in LIES.iter().enumerate() {
            let room = format!("!lie{number}:{}", stage.liar.peer.name());
            let (state, tell) = (state(&stage.liar.peer, &room), *tell);
            host(&stage, &room, &state.clone(), move || tell(&state));
            let answer = join(&stage, &room, lie).await;
            let code = answer.body["errcode"].as_str().unwrap_or_default();
            assert!(answer.status != 200 && answer.status != 500 && code.starts_with("M_"), "{lie}: {answer:?}");
            assert!(!is_joined(&stage, &room).await, "{lie}");
        }
        assert_eq!(stage.liar.asked("/send_join/"), LIES.len());
        stage.is_usable().await;
    }
}

/// More events for a state, each signed as it should be, that cannot all be part of one; how many of them are.
type Contradiction = (&'static str, fn(&Peer, &str, &[Value]) -> Vec<Value>, usize);

fn ids(state: &[Value], which: &[usize]) -> Vec<String> {
    which.iter().map(|index| id_of(&state[*index], VERSION)).collect()
}

const CONTRADICTIONS: &[Contradiction] = &[
    (
        "two topics",
        |peer, room, state| {
            let auth = ids(state, &[0, 1, 2]);
            let topic = |text| state_event(peer, room, ("m.room.topic", ""), json!({ "topic": text }), &auth);
            vec![topic("one"), topic("another")]
        },
        1,
    ),
    (
        "a topic of another room",
        |peer, _, state| {
            let topic = json!({ "topic": "elsewhere" });
            vec![state_event(peer, "!else:else.example", ("m.room.topic", ""), topic, &ids(state, &[0, 1, 2]))]
        },
        0,
    ),
    (
        "what nobody allowed",
        |peer, room, state| {
            let name = json!({ "name": "Mine" });
            let mut event = state_event(peer, room, ("m.room.name", ""), name, &ids(state, &[0, 2]));
            event["sender"] = json!(peer.user("mallory"));
            vec![forge(event, VERSION, peer)]
        },
        0,
    ),
    (
        "what rests on nothing",
        |peer, room, state| {
            let mut auth = ids(state, &[0, 1, 2]);
            auth.push("$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned());
            vec![state_event(peer, room, ("m.room.avatar", ""), json!({}), &auth)]
        },
        0,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_joined_with_the_part_of_its_state_that_can_be_true() {
    for stage in Stage::on_each("11").await {
        for (number, (lie, more, kept)) in CONTRADICTIONS.iter().enumerate() {
            let room = format!("!contradiction{number}:{}", stage.liar.peer.name());
            let state = state(&stage.liar.peer, &room);
            let more = more(&stage.liar.peer, &room, &state);
            let all = [state.clone(), more].concat();
            host(&stage, &room, &state.clone(), move || send_join_response(all.clone(), state.clone()));
            join(&stage, &room, lie).await.ok();
            let state = stage.server.get(&format!("{CLIENT}/rooms/{room}/state"), &stage.alice.token).await;
            // Alice's join came with it.
            assert_eq!(state.ok().as_array().unwrap().len(), 5 + kept, "{lie}: {}", state.body);
            say(&stage.server, &stage.alice, &room, "the room is usable").await;
        }
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_enters_a_room_whose_state_bans_them() {
    for stage in Stage::on_each("11").await {
        let room = format!("!banned:{}", stage.liar.peer.name());
        let state = state(&stage.liar.peer, &room);
        let banned = (("m.room.member", stage.alice.id.as_str()), json!({ "membership": "ban" }));
        let ban = state_event(&stage.liar.peer, &room, banned.0, banned.1, &ids(&state, &[0, 1, 2]));
        let all = [state.clone(), vec![ban]].concat();
        host(&stage, &room, &state.clone(), move || send_join_response(all.clone(), state.clone()));
        assert_eq!(join(&stage, &room, "a ban").await.refusal(), (502, "M_UNKNOWN"));
        assert!(!is_joined(&stage, &room).await);
        stage.is_usable().await;
    }
}

/// The state of a room of version 1, whose events' ids are what their server says. The topic comes last.
fn state_of_version_1(peer: &Peer, room: &str, topic: &str) -> Vec<Value> {
    let owner = peer.user("owner");
    let mut auth: Vec<Value> = Vec::new();
    let mut event = |event_type: &str, key: &str, content: Value| {
        let id = format!("${}:{}", event_type.replace("m.room.", ""), peer.name());
        let event = json!({
            "event_id": id, "type": event_type, "state_key": key, "sender": owner, "room_id": room,
            "depth": auth.len() + 1, "origin_server_ts": 1_700_000_000_000_u64, "origin": peer.name().as_str(),
            "content": content, "auth_events": auth, "prev_events": auth.last().into_iter().collect::<Vec<_>>(),
        });
        if event_type != "m.room.join_rules" {
            auth.push(json!([id, {}]));
        }
        forge(event, RoomVersion::V1, peer)
    };
    vec![
        event("m.room.create", "", json!({ "creator": owner })),
        event("m.room.member", &owner, json!({ "membership": "join" })),
        event("m.room.power_levels", "", json!({ "users": { &owner: 100 } })),
        event("m.room.join_rules", "", json!({ "join_rule": "public" })),
        event("m.room.topic", "", json!({ "topic": topic })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_event_is_not_replaced_by_another_with_its_id() {
    for stage in Stage::on_each("11").await {
        let room = format!("!again:{}", stage.liar.peer.name());
        for topic in ["first", "sent again"] {
            let state = state_of_version_1(&stage.liar.peer, &room, topic);
            let auth = |index: usize| json!([state[index]["event_id"], {}]);
            let alice = &stage.alice.id;
            let template = json!({
                "type": "m.room.member", "state_key": alice, "sender": alice, "room_id": room, "depth": 9,
                "origin_server_ts": 1_700_000_000_000_u64, "content": { "membership": "join" },
                "auth_events": [auth(0), auth(2), auth(3)], "prev_events": [auth(4)],
            });
            let made = json!({ "room_version": "1", "event": template });
            stage.liar.answers(move |uri| match uri {
                _ if uri.contains("/make_join/") => Some(Json(made.clone()).into_response()),
                _ if uri.contains("/v2/send_join/") => Some(send_join_response(state.clone(), state.clone())),
                _ => None,
            });
            join(&stage, &room, topic).await.ok();
            let shown =
                stage.server.get(&format!("{CLIENT}/rooms/{room}/state/m.room.topic"), &stage.alice.token).await;
            assert_eq!(shown.ok()["topic"], "first", "{topic}");
            stage.server.post(&format!("{CLIENT}/rooms/{room}/leave"), &stage.alice.token, json!({})).await.ok();
        }
        assert_eq!(stage.liar.asked("/v2/send_join/"), 2);
        stage.is_usable().await;
    }
}

/// The response to `send_join`, whose body ends only after a permit has been given.
fn held(body: Value, permits: Arc<tokio::sync::Semaphore>) -> Response {
    let text = futures_util::stream::once(async move {
        permits.acquire().await.expect("never closed").forget();
        Ok::<_, std::io::Error>(bytes::Bytes::from(body.to_string()))
    });
    Response::new(Body::from_stream(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_deactivated_while_joining_leaves_again() {
    for place in plexus_testkit::places() {
        let stage = Stage::on(place, "11", "").await;
        let carol = stage.server.register("carol").await;
        let room = format!("!slow:{}", stage.liar.peer.name());
        let state = state(&stage.liar.peer, &room);
        let body = json!({ "state": state, "auth_chain": state, "origin": "x" });
        let permits = Arc::new(tokio::sync::Semaphore::new(0));
        let permit = Arc::clone(&permits);
        host_for(&stage, &room, &carol.id, &state, move || held(body.clone(), Arc::clone(&permit)));
        let path = format!("{CLIENT}/join/{room}?via={}", stage.liar.peer.name());
        let joining = stage.server.post(&path, &carol.token, json!({}));
        let deactivating = async {
            stage.liar.peer.receives(|request| request.uri.contains("/send_join/")).await;
            crate::client::account::erasure::erase(&stage.server, &carol).await;
            permits.add_permits(1);
        };
        let both = async { tokio::join!(joining, deactivating) };
        plexus_testkit::within(BOUND, both).await.expect("the join must end");
        let leave = format!(r#""state_key":"{}""#, carol.id);
        let left = stage.liar.peer.receives(|request| {
            let body = String::from_utf8_lossy(&request.body);
            request.uri.contains("/v1/send/") && body.contains(&leave) && body.contains(r#""membership":"leave""#)
        });
        plexus_testkit::within(BOUND, left).await.expect("the user must leave");
        stage.is_usable().await;
    }
}
