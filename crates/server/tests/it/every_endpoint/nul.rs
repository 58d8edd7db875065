//! U+0000 in everything that a client can name: PostgreSQL stores no text with it, SQLite does. Both answer alike, and
//! never with a server error.

use std::collections::BTreeMap;

use plexus_testkit::{Answer, TestPlace};
use serde_json::Value;

use super::*;

const CLIENT: &str = "/_matrix/client/v3";

/// The query parameters of the client-server API 1.19.
const PARAMETERS: &str = "action after alias animated archived at before dir fields filename filter format from \
    full_state height include kind limit max_depth membership method next_batch not_membership only redirectUrl \
    room_id server set_presence since suggested_only timeout to token ts url use_state_after user_id userid username \
    version via width";

/// What stands for a path parameter.
const ENCODED: [&str; 3] = ["%00", "x%00y", "%01%7F"];

/// Who asks, and of what.
struct Asker {
    user: TestUser,
    room: String,
    event: String,
}

impl Asker {
    async fn new(server: &TestServer) -> Self {
        let user = server.register(&plexus_testkit::unique_name()).await;
        let mut new = Self { user, room: String::new(), event: String::new() };
        new.new_room(server).await;
        new
    }

    /// Rooms do not outlive every request.
    async fn new_room(&mut self, server: &TestServer) {
        let room = server.post(&format!("{CLIENT}/createRoom"), &self.user.token, json!({})).await;
        self.room = room.ok()["room_id"].as_str().unwrap().to_owned();
        let path = format!("{CLIENT}/rooms/{}/send/m.room.message/{}", self.room, plexus_testkit::unique_name());
        let sent = server.put(&path, &self.user.token, json!({ "msgtype": "m.text", "body": "x" })).await;
        self.event = sent.ok()["event_id"].as_str().unwrap().to_owned();
    }

    fn fitting(&self, name: &str) -> String {
        match name {
            "event_id" => self.event.replace('$', "%24"),
            "room_alias" => format!("%23{}%3Atest.example", plexus_testkit::unique_name()),
            name => fitting(name, &self.user, &self.room),
        }
    }

    /// A body that an endpoint takes, or nearly.
    fn body(&self, path: &str) -> Value {
        let Self { user, room, .. } = self;
        let (id, device) = (&user.id, &user.device_id);
        let auth = json!({
            "type": "m.login.password", "identifier": { "type": "m.id.user", "user": id }, "password": "wrong",
        });
        let path = path.trim_start_matches("/_matrix/");
        let path = path.split_once("/v3").or_else(|| path.split_once("/v1")).map_or(path, |(_, rest)| rest);
        match path {
            "/register" => json!({ "username": "a", "password": "x", "device_id": "x", "inhibit_login": true,
                "initial_device_display_name": "x", "auth": { "type": "m.login.dummy", "session": "x" } }),
            "/login" => json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": id },
                "password": format!("password of {}", id.trim_start_matches('@').split(':').next().unwrap()),
                "device_id": "x", "initial_device_display_name": "x", "token": "x" }),
            "/login/get_token" => json!({ "auth": auth }),
            "/refresh" => json!({ "refresh_token": "x" }),
            "/account/password" => json!({ "new_password": "x", "logout_devices": false, "auth": auth }),
            "/account/deactivate" => json!({ "id_server": "x", "erase": false, "auth": auth }),
            "/account/3pid" | "/account/3pid/add" => {
                json!({ "client_secret": "x", "sid": "x", "auth": auth, "three_pid_creds": { "client_secret": "x",
                    "id_server": "x", "id_access_token": "x", "sid": "x" } })
            }
            "/account/3pid/delete" | "/account/3pid/unbind" => {
                json!({ "medium": "email", "address": "x@example.org", "id_server": "x" })
            }
            "/devices/{device_id}" => json!({ "display_name": "x" }),
            "/delete_devices" => json!({ "devices": ["x"], "auth": auth }),
            "/user/{user_id}/filter" => json!({ "event_fields": ["type"], "room": { "rooms": [room],
                "timeline": { "types": ["m.*"], "senders": [id] } } }),
            "/sendToDevice/{event_type}/{txn_id}" => json!({ "messages": { id: { device: { "body": "x" } } } }),
            "/presence/{user_id}/status" => json!({ "presence": "online", "status_msg": "x" }),
            "/pushrules/global/{kind}/{rule_id}" => {
                json!({ "actions": ["notify", { "set_tweak": "sound", "value": "x" }],
                "pattern": "x", "conditions": [{ "kind": "event_match", "key": "type", "pattern": "x" }] })
            }
            "/pushrules/global/{kind}/{rule_id}/actions" => {
                json!({ "actions": [{ "set_tweak": "sound", "value": "x" }] })
            }
            "/pushers/set" => json!({ "pushkey": "x", "app_id": "x", "kind": "http", "app_display_name": "x",
                "device_display_name": "x", "profile_tag": "x", "lang": "en",
                "data": { "url": "https://push.example/_matrix/push/v1/notify", "format": "event_id_only" } }),
            path if path.starts_with("/keys/") || path.starts_with("/room_keys/") => self.key_body(path, &auth),
            _ => self.room_body(path),
        }
    }

    /// A body that an endpoint about keys takes, or nearly.
    fn key_body(&self, path: &str, auth: &Value) -> Value {
        let Self { user, room, .. } = self;
        let (id, device) = (&user.id, &user.device_id);
        let key = json!({ "key": "abc", "signatures": { id: { "ed25519:A": "abc" } } });
        let session = json!({
            "first_message_index": 1, "forwarded_count": 0, "is_verified": true, "session_data": { "ciphertext": "x" },
        });
        match path {
            "/keys/upload" | "/keys/upload/{device_id}" => json!({
                "device_keys": { "user_id": id, "device_id": device, "algorithms": ["m.olm.v1"],
                    "keys": { format!("ed25519:{device}"): "abc" }, "signatures": { id: { "ed25519:A": "abc" } } },
                "one_time_keys": { "signed_curve25519:A": key },
                "fallback_keys": { "signed_curve25519:B": key },
            }),
            "/keys/query" => json!({ "device_keys": { id: [device] } }),
            "/keys/claim" => json!({ "one_time_keys": { id: { device: "signed_curve25519" } } }),
            "/keys/device_signing/upload" => {
                let key = |usage: &str, public: &str| {
                    json!({ "user_id": id, "usage": [usage],
                        "keys": { format!("ed25519:{public}"): public } })
                };
                json!({ "master_key": key("master", "nqOvzeuGWT/sRx3h7+MHoInYj3Uk2LD/unI9kDYcHwk"),
                    "self_signing_key": key("self_signing", "x"), "user_signing_key": key("user_signing", "x"),
                    "auth": auth })
            }
            "/keys/signatures/upload" => json!({ id: { device: { "user_id": id, "device_id": device,
                "keys": { format!("ed25519:{device}"): "abc" }, "signatures": { id: { "ed25519:A": "abc" } } } } }),
            "/room_keys/version" | "/room_keys/version/{version}" => {
                json!({ "algorithm": "m.megolm_backup.v1", "auth_data": { "public_key": "abc" }, "version": "1" })
            }
            "/room_keys/keys" => json!({ "rooms": { room: { "sessions": { "x": session } } } }),
            "/room_keys/keys/{room_id}" => json!({ "sessions": { "x": session } }),
            "/room_keys/keys/{room_id}/{session_id}" => session,
            _ => self.room_body(path),
        }
    }

    /// A body that an endpoint about rooms takes, or nearly; or what many endpoints have in common.
    fn room_body(&self, path: &str) -> Value {
        let Self { user, room, event } = self;
        let id = &user.id;
        match path {
            "/rooms/{room_id}/read_markers" => json!({ "m.fully_read": event, "m.read": event }),
            "/rooms/{room_id}/receipt/{receipt_type}/{event_id}" => json!({ "thread_id": "main" }),
            "/createRoom" => json!({ "name": "x", "topic": "x", "room_alias_name": "x", "preset": "private_chat",
                "visibility": "private", "room_version": "11", "invite": [id], "creation_content": { "type": "x" },
                "initial_state": [{ "type": "x", "state_key": "x", "content": { "x": "x" } }],
                "power_level_content_override": { "users": { id: 100 }, "events": { "x": 50 } } }),
            "/rooms/{room_id}/upgrade" => json!({ "new_version": "11", "additional_creators": ["@x:test.example"] }),
            "/publicRooms" => json!({ "since": "x", "filter": { "generic_search_term": "x", "room_types": ["x"] } }),
            "/user_directory/search" => json!({ "search_term": "x" }),
            "/search" => {
                let groupings = json!({ "group_by": [{ "key": "sender" }] });
                json!({ "search_categories": { "room_events": { "search_term": "x", "keys": ["content.body"],
                    "order_by": "recent", "filter": { "rooms": [room] }, "groupings": groupings } } })
            }
            "/directory/room/{room_alias}" => json!({ "room_id": room }),
            "/directory/list/room/{room_id}" => json!({ "visibility": "private" }),
            "/join/{room_id_or_alias}" | "/knock/{room_id_or_alias}" | "/rooms/{room_id}/join" => {
                json!({ "reason": "x", "third_party_signed": { "sender": id, "mxid": id, "token": "x",
                    "signatures": { "test.example": { "ed25519:0": "abc" } } } })
            }
            "/rooms/{room_id}/invite" => json!({ "user_id": "@x:test.example", "reason": "x", "id_server": "x",
                "id_access_token": "x", "medium": "email", "address": "x" }),
            "/rooms/{room_id}/state/{event_type}/{state_key}" => json!({ "x": { "x": "x" } }),
            // Content, a profile's field, a tag, or what many have in common.
            _ => json!({ "user_id": id, "reason": "x", "score": 1, "typing": true, "enabled": true, "displayname": "x",
                "m.something": "x", "order": 0.5, "msgtype": "m.text", "body": "x", "client_secret": "x", "email": "x",
                "m.relates_to": { "rel_type": "m.annotation", "event_id": event, "key": "x" } }),
        }
    }
}

/// Every copy of `value` with U+0000 in one of its texts or names.
pub(crate) fn spoilt(value: &Value) -> Vec<Value> {
    match value {
        Value::String(text) => vec![json!("\0"), json!(format!("{text}\0"))],
        Value::Array(values) => (0..values.len())
            .flat_map(|at| spoilt(&values[at]).into_iter().map(move |spoilt| (at, spoilt)))
            .map(|(at, spoilt)| {
                let mut values = values.clone();
                values[at] = spoilt;
                Value::Array(values)
            })
            .collect(),
        Value::Object(object) => {
            let mut all = Vec::new();
            for (key, value) in object {
                let mut without = object.clone();
                without.remove(key);
                let mut renamed = without.clone();
                renamed.insert(format!("{key}\0"), value.clone());
                all.push(Value::Object(renamed));
                all.extend(spoilt(value).into_iter().map(|spoilt| {
                    let mut object = without.clone();
                    object.insert(key.clone(), spoilt);
                    Value::Object(object)
                }));
            }
            all
        }
        _ => Vec::new(),
    }
}

/// The names of a path's parameters.
fn parameters(path: &str) -> Vec<&str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')).collect()
}

/// How each request is answered, by what is asked; and what is wrong with that.
async fn answers(place: TestPlace) -> (BTreeMap<String, u16>, Vec<String>) {
    let server = TestServer::on(place).config("federation_domain_whitelist: []").start().await;
    let (mut answers, mut wrong) = (BTreeMap::new(), Vec::new());
    let mut note = |what: String, answer: &Answer| {
        if answer.status >= 500 || (answer.status >= 400 && !answer.body.is_object()) {
            wrong.push(format!("{what}: {answer:?}"));
        }
        answers.insert(what, answer.status);
    };
    let query: String = PARAMETERS.split(' ').map(|name| format!("&{name}=x%00")).collect();
    let nothing = Bytes::from_static(b"{}");
    for (method, path) in endpoints().iter().filter(|(_, path)| !path.contains("/r0/") && !path.contains("/unstable/"))
    {
        let mut asker = Asker::new(&server).await;
        let send = async |asker: &Asker, path: &str, body: Bytes| {
            server.send(method.clone(), path, Some(&asker.user.token), &[], body).await
        };
        for wrong_one in parameters(path) {
            for encoded in ENCODED {
                let path_now =
                    filled(path, |name| if name == wrong_one { encoded.to_owned() } else { asker.fitting(name) });
                let answer = send(&asker, &path_now, nothing.clone()).await;
                note(format!("{method} {path} with {wrong_one}={encoded}"), &answer);
            }
        }
        let right = filled(path, |name| asker.fitting(name));
        let answer = send(&asker, &format!("{right}?{}", query.trim_start_matches('&')), nothing.clone()).await;
        note(format!("{method} {path} with a query"), &answer);
        if *method == Method::GET || *method == Method::DELETE && !path.contains("/devices/") {
            continue;
        }
        for (number, _) in spoilt(&asker.body(path)).iter().enumerate() {
            // Of this room and this session.
            let body = spoilt(&asker.body(path)).swap_remove(number);
            let right = filled(path, |name| asker.fitting(name));
            let answer = send(&asker, &right, body.to_string().into()).await;
            note(format!("{method} {path} with body {number}"), &answer);
            if answer.status == 200 {
                let whoami = server.get(&format!("{CLIENT}/account/whoami"), &asker.user.token).await;
                match whoami.status {
                    200 if path.contains("/rooms/") => asker.new_room(&server).await,
                    200 => {}
                    _ => asker = Asker::new(&server).await,
                }
            }
        }
        let sync = server.get(&format!("{CLIENT}/sync"), &asker.user.token).await;
        note(format!("GET /sync after {method} {path}"), &sync);
    }
    (answers, wrong)
}

#[tokio::test(flavor = "multi_thread")]
async fn nul_is_no_server_error_and_both_databases_agree() {
    let mut before: Option<BTreeMap<String, u16>> = None;
    for place in plexus_testkit::places() {
        let (answers, wrong) = answers(place).await;
        assert!(wrong.is_empty(), "{} wrong answers: {wrong:#?}", wrong.len());
        assert!(answers.len() > 1_000, "only {} requests", answers.len());
        if let Some(before) = before.replace(answers.clone()) {
            let differ: Vec<_> = answers.iter().filter(|(what, status)| before.get(*what) != Some(status)).collect();
            assert!(differ.is_empty(), "{differ:#?}");
        }
    }
}

#[tokio::test]
async fn nul_in_content_is_kept() {
    for server in TestServer::on_each().await {
        let asker = Asker::new(&server).await;
        let content = json!({ "msgtype": "m.text", "body": "a\0b", "\0": { "c": ["\0"] } });
        let path = format!("{CLIENT}/rooms/{}/send/m.room.message/1", asker.room);
        let sent = server.put(&path, &asker.user.token, content.clone()).await;
        let id = sent.ok()["event_id"].as_str().unwrap().to_owned();
        let event = server.get(&format!("{CLIENT}/rooms/{}/event/{id}", asker.room), &asker.user.token).await;
        assert_eq!(event.ok()["content"], content);
        let path = format!("{CLIENT}/user/{}/account_data/m.x", asker.user.id);
        server.put(&path, &asker.user.token, content.clone()).await.ok();
        assert_eq!(*server.get(&path, &asker.user.token).await.ok(), content);
    }
}
