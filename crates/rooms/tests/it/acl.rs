//! A room's server ACL, which is asked about every event and every EDU of another server.

use std::sync::Arc;

use plexus_protocol::id::ServerName;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::{Preset, Room};

use crate::fixture::{Fixture, run};

const ALICE: &str = "@alice:localhost";

fn allows(room: &Room, server: &str) -> bool {
    room.view().allows_server(&ServerName::try_from(server).unwrap())
}

#[test]
fn a_server_acl_is_compiled_when_it_is_set() {
    run(|db| async move {
        let fixture = Fixture::new(db.clone());
        let room = fixture.room(ALICE, RoomVersion::V11, Preset::PublicChat).await;
        assert!(allows(&room, "evil.example"));
        let acl = r#"{"allow":["*"],"deny":["evil.example"]}"#;
        fixture.set(&room, ALICE, "m.room.server_acl", acl).await.unwrap();
        assert!(allows(&room, "good.example") && !allows(&room, "evil.example"));

        let compiled = room.view().server_acl.clone().unwrap();
        fixture.send(&room, ALICE, "hello").await.unwrap();
        fixture.join(&room, "@bob:localhost").await;
        assert!(Arc::ptr_eq(&compiled, room.view().server_acl.as_ref().unwrap()), "compiled anew for another event");
        let again = Fixture::new(db).rooms.get(&room.id).await.unwrap().unwrap();
        assert!(allows(&again, "good.example") && !allows(&again, "evil.example"));
    });
}
