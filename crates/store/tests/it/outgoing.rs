//! What is kept for other servers: events, and messages to devices.

use plexus_store::repo::destinations;
use plexus_store::repo::federation_out::{self, GiveUpBefore, Outgoing};
use plexus_store::repo::server_keys::{self, StoredServerKey};
use plexus_store::repo::timeline_gaps::RESERVED;
use plexus_store::{DbError, EventNid, Position, RoomNid, Tx};
use plexus_testkit::databases;

const KEPT: u64 = 3;

fn add(tx: &mut Tx<'_>, room_nid: RoomNid, event_nid: EventNid, also_to: Option<&str>) -> Result<(), DbError> {
    let position = tx.next_position()?;
    let also_to = also_to.map(str::to_owned);
    federation_out::add(tx, &[Outgoing { position, room_nid, event_nid, handed_by: None, also_to, only_to: None }])
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

fn key_of(server: &str) -> StoredServerKey {
    StoredServerKey {
        server_name: server.to_owned(),
        key_id: "ed25519:1".to_owned(),
        public_key: String::new(),
        valid_until_ts: 0,
        stated_until_ts: 0,
        fetched_ts: 0,
        from_server: server.to_owned(),
        response: String::new(),
    }
}

#[tokio::test]
async fn messages_to_devices_of_names_that_are_no_servers_are_given_up_sooner() {
    for db in databases() {
        db.write(|tx| {
            server_keys::put(tx, &[key_of("known.example")])?;
            for (server, queued_ts) in [
                ("known.example", 10),
                ("known.example", 20),
                ("made-up.example", 20),
                ("made-up.example", 30),
                ("new.example", 30),
            ] {
                federation_out::add_to_device(tx, server, queued_ts, |_| "{}".to_owned())?;
            }
            // What cannot be delivered to a name gives it a cursor, whether or not there is such a server.
            let behind = [("made-up.example".parse().unwrap(), 0)];
            federation_out::set_progress(tx, 0, &behind, &[])
        })
        .await
        .unwrap();
        let left = db
            .write(|tx| {
                assert!(destinations::is_server(tx, "known.example")?);
                assert!(!destinations::is_server(tx, "made-up.example")?);
                let before = GiveUpBefore { unknown_servers: 25, all: 15 };
                assert_eq!(federation_out::give_up_to_device(tx, before, 100)?, 2);
                ["known.example", "made-up.example", "new.example"]
                    .map(|server| federation_out::to_device(tx, server, 10, 1_000).map(|(messages, _)| messages.len()))
                    .into_iter()
                    .collect::<Result<Vec<_>, DbError>>()
            })
            .await
            .unwrap();
        assert_eq!(left, [1, 1, 1]);
    }
}
