//! Templates of joins, knocks and leaves (`make_join` and its kin) by which another server wants ours to sign what it
//! should not, and what clients put into member events.

use plexus_http::JsonBody as Json;

use super::*;

use crate::client::{create, room_path};

/// The room versions with restricted rooms.
const RESTRICTED: [&str; 5] = ["8", "9", "10", "11", "12"];

/// What a liar makes of a template before it answers.
type Lie = (&'static str, fn(&mut Value));

/// What the liar responds for a room that is not there: `make_*` with this template, and `send_*` with nothing of use.
fn template_for(user: &str, room: &str, membership: &str) -> Value {
    let id = |letter: &str| format!("${}", letter.repeat(43));
    json!({
        "type": "m.room.member", "state_key": user, "sender": user, "room_id": room, "depth": 9,
        "origin_server_ts": 1_700_000_000_000_u64, "content": { "membership": membership },
        "auth_events": [id("A"), id("B")], "prev_events": [id("C")],
    })
}

fn answers_template(liar: &Liar, version: &str, template: Value) {
    let made = json!({ "room_version": version, "event": template });
    liar.answers(move |uri| match uri {
        _ if uri.contains("/make_") => Some(Json(made.clone()).into_response()),
        _ if uri.contains("/send_") => Some(Json(json!({ "knock_room_state": [] })).into_response()),
        _ => None,
    });
}

/// The event that the liar was given to pass on.
fn handed(liar: &Liar, what: &str) -> Value {
    let received = liar.peer.received();
    let sent = received.iter().rev().find(|request| request.uri.contains(what)).expect("the event was sent");
    serde_json::from_slice(&sent.body).expect("JSON")
}

const NOT_TEMPLATES: &[Lie] = &[
    ("another type", |event| event["type"] = json!("m.room.power_levels")),
    ("another membership", |event| event["content"]["membership"] = json!("ban")),
    ("another user", |event| event["state_key"] = json!("@other:test.example")),
    ("another sender", |event| event["sender"] = json!("@other:test.example")),
    ("another room", |event| event["room_id"] = json!("!other:test.example")),
    ("no content", |event| _ = event.as_object_mut().unwrap().remove("content")),
    ("no prev events", |event| event["prev_events"] = json!([])),
    ("prev events that are no list", |event| event["prev_events"] = json!("$x")),
    ("a prev event twice", |event| event["prev_events"] = json!([event["prev_events"][0], event["prev_events"][0]])),
    ("too many prev events", |event| {
        event["prev_events"] = (10..31).map(|n| json!(format!("${n}{}", "D".repeat(41)))).collect();
    }),
    ("too many auth events", |event| {
        event["auth_events"] = (10..21).map(|n| json!(format!("${n}{}", "D".repeat(41)))).collect();
    }),
    ("events of another version", |event| event["prev_events"] = json!([["$x:else.example", {}]])),
    ("an event with a server", |event| event["auth_events"] = json!(["$x:else.example"])),
    ("numbers for events", |event| event["auth_events"] = json!([1, 2])),
    ("no depth", |event| _ = event.as_object_mut().unwrap().remove("depth")),
    ("a negative depth", |event| event["depth"] = json!(-1)),
    ("a depth that is text", |event| event["depth"] = json!("9")),
];

/// As authorisers in a join.
const NOT_AUTHORISERS: &[Lie] = &[
    ("our user", |event| event["content"]["join_authorised_via_users_server"] = json!("@alice:test.example")),
    ("another server's user", |event| event["content"]["join_authorised_via_users_server"] = json!("@x:else.example")),
    ("nobody", |event| event["content"]["join_authorised_via_users_server"] = json!("nobody")),
    ("a number", |event| event["content"]["join_authorised_via_users_server"] = json!(1)),
];

/// What the liar would like to have signed.
fn with_more(template: &mut Value) {
    template["unsigned"] = json!({ "invite_room_state": [] });
    template["redacts"] = json!("$x");
    template["origin"] = json!("else.example");
    template["hashes"] = json!({ "sha256": "x" });
    template["signatures"] = json!({ "else.example": {} });
    template["org.example.more"] = json!(1);
    template["content"]["org.example.more"] = json!(1);
    template["content"]["displayname"] = json!("Not my name");
    template["content"]["third_party_invite"] = json!({ "signed": {} });
    template["content"]["kind"] = json!("guest");
    template["content"]["is_direct"] = json!(true);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_references_of_a_template_are_signed() {
    for stage in Stage::on_each("11").await {
        let (alice, liar) = (&stage.alice, &stage.liar);
        for what in ["join", "knock"] {
            let room = format!("!elsewhere{what}:{}", liar.peer.name());
            let mut template = template_for(&alice.id, &room, what);
            with_more(&mut template);
            template["depth"] = json!(1_u64 << 60);
            if what == "knock" {
                template["content"]["join_authorised_via_users_server"] = json!(liar.mallory);
            }
            answers_template(liar, "11", template.clone());
            let path = format!("{CLIENT}/{what}/{room}?via={}", liar.peer.name());
            stage.server.post(&path, &alice.token, json!({ "reason": "mine" })).await;
            let event = handed(liar, &format!("/send_{what}/"));
            let content = json!({ "membership": what, "displayname": "alice", "reason": "mine" });
            assert_eq!(event["content"], content, "{what}");
            let mut names: Vec<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
            names.sort_unstable();
            let expected = "auth_events content depth hashes origin_server_ts prev_events room_id sender signatures \
                            state_key type";
            assert_eq!(names.join(" "), expected, "{what}");
            assert_eq!(event["prev_events"], template["prev_events"], "{what}");
            assert_eq!(event["auth_events"], template["auth_events"], "{what}");
            assert_eq!(event["depth"], json!((1_u64 << 53) - 1), "{what}");
            assert_ne!(event["origin_server_ts"], template["origin_server_ts"], "{what}");
            assert_eq!(event["signatures"].as_object().unwrap().keys().collect::<Vec<_>>(), ["test.example"]);
        }
        // The knock is taken back.
        let room = format!("!elsewhereknock:{}", liar.peer.name());
        let mut template = template_for(&alice.id, &room, "leave");
        with_more(&mut template);
        answers_template(liar, "11", template);
        stage.server.post(&room_path(&room, "leave"), &alice.token, json!({})).await.ok();
        assert_eq!(handed(liar, "/send_leave/")["content"], json!({ "membership": "leave" }));
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_is_none_is_not_signed() {
    for stage in Stage::on_each("11").await {
        let (alice, liar) = (&stage.alice, &stage.liar);
        let lies = NOT_TEMPLATES.iter().map(|lie| (lie, ["join", "knock"].as_slice()));
        let lies = lies.chain(NOT_AUTHORISERS.iter().map(|lie| (lie, ["join"].as_slice())));
        for (number, ((name, lie), ways)) in lies.enumerate() {
            for what in ways {
                let room = format!("!none{number}{what}:{}", liar.peer.name());
                let mut template = template_for(&alice.id, &room, what);
                lie(&mut template);
                answers_template(liar, "11", template);
                let path = format!("{CLIENT}/{what}/{room}?via={}", liar.peer.name());
                let answer = stage.server.post(&path, &alice.token, json!({})).await;
                assert_eq!(answer.refusal(), (502, "M_UNKNOWN"), "{what}, {name}: {answer:?}");
            }
        }
        assert_eq!(liar.asked("/send_"), 0);
        stage.is_usable().await;
    }
}

/// A room that lets in the members of a club; Alice has made both.
pub(super) async fn restricted_room(stage: &Stage, version: &str, club: &str, levels: Value) -> String {
    let allow = json!([{ "type": "m.room_membership", "room_id": club }]);
    let rule = if version == "8" || version == "9" { "restricted" } else { "knock_restricted" };
    let rule = json!({ "join_rule": rule, "allow": allow });
    let body = json!({
        "room_version": version,
        "initial_state": [{ "type": "m.room.join_rules", "state_key": "", "content": rule }],
        "power_level_content_override": levels,
    });
    create(&stage.server, &stage.alice, body).await
}

/// The ids of the state events of a room that a join names, and of what it follows.
async fn place_in(stage: &Stage, room: &str, version: &str) -> (Value, Value) {
    let state = stage.server.get(&room_path(room, "state"), &stage.alice.token).await.ok().clone();
    let is_auth = |event: &&Value| {
        let event_type = event["type"].as_str().unwrap();
        let create = event_type == "m.room.create" && version != "12";
        create
            || ["m.room.join_rules", "m.room.power_levels"].contains(&event_type)
            || event["state_key"] == stage.alice.id
    };
    let auth = state.as_array().unwrap().iter().filter(is_auth).map(|event| event["event_id"].clone()).collect();
    let newest = stage.server.get(&room_path(room, "messages?dir=b&limit=1"), &stage.alice.token).await;
    (auth, json!([newest.ok()["chunk"][0]["event_id"]]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_ours_is_not_made_good_by_another_server() {
    for place in plexus_testkit::places() {
        let stage = Stage::on(place, "11", "").await;
        let bob = stage.server.register("bob").await;
        let liar = &stage.liar;
        for version in RESTRICTED {
            let club = federation::public_room(&stage.server, &stage.alice, "11").await;
            let room = restricted_room(&stage, version, &club, json!({})).await;
            let mut template = template_for(&bob.id, &room, "join");
            template["content"]["join_authorised_via_users_server"] = json!(stage.alice.id);
            (template["auth_events"], template["prev_events"]) = place_in(&stage, &room, version).await;
            answers_template(liar, version, template);
            for (path, body) in [
                (format!("{CLIENT}/join/{room}?via={}", liar.peer.name()), json!({})),
                (format!("{CLIENT}/rooms/{room}/join?server_name={}", liar.peer.name()), json!({})),
            ] {
                let answer = stage.server.post(&path, &bob.token, body).await;
                assert_eq!(answer.refusal(), (403, "M_FORBIDDEN"), "{version} {path}");
            }
            let member = room_path(&room, &format!("state/m.room.member/{}", bob.id));
            let content = json!({ "membership": "join", "join_authorised_via_users_server": stage.alice.id });
            let answer = stage.server.put(&member, &bob.token, content).await;
            assert_eq!(answer.refusal(), (403, "M_FORBIDDEN"), "{version}");
            assert_eq!(federation::membership(&stage.server, &stage.alice, &room, &bob.id).await, None, "{version}");
        }
        assert_eq!(liar.asked("/make_join/") + liar.asked("/send_join/"), 0);
        stage.is_usable().await;
    }
}

/// Makes a user of a peer, who is in the club, the only one in the room who may let others in.
async fn hand_over(stage: &Stage, room: &str, (peer, user): (&Peer, &str)) {
    let (server, alice) = (&stage.server, &stage.alice);
    federation::join(server, peer, room, user).await;
    let path = room_path(room, "state/m.room.power_levels");
    let mut levels = server.get(&path, &alice.token).await.ok().clone();
    levels["invite"] = json!(50);
    levels["users"][user] = json!(100);
    server.put(&path, &alice.token, levels.clone()).await.ok();
    levels["users"][&alice.id] = json!(0);
    server.put(&path, &alice.token, levels).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn restricted_joins_go_through_servers_that_can_authorise_them() {
    for place in plexus_testkit::places() {
        let stage = Stage::on(place, "11", "").await;
        let (server, liar, alice) = (&stage.server, &stage.liar, &stage.alice);
        let bob = server.register("bob").await;
        for version in ["8", "10", "11"] {
            let club = federation::public_room(server, alice, "11").await;
            server.post(&room_path(&club, "join"), &bob.token, json!({})).await.ok();
            federation::join(server, &liar.peer, &club, &liar.mallory).await;
            let room = restricted_room(&stage, version, &club, json!({})).await;
            hand_over(&stage, &room, (&liar.peer, &liar.mallory)).await;
            let (auth, prev) = place_in(&stage, &room, version).await;
            let attempts = [alice.id.clone(), bob.id.clone(), liar.peer.user("stranger"), stage.honest.bob.clone()];
            let before = liar.asked("/send_join/");
            for named in attempts {
                let mut template = template_for(&bob.id, &room, "join");
                template["content"]["join_authorised_via_users_server"] = json!(named);
                (template["auth_events"], template["prev_events"]) = (auth.clone(), prev.clone());
                answers_template(liar, version, template);
                let path = format!("{CLIENT}/join/{room}?via={}", stage.honest.peer.name());
                let answer = server.post(&path, &bob.token, json!({})).await;
                assert_eq!(answer.refusal(), (400, "M_UNABLE_TO_GRANT_JOIN"), "{version} {named}");
            }
            assert_eq!(liar.asked("/send_join/"), before, "{version}: something was signed");
            // Mallory may: the join is signed. It comes to nothing because Mallory's server tells no state.
            let mut template = template_for(&bob.id, &room, "join");
            template["content"]["join_authorised_via_users_server"] = json!(liar.mallory);
            (template["auth_events"], template["prev_events"]) = (auth, prev);
            answers_template(liar, version, template);
            let answer = server.post(&room_path(&room, "join"), &bob.token, json!({})).await;
            assert_eq!(answer.refusal(), (502, "M_UNKNOWN"), "{version}: {answer:?}");
            assert_eq!(liar.asked("/send_join/"), before + 1, "{version}");
            let handed = handed(liar, "/send_join/");
            assert_eq!(handed["content"]["join_authorised_via_users_server"], json!(liar.mallory), "{version}");
            assert_eq!(federation::membership(server, alice, &room, &bob.id).await, None, "{version}");
        }
        let asked = stage.honest.peer.received();
        assert!(
            !asked.iter().any(|request| request.uri.contains("/make_join/")),
            "the client's word counts for nothing"
        );
        stage.is_usable().await;
    }
}

/// A server that lets users into rooms, with what it answers: a template, and the state of the room.
async fn granting(responses: Arc<Mutex<(Value, Value)>>) -> Peer {
    let granting = Peer::telling(|name, key| {
        let keys = Peer::keys(name, key, 4_102_444_800_000).to_json();
        let (template, state, name, key) = (Arc::clone(&responses), responses, name.clone(), key.clone());
        let make = async move || Json(template.lock().0.clone());
        let send = async move |plexus_testkit::AnyJson(event): plexus_testkit::AnyJson| {
            let mut answer = state.lock().1.clone();
            answer["event"] = signed_and_more(&json!({ "event": event }), &key, &name)["event"].clone();
            Json(answer)
        };
        Router::new()
            .route("/_matrix/key/v2/server", axum::routing::get(async move || keys))
            .route("/_matrix/federation/v1/make_join/{room_id}/{user_id}", axum::routing::get(make))
            .route("/_matrix/federation/v2/send_join/{room_id}/{event_id}", axum::routing::put(send))
    });
    granting.await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_can_authorise_lets_a_user_in() {
    for place in plexus_testkit::places() {
        let stage = Stage::on(place, "11", "").await;
        let (server, alice) = (&stage.server, &stage.alice);
        let bob = server.register("bob").await;
        let responses: Arc<Mutex<(Value, Value)>> = Arc::default();
        let peer = granting(Arc::clone(&responses)).await;
        let grace = peer.user("grace");
        let club = federation::public_room(server, alice, "11").await;
        server.post(&room_path(&club, "join"), &bob.token, json!({})).await.ok();
        federation::join(server, &peer, &club, &grace).await;
        let room = restricted_room(&stage, "11", &club, json!({})).await;
        hand_over(&stage, &room, (&peer, &grace)).await;
        let all = server.get(&room_path(&room, "state"), &alice.token).await.ok().clone();
        let of_grace = all.as_array().unwrap().iter().find(|event| event["state_key"] == grace.as_str()).unwrap();
        let (auth, prev) = place_in(&stage, &room, "11").await;
        let mut auth: Vec<Value> = auth.as_array().unwrap().clone();
        auth.retain(|id| {
            let event = all.as_array().unwrap().iter().find(|event| event["event_id"] == *id).unwrap();
            event["type"] != "m.room.member"
        });
        auth.push(of_grace["event_id"].clone());
        let mut template = template_for(&bob.id, &room, "join");
        template["content"]["join_authorised_via_users_server"] = json!(grace);
        (template["auth_events"], template["prev_events"]) = (json!(auth), prev.clone());
        let at = format!("{}?event_id={}", federation::path("v1/state", &[&room]), prev[0].as_str().unwrap());
        let state = peer.get(server, &at).await.ok().clone();
        *responses.lock() = (
            json!({ "room_version": "11", "event": template }),
            json!({ "state": state["pdus"], "auth_chain": state["auth_chain"], "members_omitted": false }),
        );
        server.post(&room_path(&room, "join"), &bob.token, json!({})).await.ok();
        let member = server.get(&room_path(&room, &format!("state/m.room.member/{}", bob.id)), &alice.token).await;
        let content = json!({
            "membership": "join", "displayname": "bob", "join_authorised_via_users_server": grace,
        });
        assert_eq!(*member.ok(), content);
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn we_sign_in_the_name_of_those_only_who_may_let_others_in() {
    for place in plexus_testkit::places() {
        let stage = Stage::on(place, "11", "").await;
        let (server, peer, alice) = (&stage.server, &stage.liar.peer, &stage.alice);
        let (bob, carol) = (server.register("bob").await, server.register("carol").await);
        for version in RESTRICTED {
            let club = federation::public_room(server, alice, "11").await;
            for user in [&bob, &carol] {
                server.post(&room_path(&club, "join"), &user.token, json!({})).await.ok();
            }
            let eve = peer.user(&format!("eve{version}"));
            federation::join(server, peer, &club, &eve).await;
            // Carol is in the room and may not invite; Bob may, and is not in the room.
            let users = if version == "12" { json!({ &bob.id: 100 }) } else { json!({ &alice.id: 100, &bob.id: 100 }) };
            let room = restricted_room(&stage, version, &club, json!({ "invite": 50, "users": users })).await;
            server.post(&room_path(&room, "join"), &carol.token, json!({})).await.ok();
            let made = federation::make(server, peer, "join", &room, &eve).await;
            let parsed: RoomVersion = version.parse().unwrap();
            for named in
                [json!(carol.id), json!(bob.id), json!(stage.liar.mallory), json!("@no:test.example"), json!(1)]
            {
                let mut event = made.ok()["event"].clone();
                event["content"]["join_authorised_via_users_server"] = named.clone();
                let event = forge(event, parsed, peer);
                let path = federation::path("v2/send_join", &[&room, &id_of(&event, parsed)]);
                let answer = peer.put(server, &path, event).await;
                assert_eq!(answer.refusal(), (400, "M_FORBIDDEN"), "{version} {named}: {answer:?}");
            }
            assert_eq!(federation::membership(server, alice, &room, &eve).await, None, "{version}");
            let event = forge(made.ok()["event"].clone(), parsed, peer);
            let path = federation::path("v2/send_join", &[&room, &id_of(&event, parsed)]);
            peer.put(server, &path, event).await.ok();
            assert_eq!(federation::membership(server, alice, &room, &eve).await.as_deref(), Some("join"), "{version}");
        }
        stage.is_usable().await;
    }
}

/// What a client would put into its own member event.
fn poison() -> Value {
    json!({
        "membership": "join", "displayname": "Alice here", "org.example.more": { "kept": true },
        "join_authorised_via_users_server": "@someone:else.example", "kind": "guest",
        "third_party_invite": { "display_name": "x", "signed": { "mxid": "@a:b", "token": "x", "signatures": {} } },
    })
}

fn assert_clean(content: &Value, membership: &str, what: &str) {
    assert_eq!(content["membership"], membership, "{what}");
    for name in ["join_authorised_via_users_server", "kind", "third_party_invite"] {
        assert!(content.get(name).is_none(), "{what}: {content}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_do_not_say_what_the_server_decides() {
    for place in plexus_testkit::places() {
        let stage = Stage::on(place, "11", "").await;
        let (server, alice) = (&stage.server, &stage.alice);
        let bob = server.register("bob").await;
        for version in RESTRICTED {
            let initial = json!([
                { "type": "m.room.member", "state_key": alice.id, "content": poison() },
                { "type": "m.room.member", "state_key": "@bad:else.example",
                  "content": { "membership": "ban", "kind": "guest" } },
                { "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } },
            ]);
            let body = json!({ "room_version": version, "initial_state": initial });
            let room = create(server, alice, body).await;
            let member = async |of: &str| {
                let answer = server.get(&room_path(&room, &format!("state/m.room.member/{of}")), &alice.token).await;
                answer.ok().clone()
            };
            let set = async |by: &TestUser, of: &str, content: Value| {
                server.put(&room_path(&room, &format!("state/m.room.member/{of}")), &by.token, content).await
            };
            let own = member(&alice.id).await;
            assert_clean(&own, "join", "initial_state");
            assert_eq!(
                (&own["displayname"], &own["org.example.more"]),
                (&json!("Alice here"), &json!({ "kept": true }))
            );
            assert_clean(&member("@bad:else.example").await, "ban", "initial_state");
            set(alice, &alice.id, json!({ "membership": "join", "displayname": "Other" })).await.ok();
            set(alice, &alice.id, poison()).await.ok();
            assert_clean(&member(&alice.id).await, "join", "join");
            for (by, membership) in
                [(&bob, "knock"), (alice, "invite"), (&bob, "join"), (alice, "leave"), (alice, "ban")]
            {
                let mut content = poison();
                content["membership"] = json!(membership);
                set(by, &bob.id, content).await.ok();
                let now = member(&bob.id).await;
                assert_clean(&now, membership, membership);
                if by.id == alice.id {
                    assert_ne!(now["displayname"], "Alice here", "{membership}: the name of another");
                }
            }
            let long = json!({ "membership": "join", "displayname": "x".repeat(257) });
            assert_eq!(set(alice, &alice.id, long).await.refusal(), (400, "M_INVALID_PARAM"));
            let list = json!({ "membership": "join", "avatar_url": ["x"] });
            assert_eq!(set(alice, &alice.id, list).await.refusal(), (400, "M_INVALID_PARAM"));
        }
        for (content, key) in [
            (json!({ "membership": "invite" }), bob.id.as_str()),
            (json!({ "membership": "join" }), bob.id.as_str()),
            (json!({ "membership": "leave" }), alice.id.as_str()),
            (json!({}), alice.id.as_str()),
            (json!({ "membership": 1 }), bob.id.as_str()),
        ] {
            let initial = json!([{ "type": "m.room.member", "state_key": key, "content": content }]);
            let answer =
                server.post(&format!("{CLIENT}/createRoom"), &alice.token, json!({ "initial_state": initial })).await;
            assert_eq!(answer.refusal(), (400, "M_INVALID_ROOM_STATE"), "{key} {content}");
        }
        let alias =
            json!({ "type": "m.room.canonical_alias", "state_key": "", "content": { "alias": "#no:test.example" } });
        let answer =
            server.post(&format!("{CLIENT}/createRoom"), &alice.token, json!({ "initial_state": [alias] })).await;
        assert_eq!(answer.refusal(), (400, "M_BAD_ALIAS"));
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_signature_of_an_invited_server_is_used() {
    for stage in Stage::on_each("11").await {
        let (server, alice) = (&stage.server, &stage.alice);
        let room = create(server, alice, json!({ "room_version": "11" })).await;
        let peer = Peer::telling(|name, key| {
            let (name, key) = (name.clone(), key.clone());
            // Until the year 2100.
            let keys = Peer::keys(&name, &key, 4_102_444_800_000).to_json();
            let answer = async move |plexus_testkit::AnyJson(body): plexus_testkit::AnyJson| {
                Json(signed_and_more(&body, &key, &name))
            };
            Router::new()
                .route("/_matrix/federation/v2/invite/{room_id}/{event_id}", axum::routing::put(answer))
                .route("/_matrix/key/v2/server", axum::routing::get(async move || keys))
        });
        let peer = peer.await;
        let eve = peer.user("eve");
        server.post(&room_path(&room, "invite"), &alice.token, json!({ "user_id": eve })).await.ok();
        let path = room_path(&room, &format!("state/m.room.member/{eve}?format=event"));
        let event = server.get(&path, &alice.token).await.ok().clone();
        assert_eq!(event["content"], json!({ "membership": "invite" }));
        assert!(event["unsigned"].get("invite_room_state").is_none(), "{event}");
        stage.is_usable().await;
    }
}

/// The answer to an invite: signed as it should be, and with more that is not the invited server's to say.
fn signed_and_more(body: &Value, key: &SigningKey, name: &plexus_protocol::id::ServerName) -> Value {
    let mut event = body["event"].clone();
    let signed = Pdu::parse(&event.to_string(), RoomVersion::V11).expect("an event");
    let signed = plexus_protocol::event::sign::add_signature(&signed, key, name).expect("an event");
    event["signatures"] = serde_json::from_str::<Value>(signed.json()).expect("JSON")["signatures"].clone();
    event["signatures"]["else.example"] = json!({ "ed25519:x": "AAAA" });
    event["unsigned"] = json!({ "invite_room_state": [{ "type": "m.room.name", "content": { "name": "x" } }] });
    event["content"]["displayname"] = json!("changed later");
    json!({ "event": event })
}
