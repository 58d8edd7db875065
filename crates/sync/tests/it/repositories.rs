//! The repositories behind delivery.

use plexus_store::repo::bounds::BoundError;
use plexus_store::repo::pushers::{Pusher, PusherKey};
use plexus_store::repo::{account_data, filters, presence, pushers, receipts, unread};
use plexus_store::{Database, DbError, Tx};

use crate::support::{ALICE, BOB, run, user};

async fn write<T: Send + 'static, E: From<DbError> + std::fmt::Debug + Send + 'static>(
    db: &Database,
    write: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
) -> T {
    db.write(write).await.expect("written")
}

#[test]
fn account_data_by_position() {
    run(async |db| {
        let scope = account_data::Scope { room_id: "!r:localhost", room: None };
        let first = write(&db, move |tx| account_data::set(tx, &user(ALICE), scope, "a", "{}")).await;
        let second =
            write(&db, |tx| account_data::set(tx, &user(ALICE), account_data::Scope::default(), "b", "{}")).await;
        write(&db, |tx| account_data::set(tx, &user(BOB), account_data::Scope::default(), "b", "{}")).await;
        assert!(first < second);
        let since_first = write(&db, move |tx| account_data::changed(tx, ALICE, Some(first), second)).await;
        assert_eq!(since_first.iter().map(|row| row.event_type.as_str()).collect::<Vec<_>>(), ["b"]);
        let third = write(&db, move |tx| account_data::set(tx, &user(ALICE), scope, "a", r#"{"n":2}"#)).await;
        let changed = write(&db, move |tx| account_data::changed(tx, ALICE, Some(second), third)).await;
        assert_eq!(changed.iter().map(|row| row.content.as_str()).collect::<Vec<_>>(), [r#"{"n":2}"#]);
        assert_eq!(write(&db, |tx| account_data::in_room(tx, ALICE, "!r:localhost")).await, changed);
        assert!(write(&db, |tx| account_data::get(tx, ALICE, "", "b")).await.is_some());
    });
}

#[test]
fn the_same_filter_has_the_same_id() {
    run(async |db| {
        let ids = write(&db, |tx| {
            Ok::<_, BoundError>([
                filters::add(tx, ALICE, "{}")?,
                filters::add(tx, ALICE, r#"{"room":{}}"#)?,
                filters::add(tx, ALICE, "{}")?,
            ])
        })
        .await;
        assert_eq!(ids, [0, 1, 0]);
        assert_eq!(write(&db, |tx| filters::get(tx, ALICE, 1)).await.as_deref(), Some(r#"{"room":{}}"#));
        assert_eq!(write(&db, |tx| filters::get(tx, BOB, 1)).await, None);
    });
}

#[test]
fn pushers_are_one_per_key_and_user() {
    run(async |db| {
        let pusher = Pusher {
            app_id: "app".into(),
            pushkey: "key".into(),
            kind: "http".into(),
            app_display_name: "App".into(),
            device_display_name: "Phone".into(),
            profile_tag: None,
            lang: "en".into(),
            data: "{}".into(),
            device_id: Some("DEVICE".into()),
            set_ts: 1,
            since: 0,
            enabled: true,
        };
        let key = |owner| PusherKey { user: user(owner), app_id: "app".into(), pushkey: "key".into() };
        let renamed = Pusher { app_display_name: "New".into(), ..pusher.clone() };
        write(&db, move |tx| {
            pushers::set(tx, &user(ALICE), &pusher)?;
            pushers::set(tx, &user(BOB), &pusher)?;
            pushers::set(tx, &user(ALICE), &renamed)
        })
        .await;
        let alices = write(&db, |tx| pushers::of_user(tx, ALICE)).await;
        assert_eq!(alices.iter().map(|pusher| pusher.app_display_name.as_str()).collect::<Vec<_>>(), ["New"]);
        write(&db, move |tx| pushers::delete_for_others(tx, &key(ALICE))).await;
        assert!(write(&db, |tx| pushers::of_user(tx, BOB)).await.is_empty());
        write(&db, |tx| pushers::delete_of_device(tx, &user(ALICE), "DEVICE")).await;
        assert!(write(&db, |tx| pushers::of_user(tx, ALICE)).await.is_empty());
    });
}

#[test]
fn presence_and_checkpoints_are_replaced() {
    run(async |db| {
        let mut stored = presence::StoredPresence {
            user_id: ALICE.into(),
            presence: "online".into(),
            status_msg: Some("hi".into()),
            last_active_ts: 5,
        };
        let first = stored.clone();
        write(&db, move |tx| presence::set(tx, &first)).await;
        stored.status_msg = None;
        let second = stored.clone();
        write(&db, move |tx| presence::set(tx, &second)).await;
        assert_eq!(write(&db, |tx| presence::get(tx, ALICE)).await, Some(stored));
        write(&db, |tx| unread::set(tx, ALICE, 1, 10, "{}")).await;
        write(&db, |tx| unread::set(tx, ALICE, 1, 11, "{}")).await;
        assert_eq!(write(&db, |tx| unread::of_user(tx, ALICE)).await, [(1, 11, "{}".to_owned())]);
    });
}

#[test]
fn nobody_has_receipts_in_endless_threads() {
    run(async |db| {
        let set = async |thread: String| {
            let receipt = receipts::Receipt {
                room: 1,
                user: user(ALICE),
                receipt_type: "m.read".into(),
                thread_id: thread,
                event_id: "$e:x".into(),
                event_position: None,
                ts: 1,
                position: 0,
            };
            db.write(move |tx| receipts::set(tx, receipt)).await
        };
        let fill = |tx: &mut Tx<'_>| {
            for n in 0..10_000_i64 {
                tx.execute_later(
                    "INSERT INTO receipts (room_nid, user_id, receipt_type, thread_id, event_id, ts, position)
                     VALUES (1, $1, 'm.read', $2, '$old:x', 1, 1)",
                    &[&ALICE, &format!("$thread{n}:x")],
                )?;
            }
            Ok::<_, DbError>(())
        };
        write(&db, fill).await;
        assert!(matches!(set("$another:x".into()).await, Err(BoundError::TooLarge(_))));
        // The threads there are, and the room as a whole, go on.
        for thread in ["$thread7:x", "main", ""] {
            assert!(set(thread.into()).await.unwrap(), "{thread}");
        }
    });
}

#[test]
fn receipts_of_one_thread_do_not_move_another() {
    run(async |db| {
        let receipt = |thread: &str, event_position| receipts::Receipt {
            room: 1,
            user: user(ALICE),
            receipt_type: "m.read".into(),
            thread_id: thread.into(),
            event_id: format!("$e{event_position}:x"),
            event_position: Some(event_position),
            ts: 1,
            position: 0,
        };
        let all = [receipt("", 5), receipt("main", 3), receipt("", 4), receipt("main", 4)];
        let moved = write(&db, move |tx| {
            let mut moved = Vec::new();
            for receipt in all {
                moved.push(receipts::set(tx, receipt)?);
            }
            Ok::<_, BoundError>(moved)
        })
        .await;
        assert_eq!(moved, [true, true, false, true]);
        let own = write(&db, |tx| receipts::of_user(tx, ALICE)).await;
        assert_eq!(own.len(), 2);
        let elsewhere = receipts::Receipt { room: 2, ..receipt("", 9) };
        write(&db, move |tx| receipts::set(tx, elsewhere)).await;
        let of = async |rooms: &'static [i64], since| {
            let found = write(&db, move |tx| receipts::in_rooms(tx, rooms, since, i64::MAX)).await;
            found.iter().map(|receipt| (receipt.room, receipt.position)).collect::<Vec<_>>()
        };
        assert_eq!(of(&[1], 0).await, [(1, 1), (1, 3)]);
        assert_eq!(of(&[2, 1, 3], 1).await, [(1, 3), (2, 4)]);
        assert_eq!(of(&[], 0).await, []);
    });
}
