//! Joining a room by way of a server that lies about it.

use plexus_http::JsonBody as Json;

use super::*;

const VERSION: RoomVersion = RoomVersion::V11;

/// The state of a room that the liar made up, each event signed as it should be.
fn state(peer: &Peer, room: &str) -> Vec<Value> {
    let owner = peer.user("owner");
    let mut ids: Vec<String> = Vec::new();
    let mut event = |event_type: &str, key: &str, content: Value| {
        let event = json!({
            "type": event_type, "state_key": key, "sender": owner, "room_id": room, "depth": ids.len() + 1,
            "origin_server_ts": 1_700_000_000_000_u64, "content": content, "auth_events": ids,
            "prev_events": ids.last().into_iter().collect::<Vec<_>>(),
        });
        let event = forge(event, VERSION, peer);
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

fn told(state: Vec<Value>, auth_chain: Vec<Value>) -> Response {
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
    ("no state", |state| told(Vec::new(), state.to_vec())),
    ("state that is no list", |_| Json(json!({ "state": {}, "auth_chain": 1 })).into_response()),
    ("events that are none", |_| told(vec![json!(1), json!(null), json!({}), json!([])], Vec::new())),
    ("no create event", |state| told(state[1..].to_vec(), state[1..].to_vec())),
    ("nothing signed", |state| told(changed(state, |event| event["signatures"] = json!({})), Vec::new())),
    ("another's signatures", |state| {
        told(changed(state, |event| event["sender"] = json!("@alice:test.example")), Vec::new())
    }),
    ("another room's events", |state| {
        told(changed(state, |event| event["room_id"] = json!("!other:test.example")), Vec::new())
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

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_is_told_wrongly_is_not_joined() {
    let stage = Stage::new("11").await;
    let name = stage.liar.peer.name().as_str().to_owned();
    for (number, (lie, tell)) in LIES.iter().enumerate() {
        let room = format!("!lie{number}:{name}");
        let (state, alice) = (state(&stage.liar.peer, &room), stage.alice.id.clone());
        let ids: Vec<String> = state.iter().map(|event| id_of(event, VERSION)).collect();
        let template = json!({
            "type": "m.room.member", "state_key": alice, "sender": alice, "room_id": room, "depth": 9,
            "origin_server_ts": 1_700_000_000_000_u64, "content": { "membership": "join" },
            "auth_events": [ids[0], ids[2], ids[3]], "prev_events": [ids[3]],
        });
        let made = json!({ "room_version": "11", "event": template });
        let tell = *tell;
        stage.liar.answers(move |uri| match uri {
            _ if uri.contains("/make_join/") => Some(Json(made.clone()).into_response()),
            _ if uri.contains("/send_join/") => Some(tell(&state)),
            _ => None,
        });
        let path = format!("{CLIENT}/join/{room}?via={name}");
        let joining = stage.server.post(&path, &stage.alice.token, json!({}));
        let answer = tokio::time::timeout(BOUND, joining).await.unwrap_or_else(|_| panic!("{lie}: no answer"));
        let code = answer.body["errcode"].as_str().unwrap_or_default();
        assert!(answer.status != 200 && answer.status != 500 && code.starts_with("M_"), "{lie}: {answer:?}");
        let rooms = stage.server.get(&format!("{CLIENT}/joined_rooms"), &stage.alice.token).await;
        assert!(!rooms.ok()["joined_rooms"].as_array().unwrap().contains(&json!(room)), "{lie}");
    }
    assert_eq!(stage.liar.asked("/send_join/"), LIES.len());
    stage.is_usable().await;
}
