//! Syncs without a token.

use plexus_sync::SyncOptions;
use serde_json::json;

use crate::support::*;

#[test]
fn an_initial_sync_tells_of_the_rooms_and_their_newest_events() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        for number in 0..12 {
            server.send(&room, ALICE, &format!("message {number}")).await;
        }
        let answer = server.client(BOB).sync().await;
        let bob = joined(&answer, &room);
        assert_eq!(events(&bob["timeline"]).len(), 10);
        assert_eq!(bodies(bob).first(), Some(&"message 2"));
        assert_eq!(bob["timeline"]["limited"], true);
        assert_eq!(members(&bob["state"]), [ALICE, BOB, CAROL]);
        assert_eq!(event(&bob["state"], "m.room.name").map(|name| &name["content"]["name"]), Some(&json!("A room")));
        assert_eq!(bob["unread_notifications"], json!({"highlight_count": 0, "notification_count": 12}));
        assert!(event(&answer["account_data"], "m.push_rules").is_some());
        assert!(answer["rooms"]["invite"].is_null());
    });
}

#[test]
fn state_in_the_timeline_is_not_sent_twice_but_what_it_replaced_is() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.room(ALICE).await;
        server.set(&room, ALICE, "m.room.topic", json!({"topic": "old"})).await;
        server.set(&room, ALICE, "m.room.topic", json!({"topic": "new"})).await;
        let answer = server.client(ALICE).filter(json!({"room": {"timeline": {"limit": 1}}})).sync().await;
        let alice = joined(&answer, &room);
        assert_eq!(events(&alice["timeline"])[0]["content"]["topic"], "new");
        assert_eq!(events(&alice["timeline"])[0]["unsigned"]["prev_content"]["topic"], "old");
        assert_eq!(event(&alice["state"], "m.room.topic").map(|event| &event["content"]["topic"]), Some(&json!("old")));

        let mut client = server.client(ALICE).filter(json!({"room": {"timeline": {"limit": 1}}}));
        client.request.state_after = true;
        let answer = client.sync().await;
        let alice = joined(&answer, &room);
        assert!(alice["state"].is_null());
        let topic = event(&alice["state_after"], "m.room.topic").map(|event| &event["content"]["topic"]);
        assert_eq!(topic, Some(&json!("new")));
    });
}

#[test]
fn lazy_loading_sends_the_members_that_are_needed_once() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        for number in 0..10 {
            server.send(&room, CAROL, &format!("message {number}")).await;
        }
        let filter = json!({"room": {"state": {"lazy_load_members": true}}});
        let mut bob = server.client(BOB).filter(filter.clone());
        let answer = bob.sync().await;
        assert_eq!(members(&joined(&answer, &room)["state"]), [BOB, CAROL]);
        assert_eq!(joined(&answer, &room)["summary"]["m.joined_member_count"], 3);

        server.send(&room, CAROL, "again").await;
        let answer = bob.sync().await;
        assert!(members(&joined(&answer, &room)["state"]).is_empty());

        server.send(&room, ALICE, "hello").await;
        let answer = bob.sync().await;
        assert_eq!(members(&joined(&answer, &room)["state"]), [ALICE]);

        let redundant = json!({"room": {"state": {"lazy_load_members": true, "include_redundant_members": true}}});
        let mut bob = server.client(BOB).filter(redundant);
        bob.sync().await;
        server.send(&room, CAROL, "more").await;
        assert_eq!(members(&joined(&bob.sync().await, &room)["state"]), [CAROL]);
    });
}

#[test]
fn a_member_counts_as_sent_once_the_response_is_written() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        server.send(&room, ALICE, "hello").await;
        let filter = json!({"room": {"state": {"lazy_load_members": true}, "timeline": {"limit": 1}}});
        let mut bob = server.client(BOB).filter(filter);
        assert_eq!(members(&joined(&bob.sync().await, &room)["state"]), [ALICE, BOB]);
        server.send(&room, CAROL, "hello").await;
        // A delta that nothing was made of, as when the client hangs up or a later part of it cannot be read.
        drop(bob.delta().await);
        assert_eq!(members(&joined(&bob.sync().await, &room)["state"]), [CAROL]);
        server.send(&room, CAROL, "again").await;
        assert!(members(&joined(&bob.sync().await, &room)["state"]).is_empty());
    });
}

#[test]
fn only_clients_that_load_members_lazily_get_a_summary_and_only_when_members_change() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        assert!(joined(&server.client(BOB).sync().await, &room)["summary"].is_null());
        let mut bob = server.client(BOB).filter(json!({"room": {"state": {"lazy_load_members": true}}}));
        assert_eq!(joined(&bob.sync().await, &room)["summary"]["m.joined_member_count"], 3);
        server.send(&room, ALICE, "nobody comes or goes").await;
        assert!(joined(&bob.sync().await, &room)["summary"].is_null());
        server.leave(&room, CAROL).await;
        assert_eq!(joined(&bob.sync().await, &room)["summary"]["m.joined_member_count"], 2);
    });
}

#[test]
fn an_invite_and_a_knock_are_shown_however_long_ago_they_were() {
    run(async |db| {
        let server = Server::new(db);
        let (inviting, knocking) = (server.room(ALICE).await, server.room(ALICE).await);
        server.set(&knocking, ALICE, "m.room.join_rules", json!({"join_rule": "knock"})).await;
        server.invite(&inviting, ALICE, BOB).await;
        server.members.knock(change(&knocking, BOB, BOB)).await.expect("a knock");
        server.send(&inviting, ALICE, "later").await;
        let answer = server.client(BOB).sync().await;
        assert_eq!(members(&section(&answer, "invite", &inviting)["invite_state"]), [ALICE, BOB]);
        assert!(members(&section(&answer, "knock", &knocking)["knock_state"]).contains(&BOB));
    });
}

#[test]
fn relations_of_events_that_are_not_in_memory_are_bundled() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        let root = server.send(&room, ALICE, "root").await;
        let relation = json!({"rel_type": "m.thread", "event_id": root});
        let reply = json!({"msgtype": "m.text", "body": "reply", "m.relates_to": relation});
        server.send_content(&room, ALICE, reply).await;
        for _ in 0..50 {
            server.send(&room, ALICE, "more than is loaded").await;
        }
        let filter = json!({"room": {"timeline": {"limit": 52}}});
        for server in [&server, &server.restarted()] {
            let answer = server.client(BOB).filter(filter.clone()).sync().await;
            let oldest = &events(&joined(&answer, &room)["timeline"])[0];
            assert_eq!(oldest["event_id"], root.as_str());
            assert_eq!(oldest["unsigned"]["m.relations"]["m.thread"]["count"], 1);
        }
    });
}

#[test]
fn a_room_without_a_name_has_heroes() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        server.set(&room, ALICE, "m.room.name", json!({"name": ""})).await;
        let filter = json!({"room": {"state": {"lazy_load_members": true}, "timeline": {"limit": 1}}});
        let answer = server.client(BOB).filter(filter).sync().await;
        let bob = joined(&answer, &room);
        assert_eq!(bob["summary"]["m.heroes"], json!([ALICE, CAROL]));
        assert_eq!(members(&bob["state"]), [ALICE, BOB, CAROL]);
    });
}

#[test]
fn filters_choose_rooms_types_and_senders() {
    run(async |db| {
        let server = Server::new(db);
        let (wanted, other) = (server.shared_room().await, server.shared_room().await);
        server.send(&wanted, ALICE, "from Alice").await;
        server.send(&wanted, CAROL, "from Carol").await;
        server.send_content(&wanted, ALICE, json!({"body": "file", "msgtype": "m.file", "url": "mxc://x/y"})).await;
        let filter = json!({"room": {
            "not_rooms": [other.id],
            "timeline": {"types": ["m.room.mess*"], "not_senders": [CAROL], "contains_url": false},
            "state": {"not_types": ["m.room.member"]},
        }});
        let answer = server.client(BOB).filter(filter).sync().await;
        assert!(joined(&answer, &other).is_null());
        let bob = joined(&answer, &wanted);
        assert_eq!(bodies(bob), ["from Alice"]);
        assert!(members(&bob["state"]).is_empty());
        assert!(event(&bob["state"], "m.room.create").is_some());
    });
}

#[test]
fn fields_and_format() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.room(ALICE).await;
        server.send(&room, ALICE, "hello").await;
        let filter = json!({"event_fields": ["type", "content.body"], "room": {"timeline": {"limit": 1}}});
        let answer = server.client(ALICE).filter(filter).sync().await;
        let timeline = &joined(&answer, &room)["timeline"];
        assert_eq!(events(timeline), [json!({"type": "m.room.message", "content": {"body": "hello"}})]);

        let filter = json!({"event_format": "federation", "room": {"timeline": {"limit": 1}}});
        let answer = server.client(ALICE).filter(filter).sync().await;
        assert!(events(&joined(&answer, &room)["timeline"])[0]["auth_events"].is_array());
    });
}

#[test]
fn rooms_left_before_are_sent_on_request_and_excluded_rooms_never() {
    run(async |db| {
        let server = Server::new(db.clone());
        let (left, kept) = (server.shared_room().await, server.shared_room().await);
        server.send(&left, ALICE, "before").await;
        server.leave(&left, BOB).await;
        server.send(&left, ALICE, "after").await;
        assert!(server.client(BOB).sync().await["rooms"]["leave"].is_null());
        let answer = server.client(BOB).filter(json!({"room": {"include_leave": true}})).sync().await;
        let room = section(&answer, "leave", &left);
        assert_eq!(bodies(room), ["before"]);
        assert_eq!(members(&room["timeline"]).last(), Some(&CAROL));

        let options = SyncOptions { exclude_rooms: [kept.id.to_string()].into(), ..SyncOptions::default() };
        let server = Server::with_options(db, options);
        assert!(joined(&server.client(BOB).sync().await, &kept).is_null());
    });
}

#[test]
fn history_before_the_join_follows_the_rooms_setting() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.room(ALICE).await;
        server.set(&room, ALICE, "m.room.history_visibility", json!({"history_visibility": "joined"})).await;
        server.send(&room, ALICE, "not for Bob").await;
        server.join(&room, BOB).await;
        server.send(&room, ALICE, "for Bob").await;
        assert_eq!(bodies(joined(&server.client(BOB).sync().await, &room)), ["for Bob"]);
    });
}
