//! `POST /rooms/{room_id}/forget`.

use std::time::Duration;

use plexus_base::Clock;
use plexus_store::repo::room_purges;
use plexus_store::{Database, DbError, maintenance};
use plexus_testkit::server::{TestServer, TestUser};
use plexus_testkit::{BigRoom, places};
use serde_json::{Value, json};

use crate::admin::register_admin;
use crate::client::{CLIENT, join, next_batch, public_room, room_path, say, sync, two_in_a_room};

const INITIAL: &str = "&filter={%22room%22:{%22include_leave%22:true}}";

/// The membership of the user's own event in the answer's `leave` section.
fn left<'a>(answer: &'a Value, room: &str, user: &TestUser) -> Option<&'a str> {
    let events = answer["rooms"]["leave"][room]["timeline"]["events"].as_array()?;
    let own = events.iter().rev().find(|event| event["state_key"] == user.id.as_str())?;
    own["content"]["membership"].as_str()
}

/// Each device is sent the leave once, and a new one never.
async fn each_is_sent_the_leave_once(
    server: &TestServer,
    devices: &[(&TestUser, Value)],
    room: &str,
    membership: &str,
) {
    for (device, before) in devices {
        let shown = sync(server, device, Some(next_batch(before)), "").await;
        assert_eq!(left(&shown, room, device), Some(membership), "{shown}");
        let then = sync(server, device, Some(next_batch(&shown)), "").await;
        assert_eq!(then["rooms"]["leave"].get(room), None, "{then}");
        let initial = sync(server, device, None, INITIAL).await;
        assert_eq!(initial["rooms"]["leave"].get(room), None, "{initial}");
        let messages = server.get(&format!("{CLIENT}/rooms/{room}/messages?dir=b"), &device.token).await;
        assert_eq!(messages.refusal(), (403, "M_FORBIDDEN"));
    }
}

async fn act(server: &TestServer, user: &TestUser, room: &str, action: &str, body: Value) {
    server.post(&format!("{CLIENT}/rooms/{room}/{action}"), &user.token, body).await.ok();
}

#[tokio::test]
async fn a_room_forgotten_on_one_device_is_left_on_the_others() {
    for server in TestServer::on_each().await {
        let (_, bob, room) = two_in_a_room(&server).await;
        let other = server.log_in("bob").await;
        let devices = [(&bob, sync(&server, &bob, None, "").await), (&other, sync(&server, &other, None, "").await)];
        act(&server, &bob, &room, "leave", json!({})).await;
        act(&server, &bob, &room, "forget", json!({})).await;
        each_is_sent_the_leave_once(&server, &devices, &room, "leave").await;
        let capabilities = server.get(&format!("{CLIENT}/capabilities"), &bob.token).await;
        let forced = &capabilities.ok()["capabilities"]["m.forget_forced_upon_leave"];
        assert_eq!(forced, &json!({ "enabled": false }));
    }
}

#[tokio::test]
async fn rooms_are_forgotten_on_leave() {
    for place in places() {
        let mut server = TestServer::on(place).config("forget_rooms_on_leave: true").start().await;
        let (alice, bob, room) = two_in_a_room(&server).await;
        let other = server.log_in("bob").await;
        let capabilities = server.get(&format!("{CLIENT}/capabilities"), &bob.token).await;
        let forced = &capabilities.ok()["capabilities"]["m.forget_forced_upon_leave"];
        assert_eq!(forced, &json!({ "enabled": true }));
        let devices =
            async || [(&bob, sync(&server, &bob, None, "").await), (&other, sync(&server, &other, None, "").await)];

        let before = devices().await;
        act(&server, &bob, &room, "leave", json!({})).await;
        each_is_sent_the_leave_once(&server, &before, &room, "leave").await;
        // As in Synapse it does not matter who ends the membership.
        for (action, membership) in [("kick", "leave"), ("ban", "ban")] {
            join(&server, &bob, &room).await;
            let before = devices().await;
            act(&server, &alice, &room, action, json!({ "user_id": bob.id })).await;
            each_is_sent_the_leave_once(&server, &before, &room, membership).await;
        }
        server.restart().await;
        let initial = sync(&server, &other, None, INITIAL).await;
        assert_eq!(initial["rooms"]["leave"].get(&room), None, "{initial}");
    }
}

/// Advances the clock until a room has been deleted since it said `since_ms`.
async fn purged(server: &TestServer, admin: &str, clock: &Clock, since_ms: u64) {
    let tasks = "/_synapse/admin/v1/scheduled_tasks?action_name=purge_room&status=complete";
    let mut ticks = plexus_testkit::every(Duration::from_millis(20));
    let deleted = async {
        loop {
            let list = server.get(tasks, admin).await.ok()["scheduled_tasks"].clone();
            let is_deletion = |task: &Value| {
                task["result"]["events"].is_u64() && task["timestamp_ms"].as_u64().is_some_and(|at| at > since_ms)
            };
            if list.as_array().into_iter().flatten().any(is_deletion) {
                return;
            }
            // Ended tasks are listed for a week: not so fast that this one is missed.
            clock.advance(Duration::from_secs(3_600));
            ticks.tick().await;
        }
    };
    plexus_testkit::within(Duration::from_secs(60), deleted).await.expect("the room is deleted");
}

async fn leave_and_forget(server: &TestServer, user: &TestUser, room: &str) {
    for what in ["leave", "forget"] {
        server.post(&room_path(room, what), &user.token, json!({})).await.ok();
    }
}

const RETENTION: &str = "forgotten_room_retention_period: 2d";

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_rooms_are_deleted() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let mut server = TestServer::on(place).clock(clock.clone()).config(RETENTION).start().await;
        let admin = register_admin(&server).await;
        let (alice, bob, room) = two_in_a_room(&server).await;
        let kept = public_room(&server, &alice).await;
        join(&server, &bob, &kept).await;
        for room in [&room, &kept] {
            let event = say(&server, &bob, room, "hello").await;
            let report = room_path(room, &format!("report/{event}"));
            server.post(&report, &alice.token, json!({ "reason": "rude" })).await.ok();
            let receipt = room_path(room, &format!("receipt/m.read/{event}"));
            server.post(&receipt, &alice.token, json!({})).await.ok();
            let tag = format!("/_matrix/client/v3/user/{}/rooms/{room}/tags/u.work", alice.id);
            server.put(&tag, &alice.token, json!({})).await.ok();
            server.put(&room_path(room, &format!("redact/{event}/1")), &bob.token, json!({})).await.ok();
        }
        let alias = format!("/_matrix/client/v3/directory/room/%23gone:{}", server.name());
        server.put(&alias, &alice.token, json!({ "room_id": room })).await.ok();
        leave_and_forget(&server, &bob, &room).await;
        leave_and_forget(&server, &bob, &kept).await;
        leave_and_forget(&server, &alice, &room).await;
        purged(&server, &admin, &clock, 0).await;
        assert_eq!(server.get(&alias, &alice.token).await.refusal(), (404, "M_NOT_FOUND"));
        assert_eq!(server.post(&room_path(&room, "join"), &bob.token, json!({})).await.status, 404);
        say(&server, &alice, &kept, "still here").await;
        let events = server.get(&room_path(&kept, "messages?dir=b"), &alice.token).await;
        assert!(events.ok()["chunk"].as_array().is_some_and(|chunk| chunk.len() > 5));

        assert_one_room_is_left(&mut server).await;
    }
}

/// Checks that no table has rows of other rooms than the one that is left.
async fn assert_one_room_is_left(server: &mut TestServer) {
    let db = server.open_database().await;
    let rooms = db.read(|tx| tx.query("SELECT room_nid FROM rooms", &[], |row| row.get::<i64>(0))).await.unwrap();
    let [kept] = rooms.as_slice() else { panic!("one room is left: {rooms:?}") };
    let mut tables_with_rooms = 0;
    for table in maintenance::stats(server.place().options()).unwrap() {
        let count: &str = format!("SELECT COUNT(*) FROM {} WHERE room_nid NOT IN (0, {kept})", table.table).leak();
        // Not every table has rooms; 0 is none. The log of changes is trimmed by age.
        if let Ok(left) = db.read(move |tx| tx.query_one(count, &[], |row| row.get::<i64>(0))).await {
            tables_with_rooms += 1;
            assert!(left == 0 || &*table.table == "other_changes", "{}: {left}", table.table);
        }
    }
    assert!(tables_with_rooms > 15, "tables are found by their column: {tables_with_rooms}");
    let unknown = "SELECT COUNT(*) FROM current_state WHERE event_nid NOT IN (SELECT event_nid FROM events)";
    assert_eq!(db.read(|tx| tx.query_one(unknown, &[], |row| row.get::<i64>(0))).await.unwrap(), 0);
}

/// Advances the clock until the room is closed: nobody can enter it.
async fn closed(server: &TestServer, admin: &str, room: &str, clock: &Clock) {
    let tasks = "/_synapse/admin/v1/scheduled_tasks?action_name=purge_room&status=scheduled";
    let scheduled = format!("{tasks}&resource_id={room}");
    let db = Database::open_follower(server.place().options()).unwrap();
    let mut ticks = plexus_testkit::every(Duration::from_millis(20));
    let closing = async {
        // It closes the room two days after the task was made, which must not be far behind the clock then.
        let due_ms = loop {
            let list = server.get(&scheduled, admin).await;
            if let Some(due_ms) = list.ok()["scheduled_tasks"][0]["timestamp_ms"].as_u64() {
                break due_ms;
            }
            clock.advance(Duration::from_secs(1_200));
            ticks.tick().await;
        };
        clock.advance(Duration::from_millis(due_ms.saturating_sub(clock.now_ms())));
        let is_closed = async || {
            let id = room.to_owned();
            db.read(move |tx| room_purges::get(tx, &id)).await.unwrap().is_some()
        };
        while !is_closed().await {
            ticks.tick().await;
        }
    };
    plexus_testkit::within(Duration::from_secs(60), closing).await.expect("the room is closed");
    db.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_deletion_is_resumed() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let mut server = TestServer::on(place).clock(clock.clone()).config(RETENTION).start().await;
        let admin = register_admin(&server).await;
        let (alice, bob, room) = two_in_a_room(&server).await;
        let kept = public_room(&server, &alice).await;
        let carol = server.register("carol").await;
        for user in [&alice, &bob] {
            leave_and_forget(&server, user, &room).await;
        }
        closed(&server, &admin, &room, &clock).await;
        let join = server.post(&room_path(&room, "join"), &carol.token, json!({})).await;
        assert_eq!(join.refusal(), (503, "M_UNKNOWN"));

        // The process ended after the first steps of the deletion.
        let db = server.open_database().await;
        let id = room.clone();
        db.write(move |tx| {
            let purge = room_purges::get(tx, &id)?.expect("the room is closed");
            let revision = room_purges::revision(tx, purge.room_nid)?.expect("the room is there");
            assert!(!room_purges::delete_room(tx, purge.room_nid, revision - 1)?, "the room has changed since");
            assert!(room_purges::delete_room(tx, purge.room_nid, revision)?);
            for table in room_purges::room_tables().take(8) {
                room_purges::delete_rows(tx, purge.room_nid, table)?;
            }
            Ok::<_, DbError>(())
        })
        .await
        .unwrap();
        db.close().await;
        server.restart().await;
        let join = server.post(&room_path(&room, "join"), &carol.token, json!({})).await;
        assert_eq!(join.refusal(), (503, "M_UNKNOWN"));
        purged(&server, &admin, &clock, 0).await;
        let join = server.post(&room_path(&room, "join"), &carol.token, json!({})).await;
        assert_eq!(join.status, 404);
        say(&server, &alice, &kept, "still here").await;
        assert_one_room_is_left(&mut server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_a_user_came_back_to_is_kept() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let server = TestServer::on(place).clock(clock.clone()).config(RETENTION).start().await;
        let admin = register_admin(&server).await;
        let alice = server.register("alice").await;
        let host = BigRoom::new(3, 5).host(&[]).await;
        let (back, gone) = (host.room.id().to_string(), public_room(&server, &alice).await);
        let via = format!("/_matrix/client/v3/join/{back}?via={}", host.peer.name());
        server.post(&via, &alice.token, json!({})).await.ok();
        let event = say(&server, &alice, &back, "hello").await;
        for room in [&back, &gone] {
            leave_and_forget(&server, &alice, room).await;
        }
        let scheduled = format!("/_synapse/admin/v1/scheduled_tasks?action_name=purge_room&resource_id={back}");
        let count = async || {
            let list = server.get(&scheduled, &admin).await.ok()["scheduled_tasks"].clone();
            list.as_array().map_or(0, Vec::len)
        };
        let mut ticks = plexus_testkit::every(Duration::from_millis(50));
        let found = async {
            while count().await == 0 {
                clock.advance(Duration::from_secs(3_600));
                ticks.tick().await;
            }
        };
        plexus_testkit::within(Duration::from_secs(60), found).await.expect("the deletion is scheduled");
        server.post(&via, &alice.token, json!({})).await.ok();
        let mut ticks = plexus_testkit::every(Duration::from_millis(50));
        let removed = async {
            while count().await > 0 {
                clock.advance(Duration::from_secs(3_600));
                ticks.tick().await;
            }
        };
        plexus_testkit::within(Duration::from_secs(60), removed).await.expect("the deletion is no longer scheduled");
        purged(&server, &admin, &clock, 0).await;
        server.get(&room_path(&back, &format!("event/{event}")), &alice.token).await.ok();
        assert_eq!(server.post(&room_path(&gone, "join"), &alice.token, json!({})).await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_room_can_be_joined_again() {
    for place in places() {
        let clock = Clock::manual(1_700_000_000_000);
        let server = TestServer::on(place).clock(clock.clone()).config(RETENTION).start().await;
        let admin = register_admin(&server).await;
        let alice = server.register("alice").await;
        let host = BigRoom::new(3, 5).host(&[]).await;
        let room = host.room.id().to_string();
        let via = format!("/_matrix/client/v3/join/{room}?via={}", host.peer.name());
        for _ in 0..2 {
            let begun_ms = clock.now_ms();
            server.post(&via, &alice.token, json!({})).await.ok();
            say(&server, &alice, &room, "hello").await;
            let name = server.get(&room_path(&room, "state/m.room.create"), &alice.token).await;
            assert_eq!(name.ok()["room_version"], host.room.version().as_str());
            leave_and_forget(&server, &alice, &room).await;
            purged(&server, &admin, &clock, begun_ms).await;
        }
    }
}
