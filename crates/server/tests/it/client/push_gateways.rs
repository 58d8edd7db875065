//! What push gateways are sent, and when.

use std::time::Duration;

use http::Method;
use plexus_base::Clock;
use plexus_testkit::server::{TestServer, TestUser};
use plexus_testkit::{GatewayConduct, PushGateway, every, places, within};
use serde_json::{Value, json};

use crate::client::{CLIENT, create, join, on_each_with, room_path, say, send, two_in_a_room};

mod badges;
mod failures;

const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the body that sets a pusher.
pub(crate) fn pusher(gateway: &PushGateway, pushkey: &str) -> Value {
    json!({
        "app_id": "org.example.app", "pushkey": pushkey, "kind": "http", "app_display_name": "App",
        "device_display_name": "Phone", "lang": "en", "append": true,
        "data": { "url": gateway.url(), "more": 1 },
    })
}

pub(crate) async fn set(server: &TestServer, user: &TestUser, pusher: Value) {
    server.post(&format!("{CLIENT}/pushers/set"), &user.token, pusher).await.ok();
}

async fn read(server: &TestServer, user: &TestUser, room: &str, event: &str) {
    server.post(&room_path(room, &format!("receipt/m.read/{event}")), &user.token, json!({})).await.ok();
}

async fn pushers(server: &TestServer, user: &TestUser) -> usize {
    let listed = server.get(&format!("{CLIENT}/pushers"), &user.token).await;
    listed.ok()["pushers"].as_array().expect("a list").len()
}

async fn metrics(server: &TestServer) -> String {
    let answer = server.request(Method::GET, "/_synapse/metrics", None, None).await;
    String::from_utf8_lossy(&answer.bytes).into_owned()
}

/// Two in a room, the second with a pusher.
async fn stage(server: &TestServer) -> (TestUser, TestUser, String, PushGateway) {
    let gateway = PushGateway::start().await;
    let (alice, bob, room) = two_in_a_room(server).await;
    set(server, &bob, pusher(&gateway, "bobs")).await;
    (alice, bob, room, gateway)
}

/// Lets time pass without end, for notifications that are tried again.
async fn pass(clock: &Clock, step: Duration) {
    let mut looks = every(Duration::from_millis(20));
    loop {
        looks.tick().await;
        clock.advance(step);
    }
}

/// Returns the next notification, while time passes.
async fn next_in_time(gateway: &PushGateway, clock: &Clock, step: Duration) -> Value {
    tokio::select! { next = gateway.next() => next, () = pass(clock, step) => unreachable!("it has no end") }
}

#[tokio::test]
async fn a_message_is_pushed_as_specified() {
    for server in TestServer::on_each().await {
        let (alice, bob, room, gateway) = stage(&server).await;
        let name = format!("{CLIENT}/profile/{}/displayname", alice.id);
        server.put(&name, &alice.token, json!({ "displayname": "Alice" })).await.ok();
        server.put(&room_path(&room, "state/m.room.name/"), &alice.token, json!({ "name": "The room" })).await.ok();
        let event = say(&server, &alice, &room, "hello").await;
        let mut notification = gateway.next().await;
        let ts = notification["devices"][0]["pushkey_ts"].take();
        assert!(ts.as_u64().is_some_and(|ts| ts > 1_600_000_000 && ts < 10_000_000_000), "{ts}");
        assert_eq!(
            notification,
            json!({
                "event_id": event, "id": event, "room_id": room, "type": "m.room.message", "sender": alice.id,
                "sender_display_name": "Alice", "room_name": "The room", "prio": "high",
                "content": { "msgtype": "m.text", "body": "hello" }, "counts": { "unread": 1 },
                "devices": [{
                    "app_id": "org.example.app", "pushkey": "bobs", "pushkey_ts": null, "data": { "more": 1 },
                    "tweaks": { "sound": "default", "highlight": false },
                }],
            })
        );
        // A third member: the message makes no sound.
        let carol = server.register("carol").await;
        join(&server, &carol, &room).await;
        say(&server, &alice, &room, "softly").await;
        let notification = gateway.next().await;
        assert_eq!((&notification["prio"], &notification["counts"]["unread"]), (&json!("low"), &json!(1)));
        send(&server, &alice, &room, "m.room.encrypted", json!({ "algorithm": "x" })).await.ok();
        assert_eq!(gateway.next().await["prio"], "high");
        say(&server, &alice, &room, "hello bob").await;
        let notification = gateway.next().await;
        assert_eq!(notification["devices"][0]["tweaks"], json!({ "sound": "default", "highlight": true }));
        assert_eq!(pushers(&server, &bob).await, 1);
    }
}

#[tokio::test]
async fn configured_and_chosen_forms_of_notifications() {
    let config = "push: {include_content: false, group_unread_count_by_room: false}
enable_metrics: true
listeners:
  - {port: 8008, bind_addresses: ['127.0.0.1'], type: http, resources: [{names: [client, federation, metrics]}]}";
    for server in on_each_with(config).await {
        let (alice, bob, room, gateway) = stage(&server).await;
        say(&server, &alice, &room, "one").await;
        let notification = gateway.next().await;
        assert!(notification.get("content").is_none(), "{notification}");
        assert_eq!(notification["counts"]["unread"], 1);
        let mut ids_only = pusher(&gateway, "bobs");
        ids_only["data"]["format"] = json!("event_id_only");
        set(&server, &bob, ids_only).await;
        let event = say(&server, &alice, &room, "two").await;
        let mut notification = gateway.next().await;
        notification["devices"][0]["pushkey_ts"].take();
        assert_eq!(
            notification,
            json!({
                "event_id": event, "room_id": room, "counts": { "unread": 2 }, "prio": "high",
                "devices": [{
                    "app_id": "org.example.app", "pushkey": "bobs", "pushkey_ts": null,
                    "data": { "more": 1, "format": "event_id_only" },
                }],
            })
        );
        let counted = async {
            let mut looks = every(Duration::from_millis(20));
            while !metrics(&server).await.contains("plexus_pushes_sent_total 2") {
                looks.tick().await;
            }
        };
        within(PATIENCE, counted).await.expect("both are counted");
    }
}

#[tokio::test]
async fn what_is_not_pushed() {
    for server in TestServer::on_each().await {
        let (alice, bob, room, gateway) = stage(&server).await;
        let (muted, left) = (create(&server, &alice, json!({ "preset": "public_chat" })).await, room.clone());
        let other = create(&server, &alice, json!({ "preset": "public_chat" })).await;
        for room in [&muted, &other] {
            join(&server, &bob, room).await;
        }
        let mute = json!({ "actions": [], "conditions":
            [{ "kind": "event_match", "key": "room_id", "pattern": muted }] });
        server.put(&format!("{CLIENT}/pushrules/global/override/{muted}"), &bob.token, mute).await.ok();
        say(&server, &bob, &room, "my own").await;
        say(&server, &alice, &muted, "in a muted room").await;
        server.post(&room_path(&left, "leave"), &bob.token, json!({})).await.ok();
        say(&server, &alice, &left, "after bob left").await;
        let pushed = say(&server, &alice, &other, "this one").await;
        assert_eq!(gateway.next().await["event_id"], pushed.as_str());
        // Off, and on again.
        set(&server, &bob, json!({ "app_id": "org.example.app", "pushkey": "bobs", "kind": null })).await;
        say(&server, &alice, &other, "without a pusher").await;
        set(&server, &bob, pusher(&gateway, "new")).await;
        let pushed = say(&server, &alice, &other, "with another").await;
        let notification = gateway.next().await;
        assert_eq!(notification["event_id"], pushed.as_str());
        assert_eq!(notification["devices"][0]["pushkey"], "new");
    }
}

#[tokio::test]
async fn pushers_can_be_turned_off() {
    for server in on_each_with("experimental_features: {msc3881_enabled: true}").await {
        let (alice, bob, room, gateway) = stage(&server).await;
        let mut off = pusher(&gateway, "bobs");
        off["org.matrix.msc3881.enabled"] = json!(false);
        set(&server, &bob, off).await;
        say(&server, &alice, &room, "unheard").await;
        let listed = server.get(&format!("{CLIENT}/pushers"), &bob.token).await;
        assert_eq!(listed.ok()["pushers"][0]["org.matrix.msc3881.enabled"], false);
        assert_eq!(listed.ok()["pushers"][0]["org.matrix.msc3881.device_id"], bob.device_id.as_str());
        set(&server, &bob, pusher(&gateway, "bobs")).await;
        let pushed = say(&server, &alice, &room, "heard").await;
        assert_eq!(gateway.next().await["event_id"], pushed.as_str());
    }
}

#[tokio::test]
async fn badges_follow_receipts_and_redactions() {
    for server in TestServer::on_each().await {
        let (alice, bob, room, gateway) = stage(&server).await;
        let first = say(&server, &alice, &room, "one").await;
        gateway.next().await;
        read(&server, &bob, &room, &first).await;
        let mut badge = gateway.next().await;
        badge["devices"][0]["pushkey_ts"].take();
        assert_eq!(
            badge,
            json!({
                "id": "", "type": null, "sender": "", "counts": { "unread": 0 },
                "devices": [{ "app_id": "org.example.app", "pushkey": "bobs", "pushkey_ts": null,
                              "data": { "more": 1 } }],
            })
        );
        let second = say(&server, &alice, &room, "two").await;
        assert_eq!(gateway.next().await["counts"]["unread"], 1);
        server.put(&room_path(&room, &format!("redact/{second}/1")), &alice.token, json!({})).await.ok();
        assert_eq!(gateway.next().await["counts"]["unread"], 0);
        // Nothing has changed, so nothing is sent.
        read(&server, &bob, &room, &second).await;
        let third = say(&server, &alice, &room, "three").await;
        let next = loop {
            let next = gateway.next().await;
            if next["id"] != "" {
                break next;
            }
            // The badge of the third message may come before the message.
            assert_eq!(next["counts"]["unread"], 1);
        };
        assert_eq!(next["event_id"], third.as_str());
    }
}

#[tokio::test]
async fn invites_are_pushed() {
    for server in TestServer::on_each().await {
        let (alice, bob, _, gateway) = stage(&server).await;
        let room = create(&server, &alice, json!({ "name": "Private", "invite": [bob.id] })).await;
        let invite = gateway.next().await;
        assert_eq!(invite["room_id"], room.as_str());
        assert_eq!(invite["type"], "m.room.member");
        assert_eq!((&invite["membership"], &invite["user_is_target"]), (&json!("invite"), &json!(true)));
        assert_eq!((&invite["room_name"], &invite["counts"]["unread"]), (&json!("Private"), &json!(1)));
        assert_eq!(invite["devices"][0]["tweaks"]["sound"], "default");
    }
}

#[tokio::test]
async fn a_rejected_pushkey_ends_its_pusher() {
    for server in TestServer::on_each().await {
        let (alice, bob, room, gateway) = stage(&server).await;
        gateway.conduct(GatewayConduct::Reject);
        say(&server, &alice, &room, "one").await;
        let deleted = async {
            let mut looks = every(Duration::from_millis(20));
            while pushers(&server, &bob).await > 0 {
                looks.tick().await;
            }
        };
        within(PATIENCE, deleted).await.expect("the pusher is deleted");
    }
}

#[tokio::test]
async fn a_session_takes_its_pushers_with_it() {
    for server in TestServer::on_each().await {
        let (alice, bob, room, gateway) = stage(&server).await;
        let other = server.log_in("bob").await;
        set(&server, &other, pusher(&gateway, "others")).await;
        server.post(&format!("{CLIENT}/logout"), &bob.token, json!({})).await.ok();
        let event = say(&server, &alice, &room, "one").await;
        let notification = gateway.next().await;
        assert_eq!(
            (&notification["event_id"], &notification["devices"][0]["pushkey"]),
            (&json!(event), &json!("others"))
        );
        assert_eq!(pushers(&server, &other).await, 1);
    }
}

#[tokio::test]
async fn nothing_is_pushed_of_what_is_sent_while_that_is_off() {
    for mut server in on_each_with("push: {enabled: false}").await {
        let (alice, bob, room, gateway) = stage(&server).await;
        say(&server, &alice, &room, "one").await;
        let synced = crate::client::sync(&server, &bob, None, "").await;
        assert_eq!(synced["rooms"]["join"][&room]["unread_notifications"]["notification_count"], 0);
        server.config_mut().push.push.enabled = true;
        server.restart().await;
        let event = say(&server, &alice, &room, "two").await;
        assert_eq!(gateway.next().await["event_id"], event.as_str());
        // What follows the restart is kept over the next one.
        server.restart().await;
        let event = say(&server, &alice, &room, "three").await;
        assert_eq!(gateway.next().await["event_id"], event.as_str());
        assert_eq!(gateway.requests(), 2);
    }
}

#[tokio::test]
async fn notifications_can_be_delayed() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let server = TestServer::on(place).clock(clock.clone()).config("push: {jitter_delay: 1000h}").start().await;
        let (alice, _bob, room, gateway) = stage(&server).await;
        let event = say(&server, &alice, &room, "one").await;
        // A badge, which comes later, is not delayed.
        let (carol, carols) = (server.register("carol").await, PushGateway::start().await);
        set(&server, &carol, pusher(&carols, "carols")).await;
        let own = create(&server, &carol, json!({})).await;
        let first = say(&server, &carol, &own, "to myself").await;
        read(&server, &carol, &own, &first).await;
        assert_eq!(carols.next().await["id"], "");
        assert_eq!(gateway.requests(), 0);
        let next = next_in_time(&gateway, &clock, Duration::from_secs(24 * 3_600)).await;
        assert_eq!(next["event_id"], event.as_str());
    }
}

#[tokio::test]
async fn apps_may_count_by_themselves() {
    for server in on_each_with("experimental_features: {msc4076_enabled: true}").await {
        let (alice, bob, room, gateway) = stage(&server).await;
        let mut counting = pusher(&gateway, "bobs");
        counting["data"]["org.matrix.msc4076.disable_badge_count"] = json!(true);
        set(&server, &bob, counting).await;
        let event = say(&server, &alice, &room, "one").await;
        let notification = gateway.next().await;
        assert_eq!((&notification["event_id"], notification["counts"].get("unread")), (&json!(event), None));
        // Nor is there a badge after a receipt.
        read(&server, &bob, &room, &event).await;
        let event = say(&server, &alice, &room, "two").await;
        assert_eq!(gateway.next().await["event_id"], event.as_str());
    }
}

#[tokio::test]
async fn gateways_at_guarded_addresses_get_nothing() {
    let guarded = "ip_range_blacklist: ['127.0.0.0/8']\nip_range_whitelist: []";
    let listeners = "listeners: [{port: 8008, bind_addresses: ['127.0.0.1'], type: http, \
                   resources: [{names: [client, metrics]}]}]";
    for server in on_each_with(&format!("{guarded}\nenable_metrics: true\n{listeners}")).await {
        let (alice, _bob, room, gateway) = stage(&server).await;
        say(&server, &alice, &room, "one").await;
        let failed = async {
            let mut looks = every(Duration::from_millis(20));
            loop {
                looks.tick().await;
                if !metrics(&server).await.contains("plexus_pushes_failed_total 0") {
                    break;
                }
            }
        };
        within(PATIENCE, failed).await.expect("the attempt fails");
        assert_eq!(gateway.requests(), 0);
    }
}
