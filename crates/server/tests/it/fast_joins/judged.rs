//! Joins that are judged although members are left out of the state.

use plexus_protocol::rules::RoomVersion;

use super::*;

const RESTRICTED: [RoomVersion; 5] =
    [RoomVersion::V8, RoomVersion::V9, RoomVersion::V10, RoomVersion::V11, RoomVersion::V12];

/// A room with a name that one of its members, who is not its creator, may let others into.
async fn restricted(version: RoomVersion, join_rule: &str) -> RoomHost {
    let host = BigRoom { version, ..BigRoom::new(20, 40) }.host(&[]).await;
    let (creator, authoriser) = (host.room.creator(), host.room.member(3));
    let mut users = json!({ authoriser.as_str(): 60 });
    if version < RoomVersion::V12 {
        users[creator.as_str()] = json!(100);
    }
    host.room.send(&creator, "m.room.power_levels", Some(""), json!({ "users": users, "invite": 50 }));
    let allow = json!([{ "type": "m.room_membership", "room_id": "!club:else.example" }]);
    let rule = json!({ "join_rule": join_rule, "allow": allow });
    host.room.send(&creator, "m.room.join_rules", Some(""), rule);
    host.room.set_ways(|ways| ways.authoriser = Some(authoriser));
    host
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_room_whose_authoriser_is_left_out_of_the_state() {
    for server in TestServer::on_each().await {
        for version in RESTRICTED {
            for tells_what_allows_joins in [true, false] {
                let host = restricted(version, "restricted").await;
                host.room.set_ways(|ways| ways.tells_what_allows_joins = tells_what_allows_joins);
                let alice = server.register(&unique_name()).await;
                join(&server, &alice, &host).await.ok();
                assert_eq!(joined_members(&server, &alice, &host).await, 21, "version {version}");
                hear(&server, &host, 3, "welcome").await;
                sync_room_until(&server, &alice, &host, ("", ""), |room| says(room, "welcome")).await;
            }
        }
        let host = restricted(RoomVersion::V10, "knock_restricted").await;
        let alice = server.register(&unique_name()).await;
        join(&server, &alice, &host).await.ok();
        assert_eq!(joined_members(&server, &alice, &host).await, 21);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authoriser_without_the_power_lets_nobody_in() {
    for server in TestServer::on_each().await {
        let host = restricted(RoomVersion::V11, "restricted").await;
        let powerless = host.room.member(5);
        host.room.set_ways(|ways| ways.authoriser = Some(powerless));
        let alice = server.register("alice").await;
        assert_eq!(join(&server, &alice, &host).await.refusal(), (502, "M_UNKNOWN"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_restricted_room_with_its_whole_state() {
    for server in TestServer::on_each().await {
        let host = restricted(RoomVersion::V11, "restricted").await;
        let creator = host.room.creator();
        for number in 0..2_100 {
            host.room.send(&creator, "org.example.more", Some(&format!("more-{number}")), json!({}));
        }
        host.room.set_ways(|ways| ways.omits_members = false);
        let alice = server.register("alice").await;
        join(&server, &alice, &host).await.ok();
        assert_eq!(joined_members(&server, &alice, &host).await, 21);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_that_is_left_out_of_the_state() {
    for server in TestServer::on_each().await {
        for version in [RoomVersion::V1, RoomVersion::V6, RoomVersion::V11, RoomVersion::V12] {
            let host = BigRoom { version, ..BigRoom::new(20, 40) }.host(&[]).await;
            let (creator, alice) = (host.room.creator(), server.register(&unique_name()).await);
            host.room.send(&creator, "m.room.join_rules", Some(""), json!({ "join_rule": "invite" }));
            host.room.send(&creator, "m.room.member", Some(&alice.id), json!({ "membership": "invite" }));
            join(&server, &alice, &host).await.ok();
            assert_eq!(joined_members(&server, &alice, &host).await, 21, "version {version}");
        }
    }
}
