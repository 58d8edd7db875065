//! Joins, leaves, knocks and invites that are forged.

use http::Method;

use super::*;

use crate::client::room_path;

/// What is made of an event before it is signed.
type Change = fn(&Stage, &mut Value);

async fn invite_to(server: &TestServer, by: &Peer, room: &str, version: &str, user: &str) -> Answer {
    let parsed: RoomVersion = version.parse().unwrap();
    let pairs = parsed.rules().event_id_format == EventIdFormat::Server;
    let event = json!({
        "type": "m.room.member", "state_key": user, "sender": by.user("inviter"), "room_id": room, "depth": 1,
        "origin_server_ts": 1, "content": { "membership": "invite" }, "prev_events": [], "auth_events": [],
    });
    let event = forge(event, parsed, by);
    let id = if pairs { event["event_id"].as_str().unwrap().to_owned() } else { id_of(&event, parsed) };
    let body = json!({ "room_version": version, "event": event, "invite_room_state": [] });
    by.put(server, &federation::path("v2/invite", &[room, &id]), body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_event_that_is_not_what_it_is_handed_in_as_is_refused() {
    for stage in Stage::on_each("11").await {
        let (server, peer, room) = (&stage.server, &stage.liar.peer, &stage.room);
        let eve = peer.user("eve");
        let made = federation::make(server, peer, "join", room, &eve).await;
        let cases: &[(&str, Change)] = &[
            ("a user of ours", |_, event| {
                event["sender"] = json!("@victim:test.example");
                event["state_key"] = json!("@victim:test.example");
            }),
            ("a user of the honest server", |stage, event| {
                event["sender"] = json!(stage.honest.peer.user("victim"));
                event["state_key"] = json!(stage.honest.peer.user("victim"));
            }),
            ("somebody else", |stage, event| event["state_key"] = json!(stage.liar.peer.user("other"))),
            ("no member event", |_, event| event["type"] = json!("m.room.message")),
            ("no state event", |_, event| _ = event.as_object_mut().unwrap().remove("state_key")),
            ("a leave", |_, event| event["content"] = json!({ "membership": "leave" })),
            ("an invite", |_, event| event["content"] = json!({ "membership": "invite" })),
            ("no membership", |_, event| event["content"] = json!({})),
            ("of another room", |_, event| event["room_id"] = json!("!other:test.example")),
        ];
        for (name, change) in cases {
            let mut event = made.ok()["event"].clone();
            change(&stage, &mut event);
            let event = forge(event, stage.version, peer);
            let id = id_of(&event, stage.version);
            let sent = peer.put(server, &federation::path("v2/send_join", &[room, &id]), event).await;
            assert_eq!(sent.refusal(), (400, "M_INVALID_PARAM"), "{name}: {sent:?}");
        }
        let good = forge(made.ok()["event"].clone(), stage.version, peer);
        let id = id_of(&good, stage.version);
        let submit = async |base: &str, room: &str, id: &str, event: Value| {
            peer.put(server, &federation::path(base, &[room, id]), event).await
        };
        // Ids that do not match, another room's path, and another server's join.
        let other = format!("${}", "A".repeat(43));
        assert_eq!(submit("v2/send_join", room, &other, good.clone()).await.refusal(), (400, "M_INVALID_PARAM"));
        assert_eq!(submit("v2/send_join", "!no:test.example", &id, good.clone()).await.refusal(), (404, "M_NOT_FOUND"));
        let elsewhere = federation::public_room(server, &stage.alice, "12").await;
        assert_eq!(submit("v2/send_join", &elsewhere, &id, good.clone()).await.refusal(), (400, "M_INVALID_PARAM"));
        assert_eq!(submit("v2/send_leave", room, &id, good.clone()).await.refusal(), (400, "M_INVALID_PARAM"));
        assert_eq!(submit("v1/send_knock", room, &id, good.clone()).await.refusal(), (400, "M_INVALID_PARAM"));
        let honest = &stage.honest.peer;
        let path = federation::path("v2/send_join", &[room, &id]);
        assert_eq!(honest.put(server, &path, good.clone()).await.refusal(), (400, "M_INVALID_PARAM"));
        let mut tampered = good.clone();
        tampered["content"]["displayname"] = json!("put in later");
        assert_eq!(submit("v2/send_join", room, &id, tampered).await.refusal(), (400, "M_INVALID_PARAM"));
        let mut unsigned = good.clone();
        unsigned["signatures"] = json!({});
        assert_eq!(submit("v2/send_join", room, &id, unsigned).await.refusal(), (400, "M_INVALID_PARAM"));
        assert_eq!(federation::membership(server, &stage.alice, room, &eve).await, None);
        submit("v2/send_join", room, &id, good).await.ok();
        assert_eq!(federation::membership(server, &stage.alice, room, &eve).await.as_deref(), Some("join"));
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_user_does_not_come_back() {
    for stage in Stage::on_each("11").await {
        let (server, peer, room) = (&stage.server, &stage.liar.peer, &stage.room);
        let made = federation::make(server, peer, "join", room, &stage.liar.mallory).await;
        let before = stage.template(&stage.liar.mallory).await;
        let ban = json!({ "user_id": stage.liar.mallory });
        server.post(&room_path(room, "ban"), &stage.alice.token, ban).await.ok();
        assert_eq!(
            federation::make(server, peer, "join", room, &stage.liar.mallory).await.refusal(),
            (403, "M_FORBIDDEN")
        );
        // As if it had been said before the ban: allowed where it was sent, but not by the room as it is now.
        let event = forge(before, stage.version, peer);
        stage.send(std::slice::from_ref(&event)).await.ok();
        let join = forge(made.ok()["event"].clone(), stage.version, peer);
        let path = federation::path("v2/send_join", &[room, &id_of(&join, stage.version)]);
        assert_eq!(peer.put(server, &path, join).await.refusal(), (403, "M_FORBIDDEN"));
        let member = federation::membership(server, &stage.alice, room, &stage.liar.mallory).await;
        assert_eq!(member.as_deref(), Some("ban"));
        stage.is_usable().await;
        assert!(!stage.bodies().await.contains(&event["content"]["body"].as_str().unwrap().to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_of_rooms_and_users_that_are_not_there_are_refused() {
    for stage in Stage::on_each("11").await {
        let eve = stage.liar.peer.user("eve");
        let rooms = ["!no:test.example", "!", "!x", "nothing", "%00", "!x:else.example", "#alias:test.example"];
        for what in ["make_join", "make_leave", "make_knock"] {
            for room in rooms {
                let path = federation::path(&format!("v1/{what}"), &[room, &eve]);
                let answer = stage.liar.peer.get(&stage.server, &format!("{path}?ver=11")).await;
                assert!([400, 404].contains(&answer.status), "{what} {room}: {answer:?}");
            }
            for user in ["@x:else.example", "@alice:test.example", "x", "@", "@:", "@\u{7f}:x"] {
                let path = format!("/_matrix/federation/v1/{what}/{}/{}", stage.room, user.replace('\u{7f}', "%7F"));
                let answer = stage.liar.peer.get(&stage.server, &format!("{path}?ver=11")).await;
                assert!([400, 403].contains(&answer.status), "{what} {user}: {answer:?}");
            }
        }
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_is_ended_only_by_those_who_may() {
    for stage in Stage::on_each("11").await {
        let (server, alice) = (&stage.server, &stage.alice);
        let room = format!("!elsewhere:{}", stage.honest.peer.name());
        let answer = invite_to(&stage.server, &stage.honest.peer, &room, "11", &alice.id).await;
        let invite = id_of(&answer.ok()["event"], stage.version);
        let invited = async || {
            let sync = server.get(&format!("{CLIENT}/sync"), &alice.token).await;
            sync.ok()["rooms"]["invite"][&room].is_object()
        };
        assert!(invited().await);
        let end = async |by: &Peer, sender: String, auth_events: &[String]| {
            let event = json!({
                "type": "m.room.member", "state_key": alice.id, "sender": sender, "room_id": room, "depth": 2,
                "origin_server_ts": 2, "content": { "membership": "leave" }, "prev_events": [],
                "auth_events": auth_events,
            });
            let pdu = forge(event, stage.version, by);
            let body = json!({ "pdus": [pdu], "origin_server_ts": 1, "origin": by.name().as_str() });
            by.put(server, &format!("/_matrix/federation/v1/send/{}", unique_name()), body).await
        };
        end(&stage.liar.peer, stage.liar.mallory.clone(), &[]).await.ok();
        assert!(invited().await, "a stranger ended the invite");
        end(&stage.honest.peer, stage.honest.peer.user("inviter"), &[]).await.ok();
        assert!(invited().await, "it was the end of another invite");
        end(&stage.liar.peer, stage.honest.peer.user("inviter"), std::slice::from_ref(&invite)).await.ok();
        assert!(invited().await, "the inviter has not signed it");
        end(&stage.honest.peer, stage.honest.peer.user("inviter"), &[invite]).await.ok();
        assert!(!invited().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_in_the_wrong_version_does_not_spoil_the_room() {
    for place in plexus_testkit::places() {
        let mut stage = Stage::on(place, "11", "").await;
        let carol = stage.server.register("carol").await;
        let room = format!("!elsewhere:{}", stage.honest.peer.name());
        invite_to(&stage.server, &stage.honest.peer, &room, "11", &stage.alice.id).await.ok();
        // Another server tells our other user that the room is of another version.
        for version in ["6", "3", "1"] {
            invite_to(&stage.server, &stage.liar.peer, &room, version, &carol.id).await;
            stage.server.restart().await;
            let sync = stage.server.get(&format!("{CLIENT}/sync"), &stage.alice.token).await;
            assert!(sync.ok()["rooms"]["invite"][&room].is_object(), "{version}: {sync:?}");
        }
        stage.server.get(&format!("{CLIENT}/sync"), &carol.token).await.ok();
        invite_to(&stage.server, &stage.honest.peer, &room, "11", &carol.id).await.ok();
        let sync = stage.server.get(&format!("{CLIENT}/sync"), &carol.token).await;
        assert!(sync.ok()["rooms"]["invite"][&room].is_object(), "{sync:?}");
        let leave = stage.server.post(&room_path(&room, "leave"), &stage.alice.token, json!({})).await;
        assert!(leave.status < 500, "{leave:?}");
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn absurd_questions_about_history_are_answered_within_bounds() {
    for stage in Stage::on_each("11").await {
        let (server, peer, room) = (&stage.server, &stage.liar.peer, &stage.room);
        let newest = stage.newest().await;
        let unknown = format!("${}", "A".repeat(43));
        let get = async |path: String| {
            let answer = plexus_testkit::within(BOUND, peer.request(server, Method::GET, &path, None)).await;
            answer.expect("an answer")
        };
        for limit in ["0", "100", "4294967295", "18446744073709551615"] {
            let path = format!("{}?limit={limit}&v={newest}", federation::path("v1/backfill", &[room]));
            let answer = get(path).await;
            assert!(answer.ok()["pdus"].as_array().unwrap().len() <= 100);
        }
        for limit in ["-1", "x", "1.5", "99999999999999999999999"] {
            let path = format!("{}?limit={limit}&v={newest}", federation::path("v1/backfill", &[room]));
            assert_eq!(get(path).await.refusal(), (400, "M_INVALID_PARAM"), "{limit}");
        }
        let many: String = (0..500).map(|_| format!("&v={unknown}")).collect();
        assert_eq!(
            get(format!("{}?limit=10{many}", federation::path("v1/backfill", &[room]))).await.ok()["pdus"],
            json!([])
        );
        let missing = async |body: Value| {
            let path = federation::path("v1/get_missing_events", &[room]);
            plexus_testkit::within(BOUND, peer.post(server, &path, body)).await.expect("an answer")
        };
        for limit in [0_u64, 20, u64::from(u32::MAX), 1 << 60] {
            let body = json!({ "earliest_events": [], "latest_events": [newest], "limit": limit, "min_depth": 0 });
            assert!(missing(body).await.ok()["events"].as_array().unwrap().len() <= 20);
        }
        let body = |count| json!({ "earliest_events": vec![&unknown; count], "latest_events": vec![&newest; count] });
        missing(body(2_500)).await.ok();
        assert_eq!(missing(body(5_000)).await.refusal(), (413, "M_TOO_LARGE"));
        assert_eq!(missing(json!({})).await.refusal(), (400, "M_MISSING_PARAM"));
        for body in [
            json!({ "earliest_events": 1, "latest_events": [] }),
            json!({ "earliest_events": [1], "latest_events": [] }),
            json!({ "earliest_events": [], "latest_events": [], "limit": -1 }),
            json!({ "earliest_events": [], "latest_events": [], "limit": "x" }),
        ] {
            let answer = missing(body.clone()).await;
            assert_eq!(answer.refusal(), (400, "M_BAD_JSON"), "{body}");
        }
        for what in ["state", "state_ids"] {
            let base = federation::path(&format!("v1/{what}"), &[room]);
            assert_eq!(get(format!("{base}?event_id={unknown}")).await.refusal(), (404, "M_NOT_FOUND"));
            assert_eq!(get(format!("{base}?event_id=x")).await.refusal(), (400, "M_INVALID_PARAM"));
            assert_eq!(get(base).await.refusal().0, 400);
        }
        assert_eq!(get(federation::path("v1/event_auth", &[room, &unknown])).await.refusal(), (404, "M_NOT_FOUND"));
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_does_not_open_a_room_that_everybody_has_left() {
    for place in plexus_testkit::places() {
        let server = TestServer::on(place).config(MANY).start().await;
        let (alice, mallory) = (server.register("alice").await, server.register("mallory").await);
        let liar = Peer::start().await;
        for version in ["10", "11"] {
            let body = json!({ "room_version": version, "preset": "private_chat" });
            let room = server.post(&format!("{CLIENT}/createRoom"), &alice.token, body).await;
            let room = room.ok()["room_id"].as_str().unwrap().to_owned();
            let secret = json!({ "msgtype": "m.text", "body": "secret" });
            server.put(&room_path(&room, "send/m.room.message/1"), &alice.token, secret).await.ok();
            let ban = json!({ "user_id": mallory.id });
            server.post(&room_path(&room, "ban"), &alice.token, ban).await.ok();
            server.post(&room_path(&room, "leave"), &alice.token, json!({})).await.ok();

            let refused = invite_to(&server, &liar, &room, version, &mallory.id).await;
            assert_eq!(refused.refusal(), (403, "M_FORBIDDEN"), "version {version}");
            let wrong = invite_to(&server, &liar, &room, "1", &mallory.id).await;
            assert_eq!(wrong.refusal(), (400, "M_INVALID_PARAM"), "version {version}");
            let join = server.post(&room_path(&room, "join"), &mallory.token, json!({})).await;
            assert_eq!(join.status, 403, "{join:?}");
            let read = server.get(&room_path(&room, "messages?dir=b"), &mallory.token).await;
            assert_eq!(read.refusal(), (403, "M_FORBIDDEN"));
        }
    }
}
