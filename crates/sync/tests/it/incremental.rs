//! Syncs with a token.

use plexus_protocol::push_rules::RuleKind;
use plexus_store::repo;
use plexus_sync::{ReceiptType, push_rules, tags};
use serde_json::{Value, json};

use crate::support::*;

#[test]
fn a_message_is_sent_once() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        let mut bob = server.client(BOB);
        bob.sync().await;
        server.send(&room, ALICE, "hello").await;
        let answer = bob.sync().await;
        let room_delta = joined(&answer, &room);
        assert_eq!(bodies(room_delta), ["hello"]);
        assert_eq!(room_delta["timeline"]["limited"], false);
        assert!(events(&room_delta["state"]).is_empty());
        assert_eq!(events(&room_delta["timeline"])[0]["unsigned"]["membership"], "join");
        let answer = bob.sync().await;
        assert!(answer["rooms"].is_null(), "{answer}");
    });
}

#[test]
fn the_sending_device_is_sent_its_transaction_id() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.room(ALICE).await;
        let (mut sending, mut other) = (server.client(ALICE), server.client(ALICE).device("OTHER"));
        sending.sync().await;
        other.sync().await;
        server.send_from_device(&room, ALICE, DEVICE, "txn1").await;
        let txn_id =
            |answer: &Value| events(&joined(answer, &room)["timeline"])[0]["unsigned"]["transaction_id"].clone();
        assert_eq!(txn_id(&sending.sync().await), "txn1");
        assert_eq!(txn_id(&other.sync().await), Value::Null);
    });
}

#[test]
fn a_gap_has_a_token_to_page_back_and_the_state_that_changed_in_it() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        let mut bob = server.client(BOB);
        bob.sync().await;
        server.set(&room, ALICE, "m.room.topic", json!({"topic": "first"})).await;
        server.set(&room, ALICE, "m.room.topic", json!({"topic": "in the gap"})).await;
        for number in 0..10 {
            server.send(&room, ALICE, &format!("message {number}")).await;
        }
        let answer = bob.sync().await;
        let room_delta = joined(&answer, &room);
        assert_eq!(bodies(room_delta).len(), 10);
        assert_eq!(room_delta["timeline"]["limited"], true);
        assert!(room_delta["timeline"]["prev_batch"].as_str().is_some_and(|token| token.starts_with('s')));
        let topics: Vec<&Value> = events(&room_delta["state"]).iter().map(|event| &event["content"]["topic"]).collect();
        assert_eq!(topics, ["in the gap"]);
    });
}

#[test]
fn state_after_repeats_what_the_timeline_shows() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.room(ALICE).await;
        let mut alice = server.client(ALICE);
        alice.request.state_after = true;
        alice.sync().await;
        server.set(&room, ALICE, "m.room.topic", json!({"topic": "one"})).await;
        server.set(&room, ALICE, "m.room.topic", json!({"topic": "two"})).await;
        let answer = alice.sync().await;
        let topics: Vec<&Value> =
            events(&joined(&answer, &room)["state_after"]).iter().map(|event| &event["content"]["topic"]).collect();
        assert_eq!(topics, ["two"]);
        assert_eq!(events(&joined(&answer, &room)["timeline"]).len(), 2);
    });
}

#[test]
fn an_invite_a_join_and_a_leave() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.room(ALICE).await;
        let mut bob = server.client(BOB);
        bob.sync().await;
        server.invite(&room, ALICE, BOB).await;
        let answer = bob.sync().await;
        let invite = &section(&answer, "invite", &room)["invite_state"];
        assert_eq!(members(invite), [ALICE, BOB]);
        let name = event(invite, "m.room.name").expect("a name");
        assert_eq!(
            name,
            &json!({"type": "m.room.name", "state_key": "", "sender": ALICE, "content": {"name": "A room"}})
        );
        assert!(bob.sync().await["rooms"].is_null(), "an invite is sent once");

        server.join(&room, BOB).await;
        let answer = bob.sync().await;
        let room_delta = joined(&answer, &room);
        let all: Vec<&Value> = events(&room_delta["state"]).iter().chain(events(&room_delta["timeline"])).collect();
        assert!(all.iter().any(|event| event["type"] == "m.room.create"));
        assert!(all.iter().any(|event| event["type"] == "m.room.member" && event["state_key"] == BOB));
        assert_eq!(room_delta["timeline"]["limited"], true);

        server.send(&room, ALICE, "before").await;
        server.leave(&room, BOB).await;
        server.send(&room, ALICE, "after").await;
        let answer = bob.sync().await;
        assert!(joined(&answer, &room).is_null());
        let left = section(&answer, "leave", &room);
        assert_eq!(bodies(left), ["before"]);
        assert_eq!(members(&left["timeline"]), [BOB]);
        server.send(&room, ALICE, "long after").await;
        assert!(bob.sync().await["rooms"].is_null());
    });
}

#[test]
fn a_rejected_invite_ends_and_tells_nothing_of_the_room() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.room(ALICE).await;
        server.invite(&room, ALICE, BOB).await;
        let mut bob = server.client(BOB);
        bob.sync().await;
        server.send(&room, ALICE, "among members").await;
        server.leave(&room, BOB).await;
        let answer = bob.sync().await;
        let left = section(&answer, "leave", &room);
        assert_eq!(events(&left["timeline"]).len(), 1);
        assert_eq!(members(&left["timeline"]), [BOB]);
    });
}

#[test]
fn a_ban_is_sent_and_being_away_hides_what_was_said() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        server.set(&room, ALICE, "m.room.history_visibility", json!({"history_visibility": "joined"})).await;
        let mut bob = server.client(BOB);
        bob.sync().await;
        server.members.ban(change(&room, ALICE, BOB)).await.expect("banned");
        let answer = bob.sync().await;
        let timeline = &section(&answer, "leave", &room)["timeline"];
        assert_eq!(events(timeline).last().map(|event| &event["content"]["membership"]), Some(&json!("ban")));
        server.members.unban(change(&room, ALICE, BOB)).await.expect("unbanned");
        server.send(&room, ALICE, "while away").await;
        server.join(&room, BOB).await;
        server.send(&room, ALICE, "back again").await;
        assert_eq!(bodies(joined(&bob.sync().await, &room)), ["back again"]);
    });
}

#[test]
fn ignored_users_say_nothing_and_invite_nobody() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        let mut bob = server.client(BOB);
        bob.sync().await;
        server.account_data(BOB, "m.ignored_user_list", json!({"ignored_users": {ALICE: {}}})).await;
        server.send(&room, ALICE, "unheard").await;
        server.set(&room, ALICE, "m.room.topic", json!({"topic": "state is sent"})).await;
        let elsewhere = server.room(ALICE).await;
        server.invite(&elsewhere, ALICE, BOB).await;
        let answer = bob.sync().await;
        assert!(event(&answer["account_data"], "m.ignored_user_list").is_some());
        assert!(bodies(joined(&answer, &room)).is_empty());
        assert!(event(&joined(&answer, &room)["timeline"], "m.room.topic").is_some());
        assert!(section(&answer, "invite", &elsewhere).is_null());
        assert_eq!(joined(&answer, &room)["unread_notifications"]["notification_count"], 0);
    });
}

#[test]
fn receipts_move_and_clear_the_counts() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        let (mut bob, mut carol) = (server.client(BOB), server.client(CAROL));
        bob.sync().await;
        carol.sync().await;
        let first = server.send(&room, ALICE, "one").await;
        let mention = json!({"msgtype": "m.text", "body": "two", "m.mentions": {"user_ids": [BOB]}});
        let second = server.send_content(&room, ALICE, mention).await;
        let counts = |answer: &Value| joined(answer, &room)["unread_notifications"].clone();
        assert_eq!(counts(&bob.sync().await), json!({"highlight_count": 1, "notification_count": 2}));
        server.read(&room, BOB, &first, None).await;
        let answer = bob.sync().await;
        assert_eq!(counts(&answer), json!({"highlight_count": 1, "notification_count": 1}));
        let receipt = event(&joined(&answer, &room)["ephemeral"], "m.receipt").expect("a receipt");
        assert_eq!(receipt["content"][first.as_str()]["m.read"][BOB]["ts"], server.clock.now_ms());
        carol.sync().await;
        server.receipt(&room, BOB, &second, None, ReceiptType::ReadPrivate).await;
        assert!(carol.sync().await["rooms"].is_null(), "a private receipt is nobody else's business");
        assert_eq!(counts(&bob.sync().await), json!({"highlight_count": 0, "notification_count": 0}));
        server.read(&room, BOB, &first, None).await;
        assert!(bob.sync().await["rooms"].is_null(), "receipts do not move backwards");
    });
}

#[test]
fn threads_are_counted_apart_on_request() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        let mut bob = server.client(BOB).filter(json!({"room": {"timeline": {"unread_thread_notifications": true}}}));
        bob.sync().await;
        let root = server.send(&room, ALICE, "root").await;
        let relation = json!({"rel_type": "m.thread", "event_id": root});
        let reply = json!({"msgtype": "m.text", "body": "reply", "m.relates_to": relation});
        let reply = server.send_content(&room, ALICE, reply).await;
        let answer = bob.sync().await;
        assert_eq!(joined(&answer, &room)["unread_notifications"]["notification_count"], 1);
        let thread = &joined(&answer, &room)["unread_thread_notifications"][root.as_str()];
        assert_eq!(thread, &json!({"highlight_count": 0, "notification_count": 1}));
        let bundled = &events(&joined(&answer, &room)["timeline"])[0]["unsigned"]["m.relations"]["m.thread"];
        assert_eq!(bundled["count"], 1);

        server.read(&room, BOB, &reply, Some(root.as_str())).await;
        let answer = bob.sync().await;
        assert!(joined(&answer, &room)["unread_thread_notifications"].is_null());
        assert_eq!(joined(&answer, &room)["unread_notifications"]["notification_count"], 1);
        server.read(&room, BOB, &root, Some("main")).await;
        let answer = bob.sync().await;
        assert_eq!(joined(&answer, &room)["unread_notifications"]["notification_count"], 0);
    });
}

#[test]
fn typing_starts_and_stops() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        let mut bob = server.client(BOB);
        bob.sync().await;
        server.typing.start(room.nid, &user(ALICE), std::time::Duration::from_secs(30));
        let typing = |answer: &Value| event(&joined(answer, &room)["ephemeral"], "m.typing").cloned();
        let users = |users: &[&str]| Some(json!({"type": "m.typing", "content": {"user_ids": users}}));
        assert_eq!(typing(&bob.sync().await), users(&[ALICE]));
        assert_eq!(typing(&bob.sync().await), None);
        server.typing.stop(room.nid, &user(ALICE));
        assert_eq!(typing(&bob.sync().await), users(&[]));
    });
}

#[test]
fn account_data_tags_markers_and_push_rules() {
    run(async |db| {
        let server = Server::new(db.clone());
        let room = server.shared_room().await;
        let mut bob = server.client(BOB);
        bob.sync().await;
        let read = server.send(&room, ALICE, "one").await;
        bob.sync().await;
        server.account_data(BOB, "org.example", json!({"a": 1})).await;
        let order = serde_json::Map::from_iter([("order".to_owned(), json!(0.5))]);
        tags::set(&db, &user(BOB), &room, "m.favourite".into(), order).await.expect("tagged");
        server.receipts.set_fully_read(&room, &user(BOB), &read).await.expect("marked");
        let change = push_rules::RuleChange::Enable(true);
        push_rules::change(&db, &user(BOB), RuleKind::Override, ".m.rule.master", change, Default::default())
            .await
            .expect("changed");
        let answer = bob.sync().await;
        assert_eq!(
            event(&answer["account_data"], "org.example").map(|event| &event["content"]),
            Some(&json!({"a": 1}))
        );
        let rules = event(&answer["account_data"], "m.push_rules").expect("push rules");
        assert_eq!(rules["content"]["global"]["override"][0]["enabled"], true);
        let room_data = &joined(&answer, &room)["account_data"];
        let tags = event(room_data, "m.tag").expect("tags");
        assert_eq!(tags["content"], json!({"tags": {"m.favourite": {"order": 0.5}}}));
        let marker = event(room_data, "m.fully_read").expect("a marker");
        assert_eq!(marker["content"]["event_id"], read.as_str());
        let answer = bob.sync().await;
        assert!(answer["account_data"].is_null() && answer["rooms"].is_null(), "{answer}");
        // With the master rule on, nothing notifies.
        server.send(&room, ALICE, "two").await;
        let answer = bob.sync().await;
        assert_eq!(joined(&answer, &room)["unread_notifications"]["notification_count"], 1);
        tags::remove(&db, &user(BOB), &room, "m.favourite".into()).await.expect("untagged");
        let answer = bob.sync().await;
        let tags = event(&joined(&answer, &room)["account_data"], "m.tag").expect("tags");
        assert_eq!(tags["content"], json!({"tags": {}}));
    });
}

#[test]
fn account_data_of_a_room_comes_with_the_room() {
    run(async |db| {
        let server = Server::new(db.clone());
        let room = server.room(ALICE).await;
        tags::set(&db, &user(BOB), &room, "m.favourite".into(), serde_json::Map::new()).await.expect("tagged");
        let mut bob = server.client(BOB);
        assert!(bob.sync().await["rooms"].is_null());
        server.join(&room, BOB).await;
        let answer = bob.sync().await;
        let tags = event(&joined(&answer, &room)["account_data"], "m.tag").expect("tags");
        assert_eq!(tags["content"], json!({"tags": {"m.favourite": {}}}));
    });
}

#[test]
fn tokens_survive_a_restart() {
    run(async |db| {
        let server = Server::new(db.clone());
        let room = server.shared_room().await;
        let quiet = server.shared_room().await;
        let mut bob = server.client(BOB);
        bob.sync().await;
        server.send(&room, ALICE, "before the restart").await;
        server.account_data(BOB, "org.example", json!({})).await;
        let since = bob.since.clone();
        let server = server.restarted();
        let mut bob = server.client(BOB);
        bob.since = since;
        let answer = bob.sync().await;
        assert_eq!(bodies(joined(&answer, &room)), ["before the restart"]);
        assert_eq!(joined(&answer, &room)["unread_notifications"]["notification_count"], 1);
        assert!(joined(&answer, &quiet).is_null());
        assert!(event(&answer["account_data"], "org.example").is_some());
        let room = server.rooms.get(&room.id).await.expect("read").expect("a room");
        server.send(&room, ALICE, "after the restart").await;
        let answer = bob.sync().await;
        assert_eq!(bodies(joined(&answer, &room)), ["after the restart"]);
        assert_eq!(joined(&answer, &room)["unread_notifications"]["notification_count"], 2);
    });
}

#[test]
fn full_state_repeats_all_state_but_not_the_timeline() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        let mut bob = server.client(BOB);
        bob.sync().await;
        bob.request.full_state = true;
        let answer = bob.sync().await;
        assert!(events(&joined(&answer, &room)["timeline"]).is_empty());
        assert_eq!(members(&joined(&answer, &room)["state"]), [ALICE, BOB, CAROL]);
    });
}

#[test]
fn a_redacted_message_no_longer_counts() {
    run(async |db| {
        let server = Server::new(db);
        let room = server.shared_room().await;
        let mut bob = server.client(BOB);
        bob.sync().await;
        let event = server.send(&room, ALICE, "regretted").await;
        assert_eq!(joined(&bob.sync().await, &room)["unread_notifications"]["notification_count"], 1);
        let content = plexus_protocol::json::Object::from([("redacts", event.as_str())]);
        let redaction = plexus_rooms::NewEvent {
            room_id: room.id.clone(),
            sender: user(ALICE),
            event_type: "m.room.redaction".into(),
            state_key: None,
            content,
            redacts: None,
            origin_server_ts: None,
            sticky_duration_ms: None,
            transaction: None,
        };
        server.sender.send(redaction).await.expect("redacted");
        assert_eq!(joined(&bob.sync().await, &room)["unread_notifications"]["notification_count"], 0);
    });
}

#[test]
fn a_long_scan_leaves_a_checkpoint() {
    run(async |db| {
        let server = Server::new(db.clone());
        let room = server.room(ALICE).await;
        server.join(&room, BOB).await;
        for number in 0..510 {
            server.send(&room, ALICE, &format!("message {number}")).await;
        }
        let answer = server.client(BOB).sync().await;
        assert_eq!(joined(&answer, &room)["unread_notifications"]["notification_count"], 510);
        // The checkpoint is written in the background; a later write is committed after it.
        tokio::task::yield_now().await;
        let mut stored = Vec::new();
        while stored.is_empty() {
            server.account_data(BOB, "org.example", json!({})).await;
            stored = db
                .read(|tx| repo::unread::of_user(tx, BOB))
                .await
                .map_err(|error: plexus_store::DbError| error)
                .expect("read");
        }
        let server = server.restarted();
        let answer = server.client(BOB).sync().await;
        assert_eq!(joined(&answer, &room)["unread_notifications"]["notification_count"], 510);
    });
}
