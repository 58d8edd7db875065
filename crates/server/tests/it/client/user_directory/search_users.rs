//! `POST /user_directory/search`.

use plexus_protocol::event::build;
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use plexus_store::repo::users;
use plexus_store::{DbError, Tx};
use plexus_testkit::server::{TestServer, TestUser};
use plexus_testkit::{BigRoom, Peer, places, unique_name};
use serde_json::{Value, json};

use crate::client::account::erasure::erase;
use crate::client::{create, public_room, room_path, say, state};
use crate::federation::away::{CLIENT, synced};
use crate::federation::{make, signed, submit};

#[tokio::test(flavor = "multi_thread")]
async fn finding_users() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let search = |term: &'static str| {
            let (server, alice) = (&server, &alice);
            async move {
                let body = json!({ "search_term": term });
                server.post("/_matrix/client/v3/user_directory/search", &alice.token, body).await.ok().clone()
            }
        };
        assert_eq!(search("bob").await["results"], json!([]));
        public_room(&server, &bob).await;
        assert_eq!(search("@BO").await["results"][0]["user_id"], json!(bob.id));
        let name = format!("/_matrix/client/v3/profile/{}/displayname", bob.id);
        server.put(&name, &bob.token, json!({ "displayname": "Robert 100%" })).await.ok();
        assert_eq!(search("rob").await["results"][0]["display_name"], "Robert 100%");
        assert_eq!(search("100%").await["results"].as_array().map(Vec::len), Some(1));
        assert_eq!(search("1_0%").await["results"], json!([]));
        assert_eq!(search("alice").await, json!({ "results": [], "limited": false }));
    }
}

/// The answer to a search.
async fn search(server: &TestServer, user: &TestUser, body: Value) -> Value {
    server.post(&format!("{CLIENT}/user_directory/search"), &user.token, body).await.ok().clone()
}

/// The ids of the users who are found.
async fn found(server: &TestServer, user: &TestUser, term: &str) -> Vec<String> {
    let answer = search(server, user, json!({ "search_term": term, "limit": 50 })).await;
    let results = answer["results"].as_array().cloned().unwrap_or_default();
    results.iter().map(|user| user["user_id"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn call(server: &TestServer, user: &TestUser, name: &str) {
    let path = format!("{CLIENT}/profile/{}/displayname", user.id);
    server.put(&path, &user.token, json!({ "displayname": name })).await.ok();
}

/// A user with a name.
async fn named(server: &TestServer, localpart: &str, name: &str) -> TestUser {
    let user = server.register(localpart).await;
    call(server, &user, name).await;
    user
}

/// A user of the peer joins under a name.
async fn join_from(server: &TestServer, peer: &Peer, room: &str, localpart: &str, name: &str) -> String {
    let user = peer.user(localpart);
    let made = make(server, peer, "join", room, &user).await;
    let pdu = signed(peer, &made, |event| event["content"]["displayname"] = json!(name));
    submit(server, peer, "v2/send_join", room, &pdu, "").await.ok();
    user
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_found_in_any_case_and_composition_and_by_words_in_any_order() {
    for place in places() {
        let server = TestServer::on(place).config("user_directory: {search_all_users: true}").start().await;
        let alice = server.register("alice").await;
        let ivan = named(&server, "u1", "Иван Петров").await.id;
        let omer = named(&server, "u2", "O\u{308}mer Şahin").await.id;
        let odysseus = named(&server, "u3", "Ὀδυσσεύς").await.id;
        let street = named(&server, "u4", "Frau Große").await.id;
        let tanaka = named(&server, "u5", "山田太郎").await.id;
        let dotted = named(&server, "ann-marie.o_neil", "The Boss").await.id;
        for (term, expected) in [
            ("Иван", &ivan),
            ("иван", &ivan),
            ("ПЕТРОВ ИВАН", &ivan),
            ("петр ив", &ivan),
            ("Ömer", &omer),
            ("ÖMER", &omer),
            ("o\u{308}me", &omer),
            ("şahin ömer", &omer),
            ("ὈΔΥΣΣΕΎΣ", &odysseus),
            ("ὀδυσ", &odysseus),
            ("GROSSE", &street),
            ("große frau", &street),
            ("太郎", &tanaka),
            ("neil ann", &dotted),
            ("@ann-marie.o_neil:test.example", &dotted),
            ("boss o_neil", &dotted),
        ] {
            assert_eq!(found(&server, &alice, term).await, [expected.as_str()], "{term}");
        }
        for term in ["омер", "ван", "Иван Сидоров", "", "🦊", "  @ ", "\u{0}", &"x ".repeat(10_000)]
        {
            assert_eq!(found(&server, &alice, term).await, [] as [&str; 0], "{term:?}");
        }
        call(&server, &TestUser { id: ivan.clone(), ..server.log_in("u1").await }, "Ivan").await;
        assert_eq!(found(&server, &alice, "Иван").await, [] as [&str; 0]);
        assert_eq!(found(&server, &alice, "ivan").await, [ivan]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_best_match_comes_first() {
    for place in places() {
        let server = TestServer::on(place).config("user_directory: {search_all_users: true}").start().await;
        let alice = server.register("alice").await;
        let longer = named(&server, "a1", "Bobby Anna Tables").await.id;
        let whole = named(&server, "a2", "Bob Tables").await.id;
        let own = named(&server, "bob", "Robert").await.id;
        assert_eq!(found(&server, &alice, "bob").await, [own.clone(), whole.clone(), longer.clone()]);
        assert_eq!(found(&server, &alice, "tables bob").await, [whole.clone(), longer.clone()]);
        let answer = search(&server, &alice, json!({ "search_term": "bob", "limit": 1 })).await;
        assert_eq!((&answer["limited"], answer["results"].as_array().map(Vec::len)), (&json!(true), Some(1)));
        let answer = search(&server, &alice, json!({ "search_term": "bob" })).await;
        assert_eq!(answer["limited"], false);
        let user = json!({ "user_id": own, "display_name": "Robert" });
        assert_eq!(answer["results"][0], user);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_other_servers_are_found_in_open_and_in_common_rooms() {
    for place in places() {
        let server = TestServer::on(place).start().await;
        let (peer, other) = (Peer::start().await, Peer::start().await);
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let open = create(&server, &alice, json!({ "preset": "public_chat", "room_version": "11" })).await;
        let closed = create(&server, &alice, json!({ "preset": "public_chat", "room_version": "11" })).await;
        let carol = join_from(&server, &peer, &open, "carol", "Кэрол").await;
        let dave = join_from(&server, &other, &closed, "dave", "Dave Inside").await;
        let outside = join_from(&server, &other, &open, "dave", "Dave Outside").await;
        assert_eq!(dave, outside);
        assert_eq!(found(&server, &bob, "кэРОЛ").await, [carol.as_str()]);
        assert_eq!(found(&server, &bob, "inside").await, [dave.as_str()]);

        // The closed room's members are found, under their names there, by its members only.
        let rules = room_path(&closed, "state/m.room.join_rules");
        server.put(&rules, &alice.token, json!({ "join_rule": "invite" })).await.ok();
        assert_eq!(found(&server, &bob, "inside").await, [] as [&str; 0]);
        assert_eq!(found(&server, &bob, "dave").await, [dave.as_str()]);
        let answer = search(&server, &bob, json!({ "search_term": "dave" })).await;
        assert_eq!(answer["results"][0]["display_name"], "Dave Outside");
        assert_eq!(found(&server, &alice, "inside").await, [dave.as_str()]);
        // World readable counts as open.
        let visibility = room_path(&closed, "state/m.room.history_visibility");
        server.put(&visibility, &alice.token, json!({ "history_visibility": "world_readable" })).await.ok();
        assert_eq!(found(&server, &bob, "inside").await, [dave.as_str()]);

        // Oneself, too: in an open room.
        assert_eq!(found(&server, &alice, "alice").await, [alice.id.as_str()]);
        assert_eq!(found(&server, &bob, "bob").await, [] as [&str; 0]);

        // Who has left, and whose room this server has left, is not found any more; back in it they are.
        leave_from(&server, &alice, &peer, &open, &carol).await;
        assert_eq!(found(&server, &bob, "кэрол").await, [] as [&str; 0]);
        for room in [&open, &closed] {
            server.post(&room_path(room, "leave"), &alice.token, json!({})).await.ok();
        }
        assert_eq!(found(&server, &bob, "dave").await, [] as [&str; 0]);
    }
}

/// A user of the peer leaves; waits until Alice knows.
async fn leave_from(server: &TestServer, alice: &TestUser, peer: &Peer, room: &str, user: &str) {
    let since = server.get(&format!("{CLIENT}/sync"), &alice.token).await.ok()["next_batch"].clone();
    let made = make(server, peer, "leave", room, user).await;
    let pdu = signed(peer, &made, |_| {});
    submit(server, peer, "v2/send_leave", room, &pdu, "").await.ok();
    synced(server, alice, since.as_str().unwrap_or_default(), |answer| {
        answer["rooms"]["join"][room]["timeline"].to_string().contains(user)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redacted_name_is_not_found() {
    for place in places() {
        let server = TestServer::on(place).start().await;
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let room = create(&server, &alice, json!({ "preset": "public_chat", "room_version": "11" })).await;
        let carol = join_from(&server, &peer, &room, "carol", "Unspeakable").await;
        assert_eq!(found(&server, &alice, "unspeak").await, [carol.as_str()]);
        let member = state(&server, &alice, &room, &format!("m.room.member/{carol}?format=event")).await;
        let id = member.ok()["event_id"].as_str().expect("an id").to_owned();
        server.put(&room_path(&room, &format!("redact/{id}/1")), &alice.token, json!({})).await.ok();
        assert_eq!(found(&server, &alice, "unspeak").await, [] as [&str; 0]);
        assert_eq!(found(&server, &alice, "carol").await, [carol.as_str()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_options_act() {
    for place in places() {
        let mut server = TestServer::on(place).start().await;
        let peer = Peer::start().await;
        let (alice, bob) = (server.register("alice").await, named(&server, "bob", "Bob Longer Name").await);
        let room = create(&server, &bob, json!({ "preset": "public_chat", "room_version": "11" })).await;
        let remote = join_from(&server, &peer, &room, "bob", "Bob").await;
        assert_eq!(found(&server, &alice, "bob").await, [remote.as_str(), bob.id.as_str()]);
        server.config_mut().rooms.user_directory.prefer_local_users = true;
        server.restart().await;
        assert_eq!(found(&server, &alice, "bob").await, [bob.id.as_str(), remote.as_str()]);
        server.config_mut().rooms.user_directory.exclude_remote_users = true;
        server.restart().await;
        assert_eq!(found(&server, &alice, "bob").await, [bob.id.as_str()]);
        server.config_mut().rooms.user_directory.enabled = false;
        server.restart().await;
        assert_eq!(found(&server, &alice, "bob").await, [] as [&str; 0]);
        let options = &mut server.config_mut().rooms.user_directory;
        (options.enabled, options.exclude_remote_users, options.search_all_users) = (true, false, true);
        server.restart().await;
        assert_eq!(found(&server, &bob, "alice").await, [alice.id.as_str()]);
        // As in Synapse, where all users are searched one does not find oneself.
        assert_eq!(found(&server, &bob, "bob").await, [remote.as_str()]);
        // What a user of another server is called in a private room stays there.
        let private = create(&server, &bob, json!({ "preset": "public_chat", "room_version": "11" })).await;
        join_from(&server, &peer, &private, "eve", "Hidden Name").await;
        let rules = room_path(&private, "state/m.room.join_rules");
        server.put(&rules, &bob.token, json!({ "join_rule": "invite" })).await.ok();
        assert_eq!(found(&server, &bob, "hidden").await.len(), 1);
        assert_eq!(found(&server, &alice, "hidden").await, [] as [&str; 0]);
        let locked = alice.id.clone();
        changed(&mut server, move |tx| users::set_locked(tx, &locked, true).map(drop)).await;
        assert_eq!(found(&server, &bob, "alice").await, [] as [&str; 0]);
        server.config_mut().rooms.user_directory.show_locked_users = true;
        server.restart().await;
        assert_eq!(found(&server, &bob, "alice").await, [alice.id.as_str()]);
    }
}

/// Changes the database while the server is stopped.
async fn changed(server: &mut TestServer, change: impl FnOnce(&mut Tx<'_>) -> Result<(), DbError> + Send + 'static) {
    let database = server.open_database().await;
    database.write(change).await.expect("the database can be changed");
    database.close().await;
    server.restart().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deactivated_users_and_guests_are_not_found() {
    for place in places() {
        let config = "user_directory: {search_all_users: true}\nallow_guest_access: true";
        let server = TestServer::on(place).config(config).start().await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let path = format!("{CLIENT}/register?kind=guest");
        let guest = server.request(http::Method::POST, &path, None, Some(json!({}))).await;
        let guest = guest.ok()["user_id"].as_str().unwrap_or_default().to_owned();
        let number = guest.trim_start_matches('@').split(':').next().unwrap_or_default().to_owned();
        assert_eq!(found(&server, &alice, &number).await, [] as [&str; 0]);
        assert_eq!(found(&server, &alice, "bob").await, [bob.id.as_str()]);
        erase(&server, &bob).await;
        assert_eq!(found(&server, &alice, "bob").await, [] as [&str; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_room_is_indexed_while_others_talk() {
    for place in places() {
        let server = TestServer::on(place).start().await;
        let host = BigRoom::new(2_000, 2_100).host(&[]).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let own = public_room(&server, &bob).await;
        let path = format!("{CLIENT}/join/{}?via={}", host.room.id(), host.peer.name());
        server.post(&path, &alice.token, json!({})).await.ok();
        for _ in 0..20 {
            say(&server, &bob, &own, &unique_name()).await;
        }
        let last = host.room.member(1_999).to_string();
        // A search waits a moment for what has changed, and then answers with what there is.
        while found(&server, &bob, &last).await != [last.as_str()] {}
    }
}

/// Names of members as other servers may choose them.
#[tokio::test(flavor = "multi_thread")]
async fn no_name_harms_the_directory() {
    for place in places() {
        let server = TestServer::on(place).start().await;
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let room = create(&server, &alice, json!({ "preset": "public_chat", "room_version": "11" })).await;
        let names = [
            json!("zero \u{0} nul"),
            json!(5),
            json!({}),
            json!("x".repeat(20_000)),
            json!("% _ ' \" \\ : *"),
            json!(""),
        ];
        for (number, name) in names.iter().enumerate() {
            let user = peer.user(&format!("odd{number}"));
            let made = make(&server, &peer, "join", &room, &user).await;
            let mut event = made.ok()["event"].clone();
            event["content"]["displayname"] = name.clone();
            event["content"]["avatar_url"] = name.clone();
            let event = Object::parse(&event.to_string()).expect("an event");
            let pdu = build::finish(event, RoomVersion::V11, peer.key(), peer.name()).expect("an event");
            submit(&server, &peer, "v2/send_join", &room, &pdu, "").await.ok();
            assert_eq!(found(&server, &alice, &format!("odd{number}")).await, [user.as_str()], "{name}");
        }
        assert_eq!(found(&server, &alice, "zero nul").await.len(), 1);
    }
}

/// What was there before the directory was: users, and rooms whose members are not indexed yet.
#[tokio::test(flavor = "multi_thread")]
async fn users_older_than_the_directory_are_indexed_at_the_next_start() {
    for place in places() {
        let mut server = TestServer::on(place).start().await;
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let bob = named(&server, "bob", "Bob").await;
        let room = create(&server, &bob, json!({ "preset": "public_chat", "room_version": "11" })).await;
        let carol = join_from(&server, &peer, &room, "carol", "Carol").await;
        assert_eq!(found(&server, &alice, "carol").await, [carol.as_str()]);
        changed(&mut server, |tx| {
            tx.execute("DELETE FROM user_directory_words", &[])?;
            tx.execute("DELETE FROM user_directory_profiles", &[])?;
            tx.execute("DELETE FROM user_directory_sources", &[])?;
            tx.execute("DELETE FROM user_directory_open_rooms", &[])?;
            tx.execute("INSERT INTO user_directory_old_users (user_id) SELECT user_id FROM users", &[])?;
            tx.execute("INSERT INTO user_directory_old_rooms (room_nid) SELECT room_nid FROM rooms", &[])?;
            tx.execute("UPDATE memberships SET directory_stale = 1", &[])?;
            Ok(())
        })
        .await;
        for (term, user) in [("carol", &carol), ("bob", &bob.id)] {
            assert_eq!(found(&server, &alice, term).await, [user.as_str()]);
        }
    }
}
