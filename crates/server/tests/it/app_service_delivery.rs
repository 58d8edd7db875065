//! What application services receive: transactions, queries and pings.

use std::collections::BTreeSet;

use plexus_testkit::server::{TestServer, TestUser};
use plexus_testkit::{AppServiceStub, TestPlace, places};
use serde_json::{Value, json};

use crate::client::{CLIENT, create, join, room_path, say};

const IRC: &str = "from-irc";
const GHOST: &str = "@irc_ghost:test.example";

/// A server with the service `irc`, its user `irc_ghost`, and Alice.
async fn server_with(place: TestPlace, service: &AppServiceStub, more: &str, config: &str) -> (TestServer, TestUser) {
    let registration = service.registration("irc", more);
    let server = TestServer::on(place).config(config).app_service(registration).start().await;
    let body = json!({ "type": "m.login.application_service", "username": "irc_ghost", "inhibit_login": true });
    server.post("/_matrix/client/v3/register", IRC, body).await.ok();
    let alice = server.register("alice").await;
    (server, alice)
}

/// The ghost joins a room of Alice's.
async fn bridged_room(server: &TestServer, alice: &TestUser) -> String {
    let room = create(server, alice, json!({ "preset": "public_chat" })).await;
    let path = format!("{CLIENT}/join/{room}?user_id={GHOST}");
    server.post(&path, IRC, json!({})).await.ok();
    room
}

fn bodies(service: &AppServiceStub) -> Vec<String> {
    let body = |event: &Value| event["content"]["body"].as_str().map(str::to_owned);
    service.events().iter().filter_map(body).collect()
}

/// Waits until the service has got a message, in whatever transaction.
async fn wait_for_body(service: &AppServiceStub, body: &str) {
    service.wait_for(body, |service| bodies(service).iter().any(|found| found == body).then_some(())).await;
}

#[tokio::test]
async fn events_of_its_rooms_arrive_in_order() {
    for place in places() {
        let service = AppServiceStub::start().await;
        let (server, alice) = server_with(place, &service, "", "").await;
        let other = create(&server, &alice, json!({})).await;
        say(&server, &alice, &other, "secret").await;
        let room = bridged_room(&server, &alice).await;
        for number in 0..5 {
            say(&server, &alice, &room, &number.to_string()).await;
        }
        let path = room_path(&room, &format!("send/m.room.message/1?user_id={GHOST}"));
        server.put(&path, IRC, json!({ "msgtype": "m.text", "body": "own" })).await.ok();
        let leave = room_path(&room, &format!("leave?user_id={GHOST}"));
        server.post(&leave, IRC, json!({})).await.ok();
        say(&server, &alice, &room, "after").await;
        let again = bridged_room(&server, &alice).await;
        say(&server, &alice, &again, "end").await;
        wait_for_body(&service, "end").await;
        assert_eq!(bodies(&service), ["0", "1", "2", "3", "4", "own", "end"]);

        let transactions = service.transactions();
        let ids: BTreeSet<&String> = transactions.iter().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), transactions.len(), "{transactions:?}");
        let requests = service.requests();
        assert!(requests.iter().all(|request| request.token == "to-irc" && request.query.is_empty()), "{requests:?}");
        let member = |event: &&Value| event["state_key"] == GHOST && event["room_id"] == room.as_str();
        let memberships: Vec<Value> =
            service.events().iter().filter(member).map(|event| event["content"]["membership"].clone()).collect();
        assert_eq!(memberships, ["join", "leave"]);
        assert!(service.events().iter().all(|event| event["unsigned"]["age"].is_i64()), "{:?}", service.events());
    }
}

#[tokio::test]
async fn an_invite_brings_the_state_of_its_room() {
    for place in places() {
        let service = AppServiceStub::start().await;
        let (server, alice) = server_with(place, &service, "", "").await;
        let room = create(&server, &alice, json!({ "name": "Den", "invite": [GHOST] })).await;
        let find = |service: &AppServiceStub| {
            service.events().into_iter().find(|event| event["content"]["membership"] == "invite")
        };
        let invite = service.wait_for("an invite", find).await;
        assert_eq!((&invite["room_id"], &invite["state_key"]), (&json!(room), &json!(GHOST)));
        let state = invite["unsigned"]["invite_room_state"].as_array().cloned().unwrap_or_default();
        assert!(state.iter().any(|event| event["content"]["name"] == "Den"), "{invite}");
    }
}

#[tokio::test]
async fn a_transaction_is_repeated_unchanged_until_it_is_accepted() {
    for place in places() {
        let service = AppServiceStub::start().await;
        let (mut server, alice) = server_with(place, &service, "", "").await;
        let room = bridged_room(&server, &alice).await;
        say(&server, &alice, &room, "before").await;
        wait_for_body(&service, "before").await;

        service.respond(|_| (500, json!({})));
        say(&server, &alice, &room, "first").await;
        wait_for_body(&service, "first").await;
        for number in 0..120 {
            say(&server, &alice, &room, &number.to_string()).await;
        }
        let failed = service.transactions().last().cloned().unwrap();
        server.restart().await;
        service.respond(|_| (200, json!({})));
        wait_for_body(&service, "119").await;

        let transactions = service.transactions();
        let from = transactions.iter().position(|transaction| *transaction == failed).unwrap();
        let mut accepted = transactions[from..].to_vec();
        accepted.dedup();
        assert!(transactions[from..].iter().filter(|transaction| **transaction == failed).count() >= 2);
        let of = |(_, body): &(String, Value)| body["events"].as_array().cloned().unwrap_or_default();
        assert!(accepted.iter().all(|transaction| of(transaction).len() <= 100), "{accepted:?}");
        let said: Vec<String> = accepted
            .iter()
            .flat_map(of)
            .filter_map(|event| event["content"]["body"].as_str().map(str::to_owned))
            .collect();
        let expected: Vec<String> =
            std::iter::once("first".to_owned()).chain((0..120).map(|number| number.to_string())).collect();
        assert_eq!(said, expected);
    }
}

#[tokio::test]
async fn what_arrives_late_is_what_its_users_were_there_for() {
    for place in places() {
        let service = AppServiceStub::start().await;
        let (mut server, alice) = server_with(place, &service, "", "").await;
        let room = bridged_room(&server, &alice).await;
        say(&server, &alice, &room, "before").await;
        wait_for_body(&service, "before").await;

        service.respond(|_| (500, json!({})));
        say(&server, &alice, &room, "failing").await;
        wait_for_body(&service, "failing").await;
        say(&server, &alice, &room, "in the first stay").await;
        let leave = room_path(&room, &format!("leave?user_id={GHOST}"));
        server.post(&leave, IRC, json!({})).await.ok();
        say(&server, &alice, &room, "between").await;
        server.post(&format!("{CLIENT}/join/{room}?user_id={GHOST}"), IRC, json!({})).await.ok();
        say(&server, &alice, &room, "in the second stay").await;
        server.post(&leave, IRC, json!({})).await.ok();
        say(&server, &alice, &room, "after").await;
        let other = create(&server, &alice, json!({ "preset": "public_chat" })).await;
        say(&server, &alice, &other, "too early").await;
        server.post(&format!("{CLIENT}/join/{other}?user_id={GHOST}"), IRC, json!({})).await.ok();
        // The log is read again, when the memberships are others.
        server.restart().await;
        service.respond(|_| (200, json!({})));
        say(&server, &alice, &other, "end").await;
        wait_for_body(&service, "end").await;
        let mut arrived = bodies(&service);
        arrived.dedup();
        assert_eq!(arrived, ["before", "failing", "in the first stay", "in the second stay", "end"]);
    }
}

#[tokio::test]
async fn typing_receipts_and_presence_arrive_where_they_are_wanted() {
    for place in places() {
        let service = AppServiceStub::start().await;
        let more = "receive_ephemeral: true\nde.sorunome.msc2409.push_ephemeral: true";
        let (server, alice) = server_with(place, &service, more, "").await;
        let room = bridged_room(&server, &alice).await;
        let event = say(&server, &alice, &room, "hi").await;
        let typing = room_path(&room, &format!("typing/{}", alice.id));
        server.put(&typing, &alice.token, json!({ "typing": true, "timeout": 30_000 })).await.ok();
        server.post(&room_path(&room, &format!("receipt/m.read/{event}")), &alice.token, json!({})).await.ok();
        let presence = format!("{CLIENT}/presence/{}/status", alice.id);
        server.put(&presence, &alice.token, json!({ "presence": "online", "status_msg": "here" })).await.ok();
        for event_type in ["m.typing", "m.receipt", "m.presence"] {
            for list in ["ephemeral", "de.sorunome.msc2409.ephemeral"] {
                let find = |service: &AppServiceStub| {
                    let bodies = service.transactions().into_iter().map(|(_, body)| body);
                    let events = bodies.flat_map(|body| body[list].as_array().cloned().unwrap_or_default());
                    events.into_iter().find(|event| event["type"] == event_type)
                };
                let found = service.wait_for(event_type, find).await;
                if event_type == "m.presence" {
                    assert_eq!(found["sender"], alice.id.as_str());
                } else {
                    assert_eq!(found["room_id"], room.as_str());
                }
            }
        }
    }
}

#[tokio::test]
async fn messages_for_devices_and_counts_of_keys_arrive() {
    let config =
        "experimental_features: {msc2409_to_device_messages_enabled: true, msc3202_transaction_extensions: true}";
    for place in places() {
        let service = AppServiceStub::start().await;
        let more = "receive_ephemeral: true\norg.matrix.msc3202: true\nio.element.msc4190: true";
        let (server, alice) = server_with(place, &service, more, config).await;
        bridged_room(&server, &alice).await;
        let device = format!("{CLIENT}/devices/BRIDGE?user_id={GHOST}");
        server.put(&device, IRC, json!({})).await.ok_or_created();
        // A bridge publishes the keys of a new device when it learns that there are none.
        send_to_device(&server, &alice, GHOST, "BRIDGE", 0).await;
        let find = |service: &AppServiceStub| {
            let mut bodies = service.transactions().into_iter().map(|(_, body)| body);
            bodies.find(|body| body["de.sorunome.msc2409.to_device"][0].is_object())
        };
        let body = service.wait_for("a message", find).await;
        assert_eq!(body["org.matrix.msc3202.device_one_time_key_counts"][GHOST]["BRIDGE"], json!({}), "{body}");
        let upload = format!("{CLIENT}/keys/upload?user_id={GHOST}&device_id=BRIDGE");
        let keys = json!({
            "device_keys": {
                "user_id": GHOST, "device_id": "BRIDGE", "algorithms": [],
                "keys": { "ed25519:BRIDGE": "a", "curve25519:BRIDGE": "b" }, "signatures": {},
            },
            "one_time_keys": { "signed_curve25519:A": { "key": "k", "signatures": {} } },
        });
        server.post(&upload, IRC, keys).await.ok();
        let path = format!("{CLIENT}/sendToDevice/m.test/1");
        let message = json!({ "messages": { GHOST: { "BRIDGE": { "hello": 1 } } } });
        server.put(&path, &alice.token, message).await.ok();
        let find = |service: &AppServiceStub| {
            let mut bodies = service.transactions().into_iter().map(|(_, body)| body);
            bodies.find(|body| body["de.sorunome.msc2409.to_device"][0]["content"]["hello"] == 1)
        };
        let body = service.wait_for("a message", find).await;
        let message = &body["de.sorunome.msc2409.to_device"][0];
        assert_eq!((&message["to_user_id"], &message["to_device_id"]), (&json!(GHOST), &json!("BRIDGE")));
        assert_eq!((&message["content"]["hello"], &message["sender"]), (&json!(1), &json!(alice.id)));
        let counts = &body["org.matrix.msc3202.device_one_time_key_counts"][GHOST]["BRIDGE"];
        assert_eq!(counts["signed_curve25519"], 1, "{body}");
        let find = |service: &AppServiceStub| {
            let mut bodies = service.transactions().into_iter().map(|(_, body)| body);
            bodies.find(|body| body["org.matrix.msc3202.device_lists"]["changed"][0] == GHOST)
        };
        service.wait_for("a change of devices", find).await;
    }
}

/// Alice sends a message, which has a number, to a device.
async fn send_to_device(server: &TestServer, sender: &TestUser, user: &str, device: &str, number: usize) {
    let path = format!("{CLIENT}/sendToDevice/m.test/{number}");
    let message = json!({ "messages": { user: { device: { "number": number } } } });
    server.put(&path, &sender.token, message).await.ok();
}

/// Waits until the service has got the message.
async fn wait_for_message(service: &AppServiceStub, number: usize) {
    let find = |service: &AppServiceStub| {
        let lists = service.transactions().into_iter().map(|(_, body)| body["de.sorunome.msc2409.to_device"].clone());
        let mut messages = lists.filter_map(|list| list.as_array().cloned()).flatten();
        messages.any(|message| message["content"]["number"] == number).then_some(())
    };
    service.wait_for(&format!("message {number}"), find).await;
}

/// Returns the numbers of the messages in a first sync.
async fn messages_in_sync(server: &TestServer, token: &str, query: &str) -> Vec<Value> {
    let synced = server.get(&format!("{CLIENT}/sync?{query}"), token).await;
    let messages = synced.ok()["to_device"]["events"].as_array().cloned().unwrap_or_default();
    messages.iter().map(|message| message["content"]["number"].clone()).collect()
}

#[tokio::test]
async fn messages_for_devices_are_deleted_only_if_the_user_is_the_services_own() {
    let config = "experimental_features: {msc2409_to_device_messages_enabled: true}";
    for place in places() {
        let service = AppServiceStub::start().await;
        let registration = service.registration("irc", "receive_ephemeral: true\nio.element.msc4190: true");
        let registration = registration.replace("users: [", "users: [{regex: '@alice', exclusive: false}, ");
        let mut server = TestServer::on(place).config(config).app_service(registration).start().await;
        let body = json!({ "type": "m.login.application_service", "username": "irc_ghost", "inhibit_login": true });
        server.post("/_matrix/client/v3/register", IRC, body).await.ok();
        let device = format!("{CLIENT}/devices/BRIDGE?user_id={GHOST}");
        server.put(&device, IRC, json!({})).await.ok_or_created();
        let alice = server.register("alice").await;
        for number in 0..2 {
            send_to_device(&server, &alice, &alice.id, "*", number).await;
            wait_for_message(&service, number).await;
        }
        assert_eq!(messages_in_sync(&server, &alice.token, "").await, [0, 1]);

        service.respond(|_| (500, json!({})));
        send_to_device(&server, &alice, GHOST, "BRIDGE", 2).await;
        wait_for_message(&service, 2).await;
        server.restart().await;
        service.respond(|_| (200, json!({})));
        send_to_device(&server, &alice, GHOST, "BRIDGE", 3).await;
        wait_for_message(&service, 3).await;
        let query = format!("user_id={GHOST}&device_id=BRIDGE");
        assert!(!messages_in_sync(&server, IRC, &query).await.contains(&json!(2)));
    }
}

#[tokio::test]
async fn services_are_asked_for_aliases_and_users_that_do_not_exist() {
    for place in places() {
        let service = AppServiceStub::start().await;
        let (server, alice) = server_with(place, &service, "", "").await;
        service.respond(|request| if request.method == "GET" { (404, json!({})) } else { (200, json!({})) });
        let lookup = "/_matrix/client/v3/directory/room/%23irc_chan:test.example";
        assert_eq!(server.get(lookup, &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
        let asked =
            service.requests().into_iter().any(|it| it.path == "/_matrix/app/v1/rooms/%23irc_chan%3Atest.example");
        assert!(asked, "{:?}", service.requests());
        let elsewhere = "/_matrix/client/v3/directory/room/%23free:test.example";
        server.get(elsewhere, &alice.token).await;
        assert!(!service.requests().iter().any(|request| request.path.contains("free")));

        create(&server, &alice, json!({ "invite": ["@irc_new:test.example"] })).await;
        let asked = |service: &AppServiceStub| {
            let requests = service.requests();
            let at = |path: &str| requests.iter().position(|request| request.path.starts_with(path));
            let asked = at("/_matrix/app/v1/users/%40irc_new%3Atest.example")?;
            let invited = requests.iter().position(|it| it.body.to_string().contains("@irc_new"))?;
            Some((asked, invited))
        };
        let (asked, invited) = service.wait_for("a query for a user", asked).await;
        assert!(asked < invited);
    }
}

#[tokio::test]
async fn the_token_is_in_the_query_only_where_that_is_configured() {
    let service = AppServiceStub::start().await;
    let config = "use_appservice_legacy_authorization: true";
    let (server, alice) = server_with(TestPlace::sqlite(), &service, "", config).await;
    let room = bridged_room(&server, &alice).await;
    say(&server, &alice, &room, "hi").await;
    wait_for_body(&service, "hi").await;
    let request = service.requests().pop().unwrap();
    assert_eq!((request.query.as_str(), request.token.as_str()), ("access_token=to-irc", "to-irc"));
}

#[tokio::test]
async fn services_get_only_what_concerns_them() {
    for place in places() {
        let (irc, other) = (AppServiceStub::start().await, AppServiceStub::start().await);
        let server = TestServer::on(place)
            .app_service(irc.registration("irc", ""))
            .app_service(other.registration("other", ""))
            .start()
            .await;
        let alice = server.register("alice").await;
        let aliased = create(&server, &alice, json!({ "preset": "public_chat" })).await;
        let alias = "/_matrix/client/v3/directory/room/%23irc_room:test.example";
        server.put(alias, IRC, json!({ "room_id": aliased })).await.ok();
        say(&server, &alice, &aliased, "aliased").await;
        let bot_room = create(&server, &alice, json!({ "preset": "public_chat" })).await;
        server.post(&format!("{CLIENT}/join/{bot_room}"), "from-other", json!({})).await.ok();
        say(&server, &alice, &bot_room, "bot").await;
        wait_for_body(&irc, "aliased").await;
        wait_for_body(&other, "bot").await;
        assert_eq!((bodies(&irc), bodies(&other)), (vec!["aliased".to_owned()], vec!["bot".to_owned()]));
        // A room of which it knows that no service is interested.
        let bob = server.register("bob").await;
        join(&server, &bob, &aliased).await;
        server.delete(alias, IRC).await.ok();
        say(&server, &bob, &aliased, "not aliased").await;
        say(&server, &alice, &bot_room, "end").await;
        wait_for_body(&other, "end").await;
        assert_eq!(bodies(&irc), ["aliased"]);
    }
}

trait Created {
    fn ok_or_created(&self);
}

impl Created for plexus_testkit::Answer {
    fn ok_or_created(&self) {
        assert!(matches!(self.status, 200 | 201), "{:?}", self.body);
    }
}
