use plexus_accounts::{ChangePasswordError, Identifier, LoginError, NewSession, WeakPassword};
use plexus_store::DbError;
use plexus_store::repo::users;

use super::{Server, fields, server, user_id};

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
            let found = logins.by_password(&named(name), "secret of alice").await.unwrap();
            assert_eq!(found, "@alice:example.org");
        }
        for (name, password) in
            [("alice", "wrong"), ("bob", "x"), ("@alice:other.org", "secret of alice"), ("a:b", "x")]
        {
            let refused = logins.by_password(&named(name), password).await;
            assert!(matches!(refused, Err(LoginError::WrongPassword)), "{name}");
        }
        let long = logins.by_password(&named("@alice:example.org"), &"x".repeat(100_000)).await;
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
        assert!(matches!(logins.by_password(&Identifier::from(&alice), "wrong").await, Err(LoginError::WrongPassword)));
        assert!(matches!(logins.by_password(&Identifier::from(&alice), "im\0").await, Err(LoginError::WrongPassword)));
        logins.by_password(&Identifier::from(&alice), "imported").await.unwrap();
        assert!(stored_hash(&server, "@alice:example.org").await.unwrap().starts_with("$argon2id$"));
        logins.by_password(&Identifier::from(&alice), "imported").await.unwrap();
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
        let locked = accounts.logins.by_password(&Identifier::from(&alice), "secret of alice").await;
        assert!(matches!(locked, Err(LoginError::Locked)));
        // A wrong password does not reveal it.
        assert!(matches!(
            accounts.logins.by_password(&Identifier::from(&alice), "x").await,
            Err(LoginError::WrongPassword)
        ));

        assert_eq!(fields(&db, alice.as_str()).await.len(), 1);
        accounts.deactivation.deactivate(&alice, true).await.unwrap();
        assert!(fields(&db, alice.as_str()).await.is_empty());
        let gone = accounts.logins.by_password(&Identifier::from(&alice), "secret of alice").await;
        assert!(matches!(gone, Err(LoginError::WrongPassword)));
        assert!(!server.is_good(&session.tokens.access_token).await);
        assert_eq!(stored_hash(&server, "@alice:example.org").await, None);
        assert_eq!(accounts.deactivation.unfinished().await.unwrap(), std::slice::from_ref(&alice));
        accounts.deactivation.left_rooms(&alice).await.unwrap();
        assert!(accounts.deactivation.unfinished().await.unwrap().is_empty());
        assert!(accounts.registrar.check_username("alice").await.is_err());
    }
}

fn named(name: &str) -> Identifier {
    Identifier::User(name.to_owned())
}

async fn set_hash(server: &Server, user: &str, hash: Option<String>) {
    let user = user.to_owned();
    let set = move |tx: &mut plexus_store::Tx| users::set_password_hash(tx, &user, hash.as_deref());
    server.db.write::<_, DbError, _>(set).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_does_not_tell_accounts_apart() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |settings| settings.guesses.failed_attempts.burst_count = 1_000);
        let accounts = &server.accounts;
        for name in ["plain", "locked", "gone", "passwordless", "imported", "dear", "broken"] {
            server.user(name).await;
        }
        let id = |name: &str| user_id(&format!("@{name}:example.org"));
        accounts.sessions.change_user(&id("locked"), |tx, id| users::set_locked(tx, id, true)).await.unwrap();
        accounts.deactivation.deactivate(&id("gone"), false).await.unwrap();
        set_hash(&server, "@passwordless:example.org", None).await;
        set_hash(&server, "@broken:example.org", Some("not a hash".to_owned())).await;
        for (name, cost) in [("imported", 4), ("dear", 5)] {
            set_hash(&server, &format!("@{name}:example.org"), bcrypt::hash("imported", cost).ok()).await;
        }
        for name in ["plain", "locked", "gone", "passwordless", "imported", "dear", "broken", "nobody", "no name"] {
            let before = accounts.hasher.work();
            let refused = accounts.logins.by_password(&named(name), "wrong").await;
            assert!(matches!(refused, Err(LoginError::WrongPassword)), "{name}: {refused:?}");
            let after = accounts.hasher.work();
            let work = (after.argon2 - before.argon2, after.bcrypt_rounds - before.bcrypt_rounds);
            assert_eq!(work, (1, 1 << 5), "{name}");
        }
        let unbound = Identifier::ThirdParty { medium: "email".to_owned(), address: "x@example.org".to_owned() };
        let before = accounts.hasher.work();
        assert!(matches!(accounts.logins.by_password(&unbound, "wrong").await, Err(LoginError::WrongPassword)));
        assert_eq!(accounts.hasher.work().argon2 - before.argon2, 1);
    }
}

#[tokio::test]
async fn a_password_longer_than_any_is_not_hashed() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |settings| settings.guesses.failed_attempts.burst_count = 1_000);
        let (logins, hasher) = (&server.accounts.logins, &server.accounts.hasher);
        server.user("alice").await;
        let alice = user_id("@alice:example.org");
        for (bytes, hashed) in [(512, 2), (513, 0), (514, 0), (100_000, 0)] {
            let password = "x".repeat(bytes);
            let before = hasher.work().argon2;
            let refused = logins.by_password(&named("alice"), &password).await;
            assert!(matches!(refused, Err(LoginError::WrongPassword)), "{refused:?}");
            let refused = logins.by_own_password(&alice, &password).await;
            assert!(matches!(refused, Err(LoginError::WrongPassword)), "{refused:?}");
            assert_eq!(hasher.work().argon2 - before, hashed, "{bytes}");
        }
    }
}

#[tokio::test]
async fn guesses_made_at_the_same_time_count() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        server.user("alice").await;
        let guess = |password: &'static str| {
            let logins = server.accounts.logins.clone();
            tokio::spawn(async move { logins.by_password(&named("alice"), password).await })
        };
        let guesses: Vec<_> = (0..20).map(|_| guess("wrong")).collect();
        let mut checked = 0;
        for guess in guesses {
            match guess.await.unwrap() {
                Err(LoginError::WrongPassword) => checked += 1,
                Err(LoginError::Limited(_)) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(checked, 3);
        assert!(matches!(guess("secret of alice").await.unwrap(), Err(LoginError::Limited(_))));
        // Right ones are given back, however many.
        server.pass(std::time::Duration::from_secs(6));
        for _ in 0..5 {
            guess("secret of alice").await.unwrap().unwrap();
        }
        // Who goes away while the password is checked has guessed, too.
        let alice = named("alice");
        let mut given_up = Box::pin(server.accounts.logins.by_password(&alice, "wrong"));
        let none = std::future::poll_fn(|cx| std::task::Poll::Ready(given_up.as_mut().poll(cx).is_ready())).await;
        assert!(!none);
        drop(given_up);
        assert!(matches!(guess("secret of alice").await.unwrap(), Err(LoginError::Limited(_))));
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
        assert!(logins.by_password(&Identifier::from(&here.user_id), "second").await.is_err());
        assert!(logins.by_password(&Identifier::from(&here.user_id), "third").await.is_ok());
    }
}
