use plexus_accounts::{NewAccount, NewSession, RegisterError, UsernameError, WeakPassword};
use plexus_store::DbError;
use plexus_store::repo::users;

use super::{fields, server};

fn named(name: &str) -> NewAccount {
    NewAccount { username: Some(name.to_owned()), password: Some("x".to_owned()), ..NewAccount::default() }
}

#[tokio::test]
async fn a_name_is_taken_once_whatever_its_case() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let registrar = &server.accounts.registrar;
        let registered = registrar.register(named("Alice")).await.unwrap();
        assert_eq!(registered.user_id, "@alice:example.org");
        assert!(registered.session.is_none());
        assert!(matches!(registrar.register(named("alice")).await, Err(RegisterError::UserInUse)));
        assert!(matches!(registrar.check_username("ALICE").await, Err(RegisterError::UserInUse)));
        let bad = registrar.check_username("a b").await;
        assert!(matches!(bad, Err(RegisterError::Username(UsernameError::Characters))));
        assert!(registrar.check_username("bob").await.is_ok());
        let profile = fields(&db, "@alice:example.org").await;
        assert_eq!(profile, [("displayname".to_owned(), "\"alice\"".to_owned())]);
    }
}

#[tokio::test]
async fn names_are_made_up_and_guests_are_numbers() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let registrar = &server.accounts.registrar;
        let account = NewAccount { password: Some("x".to_owned()), ..NewAccount::default() };
        let made_up = registrar.register(account).await.unwrap().user_id;
        assert!(made_up.localpart().bytes().all(|b| b.is_ascii_lowercase()), "{made_up}");

        let guest = registrar
            .register_guest(NewAccount { session: Some(NewSession::default()), ..NewAccount::default() })
            .await
            .unwrap();
        assert!(guest.user_id.localpart().bytes().all(|b| b.is_ascii_digit()), "{}", guest.user_id);
        let token = guest.session.unwrap().tokens.access_token;
        assert!(server.requester(&token).await.is_guest);
        assert_eq!(server.db.read::<_, DbError, _>(users::count_active).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn the_password_policy_holds_unless_an_administrator_registers() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |settings| {
            settings.password.policy.enabled = true;
            settings.password.policy.minimum_length = 3;
        });
        let registrar = &server.accounts.registrar;
        let refused = registrar.register(named("alice")).await;
        assert!(matches!(refused, Err(RegisterError::Password(WeakPassword::TooShort { minimum: 3 }))));
        let account = NewAccount { any_password: true, is_admin: true, ..named("alice") };
        assert!(registrar.register(account).await.is_ok());
    }
}

#[tokio::test]
async fn one_of_many_simultaneous_registrations_gets_the_name() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let attempts: Vec<_> = (0..8)
            .map(|_| {
                let registrar = server.accounts.registrar.clone();
                tokio::spawn(async move { registrar.register(named("alice")).await })
            })
            .collect();
        let mut registered = 0;
        for attempt in attempts {
            match attempt.await.unwrap() {
                Ok(_) => registered += 1,
                Err(RegisterError::UserInUse) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(registered, 1);
    }
}
