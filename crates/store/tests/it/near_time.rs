//! The timeline event nearest to a time, of which only the late events have an index.

use plexus_base::Random;
use plexus_store::db::migrate_database;
use plexus_store::maintenance::check;
use plexus_store::repo::events::{NewEvent, Verdict, insert, latest_ts, near_time, set_past_positions};
use plexus_store::{Database, DbError, EventNid, Position, RoomNid};
use plexus_testkit::{TestDatabase, databases};

/// Times are drawn from so few that many events have the same.
const TIMES: u64 = 40;
const FUTURE: i64 = 1_000;
const RULE: &str = "events that are not late are live and in the order of their times";

/// An event as the timeline has it.
#[derive(Clone, Copy)]
struct Event {
    nid: EventNid,
    room: RoomNid,
    position: Option<Position>,
    ts: i64,
    late: bool,
}

/// The events of two rooms, whose positions are mixed: most in the order of time, others late, equal, from the future,
/// backfilled or not in the timeline.
fn random_events(random: &Random, count: i64) -> Vec<Event> {
    let mut latest = [0; 2];
    let mut position = 0;
    let mut past = 0;
    let mut events = Vec::new();
    for nid in 1..=count {
        let room = random.below(2);
        let latest = &mut latest[room as usize];
        let now = TIMES as i64 * nid / count;
        let ts = match random.below(10) {
            0..2 => random.below(TIMES) as i64,
            2 => FUTURE + random.below(3) as i64,
            _ => now,
        };
        position += 1 + random.below(9) as i64;
        let (position, late) = match random.below(8) {
            0 => (None, false),
            1 => {
                past -= 1;
                (Some(past), true)
            }
            // More may be late than need be.
            2 => (Some(position), true),
            _ => (Some(position), ts < *latest || ts >= FUTURE),
        };
        if position.is_some() && !late {
            *latest = ts;
        }
        events.push(Event { nid, room: room as i64 + 1, position, ts, late });
    }
    events
}

async fn store(db: &Database, events: Vec<Event>) {
    let past = |event: &Event| event.position.is_some_and(|position| position < 0);
    db.write(move |tx| {
        let row = |event: &Event| NewEvent {
            event_nid: event.nid,
            event_id: event.nid.to_be_bytes().to_vec(),
            room_nid: event.room,
            position: event.position.filter(|_| !past(event)),
            late: event.late && !past(event),
            depth: 1,
            type_nid: 1,
            state_key_nid: None,
            sender_nid: 1,
            origin_server_ts: event.ts,
            snapshot_nid: Some(0),
            verdict: Verdict::Accepted,
            json: Vec::new(),
        };
        insert(tx, &events.iter().map(row).collect::<Vec<_>>())?;
        let past: Vec<(EventNid, Position)> =
            events.iter().filter(|event| past(event)).filter_map(|event| Some((event.nid, event.position?))).collect();
        set_past_positions(tx, &past)
    })
    .await
    .unwrap();
}

/// Asks for every time, and compares the answers with what a look at all events says.
async fn compare(db: &Database, events: &[Event], what: &str) {
    let mut questions = Vec::new();
    for room in 1..=3 {
        for ts in (-1..=TIMES as i64).chain(FUTURE - 1..FUTURE + 4).chain([i64::MIN, i64::MAX]) {
            questions.extend([(room, ts, true), (room, ts, false)]);
        }
    }
    let asked = questions.clone();
    let answers = db
        .read(move |tx| {
            let answers = asked.into_iter().map(|(room, ts, forward)| near_time(tx, room, ts, forward));
            answers.collect::<Result<Vec<_>, _>>()
        })
        .await
        .unwrap();
    for ((room, ts, forward), answer) in questions.into_iter().zip(answers) {
        let placed = events.iter().filter(|event| event.room == room && event.position.is_some());
        let expected = if forward {
            placed.filter(|event| event.ts >= ts).min_by_key(|event| (event.ts, event.position))
        } else {
            placed.filter(|event| event.ts <= ts).max_by_key(|event| (event.ts, event.position))
        };
        assert_eq!(answer, expected.map(|event| event.nid), "{what}: room {room}, time {ts}, forward: {forward}");
    }
}

/// The events that break the rule, as `plexus db check` sees it.
fn out_of_order(db: &TestDatabase) -> usize {
    check(db.place().options()).unwrap().iter().filter(|problem| problem.rule == RULE).count()
}

#[tokio::test]
async fn the_event_nearest_to_a_time() {
    for seed in 0..6 {
        for db in databases() {
            let events = random_events(&Random::seeded(seed), if seed == 0 { 4 } else { 300 });
            store(&db, events.clone()).await;
            assert_eq!(out_of_order(&db), 0);
            compare(&db, &events, &format!("{:?}, seed {seed}", db.backend())).await;
        }
    }
}

#[tokio::test]
async fn what_was_stored_before_is_found_by_its_time() {
    for seed in 0..3 {
        for db in databases() {
            let events = random_events(&Random::seeded(seed), 300);
            store(&db, events.clone()).await;
            db.write(|tx| tx.execute("UPDATE events SET late = NULL", &[])).await.unwrap();
            assert!(out_of_order(&db) > 0, "events are out of order until it is noted");
            without_late(&db).await;
            db.close().await;
            assert_eq!(migrate_database(db.place().options()).unwrap(), [22]);
            assert_eq!(out_of_order(&db), 0);
            let again = Database::open(db.place().options()).unwrap();
            compare(&again, &events, &format!("{:?}, seed {seed}", db.backend())).await;
            again.close().await;
        }
    }
}

#[tokio::test]
async fn few_events_are_late_after_the_migration() {
    for db in databases() {
        let times = [5, 6, 6, FUTURE, 7, 3, 8, 8];
        let live = times.iter().zip(1..).map(|(ts, at)| (Some(at), *ts));
        let events = live.chain([(Some(-1), 4), (None, 4)]).zip(1..);
        let event = |((position, ts), nid)| Event { nid, room: 1, position, ts, late: false };
        store(&db, events.map(event).collect()).await;
        without_late(&db).await;
        db.close().await;
        migrate_database(db.place().options()).unwrap();
        let again = Database::open(db.place().options()).unwrap();
        let late = again.read(|tx| {
            tx.query("SELECT event_nid FROM events WHERE late IS NOT NULL ORDER BY event_nid", &[], |row| {
                row.get::<EventNid>(0)
            })
        });
        assert_eq!(late.await.unwrap(), [4, 6, 9]);
        again.close().await;
    }
}

/// The schema as it was before it knew which events are late.
async fn without_late(db: &Database) {
    db.write(|tx| {
        for sql in [
            "DROP INDEX events_late",
            "ALTER TABLE events DROP COLUMN late",
            "CREATE INDEX events_by_time ON events (room_nid, origin_server_ts)",
            "DELETE FROM schema_version WHERE number = 22",
        ] {
            tx.execute(sql, &[])?;
        }
        Ok::<_, DbError>(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_latest_of_the_newest_thousand() {
    for db in databases() {
        let event = |nid: i64| Event { nid, room: 1, position: Some(nid), ts: 10 * nid, late: nid > 2 };
        let latest = || db.read(|tx| latest_ts(tx, 1));
        assert_eq!(latest().await.unwrap(), None);
        store(&db, (1..=1001).map(event).collect()).await;
        assert_eq!(latest().await.unwrap(), Some(20));
        store(&db, vec![event(1002)]).await;
        assert_eq!(latest().await.unwrap(), None);
    }
}
