//! Events of an erased user are redacted for users who were not in the room when they were sent.

use plexus_protocol::rules::RoomVersion;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use plexus_testkit::{Peer, TestPlace, places};
use serde_json::{Value, json};

use crate::client::{bodies, create, join, room_path, say, send, state, with_password};
use crate::federation;
use crate::federation::away::{CLIENT, synced};

/// Everything of Alice's that Carol must not read.
const SECRETS: [&str; 6] =
    ["first secret", "secret reply", "edited secret", "secret topic", "secret name", "secret reason"];

struct Stage {
    server: TestServer,
    bob: TestUser,
    carol: TestUser,
    room: String,
    /// Of Alice: a message, the reply in its thread, an earlier topic. Of Bob: a message that roots another thread.
    events: [String; 4],
}

fn id_of(answer: Answer) -> String {
    answer.ok()["event_id"].as_str().expect("an id").to_owned()
}

async fn thread_reply(server: &TestServer, user: &TestUser, room: &str, root: &str, body: &str) -> String {
    let relation = json!({ "rel_type": "m.thread", "event_id": root });
    let content = json!({ "msgtype": "m.text", "body": body, "m.relates_to": relation });
    id_of(send(server, user, room, "m.room.message", content).await)
}

/// Leaves nothing of the account.
pub(crate) async fn erase(server: &TestServer, user: &TestUser) {
    let path = format!("{CLIENT}/account/deactivate");
    let body = json!({ "erase": true });
    let session = server.post(&path, &user.token, body.clone()).await.body["session"].clone();
    server.post(&path, &user.token, with_password(user, &session, body)).await.ok();
}

impl Stage {
    /// Alice and Bob have talked; then Alice was erased, and Carol came.
    async fn on(place: TestPlace) -> Self {
        let server = TestServer::on(place).start().await;
        let mut users = Vec::new();
        for name in ["alice", "bob", "carol"] {
            users.push(server.register(name).await);
        }
        let [alice, bob, carol] = <[TestUser; 3]>::try_from(users).unwrap_or_else(|_| panic!("three users"));
        let room = create(&server, &bob, json!({ "preset": "public_chat", "room_version": "11" })).await;
        join(&server, &alice, &room).await;
        let profile = format!("{CLIENT}/profile/{}/displayname", alice.id);
        server.put(&profile, &alice.token, json!({ "displayname": "secret name" })).await.ok();
        let levels = state(&server, &bob, &room, "m.room.power_levels").await;
        let mut levels = levels.ok().clone();
        levels["users"][&alice.id] = json!(100);
        server.put(&room_path(&room, "state/m.room.power_levels"), &bob.token, levels).await.ok();
        let set = async |user: &TestUser, topic: &str| {
            id_of(server.put(&room_path(&room, "state/m.room.topic"), &user.token, json!({ "topic": topic })).await)
        };
        let topic = set(&alice, "secret topic").await;
        set(&bob, "open topic").await;
        let name = json!({ "name": "Name by Alice" });
        server.put(&room_path(&room, "state/m.room.name"), &alice.token, name).await.ok();
        let message = say(&server, &alice, &room, "first secret").await;
        let edit = json!({
            "msgtype": "m.text", "body": "* edited secret", "m.new_content": { "body": "edited secret" },
            "m.relates_to": { "rel_type": "m.replace", "event_id": message },
        });
        send(&server, &alice, &room, "m.room.message", edit).await.ok();
        let root = say(&server, &bob, &room, "open message").await;
        let reply = thread_reply(&server, &alice, &room, &root, "secret reply").await;
        let bad = say(&server, &bob, &room, "redacted message").await;
        let reason = json!({ "reason": "secret reason" });
        server.put(&room_path(&room, &format!("redact/{bad}/1")), &alice.token, reason).await.ok();
        let since = server.get(&format!("{CLIENT}/sync"), &bob.token).await.ok()["next_batch"].clone();
        erase(&server, &alice).await;
        synced(&server, &bob, since.as_str().unwrap_or_default(), |answer| {
            answer["rooms"]["join"][&room]["timeline"].to_string().contains(&alice.id)
        })
        .await;
        join(&server, &carol, &room).await;
        Self { server, bob, carol, room, events: [message, reply, topic, root] }
    }

    /// What the user reads by every endpoint that shows events of rooms.
    async fn read(&self, user: &TestUser) -> Vec<(String, Value)> {
        let [message, reply, topic, root] = &self.events;
        let v1 = |rest: &str| format!("/_matrix/client/v1/rooms/{}/{rest}", self.room);
        let filter = r#"{"room":{"timeline":{"limit":100}}}"#;
        let filter = percent(filter);
        let federation = percent(r#"{"event_format":"federation","room":{"timeline":{"limit":100}}}"#);
        let mut paths = vec![
            format!("{CLIENT}/sync?filter={filter}"),
            format!("{CLIENT}/sync?filter={federation}"),
            room_path(&self.room, "messages?dir=b&limit=100"),
            room_path(&self.room, "messages?dir=f&limit=100"),
            room_path(&self.room, &format!("context/{root}?limit=100")),
            room_path(&self.room, "state"),
            room_path(&self.room, "members"),
            v1(&format!("relations/{root}")),
            v1(&format!("relations/{root}/m.thread")),
            v1(&format!("relations/{message}/m.replace/m.room.message")),
            v1("threads"),
        ];
        for event in [message, reply, topic, root] {
            paths.push(room_path(&self.room, &format!("event/{event}")));
            paths.push(room_path(&self.room, &format!("context/{event}?limit=100")));
        }
        let mut answers = Vec::new();
        for path in paths {
            let answer = self.server.get(&path, &user.token).await.ok().clone();
            answers.push((path, answer));
        }
        let list = json!({
            "timeline_limit": 100, "ranges": [[0, 9]],
            "required_state": [["*", "*"]], "include_heroes": true,
        });
        let path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
        let sliding = self.server.post(path, &user.token, json!({ "lists": { "all": list } })).await.ok().clone();
        assert!(sliding["rooms"][&self.room]["timeline"].to_string().contains(message.as_str()), "{sliding:#}");
        answers.push((path.to_owned(), sliding));
        answers
    }
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_hides_what_erased_users_sent_before_one_came() {
    for place in places() {
        let mut stage = Stage::on(place).await;
        for round in ["at once", "after a restart"] {
            for (path, answer) in stage.read(&stage.carol).await {
                let text = answer.to_string();
                for secret in SECRETS {
                    assert!(!text.contains(secret), "{round}, {path}: {secret} in {answer:#}");
                }
            }
            // The events are there, without content; and the room is what it is.
            let event = room_path(&stage.room, &format!("event/{}", stage.events[0]));
            let event = stage.server.get(&event, &stage.carol.token).await.ok().clone();
            assert_eq!((&event["content"], &event["sender"]), (&json!({}), &json!("@alice:test.example")));
            let name = state(&stage.server, &stage.carol, &stage.room, "m.room.name").await;
            assert_eq!(name.ok()["name"], "Name by Alice");
            let open = stage.server.get(&room_path(&stage.room, "messages?dir=b&limit=100"), &stage.carol.token).await;
            assert!(bodies(&open.ok()["chunk"]).contains(&"open message"));
            // Who was there then still sees it all.
            let seen = stage.server.get(&room_path(&stage.room, "messages?dir=b&limit=100"), &stage.bob.token).await;
            let text = seen.ok().to_string();
            for secret in SECRETS {
                assert!(text.contains(secret), "{round}: {secret} is gone for Bob");
            }
            stage.server.restart().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_come_later_get_redacted_copies() {
    for place in places() {
        let server = TestServer::on(place).start().await;
        let (early, late) = (Peer::start().await, Peer::start().await);
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = federation::public_room(&server, &bob, "11").await;
        join(&server, &alice, &room).await;
        federation::join(&server, &early, &room, &early.user("early")).await;
        let profile = format!("{CLIENT}/profile/{}/displayname", alice.id);
        server.put(&profile, &alice.token, json!({ "displayname": "Alice Personal" })).await.ok();
        let secret = say(&server, &alice, &room, "secret").await;
        erase(&server, &alice).await;
        let (joined, _) = federation::join(&server, &late, &room, &late.user("late")).await;
        let last = say(&server, &bob, &room, "open").await;
        for (peer, expected) in [(&early, true), (&late, false)] {
            let event = peer.get(&server, &federation::path("v1/event", &[&secret])).await;
            let path = federation::path("v1/backfill", &[&room]);
            let backfill = peer.get(&server, &format!("{path}?v={last}&limit=50")).await;
            let wanted = json!({ "earliest_events": [], "latest_events": [last], "limit": 20 });
            let missing = peer.post(&server, &federation::path("v1/get_missing_events", &[&room]), wanted).await;
            for (what, answer) in [("event", event), ("backfill", backfill), ("get_missing_events", missing)] {
                let text = answer.ok().to_string();
                assert_eq!(text.contains("secret"), expected, "{what}: {text}");
                assert!(text.contains(&alice.id), "{what}: {text}");
            }
        }
        let version = RoomVersion::V11;
        // The state says who was a member, and nothing else of the user.
        let path = |what: &str| format!("{}?event_id={secret}", federation::path(what, &[&room]));
        let state = late.get(&server, &path("v1/state")).await;
        let ids = late.get(&server, &path("v1/state_ids")).await;
        let auth = late.get(&server, &federation::path("v1/event_auth", &[&room, &secret])).await;
        for (what, answer) in [("send_join", &joined), ("state", &state), ("event_auth", &auth)] {
            let text = answer.ok().to_string();
            assert!(text.contains(&alice.id) && !text.contains("Alice Personal"), "{what}: {text}");
        }
        let parsed = state.ok()["pdus"].as_array().expect("a list").iter();
        let parsed: Vec<_> = parsed
            .map(|pdu| plexus_protocol::event::Pdu::parse(&pdu.to_string(), version).expect("an event"))
            .collect();
        let member = parsed.iter().find(|pdu| pdu.state_key() == Some(&alice.id)).expect("she was a member");
        assert_eq!(member.content().get_str("membership"), Some("join"));
        let served: std::collections::BTreeSet<_> = parsed.iter().map(|pdu| pdu.event_id().to_string()).collect();
        let named = ids.ok()["pdu_ids"].as_array().expect("a list").iter();
        assert_eq!(served, named.map(|id| id.as_str().unwrap_or_default().to_owned()).collect());
        let event = late.get(&server, &federation::path("v1/event", &[&secret])).await;
        let pdu = plexus_protocol::event::Pdu::parse(&event.ok()["pdus"][0].to_string(), version).expect("an event");
        assert_eq!(pdu.event_id().as_str(), secret, "a redacted copy is still the event");
    }
}
