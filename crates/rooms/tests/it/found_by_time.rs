//! The times of a room's events, and that every event is found by its time.

use plexus_rooms::Room;
use plexus_rooms::timeline::{self, Direction};
use plexus_store::Database;

/// The positions and times of a room's timeline, in its order, and whether each event is late.
pub async fn timeline_of(room: &Room, db: &Database) -> Vec<(i64, i64, bool)> {
    let nid = room.nid;
    db.read(move |tx| {
        tx.query(
            "SELECT position, origin_server_ts, late FROM events \
             WHERE room_nid = $1 AND position IS NOT NULL ORDER BY position",
            &[&nid],
            |row| Ok((row.get(0)?, row.get(1)?, row.get::<Option<i64>>(2)?.is_some())),
        )
    })
    .await
    .unwrap()
}

/// Every `step`th event of a room, and what is beside it, is found by its time as by a look at all of them.
pub async fn assert_found_by_time(room: &Room, db: &Database, step: usize) {
    let all = timeline_of(room, db).await;
    let in_order: Vec<_> = all.iter().filter(|(.., late)| !late).collect();
    assert!(in_order.is_sorted_by_key(|(_, ts, _)| *ts), "{all:?}");
    assert!(in_order.iter().all(|(position, ..)| *position > 0), "{all:?}");
    for ts in all.iter().step_by(step).flat_map(|(_, ts, _)| ts - 1..=ts + 1) {
        let first = all.iter().filter(|(_, its, _)| *its >= ts).min_by_key(|(position, its, _)| (*its, *position));
        let last = all.iter().filter(|(_, its, _)| *its <= ts).max_by_key(|(position, its, _)| (*its, *position));
        for (expected, direction) in [(first, Direction::Forward), (last, Direction::Backward)] {
            let found = timeline::event_near(room, ts.unsigned_abs(), direction).await.unwrap();
            let expected = expected.map(|(position, ..)| *position);
            assert_eq!(found.map(|event| event.position), expected, "{ts} {direction:?} in {all:?}");
        }
    }
}
