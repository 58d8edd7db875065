use plexus_protocol::rules::RoomVersion;
use plexus_rooms::Preset;
use plexus_store::repo::users;
use plexus_store::{Database, DbError};
use plexus_testkit::account;

use crate::fixture::{Fixture, change, new_room, run};

const ALICE: &str = "@alice:localhost";
const BOB: &str = "@bob:localhost";

async fn register(db: &Database, user: &str) {
    let user = account(user);
    db.write(move |tx| users::insert(tx, &user)).await.unwrap();
}

/// The users who have yet to leave their rooms.
async fn to_leave(db: &Database) -> Vec<String> {
    db.read::<_, DbError, _>(users::with_rooms_to_leave).await.unwrap()
}

async fn set_left(db: &Database) {
    db.write(|tx| users::set_left_rooms(tx, BOB)).await.unwrap();
}

#[test]
fn a_deactivated_user_stays_marked_until_every_room_is_left() {
    run(|db| async move {
        let fixture = Fixture::new(db.clone());
        for user in [ALICE, BOB] {
            register(&db, user).await;
        }
        let room = fixture.creator.create(new_room(ALICE, RoomVersion::V12, Preset::PublicChat)).await.unwrap();
        fixture.members.join(change(&room.id, BOB, BOB), false).await.unwrap();
        assert!(to_leave(&db).await.is_empty());
        db.write(|tx| users::deactivate(tx, BOB)).await.unwrap();
        set_left(&db).await;
        assert_eq!(to_leave(&db).await, [BOB], "still in the room");
        fixture.members.leave(change(&room.id, BOB, BOB)).await.unwrap();
        set_left(&db).await;
        assert!(to_leave(&db).await.is_empty());
        fixture.rooms.local_user_entered().await;

        // A request that was made before the account was closed.
        fixture.members.join(change(&room.id, BOB, BOB), false).await.unwrap();
        fixture.rooms.local_user_entered().await;
        assert_eq!(to_leave(&db).await, [BOB]);
        fixture.members.leave(change(&room.id, BOB, BOB)).await.unwrap();
        set_left(&db).await;
        assert!(to_leave(&db).await.is_empty());
    });
}
