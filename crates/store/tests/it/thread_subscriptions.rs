//! Subscriptions to threads are bounded.

use plexus_protocol::id::UserId;
use plexus_store::repo::bounds::BoundError;
use plexus_store::repo::thread_subscriptions::{self, ThreadSubscription};
use plexus_testkit::{TestDatabase, databases};

fn alice() -> UserId {
    "@alice:x".try_into().unwrap()
}

async fn subscribe(db: &TestDatabase, root: &'static str) -> Result<(), BoundError> {
    let row = ThreadSubscription {
        room_nid: 1,
        root: root.to_owned(),
        automatic: false,
        subscribed_at: 0,
        unsubscribed_at: None,
        position: 0,
    };
    db.write(move |tx| thread_subscriptions::set(tx, &alice(), &row)).await
}

async fn exists(db: &TestDatabase, root: &'static str) -> bool {
    db.read(move |tx| thread_subscriptions::get(tx, &alice(), 1, root)).await.unwrap().is_some()
}

#[tokio::test]
async fn unsubscriptions_give_way_when_there_are_too_many() {
    for db in databases() {
        db.write(|tx| {
            tx.execute(
                "INSERT INTO thread_subscriptions (user_id, room_nid, root, automatic, unsubscribed_at, position)
                 WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10000)
                 SELECT '@alice:x', 1, 'root' || n, 0, CASE n WHEN 7 THEN 7 WHEN 9 THEN 8 END, -n FROM numbers",
                &[],
            )
        })
        .await
        .unwrap();
        subscribe(&db, "new").await.unwrap();
        // The older one is gone.
        assert_eq!(
            (exists(&db, "root9").await, exists(&db, "root7").await, exists(&db, "new").await),
            (false, true, true)
        );
        subscribe(&db, "newer").await.unwrap();
        assert!(!exists(&db, "root7").await);
        let refused = subscribe(&db, "newest").await.unwrap_err();
        assert!(matches!(refused, BoundError::TooLarge(_)), "{refused}");
        // What exists can be changed.
        subscribe(&db, "root1").await.unwrap();
    }
}
