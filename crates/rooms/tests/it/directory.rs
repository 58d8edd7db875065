//! The room directory.

use std::sync::{Arc, Weak};

use plexus_protocol::rules::RoomVersion;
use plexus_rooms::directory::{DirectoryFilter, DirectoryPage, DirectoryQuery};
use plexus_rooms::{NewRoom, Preset, Room};

use crate::fixture::{Fixture, new_room, run};

const ALICE: &str = "@alice:localhost";
const BOB: &str = "@bob:localhost";

async fn page(fixture: &Fixture, query: DirectoryQuery) -> DirectoryPage {
    DirectoryPage::of(&fixture.rooms, query).await.unwrap()
}

async fn first(fixture: &Fixture) -> DirectoryPage {
    page(fixture, DirectoryQuery::default()).await
}

async fn search(fixture: &Fixture, term: &str) -> Vec<Option<String>> {
    let filter = DirectoryFilter { generic_search_term: Some(term.into()), room_types: None };
    let page = page(fixture, DirectoryQuery { filter, ..DirectoryQuery::default() }).await;
    page.chunk.into_iter().map(|room| room.name).collect()
}

async fn publish(fixture: &Fixture, name: &str) -> Arc<Room> {
    let new = new_room(ALICE, RoomVersion::V12, Preset::PublicChat);
    fixture.creator.create(NewRoom { published: true, name: Some(name.into()), ..new }).await.unwrap()
}

#[test]
fn what_has_not_changed_is_not_loaded_again() {
    run(|db| async move {
        let fixture = Fixture::with_cache(db, 100_000);
        let mut rooms = Vec::new();
        for number in 0..20 {
            rooms.push(publish(&fixture, &format!("Room {number:02}")).await.nid);
        }
        assert_eq!(first(&fixture).await.total_room_count_estimate, 20);
        let in_memory = || rooms.iter().map(|nid| fixture.rooms.loaded(*nid).map(|room| Arc::downgrade(&room)));
        let before: Vec<Option<Weak<Room>>> = in_memory().collect();
        assert!(before.iter().any(Option::is_none) && before.iter().any(Option::is_some));
        assert_eq!(first(&fixture).await.total_room_count_estimate, 20);
        for (before, after) in before.iter().zip(in_memory()) {
            assert!(before.as_ref().map(Weak::as_ptr) == after.as_ref().map(Weak::as_ptr));
        }
    });
}

#[test]
fn what_has_changed_is_seen() {
    run(|db| async move {
        let fixture = Fixture::with_cache(db, 100_000);
        let mut rooms = Vec::new();
        for number in 0..12 {
            rooms.push(publish(&fixture, &format!("Room {number:02}")).await.id.clone());
        }
        assert_eq!(search(&fixture, "ROOM 03").await, [Some("Room 03".into())]);
        let room = fixture.rooms.get(&rooms[3]).await.unwrap().unwrap();
        fixture.set(&room, ALICE, "m.room.name", r#"{"name":"Plums"}"#).await.unwrap();
        fixture.join(&room, BOB).await;
        assert_eq!(search(&fixture, "room 03").await, []);
        let page = first(&fixture).await;
        let most = &page.chunk[0];
        assert_eq!((most.name.as_deref(), most.num_joined_members), (Some("Plums"), 2));
        fixture.leave(&room, BOB).await;
        fixture.leave(&room, ALICE).await;
        assert_eq!(first(&fixture).await.total_room_count_estimate, 11);
    });
}

#[test]
fn pages_meet_every_room_once() {
    run(|db| async move {
        let fixture = Fixture::with_cache(db, 100_000);
        for number in 0..12 {
            publish(&fixture, &format!("Room {number:02}")).await;
        }
        for _ in 0..2 {
            let (mut since, mut names) = (None, Vec::new());
            loop {
                let query = DirectoryQuery { limit: Some(5), since, ..DirectoryQuery::default() };
                let page = page(&fixture, query).await;
                names.extend(page.chunk.into_iter().filter_map(|room| room.name));
                since = page.next_batch;
                if since.is_none() {
                    break;
                }
            }
            names.sort();
            assert_eq!(names, (0..12).map(|number| format!("Room {number:02}")).collect::<Vec<_>>());
        }
    });
}
