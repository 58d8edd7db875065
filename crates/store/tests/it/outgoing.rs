//! What is kept of the events for other servers.

use plexus_store::repo::federation_out::{self, Outgoing};
use plexus_store::repo::timeline_gaps::RESERVED;
use plexus_store::{DbError, EventNid, Position, RoomNid, Tx};
use plexus_testkit::databases;

const KEPT: u64 = 3;

fn add(tx: &mut Tx<'_>, room_nid: RoomNid, event_nid: EventNid, also_to: Option<&str>) -> Result<(), DbError> {
    let position = tx.next_position()?;
    let also_to = also_to.map(str::to_owned);
    federation_out::add(tx, &[Outgoing { position, room_nid, event_nid, handed_by: None, also_to }])
}

fn kept(tx: &mut Tx<'_>) -> Result<Vec<EventNid>, DbError> {
    let events = federation_out::after(tx, 0, Position::MAX, 100)?;
    Ok(events.into_iter().map(|event| event.event_nid).collect())
}

#[tokio::test]
async fn reserved_positions_do_not_count_as_events() {
    for db in databases() {
        let thinned = |upto: Option<Position>| {
            db.write(move |tx| {
                let last = tx.next_position()?;
                federation_out::thin_out(tx, upto.unwrap_or(last), KEPT)?;
                kept(tx)
            })
        };
        db.write(|tx| {
            add(tx, 1, 1, None)?;
            add(tx, 1, 2, None)?;
            tx.reserve_positions(RESERVED)?;
            add(tx, 1, 3, None)
        })
        .await
        .unwrap();
        assert_eq!(thinned(None).await.unwrap(), [1, 2, 3]);
        // The newest of a room, and what concerns a server outside of it, are kept at any age.
        let before = db.committed();
        db.write(|tx| {
            add(tx, 2, 4, None)?;
            add(tx, 1, 5, Some("b.example"))?;
            (6..=8).try_for_each(|event| add(tx, 1, event, None))
        })
        .await
        .unwrap();
        assert_eq!(thinned(Some(before)).await.unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(thinned(None).await.unwrap(), [4, 5, 6, 7, 8]);
    }
}
