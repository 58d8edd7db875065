//! Data from others can be read again once it is stored; data that cannot be read costs nothing but itself.

use plexus_store::{Database, DbError, Tx};

use super::*;

use crate::client::{room_path, say};

/// The sizes, in bytes, of stripped state events that are sent with an invite; and whether they are taken.
const SENT: [(&str, usize, usize, bool); 6] = [
    ("little", 3, 100, true),
    ("much", 8, 65_000, true),
    ("too much", 9, 65_000, false),
    ("far too much", 20, 65_000, false),
    ("too large an event", 1, 66_000, false),
    ("too many events", 101, 10, false),
];

fn stripped(content: Value) -> Value {
    json!({
        "type": "m.room.topic", "state_key": "", "sender": "@x:else.example", "content": content,
        "unsigned": { "what": "nobody asked for" }, "origin_server_ts": 1, "event_id": "$x",
    })
}

/// Stripped state as a client is given it, without the invite or knock itself.
fn stripped_state(sync: &Answer, section: &str, room: &str) -> Option<Vec<Value>> {
    let events = &sync.ok()["rooms"][section][room][format!("{section}_state")]["events"];
    let events = events.as_array()?.iter().filter(|event| event["type"] != "m.room.member").cloned();
    Some(events.collect())
}

async fn sync(stage: &Stage) -> Answer {
    stage.server.get(&format!("{CLIENT}/sync"), &stage.alice.token).await
}

/// The user can leave a room and forget it.
async fn leaves(stage: &Stage, room: &str) {
    for what in ["leave", "forget"] {
        let path = room_path(&room.replace('!', "%21"), what);
        stage.server.post(&path, &stage.alice.token, json!({})).await.ok();
    }
    let left = sync(stage).await;
    assert!(["join", "invite", "knock", "leave"].iter().all(|section| left.ok()["rooms"][section][room].is_null()));
}

async fn invite(stage: &Stage, room: &str, version: &str, state: &Value) -> Answer {
    let (peer, parsed) = (&stage.liar.peer, version.parse::<RoomVersion>().unwrap());
    let mut event = json!({
        "type": "m.room.member", "state_key": stage.alice.id, "sender": stage.liar.mallory, "room_id": room, "depth": 1,
        "origin_server_ts": 1, "content": { "membership": "invite" }, "prev_events": [], "auth_events": [],
    });
    let old = parsed.rules().event_id_format == EventIdFormat::Server;
    event = forge(event, parsed, peer);
    if old {
        let id = event["event_id"].as_str().unwrap().to_owned();
        event["unsigned"] = json!({ "invite_room_state": state });
        return peer.put(&stage.server, &federation::path("v1/invite", &[room, &id]), event).await;
    }
    let id = id_of(&event, parsed);
    let body = json!({ "room_version": version, "event": event, "invite_room_state": state });
    peer.put(&stage.server, &federation::path("v2/invite", &[room, &id]), body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_brings_no_more_than_can_be_read_again() {
    for place in plexus_testkit::places() {
        let mut stage = Stage::on(place, "11", "").await;
        let mut taken = Vec::new();
        let name = stage.liar.peer.name().clone();
        for (number, (what, count, bytes, fits)) in SENT.into_iter().enumerate() {
            let room = format!("!sent{number}:{name}");
            let state: Value = (0..count).map(|_| stripped(json!({ "topic": "x".repeat(bytes) }))).collect();
            let answer = invite(&stage, &room, "11", &state).await;
            if fits {
                taken.push((room, answer.ok().is_object(), count));
            } else {
                assert_eq!(answer.refusal(), (413, "M_TOO_LARGE"), "{what}");
                assert!(stripped_state(&sync(&stage).await, "invite", &room).is_none(), "{what}");
            }
        }
        // Small as it was sent, and large as it would be stored; and deeper than what is stored may be.
        let numbers = format!("[{}1]", "1e15,".repeat(12_000));
        let nested = format!("{}{}", "[".repeat(496), "]".repeat(496));
        for (what, text) in [("numbers", numbers), ("nested", nested)] {
            let room = format!("!{what}:{name}");
            let state = stripped(json!({ "topic": "TEXT" })).to_string().replace("\"TEXT\"", &text);
            let answer = invite_with_text(&stage, &room, &format!("[{state}]")).await;
            assert_eq!(answer.refusal(), (413, "M_TOO_LARGE"), "{what}");
        }
        let old = format!("!old:{name}");
        invite(&stage, &old, "1", &json!([stripped(json!({ "topic": "x" }))])).await.ok();
        taken.push((old, true, 1));
        for restarted in [false, true] {
            if restarted {
                stage.server.restart().await;
            }
            let sync = sync(&stage).await;
            for (room, _, count) in &taken {
                let events = stripped_state(&sync, "invite", room).unwrap_or_default();
                assert_eq!(events.len(), *count, "{room}");
                let names = |event: &Value| event.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
                assert!(events.iter().all(|event| names(event) == ["content", "sender", "state_key", "type"]));
            }
        }
        for (room, ..) in &taken {
            leaves(&stage, room).await;
        }
        stage.is_usable().await;
    }
}

/// As [`invite`], with stripped state that only text can say.
async fn invite_with_text(stage: &Stage, room: &str, state: &str) -> Answer {
    let (peer, version) = (&stage.liar.peer, RoomVersion::V11);
    let event = json!({
        "type": "m.room.member", "state_key": stage.alice.id, "sender": stage.liar.mallory, "room_id": room, "depth": 1,
        "origin_server_ts": 1, "content": { "membership": "invite" }, "prev_events": [], "auth_events": [],
    });
    let event = forge(event, version, peer);
    let id = id_of(&event, version);
    let body = format!(r#"{{"event":{event},"invite_room_state":{state},"room_version":"11"}}"#);
    // Signed as canonical JSON.
    let path = federation::path("v2/invite", &[room, &id]);
    peer.request_text(&stage.server, http::Method::PUT, &path, &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_knock_is_kept_however_its_answer_is() {
    let state = |count: usize, bytes: usize| -> Vec<Value> {
        (0..count).map(|_| stripped(json!({ "topic": "x".repeat(bytes) }))).collect()
    };
    let described = |events: Vec<Value>| json!({ "knock_room_state": events }).to_string();
    let mut mixed = state(2, 10);
    mixed.extend(state(1, 100_000));
    mixed.extend(state(1, 10));
    let answers: [(&str, String, usize); 6] = [
        ("little", described(state(2, 10)), 2),
        ("2 MB", described(state(40, 50_000)), 10),
        ("one too large", described(mixed), 3),
        ("too many", described(state(300, 10)), 100),
        ("10 MB", described(state(200, 50_000)), 0),
        ("no JSON", "nothing".to_owned(), 0),
    ];
    for place in plexus_testkit::places() {
        let mut stage = Stage::on(place, "11", "").await;
        let mut rooms = Vec::new();
        for (number, (what, answer, fits)) in answers.iter().enumerate() {
            let room = format!("!knock{number}:{}", stage.liar.peer.name());
            let alice = &stage.alice.id;
            let template = json!({
                "type": "m.room.member", "state_key": alice, "sender": alice, "room_id": room, "depth": 9,
                "origin_server_ts": 1, "content": { "membership": "knock" }, "auth_events": [],
                "prev_events": [format!("${}", "A".repeat(43))],
            });
            let made = json!({ "room_version": "11", "event": template });
            let answer = answer.clone();
            stage.liar.answers(move |uri| match uri {
                _ if uri.contains("/make_knock/") => Some(made.to_string().into_response()),
                _ if uri.contains("/send_knock/") => Some(answer.clone().into_response()),
                _ => None,
            });
            let path = format!("{CLIENT}/knock/{}?via={}", room.replace('!', "%21"), stage.liar.peer.name());
            let knocked = stage.server.post(&path, &stage.alice.token, json!({})).await;
            assert_eq!(knocked.status, 200, "{what}: {knocked:?}");
            assert_eq!(
                stripped_state(&sync(&stage).await, "knock", &room).map(|events| events.len()),
                Some(*fits),
                "{what}"
            );
            rooms.push(room);
        }
        stage.server.restart().await;
        for (room, (what, _, fits)) in rooms.iter().zip(&answers) {
            assert_eq!(
                stripped_state(&sync(&stage).await, "knock", room).map(|events| events.len()),
                Some(*fits),
                "{what}"
            );
            leaves(&stage, room).await;
        }
        stage.is_usable().await;
    }
}

/// JSON of events as no version of this program reads it: of an unknown dictionary, longer than it may be as an earlier
/// version wrote it, cut short, no JSON, and JSON of no event.
pub(super) const DAMAGED: [&[u8]; 5] = [b"\x09abc", b"\x01\x80\x80\x80\x01abc", b"", b"\0{\"", b"\0{}"];

/// Changes the database while the server is stopped.
pub(super) async fn between_runs(
    server: &mut TestServer,
    change: impl FnOnce(&mut Tx<'_>) -> Result<(), DbError> + Send + 'static,
) {
    server.stop().await;
    let db = Database::open(server.place().options()).expect("the database opens");
    db.write(change).await.expect("the test's statements are right");
    db.close().await;
    drop(db);
    server.restart().await;
}

/// Makes the events of a type with a state key unreadable (the state key `-`: those without one).
pub(super) async fn damage(
    server: &mut TestServer,
    room: &str,
    event_type: &str,
    state_key: &str,
    json: &'static [u8],
) {
    let (room, event_type, state_key) = (room.to_owned(), event_type.to_owned(), state_key.to_owned());
    between_runs(server, move |tx| {
        let changed = match state_key.as_str() {
            "-" => tx.execute(
                "UPDATE events SET json = $3
                 WHERE room_nid = (SELECT room_nid FROM rooms WHERE room_id = $1) AND state_key_nid IS NULL
                     AND type_nid = (SELECT type_nid FROM event_types WHERE event_type = $2)",
                &[&room, &event_type.as_bytes(), &json],
            )?,
            key => tx.execute(
                "UPDATE events SET json = $4
                 WHERE room_nid = (SELECT room_nid FROM rooms WHERE room_id = $1)
                     AND type_nid = (SELECT type_nid FROM event_types WHERE event_type = $2)
                     AND state_key_nid = (SELECT state_key_nid FROM state_keys WHERE state_key = $3)",
                &[&room, &event_type.as_bytes(), &key.as_bytes(), &json],
            )?,
        };
        assert!(changed > 0, "{room} has no {event_type} {state_key:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_that_cannot_be_read_is_shown_and_can_be_declined() {
    for place in plexus_testkit::places() {
        let mut stage = Stage::on(place, "11", "").await;
        for (number, json) in DAMAGED.into_iter().enumerate() {
            let room = format!("!damaged{number}:{}", stage.liar.peer.name());
            let version = if number == 0 { "1" } else { "11" };
            invite(&stage, &room, version, &json!([stripped(json!({ "topic": "x" }))])).await.ok();
            let user = stage.alice.id.clone();
            damage(&mut stage.server, &room, "m.room.member", &user, json).await;
            let seen = sync(&stage).await;
            let events = &seen.ok()["rooms"]["invite"][&room]["invite_state"]["events"];
            assert_eq!(events[0]["sender"], stage.liar.mallory.as_str(), "{seen:?}");
            let since = seen.body["next_batch"].as_str().unwrap();
            stage.server.get(&format!("{CLIENT}/sync?since={since}"), &stage.alice.token).await.ok();
            stage.sees(&stage.honest.peer, &stage.honest.bob).await;
            // The server that invited is asked, and does not answer as it should.
            leaves(&stage, &room).await;
            assert!(stage.liar.asked("/make_leave/") > number);
            stage.server.restart().await;
            sync(&stage).await.ok();
        }
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_read_costs_only_itself() {
    for place in plexus_testkit::places() {
        let mut stage = Stage::on(place, "11", "").await;
        let (alice, room, peer) = (stage.alice.clone(), stage.room.clone(), stage.honest.peer.name().clone());
        for number in 0..30 {
            say(&stage.server, &alice, &room, &format!("before {number}")).await;
        }
        let lost = say(&stage.server, &alice, &room, "lost").await;
        let path = room_path(&room, "state/m.room.topic/");
        stage.server.put(&path, &alice.token, json!({ "topic": "lost" })).await.ok();
        say(&stage.server, &alice, &room, "after").await;
        damage(&mut stage.server, &room, "m.room.topic", "", DAMAGED[1]).await;
        damage(&mut stage.server, &room, "m.room.member", &alice.id, DAMAGED[3]).await;
        let key = plexus_store::event_key::encode(&lost.parse().unwrap());
        between_runs(&mut stage.server, move |tx| {
            tx.execute("UPDATE events SET json = $2 WHERE event_id = $1", &[&key, &DAMAGED[0]]).map(|_| ())
        })
        .await;
        let get = async |path: &str| stage.server.get(path, &alice.token).await;
        let read = ["sync", "joined_rooms", "sync?filter=%7B%22room%22:%7B%22timeline%22:%7B%22limit%22:100%7D%7D%7D"];
        for path in read {
            get(&format!("{CLIENT}/{path}")).await.ok();
        }
        for rest in ["state", "members", "joined_members", "context/LOST", "event/LOST"] {
            let answer = get(&room_path(&room, &rest.replace("LOST", &lost))).await;
            assert!(answer.status == 200 || answer.refusal() == (404, "M_NOT_FOUND"), "{rest}: {answer:?}");
        }
        assert_eq!(get(&room_path(&room, &format!("event/{lost}"))).await.status, 404);
        let joined = get(&room_path(&room, "joined_members")).await;
        assert!(joined.ok()["joined"][&alice.id].is_object(), "{joined:?}");
        // Paging goes on beyond what cannot be read, however small the pages.
        for limit in [1, 2, 7, 100] {
            let (mut seen, mut from) = (Vec::new(), String::new());
            for _ in 0..100 {
                let page = get(&room_path(&room, &format!("messages?dir=b&limit={limit}{from}"))).await;
                let bodies =
                    page.ok()["chunk"].as_array().unwrap().iter().filter_map(|it| it["content"]["body"].as_str());
                seen.extend(bodies.map(str::to_owned));
                let Some(end) = page.body["end"].as_str() else { break };
                from = format!("&from={end}");
            }
            assert_eq!(seen.iter().filter(|body| body.starts_with("before")).count(), 30, "{limit}: {seen:?}");
            assert!(seen.contains(&"after".to_owned()) && !seen.contains(&"lost".to_owned()));
        }
        // Other servers get what is after it.
        let newest = stage.newest().await;
        let path = format!("{}?limit=100&v={newest}", federation::path("v1/backfill", &[&room]));
        assert_eq!(stage.honest.peer.get(&stage.server, &path).await.ok()["pdus"].as_array().unwrap().len(), 1);
        let path = format!("{}?event_id={lost}", federation::path("v1/state_ids", &[&room]));
        assert_eq!(stage.honest.peer.get(&stage.server, &path).await.status, 404);
        // The room goes on: others and its own users speak, what cannot be read is replaced, and its user can leave.
        stage.is_usable().await;
        stage.server.put(&room_path(&room, "state/m.room.topic/"), &alice.token, json!({ "topic": "new" })).await.ok();
        let name = json!({ "displayname": "Alice" });
        stage.server.put(&format!("{CLIENT}/profile/{}/displayname", alice.id), &alice.token, name).await.ok();
        damage(&mut stage.server, &room, "m.room.member", &alice.id, DAMAGED[4]).await;
        let other = federation::public_room(&stage.server, &alice, "11").await;
        leaves(&stage, &room).await;
        assert!(sync(&stage).await.ok()["rooms"]["join"][&other].is_object());
        let joined = stage.server.post(&format!("{CLIENT}/join/{room}?via={peer}"), &alice.token, json!({})).await;
        assert_ne!(joined.status, 500, "{joined:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_cannot_be_read_costs_only_itself() {
    for place in plexus_testkit::places() {
        let mut stage = Stage::on(place, "11", "").await;
        let lost = stage.room.clone();
        let room = federation::public_room(&stage.server, &stage.alice, "11").await;
        federation::join(&stage.server, &stage.honest.peer, &room, &stage.honest.bob).await;
        for event_type in ["m.room.power_levels", "m.room.create"] {
            damage(&mut stage.server, &lost, event_type, "", DAMAGED[0]).await;
            let seen = sync(&stage).await;
            assert!(seen.ok()["rooms"]["join"][&room].is_object() && seen.body["rooms"]["join"][&lost].is_null());
            let since = seen.body["next_batch"].as_str().unwrap().to_owned();
            say(&stage.server, &stage.alice, &room, "on").await;
            stage.server.get(&format!("{CLIENT}/sync?since={since}"), &stage.alice.token).await.ok();
            for path in ["joined_rooms", "notifications", "keys/changes?from=s1_1&to=s2_2", "publicRooms"] {
                stage.server.get(&format!("{CLIENT}/{path}"), &stage.alice.token).await.ok();
            }
            // Nobody's rights in it are made up.
            let text = json!({ "msgtype": "m.text", "body": "x" });
            let path = room_path(&lost, "send/m.room.message/1");
            assert_eq!(stage.server.put(&path, &stage.alice.token, text).await.status, 500);
        }
        // What others send to both rooms in one transaction reaches the other one.
        stage.room = room;
        let event = forge(stage.template(&stage.honest.bob).await, stage.version, &stage.honest.peer);
        let mut to_lost = event.clone();
        to_lost["room_id"] = json!(lost);
        let to_lost = forge(to_lost, stage.version, &stage.honest.peer);
        let id = id_of(&event, stage.version);
        let sent = stage.honest.send(&stage.server, "both", vec![to_lost, event], Vec::new()).await;
        assert_eq!(sent.ok()["pdus"][&id], json!({}), "{sent:?}");
        stage.is_usable().await;
    }
}

/// Replaces the JSON of the event of a type in a room, while the server is stopped; returns what it was.
async fn swap_json(server: &mut TestServer, room: &str, event_type: &'static str, json: Vec<u8>) -> Vec<u8> {
    let (room, old) = (room.to_owned(), Arc::new(Mutex::new(Vec::new())));
    let was = Arc::clone(&old);
    between_runs(server, move |tx| {
        let nid: i64 = tx.query_one(
            "SELECT event_nid FROM events WHERE room_nid = (SELECT room_nid FROM rooms WHERE room_id = $1)
                 AND type_nid = (SELECT type_nid FROM event_types WHERE event_type = $2)",
            &[&room, &event_type.as_bytes()],
            plexus_store::first,
        )?;
        *was.lock() = tx.query_one("SELECT json FROM events WHERE event_nid = $1", &[&nid], plexus_store::first)?;
        tx.execute("UPDATE events SET json = $2 WHERE event_nid = $1", &[&nid, &json]).map(|_| ())
    })
    .await;
    std::mem::take(&mut *old.lock())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_for_an_unreadable_room_are_judged_once_it_is_readable() {
    for place in plexus_testkit::places() {
        let mut stage = Stage::on(place, "11", "").await;
        let path = room_path(&stage.room, "state/m.room.server_acl/");
        stage.server.put(&path, &stage.alice.token, json!({ "allow": ["*"] })).await.ok();
        let event = forge(stage.template(&stage.honest.bob).await, stage.version, &stage.honest.peer);
        let forbidden = stage.lie(|event| event["type"] = json!("m.room.power_levels")).await;
        let room = stage.room.clone();
        let whole = swap_json(&mut stage.server, &room, "m.room.server_acl", DAMAGED[0].to_vec()).await;
        let sent = stage.honest.send(&stage.server, "unreadable", vec![event.clone()], Vec::new()).await;
        assert_eq!(sent.ok()["pdus"][id_of(&event, stage.version)], json!({}), "{sent:?}");
        stage.send(std::slice::from_ref(&forbidden)).await.ok();
        swap_json(&mut stage.server, &room, "m.room.server_acl", whole).await;
        stage.sees(&stage.honest.peer, &stage.honest.bob).await;
        let bodies = stage.bodies().await;
        assert!(bodies.iter().any(|body| event["content"]["body"] == body.as_str()), "{bodies:?}");
        let path = room_path(&room, &format!("event/{}", id_of(&forbidden, stage.version).replace('$', "%24")));
        assert_eq!(stage.server.get(&path, &stage.alice.token).await.status, 404);
    }
}

/// Spoils what a user has stored, one row of each kind.
const SPOIL: [&str; 9] = [
    "UPDATE filters SET definition = '{'",
    "UPDATE push_rules SET changes = '{'",
    "UPDATE profile_fields SET value = '{' WHERE field = 'm.spoilt'",
    "UPDATE account_data SET content = '{' WHERE type = 'm.spoilt'",
    "UPDATE device_keys SET key_json = '{' WHERE device_id = 'SPOILT'",
    "UPDATE one_time_keys SET key_json = '{' WHERE key_id = 'A'",
    "UPDATE key_backup_sessions SET session_data = '{' WHERE session_id = 'spoilt'",
    "UPDATE to_device_messages SET message = '{' WHERE message LIKE '%spoilt%'",
    "UPDATE unread_checkpoints SET counts = '{'",
];

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_data_of_a_user_costs_only_itself() {
    for place in plexus_testkit::places() {
        let mut server = TestServer::on(place).start().await;
        let alice = server.register("alice").await;
        let body = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "alice" },
            "password": "password of alice", "device_id": "SPOILT" });
        let other = server.post(&format!("{CLIENT}/login"), &alice.token, body).await;
        let other = other.ok()["access_token"].as_str().unwrap().to_owned();
        let (id, own) = (alice.id.clone(), format!("{CLIENT}/user/{}", alice.id));
        let put = async |path: &str, body: Value| server.put(path, &alice.token, body).await.ok().clone();
        let post = async |path: &str, token: &str, body: Value| server.post(path, token, body).await.ok().clone();
        let filter = post(&format!("{own}/filter"), &alice.token, json!({})).await["filter_id"].clone();
        put(&format!("{CLIENT}/pushrules/global/content/x"), json!({ "actions": ["notify"], "pattern": "x" })).await;
        for name in ["m.spoilt", "m.good"] {
            put(&format!("{CLIENT}/profile/{id}/{name}"), json!({ name: "x" })).await;
            put(&format!("{own}/account_data/{name}"), json!({ "x": 1 })).await;
        }
        for (token, device) in [(&alice.token, &*alice.device_id), (&other, "SPOILT")] {
            let keys = json!({ "user_id": id, "device_id": device, "algorithms": ["m.olm.v1"],
                "keys": { format!("ed25519:{device}"): "x" }, "signatures": {} });
            let one_time = json!({ "curve25519:A": "a", "curve25519:B": "b" });
            let body = json!({ "device_keys": keys, "one_time_keys": one_time });
            post(&format!("{CLIENT}/keys/upload"), token, body).await;
        }
        let version = json!({ "algorithm": "x", "auth_data": { "x": 1 } });
        let version = post(&format!("{CLIENT}/room_keys/version"), &alice.token, version).await["version"].clone();
        let backup = format!("{CLIENT}/room_keys/keys?version={}", version.as_str().unwrap());
        let session =
            json!({ "first_message_index": 1, "forwarded_count": 0, "is_verified": true, "session_data": {} });
        put(&backup, json!({ "rooms": { "!x:y": { "sessions": { "spoilt": session, "good": session } } } })).await;
        for text in ["spoilt", "good"] {
            let messages = json!({ "messages": { id.as_str(): { alice.device_id.as_str(): { "x": text } } } });
            put(&format!("{CLIENT}/sendToDevice/m.x/{text}"), messages).await;
        }
        between_runs(&mut server, |tx| SPOIL.iter().try_for_each(|sql| tx.execute(sql, &[]).map(|_| ()))).await;
        let get = async |path: &str| server.get(path, &alice.token).await.ok().clone();
        let post = async |path: &str, body: Value| server.post(path, &alice.token, body).await.ok().clone();
        let sync = get(&format!("{CLIENT}/sync")).await;
        let types: Vec<_> = sync["account_data"]["events"].as_array().unwrap().iter().map(|it| &it["type"]).collect();
        assert!(types.contains(&&json!("m.good")) && types.contains(&&json!("m.push_rules")), "{types:?}");
        assert!(!types.contains(&&json!("m.spoilt")));
        let messages = sync["to_device"]["events"].as_array().unwrap();
        assert!(messages.len() == 1 && messages[0]["content"]["x"] == "good", "{messages:?}");
        assert!(get(&format!("{CLIENT}/pushrules/")).await["global"]["override"].is_array());
        assert_eq!(get(&format!("{CLIENT}/profile/{id}")).await["m.good"], "x");
        let keys = post(&format!("{CLIENT}/keys/query"), json!({ "device_keys": { id.as_str(): [] } })).await;
        let devices: Vec<_> = keys["device_keys"][&id].as_object().unwrap().keys().cloned().collect();
        assert_eq!(devices, std::slice::from_ref(&alice.device_id));
        let claim = json!({ "one_time_keys": { id.as_str(): { alice.device_id.as_str(): "curve25519" } } });
        post(&format!("{CLIENT}/keys/claim"), claim.clone()).await;
        let second = post(&format!("{CLIENT}/keys/claim"), claim).await;
        assert_eq!(second["one_time_keys"][&id][&alice.device_id]["curve25519:B"], "b", "{second}");
        let sessions = get(&backup).await["rooms"]["!x:y"]["sessions"].clone();
        assert!(sessions["good"].is_object() && sessions["spoilt"].is_null());
        let path = format!("{CLIENT}/sync?filter={}", filter.as_str().unwrap());
        assert!(server.get(&path, &alice.token).await.status < 500);
    }
}
