//! Coming into rooms of the other server and leaving them.

use plexus_testkit::{TestPlace, TestServer, places};
use serde_json::{Value, json};

use super::{Member, both_ways, converse, pair, shared_room, text};

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

/// Ben comes into rooms of Ann's that let in the members of a club. In a room with a name, members are left out of the
/// state that Ben's server gets.
async fn comes_into_restricted_rooms(ann: &Member, ben: &Member) {
    for (version, join_rule, name) in [
        ("8", "restricted", ""),
        ("8", "restricted", "named"),
        ("9", "restricted", "named"),
        ("10", "restricted", "named"),
        ("10", "knock_restricted", "named"),
        ("11", "knock_restricted", "named"),
        ("11", "restricted", "named"),
        ("12", "restricted", "named"),
        ("12", "restricted", ""),
    ] {
        let club = ann.create_room(json!({ "preset": "public_chat" })).await;
        let allow = json!([{ "type": "m.room_membership", "room_id": club }]);
        let content = json!({ "join_rule": join_rule, "allow": allow });
        let rule = json!({ "type": "m.room.join_rules", "state_key": "", "content": content });
        let options = json!({ "room_version": version, "initial_state": [rule], "name": name });
        let room = ann.create_room(options).await;
        let join = ben.post(&format!("v3/join/{room}?via={}", ann.server), json!({})).await;
        assert_eq!(join.refusal(), (403, "M_FORBIDDEN"), "version {version}");
        ben.join(&club, ann).await;
        ben.join(&room, ann).await;
        let joined = ann.sees_member(&room, ben, "join").await;
        assert_eq!(text(&joined["content"]["join_authorised_via_users_server"]), ann.id());
        converse(&room, ann, ben).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restricted_rooms() {
    both_ways(comes_into_restricted_rooms).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restricted_rooms_between_servers_of_ours() {
    for place in places() {
        let near = TestServer::on(place).federating().start().await;
        let far = TestServer::on(TestPlace::sqlite()).federating().start().await;
        let ann = Member::register(&near, near.name(), "ann").await;
        let ben = Member::register(&far, far.name(), "ben").await;
        comes_into_restricted_rooms(&ann, &ben).await;
        comes_into_restricted_rooms(&ben, &ann).await;
    }
}

/// The user who lets others in has no part in the state but by being a member.
#[tokio::test(flavor = "multi_thread")]
async fn let_in_by_a_moderator() {
    let Some((plexus, [paul, sara])) = pair(TestPlace::sqlite()).await else { return };
    for (host, guest) in [(&sara, &paul), (&paul, &sara)] {
        let moderator = Member::register(&host.client, &host.server, "moderator").await;
        let club = host.create_room(json!({ "preset": "public_chat" })).await;
        let allow = json!([{ "type": "m.room_membership", "room_id": club }]);
        let room =
            host.create_room(json!({ "preset": "public_chat", "name": "led by others", "room_version": "11" })).await;
        moderator.join(&room, host).await;
        let levels = json!({ "users": { host.id(): 100, moderator.id(): 60 }, "invite": 50 });
        host.set_state(&room, "m.room.power_levels/", levels).await;
        host.set_state(&room, "m.room.join_rules/", json!({ "join_rule": "restricted", "allow": allow })).await;
        host.leave(&room).await;
        guest.join(&club, host).await;
        guest.join(&room, host).await;
        let joined = moderator.sees_member(&room, guest, "join").await;
        assert_eq!(text(&joined["content"]["join_authorised_via_users_server"]), moderator.id());
        converse(&room, &moderator, guest).await;
    }
    drop(plexus);
}

/// The end of an invite is one event of the timeline, as Synapse has it.
#[tokio::test(flavor = "multi_thread")]
async fn an_ended_invite_shows_its_end() {
    both_ways(async |ann, ben| {
        for by_invited in [true, false] {
            let before = ben.now().await;
            let room = private_room(ann, ben).await;
            if by_invited {
                ben.leave(&room).await;
            } else {
                ann.act("kick", &room, ben).await;
            }
            let look = |sync: &Value| sync["rooms"]["leave"].get(&room).map(|left| left["timeline"]["events"].clone());
            let shown = ben.sync_from(before, "the end of the invite", look).await;
            let sender = if by_invited { ben.id() } else { ann.id() };
            assert_eq!((&shown[0]["sender"], &shown[0]["content"]["membership"]), (&json!(sender), &json!("leave")));
            assert_eq!(shown.as_array().map(Vec::len), Some(1));
        }
    })
    .await;
}

/// Somebody else than the inviter, of the same server as they or of another.
#[tokio::test(flavor = "multi_thread")]
async fn kicked_by_another_moderator() {
    let Some((plexus, [paul, sara])) = pair(TestPlace::sqlite()).await else { return };
    let other = TestServer::on(TestPlace::sqlite()).federating().start().await;
    let olga = Member::register(&other, other.name(), "olga").await;
    let sam = Member::register(&sara.client, &sara.server, "sam").await;
    for kicker in [&sam, &olga] {
        let options = json!({ "preset": "public_chat", "name": "watched", "room_version": "11" });
        let room = sara.create_room(options).await;
        kicker.join(&room, &sara).await;
        sara.sees_member(&room, kicker, "join").await;
        let levels = json!({ "users": { sara.id(): 100, kicker.id(): 60 } });
        let levels = sara.set_state(&room, "m.room.power_levels/", levels).await;
        kicker.hears(&room, &levels).await;
        sara.act("invite", &room, &paul).await;
        paul.finds("invite", &room).await;
        kicker.sees_member(&room, &paul, "invite").await;
        let before = paul.now().await;
        kicker.act("kick", &room, &paul).await;
        let look = |sync: &Value| sync["rooms"]["leave"].get(&room).map(|left| left["timeline"]["events"].clone());
        let shown = paul.sync_from(before, "the kick", look).await;
        assert_eq!((&shown[0]["sender"], &shown[0]["content"]["membership"]), (&json!(kicker.id()), &json!("leave")));
    }
    drop(plexus);
}
