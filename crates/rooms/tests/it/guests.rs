use std::sync::Arc;

use plexus_protocol::json::Object;
use plexus_protocol::membership::Membership;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::{GuestRemoval, InitialState, MembershipChanger, Preset, Room};
use plexus_store::repo::users::User;
use plexus_store::{Change, CommitListener, Database, Position, repo};
use plexus_testkit::account;
use tokio::sync::Notify;

use crate::fixture::{Fixture, change, new_room, run};

const ALICE: &str = "@alice:localhost";
const GUEST: &str = "@1:localhost";

/// Tells of every commit.
#[derive(Default)]
struct Commits(Notify);

impl CommitListener for Commits {
    fn apply(&self, _: &[Change]) {}

    fn published(&self, _: Position, _: &[Change]) {
        self.0.notify_one();
    }
}

async fn register_guest(db: &Database) {
    let guest = User { is_guest: true, ..account(GUEST) };
    db.write(move |tx| repo::users::insert(tx, &guest)).await.unwrap();
}

fn is_in(room: &Room, user: &str) -> bool {
    room.view().state.membership(user) == Some(Membership::Join)
}

/// As after a start: the commit that ended guest access was the last thing the former run of the program did.
#[test]
fn guests_leave_after_a_restart_what_was_closed_before() {
    run(|db| async move {
        register_guest(&db).await;
        let fixture = Fixture::new(db.clone());
        let mut new = new_room(ALICE, RoomVersion::V12, Preset::PublicChat);
        let content = Object::from([("guest_access", "can_join")]);
        let (event_type, state_key) = ("m.room.guest_access".to_owned(), String::new());
        new.initial_state = vec![InitialState { event_type, state_key, content }];
        let id = {
            let room = fixture.creator.create(new).await.unwrap();
            fixture.members.join(change(&room.id, GUEST, GUEST), true).await.unwrap();
            fixture.set(&room, ALICE, "m.room.guest_access", r#"{"guest_access":"forbidden"}"#).await.unwrap();
            assert!(is_in(&room, GUEST), "nobody makes guests leave here");
            room.id.clone()
        };
        drop(fixture);
        let fixture = Fixture::new(db.clone());
        let room = fixture.rooms.get(&id).await.unwrap().unwrap();
        assert!(is_in(&room, GUEST) && is_in(&room, ALICE));
        let commits = Arc::new(Commits::default());
        db.add_listener(&commits);
        let members = Arc::new(MembershipChanger::new(Arc::clone(&fixture.writer), true));
        let removal = tokio::spawn(GuestRemoval::new(Arc::clone(&fixture.rooms), members).run());
        while is_in(&room, GUEST) {
            commits.0.notified().await;
        }
        assert!(is_in(&room, ALICE));
        removal.abort();
    });
}
