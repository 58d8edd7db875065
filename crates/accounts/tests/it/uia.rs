use std::net::IpAddr;
use std::time::Duration;

use plexus_accounts::uia::{Attempt, Challenge, DUMMY, Flow, PASSWORD, REGISTRATION_TOKEN, StageFailure, UiaError};
use plexus_accounts::{NewAccount, RegisterError, Requester};
use plexus_protocol::json::Object;
use plexus_store::DbError;
use plexus_store::repo::registration_tokens::{self, RegistrationToken};
use plexus_store::repo::ui_auth;

use super::{Server, object, server};

fn register(flow: Flow, auth: Option<&str>, params: &str) -> Attempt<'static> {
    Attempt {
        operation: "POST /register".to_owned(),
        requester: None,
        address: None,
        flows: vec![flow],
        auth: auth.map(object),
        params: object(params),
        can_skip: false,
    }
}

fn delete<'a>(requester: &'a Requester, auth: Option<Object>, params: &str) -> Attempt<'a> {
    Attempt {
        operation: "POST /delete_devices".to_owned(),
        requester: Some(requester),
        address: None,
        flows: vec![vec![PASSWORD]],
        auth,
        params: object(params),
        can_skip: true,
    }
}

async fn challenge(server: &Server, attempt: Attempt<'_>) -> Challenge {
    match server.accounts.uia.authenticate(attempt).await {
        Err(UiaError::Incomplete(challenge)) => *challenge,
        other => panic!("{other:?}"),
    }
}

fn password(session: Option<&str>, password: &str) -> Option<Object> {
    let mut auth = object(r#"{"type": "m.login.password"}"#);
    auth.insert("password", password);
    auth.insert("identifier", object(r#"{"type": "m.id.user", "user": "alice"}"#));
    if let Some(session) = session {
        auth.insert("session", session);
    }
    Some(auth)
}

#[tokio::test]
async fn a_session_is_bound_to_operation_user_and_parameters() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let uia = &server.accounts.uia;
        let alice = server.requester(&server.user("alice").await.tokens.access_token).await;
        let bob = server.requester(&server.user("bob").await.tokens.access_token).await;
        let first = challenge(&server, delete(&alice, None, r#"{"devices": ["A"]}"#)).await;
        let session = first.session_id.as_str();
        assert_eq!((first.flows, first.completed.len(), first.failure), (vec![vec![PASSWORD]], 0, None));

        let wrong = challenge(&server, delete(&alice, password(Some(session), "x"), r#"{"devices": ["A"]}"#)).await;
        assert_eq!(wrong.failure, Some(StageFailure::WrongPassword));
        assert_eq!(wrong.session_id, session);

        let other_user = delete(&bob, password(Some(session), "secret of alice"), r#"{"devices": ["A"]}"#);
        assert!(matches!(uia.authenticate(other_user).await, Err(UiaError::OperationChanged)));
        let good = || password(Some(session), "secret of alice");
        let mut other_operation = delete(&alice, good(), r#"{"devices": ["A"]}"#);
        other_operation.operation = "POST /account/deactivate".to_owned();
        assert!(matches!(uia.authenticate(other_operation).await, Err(UiaError::OperationChanged)));

        let passed = uia.authenticate(delete(&alice, good(), r#"{"devices": ["A"]}"#)).await.unwrap();
        assert_eq!(passed.params, object(r#"{"devices": ["A"]}"#));
        // It is spent by that.
        let again = uia.authenticate(delete(&alice, good(), r#"{"devices": ["A"]}"#)).await;
        assert!(matches!(again, Err(UiaError::UnknownSession)));
        // If the request failed it is given back, and allows the same request only.
        uia.restore(passed.session.unwrap()).await.unwrap();
        let changed = delete(&alice, good(), r#"{"devices": ["B"]}"#);
        assert!(matches!(uia.authenticate(changed).await, Err(UiaError::OperationChanged)));
        // The session alone is enough, and stands for what it was begun with.
        let auth = || Some(object(&format!(r#"{{"session": "{session}"}}"#)));
        let passed = uia.authenticate(delete(&alice, auth(), "{}")).await.unwrap();
        assert_eq!(passed.params, object(r#"{"devices": ["A"]}"#));

        uia.restore(passed.session.unwrap()).await.unwrap();
        server.pass(Duration::from_secs(3600));
        let late = uia.authenticate(delete(&alice, auth(), "{}")).await;
        assert!(matches!(late, Err(UiaError::UnknownSession)));
        uia.delete_expired().await.unwrap();
    }
}

#[tokio::test]
async fn a_password_is_of_the_account_and_needs_no_session() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let alice = server.requester(&server.user("alice").await.tokens.access_token).await;
        let bob = server.requester(&server.user("bob").await.tokens.access_token).await;
        let passed = server.accounts.uia.authenticate(delete(&alice, password(None, "secret of alice"), "{}")).await;
        assert!(passed.is_ok());
        let other = challenge(&server, delete(&bob, password(None, "secret of alice"), "{}")).await;
        assert_eq!(other.failure, Some(StageFailure::WrongPassword));
        for (auth, expected) in [
            (r#"{"type": "m.login.dummy"}"#, "not offered"),
            (r#"{"type": 1}"#, "type is missing"),
            (r#"{"type": "m.login.password"}"#, "password is missing"),
            (r#"{"session": "a\u0000b"}"#, "Unknown session"),
            (r#"{"session": "nonsense"}"#, "Unknown session"),
        ] {
            let error = server.accounts.uia.authenticate(delete(&alice, Some(object(auth)), "{}")).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{auth}: {error}");
        }
    }
}

#[tokio::test]
async fn a_recent_authentication_can_count() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |settings| settings.ui_auth_session_timeout = Duration::from_secs(15));
        let alice = server.requester(&server.user("alice").await.tokens.access_token).await;
        let again = || delete(&alice, None, "{}");
        challenge(&server, again()).await;
        let uia = &server.accounts.uia;
        uia.authenticate(delete(&alice, password(None, "secret of alice"), "{}")).await.unwrap();
        assert!(uia.authenticate(again()).await.unwrap().session.is_none());
        // Nor does it matter what has become of the session that is named.
        let named = Attempt { auth: password(Some("spent"), "secret of alice"), ..again() };
        let opened = uia.open(named.clone()).await.unwrap();
        assert!(uia.authenticate_opened(opened).await.is_ok());
        let unskippable = uia.open(Attempt { can_skip: false, ..named }).await;
        assert!(matches!(unskippable, Err(UiaError::UnknownSession)));
        challenge(&server, Attempt { can_skip: false, ..again() }).await;
        server.pass(Duration::from_secs(15));
        challenge(&server, again()).await;
    }
}

async fn add_token(server: &Server, token: &str, uses_allowed: u64) {
    let token = RegistrationToken {
        token: token.to_owned(),
        uses_allowed: Some(uses_allowed),
        pending: 0,
        completed: 0,
        expiry_ts: None,
    };
    let added = server.db.write::<_, DbError, _>(move |tx| registration_tokens::insert(tx, &token)).await;
    assert!(added.unwrap());
}

async fn token(server: &Server, token: &str) -> RegistrationToken {
    let token = token.to_owned();
    server.db.read::<_, DbError, _>(move |tx| registration_tokens::get(tx, &token)).await.unwrap().unwrap()
}

#[tokio::test]
async fn registration_by_token_counts_its_uses() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let uia = &server.accounts.uia;
        add_token(&server, "once", 1).await;
        let flow = || vec![REGISTRATION_TOKEN];
        let with = |session: &str, token: &str| {
            let auth =
                format!(r#"{{"type": "m.login.registration_token", "token": "{token}", "session": "{session}"}}"#);
            register(flow(), Some(&auth), r#"{"username": "alice"}"#)
        };
        let session = challenge(&server, register(flow(), None, "{}")).await.session_id;
        let refused = challenge(&server, with(&session, "wrong")).await;
        assert_eq!(refused.failure, Some(StageFailure::InvalidRegistrationToken));
        let passed = uia.authenticate(with(&session, "once")).await.unwrap();
        assert_eq!(token(&server, "once").await.pending, 1);

        // While it is reserved nobody else can use it.
        let other = challenge(&server, register(flow(), None, "{}")).await.session_id;
        challenge(&server, with(&other, "once")).await;
        assert!(!server.accounts.registrar.is_valid_registration_token("once", None).await.unwrap());

        let account = NewAccount {
            username: Some("alice".to_owned()),
            ui_auth_session: passed.session.clone(),
            ..NewAccount::default()
        };
        server.accounts.registrar.register(account).await.unwrap();
        let used = token(&server, "once").await;
        assert_eq!((used.pending, used.completed), (0, 1));
        let again = uia.authenticate(with(&session, "once")).await.unwrap();
        assert_eq!(again.registered.as_deref(), Some("@alice:example.org"));
    }
}

#[tokio::test]
async fn a_registration_may_be_large() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let uia = &server.accounts.uia;
        add_token(&server, "large", 1).await;
        let flow = || vec![REGISTRATION_TOKEN];
        let of_length = |length: usize| format!(r#"{{"initial_device_display_name":"{}"}}"#, "x".repeat(length));
        let params = of_length(4 * 1024 - of_length(0).len());
        let session = challenge(&server, register(flow(), None, &params)).await.session_id;
        let auth = format!(r#"{{"type": "m.login.registration_token", "token": "large", "session": "{session}"}}"#);
        let passed = uia.authenticate(register(flow(), Some(&auth), "{}")).await.unwrap();
        assert_eq!(passed.params, object(&params));
        let account = NewAccount { ui_auth_session: passed.session, ..NewAccount::default() };
        let registered = server.accounts.registrar.register(account).await.unwrap();
        assert_eq!(uia.registered_user(&session).await.unwrap().as_deref(), Some(registered.user_id.as_str()));
        let larger = uia.authenticate(register(flow(), None, &of_length(4 * 1024))).await;
        assert!(matches!(larger, Err(UiaError::TooLarge)));
    }
}

#[tokio::test]
async fn a_registration_stands_for_what_its_stage_was_completed_with() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let uia = &server.accounts.uia;
        add_token(&server, "once", 1).await;
        let flow = || vec![REGISTRATION_TOKEN];
        let begun = r#"{"username": "alice", "password": "secret"}"#;
        let session = challenge(&server, register(flow(), None, begun)).await.session_id;
        let auth = format!(r#"{{"type": "m.login.registration_token", "token": "once", "session": "{session}"}}"#);
        uia.authenticate(register(flow(), Some(&auth), r#"{"username": "bob"}"#)).await.unwrap();
        let auth = format!(r#"{{"session": "{session}"}}"#);
        let passed = uia.authenticate(register(flow(), Some(&auth), "{}")).await.unwrap();
        assert_eq!(passed.params, object(r#"{"username": "bob", "password": "secret"}"#));
        let other = uia.authenticate(register(flow(), Some(&auth), r#"{"username": "alice"}"#)).await;
        assert!(matches!(other, Err(UiaError::OperationChanged)));
    }
}

#[tokio::test]
async fn a_failed_request_gives_back_what_it_was_authenticated_for() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let uia = &server.accounts.uia;
        let alice = server.requester(&server.user("alice").await.tokens.access_token).await;
        let params = r#"{"devices": ["A"], "new_password": "secret"}"#;
        let session = challenge(&server, delete(&alice, None, params)).await.session_id;
        let good = || password(Some(&session), "secret of alice");
        // Checking the password takes a while, in which other requests of the session change what it is for.
        let change = delete(&alice, Some(object(&format!(r#"{{"session": "{session}"}}"#))), r#"{"devices": ["B"]}"#);
        let (passed, _) = tokio::join!(uia.authenticate(delete(&alice, good(), params)), uia.authenticate(change));
        uia.restore(passed.unwrap().session.unwrap()).await.unwrap();
        let auth = Some(object(&format!(r#"{{"session": "{session}"}}"#)));
        let again = uia.authenticate(delete(&alice, auth, "{}")).await.unwrap();
        assert_eq!(again.params, object(params));
    }
}

#[tokio::test]
async fn a_reserved_token_is_given_back() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let uia = &server.accounts.uia;
        add_token(&server, "twice", 2).await;
        let session = challenge(&server, register(vec![REGISTRATION_TOKEN], None, "{}")).await.session_id;
        // On the fallback page, in a browser.
        assert!(matches!(
            uia.complete_by_page(&session, REGISTRATION_TOKEN, None, None).await,
            Err(UiaError::MissingField("token"))
        ));
        assert!(uia.complete_by_page(&session, REGISTRATION_TOKEN, Some("a\0"), None).await.unwrap().is_some());
        assert!(uia.complete_by_page(&session, REGISTRATION_TOKEN, Some("twice"), None).await.unwrap().is_none());
        let auth = format!(r#"{{"session": "{session}"}}"#);
        assert!(uia.authenticate(register(vec![REGISTRATION_TOKEN], Some(&auth), "{}")).await.is_ok());
        assert_eq!(token(&server, "twice").await.pending, 1);
        server.pass(Duration::from_secs(3601));
        uia.delete_expired().await.unwrap();
        assert_eq!(token(&server, "twice").await.pending, 0);
        assert!(matches!(uia.complete_by_page(&session, DUMMY, None, None).await, Err(UiaError::UnknownSession)));
    }
}

#[tokio::test]
async fn passwords_are_not_kept_in_sessions() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let params = r#"{"username": "alice", "password": "secret"}"#;
        let session = challenge(&server, register(vec![DUMMY], None, params)).await.session_id;
        let auth = format!(r#"{{"type": "m.login.dummy", "session": "{session}"}}"#);
        let passed = server.accounts.uia.authenticate(register(vec![DUMMY], Some(&auth), params)).await.unwrap();
        assert_eq!(passed.params, object(params));
        let auth = r#"{"type": "m.login.dummy"}"#;
        let at_once = server.accounts.uia.authenticate(register(vec![DUMMY], Some(auth), params)).await.unwrap();
        assert!(at_once.session.is_none());
        assert!(!passed.session.unwrap().params.contains("alice"));

        let alice = server.requester(&server.user("alice").await.tokens.access_token).await;
        let params = r#"{"new_password": "secret", "logout_devices": true}"#;
        let session = challenge(&server, delete(&alice, None, params)).await.session_id;
        let stored = server.db.read::<_, DbError, _>(move |tx| ui_auth::get(tx, &session)).await.unwrap().unwrap();
        assert_eq!(stored.params, r#"{"logout_devices":true}"#);
        assert!(!stored.sealed.unwrap().contains("secret"));
        let huge = format!(r#"{{"devices": "{}"}}"#, "x".repeat(100_000));
        assert!(matches!(server.accounts.uia.authenticate(delete(&alice, None, &huge)).await, Err(UiaError::TooLarge)));
    }
}

#[tokio::test]
async fn no_flood_pushes_out_a_registration_or_a_session_of_somebody_else() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let uia = &server.accounts.uia;
        let alice = server.requester(&server.user("alice").await.tokens.access_token).await;
        let bob = server.requester(&server.user("bob").await.tokens.access_token).await;
        let honest = challenge(&server, register(vec![DUMMY], None, "{}")).await.session_id;
        let of_alice = challenge(&server, delete(&alice, None, "{}")).await.session_id;
        let first_of_bob = challenge(&server, delete(&bob, None, "{}")).await.session_id;
        for _ in 0..50 {
            server.pass(Duration::from_millis(1));
            challenge(&server, delete(&bob, None, "{}")).await;
        }
        for _ in 0..12_000 {
            challenge(&server, register(vec![DUMMY], None, "{}")).await;
        }
        assert!(uia.registered_user(&honest).await.is_ok());
        assert!(uia.registered_user(&of_alice).await.is_ok());
        assert!(matches!(uia.registered_user(&first_of_bob).await, Err(UiaError::UnknownSession)));
        let count = |tx: &mut plexus_store::Tx| {
            tx.query_one("SELECT COUNT(*) FROM ui_auth_sessions", &[], |row| row.get::<u64>(0))
        };
        assert_eq!(server.db.read::<_, DbError, _>(count).await.unwrap(), 51);
        // Nor can what the fallback page stores be made to grow without bound.
        for _ in 0..5 {
            uia.complete_by_page(&honest, DUMMY, None, None).await.unwrap();
        }
        assert!(matches!(uia.complete_by_page(&honest, DUMMY, None, None).await, Err(UiaError::Limited(_))));
    }
}

#[tokio::test]
async fn registration_tokens_cannot_be_guessed_without_limit() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let uia = &server.accounts.uia;
        add_token(&server, "right", 100).await;
        let stranger = "2001:db8::1".parse().ok();
        let attempt = |session: &str, token: &str, address: Option<IpAddr>| {
            let auth =
                format!(r#"{{"type": "m.login.registration_token", "token": "{token}", "session": "{session}"}}"#);
            Attempt { address, ..register(vec![REGISTRATION_TOKEN], Some(&auth), "{}") }
        };
        // Right ones are given back.
        for _ in 0..8 {
            let session = challenge(&server, register(vec![REGISTRATION_TOKEN], None, "{}")).await.session_id;
            uia.authenticate(attempt(&session, "right", stranger)).await.unwrap();
        }
        let session = challenge(&server, register(vec![REGISTRATION_TOKEN], None, "{}")).await.session_id;
        for _ in 0..3 {
            challenge(&server, attempt(&session, "wrong", stranger)).await;
        }
        let registrar = &server.accounts.registrar;
        assert!(!registrar.is_valid_registration_token("wrong", stranger).await.unwrap());
        // Another address of the same network.
        let neighbour = "2001:db8::2".parse().ok();
        let page = uia.complete_by_page(&session, REGISTRATION_TOKEN, Some("wrong"), neighbour).await.unwrap();
        assert_eq!(page, Some(StageFailure::InvalidRegistrationToken));
        let limited = uia.authenticate(attempt(&session, "right", neighbour)).await;
        assert!(matches!(limited, Err(UiaError::Limited(_))));
        let limited = uia.complete_by_page(&session, REGISTRATION_TOKEN, Some("right"), stranger).await;
        assert!(matches!(limited, Err(UiaError::Limited(_))));
        assert!(registrar.is_valid_registration_token("right", stranger).await.is_err());
        uia.authenticate(attempt(&session, "right", "2001:db8:0:1::1".parse().ok())).await.unwrap();
    }
}

#[tokio::test]
async fn one_session_authorises_one_of_many_requests() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |settings| settings.guesses.failed_attempts.burst_count = 100);
        let alice = server.requester(&server.user("alice").await.tokens.access_token).await;
        let session = challenge(&server, delete(&alice, None, "{}")).await.session_id;
        let requests: Vec<_> = (0..8)
            .map(|_| {
                let (uia, alice, auth) =
                    (server.accounts.uia.clone(), alice.clone(), password(Some(&session), "secret of alice"));
                tokio::spawn(async move { uia.authenticate(delete(&alice, auth, "{}")).await.is_ok() })
            })
            .collect();
        let mut passed = 0;
        for request in requests {
            passed += usize::from(request.await.unwrap());
        }
        assert_eq!(passed, 1);
    }
}

#[tokio::test]
async fn one_session_registers_one_account() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let session = challenge(&server, register(vec![DUMMY], None, "{}")).await.session_id;
        let auth = format!(r#"{{"type": "m.login.dummy", "session": "{session}"}}"#);
        let mut accounts = Vec::new();
        for _ in 0..4 {
            let passed = server.accounts.uia.authenticate(register(vec![DUMMY], Some(&auth), "{}")).await.unwrap();
            accounts.push(NewAccount { ui_auth_session: passed.session, ..NewAccount::default() });
        }
        let mut registered = Vec::new();
        for account in accounts {
            match server.accounts.registrar.register(account).await {
                Ok(account) => registered.push(account.user_id),
                Err(RegisterError::SessionSpent) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let passed = server.accounts.uia.authenticate(register(vec![DUMMY], Some(&auth), "{}")).await.unwrap();
        assert_eq!(passed.registered.as_deref(), registered.first().map(|id| id.as_str()));
        assert_eq!(registered.len(), 1);
        let other = register(vec![DUMMY], Some(&auth), r#"{"username": "other"}"#);
        assert!(matches!(server.accounts.uia.authenticate(other).await, Err(UiaError::OperationChanged)));
    }
}
