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
async fn what_fails_waits_until_its_time_has_come_and_keeps_nobody_waiting() {
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
        assert_eq!(db.read(received::next_retry).await.unwrap(), None);
        for time in 1..=3 {
            db.write(move |tx| received::defer(tx, failing, time * 1_000)).await.unwrap();
            assert_eq!(waiting().await.len(), 2);
            let counts = db.read(move |tx| {
                let by_a = received::staged_by(tx, 1, "a", 50)?.len();
                Ok::<_, DbError>((received::count_of(tx, "a", 50)?, by_a, received::failures(tx, failing, "a", 50)?))
            });
            assert_eq!(counts.await.unwrap(), (1, 1, (i64::try_from(time).unwrap(), 1)));
            assert_eq!(db.read(received::next_retry).await.unwrap(), Some(time * 1_000));
            let take_due = async |upto: u64| db.write(move |tx| received::take_due(tx, upto)).await.unwrap();
            assert_eq!(take_due(time * 1_000 - 1).await, Vec::<i64>::new());
            assert_eq!(waiting().await.len(), 2);
            assert_eq!(take_due(time * 1_000).await, vec![1_i64]);
            assert_eq!(waiting().await.len(), 3);
        }
        // Who sends it once more may have what it lacks.
        db.write(move |tx| received::defer(tx, failing, 9_000)).await.unwrap();
        let by_another = [staged(2, "b"), staged(1, "b")];
        db.write(move |tx| received::stage(tx, &by_another)).await.unwrap();
        let by_b = db.read(|tx| received::staged_by(tx, 1, "b", 50)).await.unwrap();
        assert_eq!(by_b.iter().map(|event| event.event_id[0]).collect::<Vec<_>>(), [2, 3]);
        let failures = db.read(move |tx| received::failures(tx, failing, "b", 50)).await.unwrap();
        assert_eq!(failures, (0, 0));
        let without = db.read(|tx| received::staged(tx, 1, i64::MIN, &["a".to_owned()], 50)).await.unwrap();
        assert_eq!(without.iter().map(|event| event.event_id[0]).collect::<Vec<_>>(), [2, 3]);
    }
}

#[tokio::test]
async fn an_event_is_staged_once_in_a_statement_on_both_databases() {
    for db in databases() {
        let twice = [staged(1, "a"), staged(2, "a"), staged(1, "a")];
        let result = db.write(move |tx| received::stage(tx, &twice)).await;
        assert!(matches!(result, Err(DbError::Parameter { index: 3, .. })), "{result:?}");
        let once = [staged(1, "a"), staged(2, "a")];
        db.write(move |tx| received::stage(tx, &once)).await.unwrap();
        assert_eq!(db.read(|tx| received::count_of(tx, "a", 50)).await.unwrap(), 2);
    }
}
