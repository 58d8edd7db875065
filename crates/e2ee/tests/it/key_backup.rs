use std::collections::BTreeMap;

use plexus_e2ee::KeyBackups;
use plexus_e2ee::key_backup::{BackupError, Part, RoomKeys, SessionKey, Stamp};
use plexus_protocol::id::UserId;

use super::{object, user_id};

fn key(is_verified: bool, first_message_index: u64, forwarded_count: u64) -> SessionKey {
    SessionKey { first_message_index, forwarded_count, is_verified, session_data: object(r#"{"c": "x"}"#) }
}

fn keys(session: &str, key: SessionKey) -> RoomKeys {
    RoomKeys::from([("!room:x".to_owned(), BTreeMap::from([(session.to_owned(), key)]))])
}

async fn create(backups: &KeyBackups, user: &UserId) -> i64 {
    backups.create(user, "m.megolm_backup.v1".to_owned(), &object(r#"{"public_key": "p"}"#)).await.unwrap()
}

#[tokio::test]
async fn versions() {
    for db in plexus_testkit::databases() {
        let backups = KeyBackups::new(db.clone());
        let alice = user_id("@alice:x");
        assert!(matches!(backups.info(&alice, None).await, Err(BackupError::UnknownVersion)));
        assert_eq!(create(&backups, &alice).await, 1);
        assert_eq!(create(&backups, &alice).await, 2);
        assert_eq!(create(&backups, &user_id("@bob:x")).await, 1);
        assert_eq!(backups.info(&alice, None).await.unwrap().version, 2);
        assert_eq!(backups.info(&alice, Some(1)).await.unwrap().version, 1);

        let other = backups.update(&alice, 2, "other".to_owned(), &object("{}")).await;
        assert!(matches!(other, Err(BackupError::Invalid(_))));
        let algorithm = "m.megolm_backup.v1".to_owned();
        backups.update(&alice, 2, algorithm.clone(), &object(r#"{"a": 1}"#)).await.unwrap();
        assert_eq!(backups.info(&alice, None).await.unwrap().auth_data, r#"{"a":1}"#);
        assert!(matches!(backups.update(&alice, 3, algorithm, &object("{}")).await, Err(BackupError::UnknownVersion)));

        backups.delete(&alice, 2).await.unwrap();
        assert!(matches!(backups.delete(&alice, 2).await, Err(BackupError::UnknownVersion)));
        assert_eq!(backups.info(&alice, None).await.unwrap().version, 1);
        assert_eq!(create(&backups, &alice).await, 3);
        let old = backups.put_keys(&alice, 1, keys("s", key(true, 0, 0))).await;
        assert!(matches!(old, Err(BackupError::NotCurrent { current: 3 })));
    }
}

#[tokio::test]
async fn a_better_key_replaces_a_worse_one() {
    for db in plexus_testkit::databases() {
        let backups = KeyBackups::new(db.clone());
        let alice = user_id("@alice:x");
        let version = create(&backups, &alice).await;
        let first = backups.put_keys(&alice, version, keys("s", key(false, 5, 5))).await.unwrap();
        assert_eq!(first, Stamp { etag: 1, count: 1 });
        for (new, replaces) in [
            (key(false, 6, 0), false),
            (key(false, 5, 5), false),
            (key(false, 5, 4), true),
            (key(false, 4, 9), true),
            (key(true, 9, 9), true),
            (key(false, 0, 0), false),
        ] {
            let before = backups.info(&alice, None).await.unwrap().etag;
            let stamp = backups.put_keys(&alice, version, keys("s", new.clone())).await.unwrap();
            assert_eq!((stamp.etag > before, stamp.count), (replaces, 1), "{new:?}");
        }
        let stored = backups.keys(&alice, version, Part::All).await.unwrap();
        assert_eq!(stored, keys("s", key(true, 9, 9)));
    }
}

#[tokio::test]
async fn parts() {
    for db in plexus_testkit::databases() {
        let backups = KeyBackups::new(db.clone());
        let alice = user_id("@alice:x");
        let version = create(&backups, &alice).await;
        for session in ["a", "b", "c"] {
            backups.put_keys(&alice, version, keys(session, key(true, 0, 0))).await.unwrap();
        }
        let room = |name: &str| Part::Room(name.to_owned());
        let session = |name: &str| Part::Session("!room:x".to_owned(), name.to_owned());
        assert_eq!(backups.keys(&alice, version, room("!room:x")).await.unwrap()["!room:x"].len(), 3);
        assert!(backups.keys(&alice, version, room("!other:x")).await.unwrap().is_empty());
        assert!(backups.keys(&alice, version, room("a\0")).await.unwrap().is_empty());
        assert_eq!(backups.keys(&alice, version, session("a")).await.unwrap()["!room:x"].len(), 1);
        assert!(matches!(backups.keys(&alice, version, session("z")).await, Err(BackupError::NoKeys)));
        assert!(matches!(backups.keys(&alice, 9, Part::All).await, Err(BackupError::UnknownVersion)));

        assert_eq!(backups.delete_keys(&alice, version, session("a")).await.unwrap(), Stamp { etag: 4, count: 2 });
        assert_eq!(backups.delete_keys(&alice, version, session("a")).await.unwrap(), Stamp { etag: 4, count: 2 });
        assert_eq!(backups.delete_keys(&alice, version, Part::All).await.unwrap(), Stamp { etag: 5, count: 0 });

        for bad in ["", "a\0", &"x".repeat(256)] {
            let refused = backups.put_keys(&alice, version, keys(bad, key(true, 0, 0))).await;
            assert!(matches!(refused, Err(BackupError::Invalid(_))), "{bad:?}");
        }
        let huge =
            SessionKey { session_data: object(&format!(r#"{{"c": "{}"}}"#, "x".repeat(70_000))), ..key(true, 0, 0) };
        assert!(matches!(backups.put_keys(&alice, version, keys("s", huge)).await, Err(BackupError::TooLarge)));
        let refused = backups.put_keys(&alice, version, keys("s", key(true, u64::MAX, 0))).await;
        assert!(matches!(refused, Err(BackupError::Invalid(_))));
    }
}
