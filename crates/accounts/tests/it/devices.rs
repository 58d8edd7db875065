use plexus_accounts::{NewSession, RenameError};
use plexus_store::DbError;
use plexus_store::repo::{device_keys, device_lists, devices};

use super::{Server, server};

async fn changed(server: &Server) -> Vec<String> {
    server.db.read::<_, DbError, _>(|tx| device_lists::changed_users(tx, 0, i64::MAX)).await.unwrap()
}

#[tokio::test]
async fn rename_and_delete() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let session = server.user("alice").await;
        let (user, device) = (&session.user_id, session.device_id.as_str());
        let devices = &server.accounts.devices;
        devices.rename(user, device, "Phone\0").await.unwrap();
        assert_eq!(devices.list(user).await.unwrap()[0].display_name.as_deref(), Some("Phone"));
        assert!(matches!(devices.rename(user, "NOPE", "x").await, Err(RenameError::NotFound)));
        assert!(matches!(devices.rename(user, "a\0", "x").await, Err(RenameError::NotFound)));
        assert!(matches!(devices.rename(user, device, &"x".repeat(101)).await, Err(RenameError::TooLong)));
        assert!(devices.get(user, "a\0").await.unwrap().is_none());
        // Nobody could see the device's keys, so nobody is notified.
        assert!(changed(&server).await.is_empty());

        let (alice, phone) = (user.clone(), device.to_owned());
        let publish = move |tx: &mut plexus_store::Tx| {
            device_keys::set(tx, alice.as_str(), &phone, "{}")?;
            device_lists::record_if_visible(tx, &alice, &phone)
        };
        server.db.write::<_, DbError, _>(publish).await.unwrap();
        assert_eq!(changed(&server).await, ["@alice:example.org"]);
        let before = server.db.committed();
        devices.rename(user, device, "Laptop").await.unwrap();
        assert!(server.db.committed() > before);

        devices.delete(user, vec![device.to_owned(), "NOPE".to_owned(), "a\0".to_owned()]).await.unwrap();
        assert!(devices.list(user).await.unwrap().is_empty());
        assert!(!server.is_good(&session.tokens.access_token).await);
        let alice = user.clone();
        let found = server.db.read::<_, DbError, _>(move |tx| device_keys::of_users(tx, &[alice.as_str()])).await;
        assert!(found.unwrap().is_empty());
    }
}

#[tokio::test]
async fn the_device_not_used_for_the_longest_time_makes_room() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let session = server.user("alice").await;
        let user = session.user_id.clone();
        let fill = move |tx: &mut plexus_store::Tx| {
            for n in 1..1_000 {
                devices::create(tx, user.as_str(), &format!("D{n}"), None, 2_000 - n)?;
            }
            Ok::<_, DbError>(())
        };
        server.db.write(fill).await.unwrap();
        let user = &session.user_id;
        server.accounts.sessions.start(user, NewSession::default()).await.unwrap();
        let devices = server.accounts.devices.list(user).await.unwrap();
        assert_eq!(devices.len(), 1_000);
        assert!(devices.iter().all(|device| device.device_id != "D999"));
        assert!(server.is_good(&session.tokens.access_token).await);
    }
}
