//! Coming into rooms of the other server and leaving them.

use serde_json::json;

use super::{Member, both_ways, converse, shared_room, text};

async fn private_room(ann: &Member, ben: &Member) -> String {
    let room = ann.create_room(json!({ "preset": "private_chat", "name": "private" })).await;
    ann.act("invite", &room, ben).await;
    ben.finds("invite", &room).await;
    room
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_accepted() {
    both_ways(async |ann, ben| {
        let room = private_room(ann, ben).await;
        ben.join(&room, ann).await;
        ann.sees_member(&room, ben, "join").await;
        converse(&room, ann, ben).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_show_the_invited() {
    both_ways(async |ann, ben| {
        let profile = format!("v3/profile/{}/displayname", ben.id());
        ben.put(&profile, json!({ "displayname": "Ben the Second" })).await.ok();
        let room = private_room(ann, ben).await;
        let invited = ann.sees_member(&room, ben, "invite").await;
        assert_eq!(invited["content"]["displayname"], "Ben the Second");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invited_as_the_room_is_made() {
    both_ways(async |ann, ben| {
        let options = json!({ "preset": "trusted_private_chat", "invite": [ben.id()], "is_direct": true });
        let room = ann.create_room(options).await;
        ben.finds("invite", &room).await;
        ben.join(&room, ann).await;
        ann.sees_member(&room, ben, "join").await;
        ben.set_state(&room, "m.room.topic/", json!({ "topic": "mine, too" })).await;
        converse(&room, ann, ben).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_rejected() {
    both_ways(async |ann, ben| {
        let room = private_room(ann, ben).await;
        ben.leave(&room).await;
        let left = ann.sees_member(&room, ben, "leave").await;
        assert_eq!(left["sender"], ben.id());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_retracted() {
    both_ways(async |ann, ben| {
        let room = private_room(ann, ben).await;
        ann.act("kick", &room, ben).await;
        ben.finds("leave", &room).await;
        let join = ben.post(&format!("v3/join/{room}?via={}", ann.server), json!({})).await;
        assert_eq!(join.refusal(), (403, "M_FORBIDDEN"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn knocks() {
    both_ways(async |ann, ben| {
        for version in ["7", "10", "12"] {
            let rule = json!({ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } });
            let room = ann.create_room(json!({ "room_version": version, "initial_state": [rule] })).await;
            let knock = format!("v3/knock/{room}?via={}", ann.server);
            ben.post(&knock, json!({ "reason": "may I?" })).await.ok();
            ben.finds("knock", &room).await;
            let knocked = ann.sees_member(&room, ben, "knock").await;
            assert_eq!(knocked["content"]["reason"], "may I?");
            ann.act("invite", &room, ben).await;
            ben.finds("invite", &room).await;
            ben.join(&room, ann).await;
            ann.sees_member(&room, ben, "join").await;
            converse(&room, ann, ben).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kicked_banned_and_back() {
    both_ways(async |ann, ben| {
        let room = shared_room(ann, ben).await;
        ann.sees_member(&room, ben, "join").await;
        ann.act("kick", &room, ben).await;
        ben.finds("leave", &room).await;
        ben.join(&room, ann).await;
        ann.act("ban", &room, ben).await;
        ben.finds("leave", &room).await;
        let join = ben.post(&format!("v3/join/{room}?via={}", ann.server), json!({})).await;
        assert_eq!(join.refusal(), (403, "M_FORBIDDEN"));
        ann.act("unban", &room, ben).await;
        ben.join(&room, ann).await;
        converse(&room, ann, ben).await;
        ben.leave(&room).await;
        ann.sees_member(&room, ben, "leave").await;
        ben.join(&room, ann).await;
        converse(&room, ann, ben).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restricted_rooms() {
    both_ways(async |ann, ben| {
        for version in ["8", "9", "10", "12"] {
            let club = ann.create_room(json!({ "preset": "public_chat" })).await;
            let allow = json!([{ "type": "m.room_membership", "room_id": club }]);
            let content = json!({ "join_rule": "restricted", "allow": allow });
            let rule = json!({ "type": "m.room.join_rules", "state_key": "", "content": content });
            let room = ann.create_room(json!({ "room_version": version, "initial_state": [rule] })).await;
            let join = ben.post(&format!("v3/join/{room}?via={}", ann.server), json!({})).await;
            assert_eq!(join.refusal(), (403, "M_FORBIDDEN"), "version {version}");
            ben.join(&club, ann).await;
            ben.join(&room, ann).await;
            let joined = ann.sees_member(&room, ben, "join").await;
            assert_eq!(text(&joined["content"]["join_authorised_via_users_server"]), ann.id());
            converse(&room, ann, ben).await;
        }
    })
    .await;
}
