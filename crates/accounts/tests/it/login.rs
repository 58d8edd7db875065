use plexus_accounts::{ChangePasswordError, LoginError, NewSession, WeakPassword};
use plexus_store::DbError;
use plexus_store::repo::users;

use super::{Server, server, user_id};

async fn stored_hash(server: &Server, user: &str) -> Option<String> {
    let user = user.to_owned();
    let found = server.db.read::<_, DbError, _>(move |tx| users::get(tx, &user)).await.unwrap();
    found.unwrap().password_hash
}

#[tokio::test]
async fn by_password() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let logins = &server.accounts.logins;
        server.user("alice").await;
        for name in ["alice", "@alice:example.org", "Alice"] {
            let named = logins.qualified(name);
            let found = logins.by_password(named.as_ref(), "secret of alice").await.unwrap();
            assert_eq!(found, "@alice:example.org");
        }
        for (name, password) in
            [("alice", "wrong"), ("bob", "x"), ("@alice:other.org", "secret of alice"), ("a:b", "x")]
        {
            let named = logins.qualified(name);
            let refused = logins.by_password(named.as_ref(), password).await;
            assert!(matches!(refused, Err(LoginError::WrongPassword)), "{name}");
        }
        let long = logins.by_password(Some(&user_id("@alice:example.org")), &"x".repeat(100_000)).await;
        assert!(matches!(long, Err(LoginError::WrongPassword)));
    }
}

#[tokio::test]
async fn bcrypt_hashes_of_synapse_are_accepted_and_replaced() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |settings| settings.password.pepper = "pepper".to_owned());
        server.user("alice").await;
        let old = bcrypt::hash("imported".to_owned() + "pepper", 4).unwrap();
        server
            .db
            .write::<_, DbError, _>(move |tx| users::set_password_hash(tx, "@alice:example.org", Some(&old)))
            .await
            .unwrap();
        let alice = user_id("@alice:example.org");
        let logins = &server.accounts.logins;
        assert!(matches!(logins.by_password(Some(&alice), "wrong").await, Err(LoginError::WrongPassword)));
        assert!(matches!(logins.by_password(Some(&alice), "im\0").await, Err(LoginError::WrongPassword)));
        logins.by_password(Some(&alice), "imported").await.unwrap();
        assert!(stored_hash(&server, "@alice:example.org").await.unwrap().starts_with("$argon2id$"));
        logins.by_password(Some(&alice), "imported").await.unwrap();
    }
}

#[tokio::test]
async fn locked_and_deactivated_accounts() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let session = server.user("alice").await;
        let alice = session.user_id.clone();
        let accounts = &server.accounts;
        accounts.sessions.change_user(&alice, |tx, id| users::set_locked(tx, id, true)).await.unwrap();
        let locked = accounts.logins.by_password(Some(&alice), "secret of alice").await;
        assert!(matches!(locked, Err(LoginError::Locked)));
        // Who does not know the password is not told.
        assert!(matches!(accounts.logins.by_password(Some(&alice), "x").await, Err(LoginError::WrongPassword)));

        assert_eq!(server.profiles.of(&db, alice.as_str()).await.unwrap().len(), 1);
        accounts.deactivation.deactivate(&alice, true).await.unwrap();
        assert!(server.profiles.of(&db, alice.as_str()).await.unwrap().is_empty());
        let gone = accounts.logins.by_password(Some(&alice), "secret of alice").await;
        assert!(matches!(gone, Err(LoginError::Deactivated)));
        assert!(!server.is_good(&session.tokens.access_token).await);
        assert_eq!(stored_hash(&server, "@alice:example.org").await, None);
        assert_eq!(accounts.deactivation.unfinished().await.unwrap(), std::slice::from_ref(&alice));
        accounts.deactivation.left_rooms(&alice).await.unwrap();
        assert!(accounts.deactivation.unfinished().await.unwrap().is_empty());
        assert!(accounts.registrar.check_username("alice").await.is_err());
    }
}

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let here = server.user("alice").await;
        let there = server.accounts.sessions.start(&here.user_id, NewSession::default()).await.unwrap();
        let logins = &server.accounts.logins;
        let keep = Some(here.device_id.clone());
        let refused = logins.change_password(&here.user_id, "", true, keep.clone()).await;
        assert!(matches!(refused, Err(ChangePasswordError::Weak(WeakPassword::Unusable))));
        logins.change_password(&here.user_id, "second", false, keep.clone()).await.unwrap();
        assert!(server.is_good(&there.tokens.access_token).await);
        logins.change_password(&here.user_id, "third", true, keep).await.unwrap();
        assert!(!server.is_good(&there.tokens.access_token).await);
        assert!(server.is_good(&here.tokens.access_token).await);
        assert!(logins.by_password(Some(&here.user_id), "second").await.is_err());
        assert!(logins.by_password(Some(&here.user_id), "third").await.is_ok());
    }
}
