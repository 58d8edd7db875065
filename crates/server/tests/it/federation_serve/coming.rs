use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn leaving_and_declining() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let bob = peer.user("bob");
        let room = public_room(&server, &alice, "6").await;
        assert_eq!(make(&server, &peer, "leave", &room, &bob).await.refusal(), (403, "M_FORBIDDEN"));
        join(&server, &peer, &room, &bob).await;
        let made = make(&server, &peer, "leave", &room, &bob).await;
        assert_eq!(made.ok()["event"]["content"], json!({ "membership": "leave" }));
        let pdu = signed(&peer, &made, |_| {});
        let as_join = submit(&server, &peer, "v2/send_join", &room, &pdu, "").await;
        assert_eq!(as_join.refusal(), (400, "M_INVALID_PARAM"));
        assert_eq!(submit(&server, &peer, "v2/send_leave", &room, &pdu, "").await.ok(), &json!({}));
        assert_eq!(membership(&server, &alice, &room, &bob).await.as_deref(), Some("leave"));
        let old = submit(&server, &peer, "v1/send_join", &room, &pdu, "").await;
        assert_eq!(old.refusal(), (400, "M_INVALID_PARAM"));
        let (_, _) = join(&server, &peer, &room, &bob).await;
        let pdu = signed(&peer, &make(&server, &peer, "leave", &room, &bob).await, |_| {});
        assert_eq!(submit(&server, &peer, "v1/send_leave", &room, &pdu, "").await.ok(), &json!([200, {}]));
        assert_eq!(membership(&server, &alice, &room, &bob).await.as_deref(), Some("leave"));
        let leave = path("v1/make_leave", &["!unknown:test.example", &bob]);
        assert_eq!(peer.get(&server, &leave).await.refusal(), (404, "M_NOT_FOUND"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn knocking() {
    for server in TestServer::on_each().await {
        let (peer, alice) = (Peer::start().await, server.register("alice").await);
        let bob = peer.user("bob");
        let room = create(&server, &alice, json!({ "room_version": "12", "name": "Door" })).await;
        assert_eq!(make(&server, &peer, "knock", &room, &bob).await.refusal(), (403, "M_FORBIDDEN"));
        set(&server, &alice, &room, "m.room.join_rules", json!({ "join_rule": "knock" })).await;
        let made = make(&server, &peer, "knock", &room, &bob).await;
        let pdu = signed(&peer, &made, |event| event["content"]["reason"] = json!("let me in"));
        let answer = submit(&server, &peer, "v1/send_knock", &room, &pdu, "").await;
        let state = pdus(&answer, "knock_room_state", RoomVersion::V12);
        let types: Vec<_> = state.iter().map(Pdu::event_type).collect();
        assert_eq!(types, ["m.room.create", "m.room.name", "m.room.join_rules"]);
        assert!(state.iter().all(|pdu| pdu.room_id().as_str() == room));
        assert_eq!(membership(&server, &alice, &room, &bob).await.as_deref(), Some("knock"));
        // Where knocking was not invented yet.
        let old = create(&server, &alice, json!({ "room_version": "6" })).await;
        assert_eq!(make(&server, &peer, "knock", &old, &bob).await.refusal(), (403, "M_FORBIDDEN"));
    }
}
