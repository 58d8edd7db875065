//! U+0000 in everything that another server can name.

use http::Method;

use super::stored::between_runs;
use super::strange::{ask, filled, fitting};
use super::*;
use crate::client::room_path;
use crate::every_endpoint::nul::spoilt;

/// EDUs of every kind that are accepted, or nearly.
fn edus(stage: &Stage) -> Vec<Value> {
    let (mallory, alice, room) = (&stage.liar.mallory, &stage.alice.id, &stage.room);
    let keys = json!({ "user_id": mallory, "device_id": "A", "algorithms": ["x"], "keys": { "ed25519:A": "x" },
        "signatures": { mallory: { "ed25519:A": "x" } } });
    let master = json!({ "user_id": mallory, "usage": ["master"], "keys": { "ed25519:x": "x" } });
    let receipt = json!({ "event_ids": ["$x"], "data": { "ts": 1, "thread_id": "main" } });
    [
        ("m.typing", json!({ "room_id": room, "user_id": mallory, "typing": true })),
        ("m.presence", json!({ "push": [{ "user_id": mallory, "presence": "online", "status_msg": "x" }] })),
        ("m.receipt", json!({ room: { "m.read": { mallory: receipt } } })),
        (
            "m.device_list_update",
            json!({ "user_id": mallory, "device_id": "A", "device_display_name": "x", "stream_id": 1,
            "prev_id": [], "keys": keys }),
        ),
        ("m.signing_key_update", json!({ "user_id": mallory, "master_key": master, "self_signing_key": master })),
        (
            "m.direct_to_device",
            json!({ "sender": mallory, "type": "m.x", "message_id": "x",
            "messages": { alice: { "*": { "body": "x" }, stage.alice.device_id.as_str(): { "body": "x" } } } }),
        ),
    ]
    .into_iter()
    .map(|(edu_type, content)| json!({ "edu_type": edu_type, "content": content }))
    .collect()
}

/// A body that an endpoint takes, or nearly.
fn body(stage: &Stage, path: &str, event: &str) -> Value {
    let (mallory, alice, room) = (&stage.liar.mallory, &stage.alice.id, &stage.room);
    let member = json!({
        "type": "m.room.member", "state_key": alice, "sender": mallory, "room_id": "!x:else.example", "depth": 1,
        "origin_server_ts": 1, "content": { "membership": "invite" }, "prev_events": [], "auth_events": [],
        "hashes": { "sha256": "x" }, "signatures": { "else.example": { "ed25519:x": "x" } },
    });
    let stripped = json!({ "type": "m.room.name", "state_key": "", "sender": mallory, "content": { "name": "x" } });
    match path.rsplit("/_matrix/").next().unwrap_or_default() {
        path if path.contains("/send/") => {
            json!({ "origin": "x", "origin_server_ts": 1, "pdus": [member], "edus": edus(stage) })
        }
        path if path.contains("v2/invite") => {
            json!({ "room_version": "11", "event": member, "invite_room_state": [stripped] })
        }
        path if path.contains("/get_missing_events/") => {
            json!({ "earliest_events": [event], "latest_events": [event], "limit": 1, "min_depth": 0 })
        }
        path if path.contains("/user/keys/query") => json!({ "device_keys": { alice: [stage.alice.device_id] } }),
        path if path.contains("/user/keys/claim") => {
            json!({ "one_time_keys": { alice: { stage.alice.device_id.as_str(): "signed_curve25519" } } })
        }
        path if path.contains("/publicRooms") => {
            json!({ "filter": { "generic_search_term": "x", "room_types": ["x"] }, "since": "x",
                "third_party_instance_id": "x" })
        }
        path if path.contains("key/v2/query") => {
            let wanted = json!({ "ed25519:x": { "minimum_valid_until_ts": 1 } });
            json!({ "server_keys": { stage.liar.peer.name().as_str(): wanted } })
        }
        path if path.contains("/3pid/onbind") => json!({ "medium": "email", "address": "x", "mxid": alice, "invites": [
            { "medium": "email", "address": "x", "mxid": alice, "room_id": room, "sender": mallory,
                "signed": { "mxid": alice, "token": "x", "signatures": { "x": { "ed25519:0": "x" } } } }] }),
        _ => member,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nul_from_other_servers_is_no_server_error() {
    for place in plexus_testkit::places() {
        let mut stage = Stage::closed(place).await;
        let event = stage.newest().await;
        let routes = [plexus_api_federation::routes::for_servers(), plexus_api_federation::routes::open()];
        let mut wrong = Vec::new();
        let mut asked = 0;
        for route in routes.iter().flat_map(|routes| routes.list()) {
            let mut requests: Vec<(String, String)> = Vec::new();
            let names = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            for strange in names {
                let fill = |name: &str| if name == strange { "x%00".to_owned() } else { fitting(&stage, name, &event) };
                requests.push((filled(&route.path, fill), "{}".to_owned()));
            }
            if route.method != Method::GET {
                let right = || filled(&route.path, |name| fitting(&stage, name, &event));
                requests
                    .extend(spoilt(&body(&stage, &route.path, &event)).iter().map(|body| (right(), body.to_string())));
            }
            for (path, body) in requests {
                asked += 1;
                let answer = ask(&stage, &route.method, &path, &body).await;
                let refused = answer.body["errcode"].as_str().is_some_and(|code| code.starts_with("M_"));
                let unreachable = answer.status == 502 && path.starts_with("/_matrix/key/");
                if answer.status >= 400 && !refused || answer.status >= 500 && !unreachable {
                    wrong.push(format!("{} {path:.200} {body:.500}: {answer:?}", route.method));
                }
            }
        }
        assert!(wrong.is_empty(), "{} wrong answers: {wrong:#?}", wrong.len());
        assert!(asked > 200, "only {asked} requests");
        stage.server.get(&format!("{CLIENT}/sync"), &stage.alice.token).await.ok();
        stage.server.restart().await;
        stage.server.get(&format!("{CLIENT}/sync"), &stage.alice.token).await.ok();
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_with_nul_are_stored_and_shown() {
    for place in plexus_testkit::places() {
        let mut stage = Stage::on(place, "11", "").await;
        let power = json!({ "users": { stage.alice.id.as_str(): 100, stage.liar.mallory.as_str(): 100 } });
        let path = room_path(&stage.room, "state/m.room.power_levels/");
        stage.server.put(&path, &stage.alice.token, power).await.ok();
        let changes: [fn(&mut Value); 5] = [
            |event| event["type"] = json!("x\0y"),
            |event| {
                event["type"] = json!("\0");
                event["state_key"] = json!("a\0b");
            },
            |event| event["content"] = json!({ "body": "\0", "\0": ["\0"] }),
            |event| event["content"]["m.relates_to"] = json!({ "rel_type": "\0", "event_id": "$x\0", "key": "\0" }),
            |event| {
                event["type"] = json!("m.room.redaction");
                event["content"] = json!({ "redacts": "$\0", "reason": "\0" });
            },
        ];
        let mut sent = Vec::new();
        for change in changes {
            let event = stage.lie(change).await;
            let id = id_of(&event, stage.version);
            assert_eq!(stage.send(&[event]).await.ok()["pdus"][&id], json!({}));
            // The next one rests on it.
            stage.sees(&stage.honest.peer, &stage.honest.bob).await;
            sent.push(id);
        }
        stage.server.restart().await;
        for id in sent {
            let path = room_path(&stage.room, &format!("event/{}", id.replace('$', "%24")));
            stage.server.get(&path, &stage.alice.token).await.ok();
        }
        stage.state().await;
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn media_of_others_is_stored_whatever_it_is_called() {
    for place in plexus_testkit::places() {
        let mut stage = Stage::on(place, "11", "").await;
        stage.liar.answers(|uri| {
            let (name, disposition) = match uri {
                _ if uri.contains("/download/plain") => ("image/gif", "inline; filename=\"a\0b\u{7}.gif\""),
                _ if uri.contains("/download/third") => ("image/gif", "inline"),
                _ if uri.contains("/download/extended") => ("image/g\0if", "inline; filename*=utf-8''a%00b%0D%0A.gif"),
                _ => return None,
            };
            let body = format!(
                "--x\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--x\r\nContent-Type: {name}\r\n\
                 Content-Disposition: {disposition}\r\n\r\ncontent\r\n--x--"
            );
            Some(([("content-type", "multipart/mixed; boundary=x")], body).into_response())
        });
        for (id, content_type) in [("plain", "image/gif"), ("extended", "application/octet-stream")] {
            let path = format!("/_matrix/client/v1/media/download/{}/{id}", stage.liar.peer.name());
            let answer = stage.server.get(&path, &stage.alice.token).await;
            assert_eq!((answer.status, &*answer.bytes), (200, &b"content"[..]), "{answer:?}");
            assert_eq!(answer.headers["content-type"], content_type);
            let disposition = answer.headers["content-disposition"].to_str().unwrap();
            assert!(disposition.ends_with("; filename=ab.gif"), "{disposition}");
        }
        // From now on the database takes no further row like these: the file goes, too.
        let folder = stage.server.config().media.media_store_path.clone();
        assert_eq!(files(&folder), 2);
        let index = "CREATE UNIQUE INDEX one_of_a_kind ON remote_media (length, content_type)";
        between_runs(&mut stage.server, move |tx| tx.execute(index, &[]).map(|_| ())).await;
        let path = format!("/_matrix/client/v1/media/download/{}/third", stage.liar.peer.name());
        assert_eq!(stage.server.get(&path, &stage.alice.token).await.status, 500);
        assert_eq!(files(&folder), 2);
    }
}

/// How many files are in a folder, and in those below it.
fn files(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}
