use super::*;

const FIRST: &str = "$YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE";

/// A room of Alice's in which Bob, of the peer, is.
async fn shared(server: &TestServer, peer: &Peer, alice: &TestUser) -> String {
    let room = public_room(server, alice, "11").await;
    join(server, peer, &room, &peer.user("bob")).await;
    room
}

async fn ask(server: &TestServer, peer: &Peer, base: &str, segments: &[&str], query: &str) -> Answer {
    peer.get(server, &format!("{}{query}", path(base, segments))).await
}

async fn missing(server: &TestServer, peer: &Peer, room: &str, body: Value) -> Answer {
    peer.post(server, &path("v1/get_missing_events", &[room]), body).await
}

/// Every question about a room, with an event of it.
async fn every_question(server: &TestServer, peer: &Peer, room: &str, event: &str) -> Vec<(&'static str, Answer)> {
    let latest = json!({ "earliest_events": [], "latest_events": [event] });
    vec![
        ("event", ask(server, peer, "v1/event", &[event], "").await),
        ("state", ask(server, peer, "v1/state", &[room], &format!("?event_id={event}")).await),
        ("state_ids", ask(server, peer, "v1/state_ids", &[room], &format!("?event_id={event}")).await),
        ("event_auth", ask(server, peer, "v1/event_auth", &[room, event], "").await),
        ("backfill", ask(server, peer, "v1/backfill", &[room], &format!("?v={event}&limit=10")).await),
        ("get_missing_events", missing(server, peer, room, latest).await),
        ("timestamp_to_event", ask(server, peer, "v1/timestamp_to_event", &[room], "?ts=0&dir=f").await),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn only_servers_in_the_room_may_ask() {
    for server in TestServer::on_each().await {
        let (peer, stranger) = (Peer::start().await, Peer::start().await);
        let alice = server.register("alice").await;
        let room = shared(&server, &peer, &alice).await;
        let event = say(&server, &alice, &room, "hello").await;
        for (what, answer) in every_question(&server, &peer, &room, &event).await {
            assert_eq!(answer.status, 200, "{what}: {answer:?}");
        }
        for (what, answer) in every_question(&server, &stranger, &room, &event).await {
            assert_eq!(answer.refusal(), (403, "M_FORBIDDEN"), "{what}");
        }
        for (what, answer) in every_question(&server, &peer, "!unknown:test.example", FIRST).await {
            let expected = if what == "event" { (404, "M_NOT_FOUND") } else { (403, "M_FORBIDDEN") };
            assert_eq!(answer.refusal(), expected, "{what}");
        }
        set(&server, &alice, &room, "m.room.server_acl", json!({ "allow": ["*"], "allow_ip_literals": false })).await;
        for (what, answer) in every_question(&server, &peer, &room, &event).await {
            assert_eq!(answer.refusal(), (403, "M_FORBIDDEN"), "{what}, denied");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_other_rooms_are_not_found() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let room = shared(&server, &peer, &alice).await;
        let elsewhere = public_room(&server, &alice, "11").await;
        let secret = say(&server, &alice, &elsewhere, "secret").await;
        for event in [secret.as_str(), FIRST] {
            for (what, answer) in every_question(&server, &peer, &room, event).await {
                match what {
                    "event" if event == secret => assert_eq!(answer.refusal(), (403, "M_FORBIDDEN")),
                    "backfill" => assert_eq!(answer.ok()["pdus"], json!([])),
                    "get_missing_events" => assert_eq!(answer.ok()["events"], json!([])),
                    "timestamp_to_event" => {}
                    _ => assert_eq!(answer.refusal(), (404, "M_NOT_FOUND"), "{what}"),
                }
            }
        }
        let no_event = ask(&server, &peer, "v1/state", &[&room], "").await;
        assert_eq!(no_event.refusal(), (400, "M_MISSING_PARAM"));
        let no_event = ask(&server, &peer, "v1/backfill", &[&room], "?limit=1").await;
        assert_eq!(no_event.refusal(), (400, "M_MISSING_PARAM"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_backwards_and_between() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let room = shared(&server, &peer, &alice).await;
        let mut sent = Vec::new();
        for number in 0..110 {
            sent.push(say(&server, &alice, &room, &number.to_string()).await);
        }
        let backfill = async |event: &str, limit: &str| {
            let answer = ask(&server, &peer, "v1/backfill", &[&room], &format!("?v={event}&limit={limit}")).await;
            assert_eq!(answer.ok()["origin"], "test.example");
            assert!(answer.body["origin_server_ts"].is_u64());
            bodies(&pdus(&answer, "pdus", RoomVersion::V11))
        };
        assert_eq!(backfill(&sent[5], "3").await, ["5", "4", "3"]);
        let most = backfill(&sent[109], "10000").await;
        assert_eq!((most.len(), most[99].as_str()), (100, "10"));

        let between = async |mut body: Value| {
            body["latest_events"] = json!([sent[50]]);
            bodies(&pdus(&missing(&server, &peer, &room, body).await, "events", RoomVersion::V11))
        };
        assert_eq!(between(json!({ "earliest_events": [sent[46]] })).await, ["47", "48", "49"]);
        assert_eq!(between(json!({ "earliest_events": [], "limit": 2 })).await, ["48", "49"]);
        assert_eq!(between(json!({ "earliest_events": [] })).await.len(), 10);
        assert_eq!(between(json!({ "earliest_events": [], "limit": 1000 })).await.len(), 20);
        let event = ask(&server, &peer, "v1/event", &[&sent[47]], "").await;
        let depth = pdus(&event, "pdus", RoomVersion::V11)[0].depth();
        assert_eq!(between(json!({ "earliest_events": [], "min_depth": depth })).await, ["47", "48", "49"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn state_before_an_event_and_what_allowed_it() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        for version in ["2", "3", "12"] {
            let room = public_room(&server, &alice, version).await;
            join(&server, &peer, &room, &peer.user("bob")).await;
            let version: RoomVersion = version.parse().expect("a version");
            set(&server, &alice, &room, "m.room.name", json!({ "name": "before" })).await;
            let renamed = set(&server, &alice, &room, "m.room.name", json!({ "name": "after" })).await;
            set(&server, &alice, &room, "m.room.topic", json!({ "topic": "later" })).await;
            let query = format!("?event_id={}", renamed.replace('+', "%2B"));
            let whole = ask(&server, &peer, "v1/state", &[&room], &query).await;
            let state = pdus(&whole, "pdus", version);
            let name = state.iter().find(|pdu| pdu.event_type() == "m.room.name").expect("the room had a name");
            assert_eq!(name.content().get_str("name"), Some("before"));
            assert!(!state.iter().any(|pdu| pdu.event_type() == "m.room.topic"));

            let ids = ask(&server, &peer, "v1/state_ids", &[&room], &query).await;
            let sorted = |events: &[Pdu]| {
                let mut ids: Vec<_> = events.iter().map(|pdu| pdu.event_id().as_str().to_owned()).collect();
                ids.sort();
                ids
            };
            let listed = |member: &str| {
                let ids = ids.ok()[member].as_array().cloned().unwrap_or_default();
                let mut ids: Vec<_> = ids.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                ids.sort();
                ids
            };
            assert_eq!(listed("pdu_ids"), sorted(&state));
            let chain = pdus(&whole, "auth_chain", version);
            assert_eq!(listed("auth_chain_ids"), sorted(&chain));
            for pdu in &state {
                let known = |id| chain.iter().any(|other| other.event_id() == id);
                assert!(pdu.auth_events().iter().all(known), "version {version}: {pdu:?}");
            }

            let answer = ask(&server, &peer, "v1/event_auth", &[&room, &renamed], "").await;
            let chain = pdus(&answer, "auth_chain", version);
            let mut types: Vec<_> = chain.iter().map(Pdu::event_type).collect();
            types.sort();
            types.dedup();
            assert_eq!(types, ["m.room.create", "m.room.member", "m.room.power_levels"], "version {version}");
            assert!(!chain.iter().any(|pdu| pdu.event_id().as_str() == renamed));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_a_server_may_not_see_are_redacted() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let room = public_room(&server, &alice, "11").await;
        say(&server, &alice, &room, "shared").await;
        set(&server, &alice, &room, "m.room.history_visibility", json!({ "history_visibility": "joined" })).await;
        let hidden = say(&server, &alice, &room, "hidden").await;
        join(&server, &peer, &room, &peer.user("bob")).await;
        let seen = say(&server, &alice, &room, "seen").await;
        let taken_back = say(&server, &alice, &room, "taken back").await;
        let redact = client(&room, &format!("redact/{taken_back}/{}", unique_name()));
        server.put(&redact, &alice.token, json!({})).await.ok();
        let last = say(&server, &alice, &room, "last").await;

        let answer = ask(&server, &peer, "v1/backfill", &[&room], &format!("?v={last}&limit=100")).await;
        let returned = pdus(&answer, "pdus", RoomVersion::V11);
        assert_eq!(bodies(&returned), ["last", "", "seen", "", "shared"]);
        assert!(returned.iter().any(|pdu| pdu.event_id().as_str() == hidden), "it keeps its id");
        let answer = missing(&server, &peer, &room, json!({ "earliest_events": [], "latest_events": [seen] })).await;
        assert_eq!(bodies(&pdus(&answer, "events", RoomVersion::V11)), ["shared", ""]);
        for (event, text) in [(&hidden, ""), (&taken_back, ""), (&seen, "seen")] {
            let answer = ask(&server, &peer, "v1/event", &[event], "").await;
            assert_eq!(bodies(&pdus(&answer, "pdus", RoomVersion::V11)), [text]);
        }
        // Bob has left, Carol stays: what Bob saw stays visible to their server.
        join(&server, &peer, &room, &peer.user("carol")).await;
        let made = make(&server, &peer, "leave", &room, &peer.user("bob")).await;
        let leave = signed(&peer, &made, |_| {});
        submit(&server, &peer, "v2/send_leave", &room, &leave, "").await.ok();
        let answer = ask(&server, &peer, "v1/event", &[&seen], "").await;
        assert_eq!(bodies(&pdus(&answer, "pdus", RoomVersion::V11)), ["seen"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_nearest_to_a_time() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let room = shared(&server, &peer, &alice).await;
        let last = say(&server, &alice, &room, "last").await;
        let near = async |query: &str| ask(&server, &peer, "v1/timestamp_to_event", &[&room], query).await;
        let answer = near("?ts=4102444800000&dir=b").await;
        assert_eq!(answer.ok()["event_id"], last.as_str());
        assert!(answer.body["origin_server_ts"].is_u64());
        assert_eq!(near("?ts=4102444800000&dir=f").await.refusal(), (404, "M_NOT_FOUND"));
        assert_eq!(near("?ts=0&dir=x").await.refusal(), (400, "M_INVALID_PARAM"));
    }
}
