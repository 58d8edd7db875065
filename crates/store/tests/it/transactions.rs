//! What requests made is kept for a while.

use plexus_store::repo::transactions::{self, MAX_TXN_ID_BYTES, TransactionRow};
use plexus_store::{DbError, Tx};
use plexus_testkit::{TestDatabase, databases};

fn row(event_nid: i64, txn_id: &str, created_ts: u64) -> TransactionRow {
    TransactionRow { event_nid, scope: -7, device_id: "D".to_owned(), txn_id: txn_id.as_bytes().to_vec(), created_ts }
}

async fn insert(db: &TestDatabase, rows: Vec<TransactionRow>) -> Result<(), DbError> {
    db.write(move |tx| transactions::insert(tx, &rows)).await
}

fn left(tx: &mut Tx<'_>) -> Result<Vec<i64>, DbError> {
    tx.query("SELECT event_nid FROM event_transactions ORDER BY event_nid", &[], |row| row.get(0))
}

#[tokio::test]
async fn old_requests_are_forgotten() {
    for db in databases() {
        insert(&db, vec![row(3, "a", 10), row(5, "b", 20), row(9, "c", 30)]).await.unwrap();
        for (before, deleted, expected) in [(10, 0, vec![3, 5, 9]), (20, 1, vec![5, 9]), (31, 2, vec![])] {
            assert_eq!(db.write(move |tx| transactions::delete_before(tx, before)).await.unwrap(), deleted);
            assert_eq!(db.read(left).await.unwrap(), expected);
        }
    }
}

#[tokio::test]
async fn a_request_is_stored_once_however_long_its_id() {
    for db in databases() {
        let long: String = (0..MAX_TXN_ID_BYTES).map(|at| char::from(b'a' + (at * at % 23) as u8)).collect();
        insert(&db, vec![row(1, &long, 1), row(2, "short", 1)]).await.unwrap();
        for again in [vec![row(3, &long, 1), row(4, "other", 1)], vec![row(3, "short", 1)]] {
            let used = insert(&db, again).await.unwrap_err();
            assert!(transactions::is_used(&used), "{used}");
        }
        assert_eq!(db.read(left).await.unwrap(), [1, 2]);
    }
}
