//! A room that is loaded while it is created: between its commit and the moment at which memory follows it.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use plexus_protocol::id::RoomId;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::{NewRoom, Preset, Room, Rooms};
use plexus_store::{Change, CommitListener};

use crate::fixture::{Fixture, new_room};

const ALICE: &str = "@alice:localhost";

/// Loads a room when it is committed, before the engine follows the commit.
struct EarlyReader {
    rooms: OnceLock<Arc<Rooms>>,
    runtime: tokio::runtime::Handle,
    room_id: RoomId,
    loaded: Mutex<Option<Arc<Room>>>,
}

impl CommitListener for EarlyReader {
    fn apply(&self, changes: &[Change]) {
        let mut loaded = self.loaded.lock();
        if loaded.is_some() || !changes.iter().any(|change| matches!(change, Change::Room { .. })) {
            return;
        }
        let Some(rooms) = self.rooms.get().map(Arc::clone) else { return };
        let (sender, receiver): (Sender<Option<Arc<Room>>>, Receiver<_>) = channel();
        let id = self.room_id.clone();
        self.runtime.spawn(async move { sender.send(rooms.get(&id).await.unwrap()) });
        *loaded = receiver.recv().unwrap();
    }
}

#[test]
fn there_is_one_object_of_a_room_that_is_loaded_while_it_is_created() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for database in plexus_testkit::databases() {
        runtime.block_on(async {
            let db = database.db();
            let room_id = RoomId::try_from("!early:localhost").unwrap();
            let reader = Arc::new(EarlyReader {
                rooms: OnceLock::new(),
                runtime: tokio::runtime::Handle::current(),
                room_id: room_id.clone(),
                loaded: Mutex::default(),
            });
            db.add_listener(&reader);
            let fixture = Fixture::new(db);
            reader.rooms.set(Arc::clone(&fixture.rooms)).ok().unwrap();
            let new = new_room(ALICE, RoomVersion::V11, Preset::PublicChat);
            let created = fixture.creator.create(NewRoom { room_id: Some(room_id.clone()), ..new }).await.unwrap();
            let early = reader.loaded.lock().clone().expect("the room was loaded early");
            assert!(Arc::ptr_eq(&created, &early));
            let sent = fixture.send(&created, ALICE, "hello").await.unwrap();
            for room in [early, fixture.rooms.get(&room_id).await.unwrap().unwrap()] {
                assert_eq!(Some(room.view().position), sent.position);
            }
        });
    }
}
