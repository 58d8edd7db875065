//! What `/versions` and `/capabilities` claim, each claim with the request that proves it.

use std::collections::BTreeMap;

use http::Method;
use plexus_base::Clock;
use plexus_testkit::TestPlace;
use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::{CLIENT, create, join, room_path, say};

/// Turns on what is off by default.
const EVERYTHING: &str = "
max_event_delay_duration: 1h
login_via_existing_session: {enabled: true}
encryption_enabled_by_default_for_room_type: all
forget_rooms_on_leave: true
room_list_publication_rules: [{action: allow}]
matrix_rtc: {transports: [{type: livekit, livekit_service_url: 'https://rtc.example'}]}
experimental_features:
  {msc4354_enabled: true, msc4143_enabled: true, msc4155_enabled: true, msc3391_enabled: true, msc4388_mode: open,
   msc3912_enabled: true, msc4306_enabled: true, msc4069_profile_inhibit_propagation: true, msc4133_enabled: true,
   msc4267_enabled: true, msc3881_enabled: true, msc4028_push_encrypted_events: true}
include_profile_updates_in_sync: true
admin_contact: 'mailto:admin@test.example'
";

/// A request of Alice's, and what its answer shows: something that it would not show without what is claimed.
struct Proof {
    method: Method,
    path: &'static str,
    body: &'static str,
    shows: Shows,
}

/// What an answer shows.
enum Shows {
    /// Success, and a member of the body, by its JSON pointer.
    Member(&'static str),
    /// A refusal that only the feature makes.
    Refusal(u16, &'static str),
}

const fn get(path: &'static str, member: &'static str) -> Proof {
    Proof { method: Method::GET, path, body: "", shows: Shows::Member(member) }
}

const fn post(path: &'static str, body: &'static str, member: &'static str) -> Proof {
    Proof { method: Method::POST, path, body, shows: Shows::Member(member) }
}

const fn put(path: &'static str, body: &'static str, member: &'static str) -> Proof {
    Proof { method: Method::PUT, path, body, shows: Shows::Member(member) }
}

const fn refused(method: Method, path: &'static str, body: &'static str, status: u16, errcode: &'static str) -> Proof {
    Proof { method, path, body, shows: Shows::Refusal(status, errcode) }
}

/// The versions of the specification, each with something that came with it. `v1.5`, `v1.9`, `v1.12`
/// and `v1.17` brought nothing that a request to one server could show.
const VERSIONS: [(&str, Option<Proof>); 27] = [
    ("r0.0.1", Some(get("/_matrix/client/r0/login", "/flows"))),
    ("r0.1.0", Some(get("/_matrix/client/r0/publicRooms", "/chunk"))),
    ("r0.2.0", Some(get("/_matrix/client/r0/voip/turnServer", ""))),
    ("r0.3.0", Some(get("/_matrix/client/r0/account/whoami", "/user_id"))),
    ("r0.4.0", Some(get("/_matrix/client/r0/rooms/{room}/joined_members", "/joined"))),
    ("r0.5.0", Some(get("/_matrix/client/r0/capabilities", "/capabilities"))),
    ("r0.6.0", Some(post("/_matrix/client/r0/keys/query", r#"{"device_keys":{}}"#, "/device_keys"))),
    ("r0.6.1", Some(get("/_matrix/client/r0/rooms/{room}/aliases", "/aliases"))),
    (
        "v1.1",
        Some(post(
            "/_matrix/client/v3/room_keys/version",
            r#"{"algorithm":"m.megolm_backup.v1.curve25519-aes-sha2","auth_data":{"public_key":"a"}}"#,
            "/version",
        )),
    ),
    ("v1.2", Some(get("/_matrix/client/v1/rooms/{room}/hierarchy", "/rooms"))),
    ("v1.3", Some(get("/_matrix/client/v1/rooms/{room}/relations/{event}", "/chunk"))),
    ("v1.4", Some(get("/_matrix/client/v1/rooms/{room}/threads", "/chunk"))),
    ("v1.5", None),
    ("v1.6", Some(get("/_matrix/client/v1/rooms/{room}/timestamp_to_event?ts=0&dir=f", "/event_id"))),
    ("v1.7", Some(post("/_matrix/media/v1/create", "{}", "/content_uri"))),
    ("v1.8", Some(get("/_matrix/client/v3/capabilities", "/capabilities/m.room_versions/available/11"))),
    ("v1.9", None),
    ("v1.10", Some(get("/.well-known/matrix/support", "/contacts"))),
    ("v1.11", Some(get("/_matrix/client/v1/media/config", "/m.upload.size"))),
    ("v1.12", None),
    ("v1.13", Some(post("/_matrix/client/v3/rooms/{room}/report", r#"{"reason":"a"}"#, ""))),
    ("v1.14", Some(post("/_matrix/client/v3/users/{bob}/report", r#"{"reason":"a"}"#, ""))),
    ("v1.15", Some(get("/_matrix/client/v1/room_summary/{room}", "/num_joined_members"))),
    ("v1.16", Some(get("/_matrix/client/v3/rooms/{room}/state/m.room.name/?format=event", "/event_id"))),
    ("v1.17", None),
    ("v1.18", Some(get("/_matrix/client/v3/capabilities", "/capabilities/m.forget_forced_upon_leave"))),
    (
        "v1.19",
        Some(get("/_matrix/client/v3/rooms/{room}/state/m.room.topic/?format=event", "/unsigned/replaces_state")),
    ),
];

/// The features that work here.
const FEATURES: [(&str, Proof); 33] = [
    ("org.matrix.msc3881", get("/_matrix/client/v3/pushers", "/pushers/0/org.matrix.msc3881.enabled")),
    (
        "org.matrix.msc4028",
        get("/_matrix/client/v3/pushrules/global/override/.org.matrix.msc4028.encrypted_event", "/actions"),
    ),
    (
        "m.lazy_load_members",
        get(
            "/_matrix/client/v3/sync\
             ?filter=%7B%22room%22%3A%7B%22state%22%3A%7B%22lazy_load_members%22%3Atrue%7D%7D%7D",
            "/rooms/join/{room}/summary",
        ),
    ),
    ("org.matrix.e2e_cross_signing", post("/_matrix/client/unstable/keys/signatures/upload", "{}", "/failures")),
    ("org.matrix.msc2432", get("/_matrix/client/v3/rooms/{room}/aliases", "/aliases")),
    (
        "uk.half-shot.msc2666.query_mutual_rooms",
        get("/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms?user_id={bob}", "/joined"),
    ),
    ("uk.half-shot.msc2666.query_mutual_rooms.stable", get("/_matrix/client/v1/mutual_rooms?user_id={bob}", "/joined")),
    ("org.matrix.msc2285.stable", post("/_matrix/client/v3/rooms/{room}/receipt/m.read.private/{event}", "{}", "")),
    (
        "org.matrix.msc3827.stable",
        post("/_matrix/client/v3/publicRooms", r#"{"filter":{"room_types":["m.space"]}}"#, "/chunk/0/room_type"),
    ),
    ("org.matrix.msc3440.stable", get("/_matrix/client/v1/rooms/{room}/relations/{event}/m.thread", "/chunk")),
    (
        "org.matrix.msc3771",
        refused(
            Method::POST,
            "/_matrix/client/v3/rooms/{room}/receipt/m.read/{event}",
            r#"{"thread_id":""}"#,
            400,
            "M_INVALID_PARAM",
        ),
    ),
    ("org.matrix.msc3916.stable", get("/_matrix/client/v1/media/config", "/m.upload.size")),
    (
        "org.matrix.simplified_msc3575",
        post("/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0", "{}", "/pos"),
    ),
    (
        "org.matrix.msc4140",
        put(
            "/_matrix/client/unstable/org.matrix.msc4140/rooms/{room}/delayed_event/m.a/1",
            r#"{"delay_ms":9000,"content":{}}"#,
            "/delay_id",
        ),
    ),
    (
        "org.matrix.msc4140.stable",
        put("/_matrix/client/v3/rooms/{room}/delayed_event/m.a/2", r#"{"delay_ms":9000,"content":{}}"#, "/delay_id"),
    ),
    ("uk.tcpip.msc4133.stable", put("/_matrix/client/v3/profile/{alice}/org.example", r#"{"org.example":1}"#, "")),
    ("org.matrix.msc4143", get("/_matrix/client/unstable/org.matrix.msc4143/rtc/transports", "/rtc_transports/0")),
    // Carol blocks Alice by it.
    (
        "org.matrix.msc4155",
        refused(
            Method::POST,
            "/_matrix/client/v3/rooms/{room}/invite",
            r#"{"user_id":"{carol}"}"#,
            403,
            "M_INVITE_BLOCKED",
        ),
    ),
    // Dave blocks everybody.
    (
        "org.matrix.msc4380.stable",
        refused(
            Method::POST,
            "/_matrix/client/v3/rooms/{room}/invite",
            r#"{"user_id":"{dave}"}"#,
            403,
            "M_INVITE_BLOCKED",
        ),
    ),
    (
        "org.matrix.msc4354",
        // A sticky event that is in the timeline is not repeated.
        get(
            "/_matrix/client/v3/sync?filter=%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A1%7D%7D%7D",
            "/rooms/join/{room}/msc4354_sticky/events/0",
        ),
    ),
    (
        "org.matrix.msc3391",
        Proof {
            method: Method::DELETE,
            path: "/_matrix/client/unstable/org.matrix.msc3391/user/{alice}/account_data/m.a",
            body: "",
            shows: Shows::Member(""),
        },
    ),
    ("io.element.msc4388", get("/_matrix/client/unstable/io.element.msc4388/rendezvous", "/create_available")),
    (
        "org.matrix.msc4429",
        get(
            "/_matrix/client/v3/sync\
             ?filter=%7B%22org.matrix.msc4429.profile_fields%22%3A%7B%22ids%22%3A%5B%22displayname%22%5D%7D%7D",
            "/org.matrix.msc4429.users/{alice}/profile_updates/displayname",
        ),
    ),
    (
        "org.matrix.msc4262",
        post(
            "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0",
            r#"{"extensions":{"org.matrix.msc4262.profiles":{"enabled":true}}}"#,
            "/extensions/org.matrix.msc4262.profiles/users/{alice}/updated/displayname",
        ),
    ),
    ("io.element.e2ee_forced.public", get("/_matrix/client/v3/rooms/{room}/state/m.room.encryption/", "/algorithm")),
    (
        "io.element.e2ee_forced.private",
        get("/_matrix/client/v3/rooms/{private}/state/m.room.encryption/", "/algorithm"),
    ),
    (
        "io.element.e2ee_forced.trusted_private",
        get("/_matrix/client/v3/rooms/{trusted}/state/m.room.encryption/", "/algorithm"),
    ),
    (
        "org.matrix.msc3981",
        get("/_matrix/client/v1/rooms/{room}/relations/{event}?org.matrix.msc3981.recurse=true", "/recursion_depth"),
    ),
    (
        "org.matrix.msc4306",
        put("/_matrix/client/unstable/io.element.msc4306/rooms/{room}/thread/{event}/subscription", "{}", ""),
    ),
    (
        "com.beeper.msc4169",
        put("/_matrix/client/v3/rooms/{room}/send/m.room.redaction/6", r#"{"redacts":"$unknown"}"#, "/event_id"),
    ),
    (
        "org.matrix.msc3912",
        refused(
            Method::PUT,
            "/_matrix/client/v3/rooms/{room}/redact/{event}/7",
            r#"{"org.matrix.msc3912.with_relations":"no list"}"#,
            400,
            "M_INVALID_PARAM",
        ),
    ),
    (
        "org.matrix.msc4069",
        refused(
            Method::PUT,
            "/_matrix/client/v3/profile/{alice}/displayname?org.matrix.msc4069.propagate=maybe",
            r#"{"displayname":"A"}"#,
            400,
            "M_INVALID_PARAM",
        ),
    ),
    (
        "uk.tcpip.msc4133",
        put("/_matrix/client/unstable/uk.tcpip.msc4133/profile/{alice}/org.field", r#"{"org.field":1}"#, ""),
    ),
];

/// The features that Synapse names and that do not work here.
const MISSING: [&str; 11] = [
    "org.matrix.label_based_filtering",
    "org.matrix.msc3026.busy_presence",
    "org.matrix.msc3773",
    "fi.mau.msc2815",
    "fi.mau.msc2659.stable",
    "org.matrix.msc3882",
    "org.matrix.msc3874",
    "org.matrix.msc4445.initial_sync_timeline_topological_ordering",
    "uk.timedout.msc4491.create_room_invite_reasons",
    "com.beeper.msc4446",
    "org.matrix.msc2285",
];

/// Features that are off here, because their requests are not JSON: rendezvous sessions have tests of their own.
const NOT_TRIED: [&str; 1] = ["org.matrix.msc4108"];

/// The capabilities, each with what it allows. `m.3pid_changes` is false: addresses cannot be validated yet.
const CAPABILITIES: [(&str, Option<Proof>); 11] = [
    ("m.room_versions", Some(post("/_matrix/client/v3/createRoom", r#"{"room_version":"12"}"#, "/room_id"))),
    (
        "m.change_password",
        Some(post(
            "/_matrix/client/v3/account/password",
            r#"{"new_password":"another password","logout_devices":false,"auth":{"type":"m.login.password",
            "identifier":{"type":"m.id.user","user":"alice"},"password":"password of alice"}}"#,
            "",
        )),
    ),
    ("m.set_displayname", Some(put("/_matrix/client/v3/profile/{alice}/displayname", r#"{"displayname":"A"}"#, ""))),
    (
        "m.set_avatar_url",
        Some(put("/_matrix/client/v3/profile/{alice}/avatar_url", r#"{"avatar_url":"mxc://a/b"}"#, "")),
    ),
    ("m.3pid_changes", None),
    (
        "m.get_login_token",
        Some(post(
            "/_matrix/client/v1/login/get_token",
            r#"{"auth":{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},
            "password":"another password"}}"#,
            "/login_token",
        )),
    ),
    (
        "m.forget_forced_upon_leave",
        Some(refused(Method::GET, "/_matrix/client/v3/rooms/{left}/messages?dir=b", "", 403, "M_FORBIDDEN")),
    ),
    (
        "org.matrix.msc4267.forget_forced_upon_leave",
        Some(refused(Method::GET, "/_matrix/client/v3/rooms/{left}/messages?dir=b", "", 403, "M_FORBIDDEN")),
    ),
    ("m.profile_fields", Some(put("/_matrix/client/v3/profile/{alice}/org.field", r#"{"org.field":1}"#, ""))),
    (
        "m.delayed_events",
        Some(put(
            "/_matrix/client/v3/rooms/{room}/delayed_event/m.a/4",
            r#"{"delay_ms":3600000,"content":{}}"#,
            "/delay_id",
        )),
    ),
    (
        "org.matrix.msc4140.delayed_events",
        Some(put(
            "/_matrix/client/unstable/org.matrix.msc4140/rooms/{room}/delayed_event/m.a/5",
            r#"{"delay_ms":3600000,"content":{}}"#,
            "/delay_id",
        )),
    ),
];

struct Stage {
    server: TestServer,
    alice: TestUser,
    bob: TestUser,
    room: String,
    event: String,
    private: String,
    trusted: String,
    /// A room that Alice has left.
    left: String,
    /// The users who block Alice's invites.
    blocking: [TestUser; 2],
}

impl Stage {
    async fn new() -> Self {
        let builder = TestServer::on(TestPlace::sqlite()).clock(Clock::manual(1_700_000_000_000));
        let server = builder.config(EVERYTHING).start().await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let body = json!({ "preset": "public_chat", "name": "Room", "topic": "Old" });
        let room = create(&server, &alice, body).await;
        join(&server, &bob, &room).await;
        let path = format!("/_matrix/client/v3/rooms/{room}/state/m.room.topic/");
        server.put(&path, &alice.token, json!({ "topic": "New" })).await.ok();
        let event = say(&server, &alice, &room, "hello").await;
        let sticky = room_path(&room, "send/m.a/sticky?org.matrix.msc4354.sticky_duration_ms=60000");
        server.put(&sticky, &alice.token, json!({})).await.ok();
        say(&server, &alice, &room, "after").await;
        let space = json!({ "visibility": "public", "creation_content": { "type": "m.space" } });
        create(&server, &alice, space).await;
        let private = create(&server, &alice, json!({ "preset": "private_chat" })).await;
        let trusted = create(&server, &alice, json!({ "preset": "trusted_private_chat" })).await;
        let left = create(&server, &alice, json!({})).await;
        server.post(&room_path(&left, "leave"), &alice.token, json!({})).await.ok();
        let blocking = [server.register("carol").await, server.register("dave").await];
        let permissions = [
            ("org.matrix.msc4155.invite_permission_config", json!({ "blocked_users": [alice.id] })),
            ("m.invite_permission_config", json!({ "default_action": "block" })),
        ];
        for (user, (event_type, permissions)) in blocking.iter().zip(permissions) {
            let path = format!("{CLIENT}/user/{}/account_data/{event_type}", user.id);
            server.put(&path, &user.token, permissions).await.ok();
        }
        let pusher = json!({
            "app_id": "app", "pushkey": "key", "kind": "http", "app_display_name": "App",
            "device_display_name": "Phone", "lang": "en",
            "data": { "url": "http://127.0.0.1:9/_matrix/push/v1/notify" },
        });
        server.post(&format!("{CLIENT}/pushers/set"), &alice.token, pusher).await.ok();
        Self { server, alice, bob, room, event, private, trusted, left, blocking }
    }

    fn filled(&self, text: &str) -> String {
        let names = [
            ("{room}", &self.room),
            ("{event}", &self.event),
            ("{private}", &self.private),
            ("{trusted}", &self.trusted),
            ("{left}", &self.left),
            ("{alice}", &self.alice.id),
            ("{bob}", &self.bob.id),
            ("{carol}", &self.blocking[0].id),
            ("{dave}", &self.blocking[1].id),
        ];
        names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    async fn prove(&self, claim: &str, proof: &Proof) {
        let Proof { method, path, body, shows } = proof;
        let path = self.filled(path);
        let body = (!body.is_empty()).then(|| serde_json::from_str::<Value>(&self.filled(body)).expect("JSON"));
        let answer = self.server.request(method.clone(), &path, Some(&self.alice.token), body).await;
        match shows {
            Shows::Member(member) => {
                assert_eq!(answer.status, 200, "{claim}: {method} {path}: {answer:?}");
                let shown = answer.body.pointer(&self.filled(member));
                assert!(shown.is_some(), "{claim}: {method} {path} does not show {member}: {answer:?}");
            }
            Shows::Refusal(status, errcode) => {
                assert_eq!(answer.refusal(), (*status, *errcode), "{claim}: {method} {path}");
            }
        }
    }

    async fn said(&self, path: &str) -> Value {
        self.server.get(path, &self.alice.token).await.ok().clone()
    }
}

#[tokio::test]
async fn every_version_and_feature_is_proven() {
    let stage = Stage::new().await;
    let said = stage.said("/_matrix/client/versions").await;
    assert_eq!(said["versions"], json!(VERSIONS.map(|(version, _)| version)));
    for (version, proof) in &VERSIONS {
        if let Some(proof) = proof {
            stage.prove(version, proof).await;
        }
    }
    let claimed: BTreeMap<String, bool> = serde_json::from_value(said["unstable_features"].clone()).expect("flags");
    let proven: BTreeMap<String, bool> = FEATURES
        .iter()
        .map(|(name, _)| ((*name).to_owned(), true))
        .chain(MISSING.iter().chain(&NOT_TRIED).map(|name| ((*name).to_owned(), false)))
        .collect();
    assert_eq!(claimed, proven);
    for (feature, proof) in &FEATURES {
        stage.prove(feature, proof).await;
    }
}

#[tokio::test]
async fn every_capability_is_proven() {
    let stage = Stage::new().await;
    let said = stage.said("/_matrix/client/v3/capabilities").await;
    let said = said["capabilities"].as_object().expect("capabilities").clone();
    let mut named: Vec<&str> = CAPABILITIES.iter().map(|(name, _)| *name).collect();
    named.sort_unstable();
    assert_eq!(said.keys().map(String::as_str).collect::<Vec<_>>(), named);
    for (capability, proof) in &CAPABILITIES {
        let enabled = said[*capability].get("enabled").is_none_or(|enabled| enabled == true);
        assert_eq!(enabled, proof.is_some(), "{capability}");
        if let Some(proof) = proof {
            stage.prove(capability, proof).await;
        }
    }
}

#[tokio::test]
async fn what_the_configuration_turns_on_is_not_claimed_without_it() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let said = server.get("/_matrix/client/versions", &alice.token).await.ok().clone();
    for feature in [
        "org.matrix.msc4140",
        "org.matrix.msc4140.stable",
        "org.matrix.msc4143",
        "org.matrix.msc4155",
        "org.matrix.msc4354",
        "org.matrix.msc3391",
        "org.matrix.msc4262",
        "org.matrix.msc4429",
        "io.element.msc4388",
        "io.element.e2ee_forced.public",
        "io.element.e2ee_forced.private",
        "io.element.e2ee_forced.trusted_private",
    ] {
        assert_eq!(said["unstable_features"][feature], false, "{feature}");
    }
    let said = server.get("/_matrix/client/v3/capabilities", &alice.token).await.ok().clone();
    assert!(said["capabilities"]["m.delayed_events"].is_null());
    assert_eq!(said["capabilities"]["m.get_login_token"]["enabled"], false);
}
