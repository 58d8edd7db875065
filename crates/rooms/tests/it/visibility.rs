use plexus_protocol::rules::RoomVersion;
use plexus_rooms::timeline::{self, Access};
use plexus_rooms::{Preset, Room};

use crate::fixture::{Fixture, change, run, user};

const ALICE: &str = "@alice:localhost";
const BOB: &str = "@bob:localhost";

/// The bodies of the messages the user may see.
async fn seen(room: &Room, reader: &str) -> String {
    let reader = user(reader);
    let Some(access) = timeline::access(room, &reader).await.unwrap() else { return "nothing at all".into() };
    let upto = access.upto(room.view().position);
    let events = timeline::range(room, 0, upto, 1_000, timeline::Direction::Forward).await.unwrap();
    let visible = timeline::visible(&reader, room, events).await.unwrap();
    visible.iter().filter_map(|it| it.event.pdu.content().get_str("body")).collect::<Vec<_>>().join(" ")
}

/// One message in each stage of Bob's membership.
async fn history(fixture: &Fixture, visibility: &str) -> std::sync::Arc<Room> {
    let room = fixture.room(ALICE, RoomVersion::V12, Preset::PrivateChat).await;
    let content = format!(r#"{{"history_visibility":"{visibility}"}}"#);
    fixture.set(&room, ALICE, "m.room.history_visibility", &content).await.unwrap();
    fixture.send(&room, ALICE, "before").await.unwrap();
    fixture.invite(&room, ALICE, BOB).await;
    fixture.send(&room, ALICE, "invited").await.unwrap();
    fixture.join(&room, BOB).await;
    fixture.send(&room, ALICE, "joined").await.unwrap();
    room
}

#[test]
fn who_sees_what() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        for (visibility, joined, left, stranger) in [
            ("world_readable", "before invited joined", "before invited joined", "before invited joined left"),
            ("shared", "before invited joined", "before invited joined", "nothing at all"),
            ("invited", "invited joined", "invited joined", "nothing at all"),
            ("joined", "joined", "joined", "nothing at all"),
        ] {
            let room = history(&fixture, visibility).await;
            assert_eq!(seen(&room, BOB).await, joined, "{visibility}");
            fixture.leave(&room, BOB).await;
            fixture.send(&room, ALICE, "left").await.unwrap();
            assert_eq!(seen(&room, BOB).await, left, "{visibility}");
            assert_eq!(seen(&room, "@stranger:localhost").await, stranger, "{visibility}");
            fixture.invite(&room, ALICE, BOB).await;
            fixture.join(&room, BOB).await;
            let again = seen(&room, BOB).await;
            let missed = matches!(visibility, "world_readable" | "shared");
            assert_eq!(again.ends_with("left"), missed, "{visibility}: {again}");
        }
    });
}

#[test]
fn an_invite_rejected_opens_nothing() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let room = fixture.room(ALICE, RoomVersion::V12, Preset::PrivateChat).await;
        fixture.invite(&room, ALICE, BOB).await;
        assert_eq!(timeline::access(&room, &user(BOB)).await.unwrap(), None);
        fixture.leave(&room, BOB).await;
        assert_eq!(timeline::access(&room, &user(BOB)).await.unwrap(), None);
        assert_eq!(timeline::access(&room, &user(ALICE)).await.unwrap(), Some(Access::Joined));
    });
}

#[test]
fn who_was_kicked_and_banned_reads_up_to_the_kick() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let room = history(&fixture, "shared").await;
        fixture.members.kick(change(&room.id, ALICE, BOB)).await.unwrap();
        fixture.send(&room, ALICE, "kicked").await.unwrap();
        fixture.members.ban(change(&room.id, ALICE, BOB)).await.unwrap();
        fixture.send(&room, ALICE, "banned").await.unwrap();
        assert_eq!(seen(&room, BOB).await, "before invited joined");
    });
}
