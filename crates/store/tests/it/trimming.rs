//! Old changes are deleted in steps.

use plexus_store::{DbError, Tx, repo};
use plexus_testkit::databases;

#[tokio::test]
async fn old_changes_are_deleted_in_steps() {
    for db in databases() {
        let add = |tx: &mut Tx<'_>| {
            for number in 0..12_000_u64 {
                let mut hash = [0; 32];
                hash[..8].copy_from_slice(&number.to_be_bytes());
                repo::other_changes::record_tokens(tx, vec![hash])?;
            }
            Ok::<_, DbError>(())
        };
        db.db().write(add).await.unwrap();
        let upto = db.db().committed();
        let mut steps = Vec::new();
        while steps.last() != Some(&true) {
            steps.push(db.db().write(move |tx| repo::other_changes::trim(tx, upto)).await.unwrap());
        }
        assert_eq!(steps, [false, false, true]);
        // What is left says up to where changes were deleted.
        assert!(db.db().write(move |tx| repo::other_changes::trim(tx, upto)).await.unwrap());
    }
}

#[tokio::test]
async fn changes_of_one_position_are_deleted_together() {
    for db in databases() {
        let hashes = (0..6_000_u64).map(|number| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_be_bytes());
            hash
        });
        let hashes: Vec<_> = hashes.collect();
        let first = hashes[..1].to_vec();
        db.db().write(move |tx| repo::other_changes::record_tokens(tx, first)).await.unwrap();
        let before = db.db().committed();
        assert!(db.db().write(move |tx| repo::other_changes::trim(tx, before)).await.unwrap());
        db.db().write(move |tx| repo::other_changes::record_tokens(tx, hashes)).await.unwrap();
        let upto = db.db().committed();
        let mut steps = Vec::new();
        for _ in 0..2 {
            steps.push(db.db().write(move |tx| repo::other_changes::trim(tx, upto)).await.unwrap());
        }
        assert_eq!(steps, [false, true]);
    }
}
