//! Received events that wait to be placed.

use plexus_store::repo::received::{self, NewStaged};
use plexus_store::{DbError, pdu_json};
use plexus_testkit::databases;

fn staged(number: u8, origin: &str) -> NewStaged {
    NewStaged {
        room_nid: 1,
        origin: origin.to_owned(),
        event_id: vec![number; 32],
        json: pdu_json::pack("{}").unwrap(),
    }
}

#[tokio::test]
async fn what_fails_is_set_aside_until_the_next_start_and_given_up_in_the_end() {
    for db in databases() {
        let events = [staged(1, "a"), staged(2, "a"), staged(3, "b")];
        db.write(move |tx| received::stage(tx, &events)).await.unwrap();
        let waiting = async || {
            let read = db.read(|tx| received::staged(tx, 1, i64::MIN, &[], 50)).await.unwrap();
            read.into_iter().map(|event| (event.staged_nid, event.event_id[0])).collect::<Vec<_>>()
        };
        let all = waiting().await;
        assert_eq!(all.iter().map(|(_, number)| *number).collect::<Vec<_>>(), [1, 2, 3]);
        let failing = all[1].0;
        for start in 1..=3 {
            let failures = db.write(move |tx| received::set_aside(tx, failing)).await.unwrap();
            assert_eq!(failures, start);
            assert_eq!(waiting().await.len(), 2);
            let of_a = db.read(|tx| {
                Ok::<_, DbError>((received::count_of(tx, "a", 50)?, received::staged_by(tx, 1, "a", 50)?.len()))
            });
            assert_eq!(of_a.await.unwrap(), (1, 1), "what is set aside does not keep others waiting");
            let given_up = db.write(|tx| received::take_up(tx, 3)).await.unwrap();
            assert_eq!(given_up.len(), usize::from(start == 3));
            assert_eq!(waiting().await.len(), if start == 3 { 2 } else { 3 });
        }
        let without = db.read(|tx| received::staged(tx, 1, i64::MIN, &["a".to_owned()], 50)).await.unwrap();
        assert_eq!(without.iter().map(|event| event.event_id[0]).collect::<Vec<_>>(), [3]);
    }
}
