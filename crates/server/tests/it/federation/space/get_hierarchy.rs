//! `GET /hierarchy/{room_id}`.

use plexus_testkit::Peer;
use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::{create, room_path};
use crate::federation::{join, path, public_room, set};

async fn space(server: &TestServer, alice: &TestUser, children: &[(&str, bool)]) -> String {
    let body = json!({ "preset": "public_chat", "creation_content": { "type": "m.space" }, "name": "Space" });
    let space = create(server, alice, body).await;
    for (child, suggested) in children {
        let content = json!({ "via": ["test.example"], "suggested": suggested });
        server.put(&room_path(&space, &format!("state/m.space.child/{child}")), &alice.token, content).await.ok();
    }
    space
}

#[tokio::test(flavor = "multi_thread")]
async fn spaces() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let open = public_room(&server, &alice, "11").await;
        let closed = create(&server, &alice, json!({ "preset": "private_chat" })).await;
        let space = space(&server, &alice, &[(&open, false), (&closed, true), ("!far:else.example", true)]).await;
        let ask = async |room: &str, query: &str| {
            peer.get(&server, &format!("{}{query}", path("v1/hierarchy", &[room]))).await
        };
        let answer = ask(&space, "").await;
        assert_eq!(answer.ok()["room"]["room_id"], space.as_str());
        assert_eq!(answer.body["room"]["room_type"], "m.space");
        assert_eq!(answer.body["room"]["children_state"].as_array().map(Vec::len), Some(3));
        let ids = |member: &Value| -> Vec<Value> {
            member.as_array().into_iter().flatten().map(|room| room["room_id"].clone()).collect()
        };
        assert_eq!(ids(&answer.body["children"]), [json!(open)]);
        assert_eq!(answer.body["inaccessible_children"], json!([closed]));
        let suggested = ask(&space, "?suggested_only=true").await;
        assert_eq!(
            (&suggested.ok()["children"], &suggested.body["inaccessible_children"]),
            (&json!([]), &json!([closed]))
        );

        // The open room is no space.
        let content = json!({ "via": ["test.example"] });
        server.put(&room_path(&open, &format!("state/m.space.child/{closed}")), &alice.token, content).await.ok();
        let answer = ask(&open, "").await;
        assert_eq!(answer.ok()["room"]["children_state"], json!([]));
        assert_eq!((&answer.body["children"], &answer.body["inaccessible_children"]), (&json!([]), &json!([])));
        assert_eq!(ask(&space, "").await.ok()["children"][0]["children_state"], json!([]));

        assert_eq!(ask(&closed, "").await.refusal(), (404, "M_NOT_FOUND"));
        assert_eq!(ask("!unknown:test.example", "").await.refusal(), (404, "M_NOT_FOUND"));
        // Members of the open room may enter; the peer's users are some of them now.
        let rules = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": open }] });
        set(&server, &alice, &closed, "m.room.join_rules", rules).await;
        assert_eq!(ask(&closed, "").await.refusal(), (404, "M_NOT_FOUND"));
        join(&server, &peer, &open, &peer.user("bob")).await;
        ask(&closed, "").await.ok();
        set(&server, &alice, &closed, "m.room.server_acl", json!({ "allow": ["*"], "allow_ip_literals": false })).await;
        assert_eq!(ask(&closed, "").await.refusal(), (404, "M_NOT_FOUND"));
    }
}
