use std::time::Duration;

use plexus_accounts::{NewSession, RefreshError, Seen, SessionError, TokenError};
use plexus_store::repo::users;

use super::{server, user_id};

const MINUTE: Duration = Duration::from_secs(60);

fn refreshing() -> NewSession {
    NewSession { refresh_token: true, ..NewSession::default() }
}

#[tokio::test]
async fn a_token_is_good_until_it_is_revoked() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let session = server.user("alice").await;
        let token = &session.tokens.access_token;
        let requester = server.requester(token).await;
        assert_eq!(requester.user_id, "@alice:example.org");
        assert_eq!(requester.device_id.as_deref(), Some(session.device_id.as_str()));
        assert!(!requester.is_admin && !requester.is_guest);

        let wrong = server.accounts.tokens.check("pxa_wrong", Seen::default()).await;
        assert!(matches!(wrong, Err(TokenError::Unknown)));

        server.accounts.sessions.end(&requester).await.unwrap();
        let ended = server.accounts.tokens.check(token, Seen::default()).await;
        assert!(matches!(ended, Err(TokenError::Unknown)));
        assert!(server.accounts.devices.list(&session.user_id).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn changes_of_the_account_are_seen_by_the_next_request() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let session = server.user("alice").await;
        let token = &session.tokens.access_token;
        assert!(!server.requester(token).await.is_admin);
        let sessions = &server.accounts.sessions;
        assert!(sessions.set_admin(&session.user_id, true).await.unwrap());
        assert!(server.requester(token).await.is_admin);
        assert!(!sessions.set_admin(&user_id("@nobody:example.org"), true).await.unwrap());

        sessions.change_user(&session.user_id, |tx, id| users::set_locked(tx, id, true)).await.unwrap();
        let locked = server.accounts.tokens.check(token, Seen::default()).await;
        assert!(matches!(locked, Err(TokenError::Locked(requester)) if requester.user_id == session.user_id));
        sessions.change_user(&session.user_id, |tx, id| users::set_locked(tx, id, false)).await.unwrap();
        assert!(server.is_good(token).await);
    }
}

#[tokio::test]
async fn a_refreshed_token_ends_its_predecessor_when_used() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let session = server.user("alice").await;
        let sessions = &server.accounts.sessions;
        let first = sessions.start(&session.user_id, refreshing()).await.unwrap().tokens;
        assert_eq!(first.expires_in, Some(5 * MINUTE));
        let first_refresh = first.refresh_token.unwrap();
        assert!(server.is_good(&first.access_token).await);

        // The response got lost: the client asks again, and both old tokens still work.
        let lost = sessions.refresh(&first_refresh).await.unwrap();
        let second = sessions.refresh(&first_refresh).await.unwrap();
        assert!(server.is_good(&first.access_token).await);
        assert!(!server.is_good(&lost.access_token).await);

        assert!(server.is_good(&second.access_token).await);
        assert!(!server.is_good(&first.access_token).await);
        assert!(matches!(sessions.refresh(&first_refresh).await, Err(RefreshError::Unknown)));

        // Exchanging the new refresh token, too, ends what came before.
        let second_refresh = second.refresh_token.unwrap();
        let third = sessions.refresh(&second_refresh).await.unwrap();
        assert!(server.is_good(&third.access_token).await);
        assert!(!server.is_good(&second.access_token).await);

        server.pass(5 * MINUTE);
        let expired = server.accounts.tokens.check(&third.access_token, Seen::default()).await;
        assert!(matches!(expired, Err(TokenError::Expired)));
        assert!(sessions.refresh(&third.refresh_token.unwrap()).await.is_ok());
    }
}

#[tokio::test]
async fn lifetimes() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |settings| {
            settings.sessions.session_lifetime = Some(10 * MINUTE);
            settings.sessions.refresh_token_lifetime = Some(8 * MINUTE);
            settings.sessions.nonrefreshable_access_token_lifetime = Some(7 * MINUTE);
        });
        let user_id = server.user("alice").await.user_id;
        let sessions = &server.accounts.sessions;
        let plain = sessions.start(&user_id, NewSession::default()).await.unwrap().tokens;
        assert_eq!((plain.expires_in, plain.refresh_token), (Some(7 * MINUTE), None));

        let first = sessions.start(&user_id, refreshing()).await.unwrap().tokens;
        server.pass(7 * MINUTE);
        let second = sessions.refresh(&first.refresh_token.unwrap()).await.unwrap();
        // The session's end cuts the token short.
        assert_eq!(second.expires_in, Some(3 * MINUTE));
        server.pass(3 * MINUTE);
        let over = sessions.refresh(&second.refresh_token.unwrap()).await;
        assert!(matches!(over, Err(RefreshError::Expired)));

        let idle = sessions.start(&user_id, refreshing()).await.unwrap().tokens;
        server.pass(8 * MINUTE);
        assert!(matches!(sessions.refresh(&idle.refresh_token.unwrap()).await, Err(RefreshError::Expired)));
        assert!(matches!(sessions.refresh("pxr_wrong").await, Err(RefreshError::Unknown)));
    }
}

#[tokio::test]
async fn taking_over_a_device_ends_its_tokens() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let user_id = server.user("alice").await.user_id;
        let sessions = &server.accounts.sessions;
        let on = |device: &str| NewSession { device_id: Some(device.to_owned()), ..NewSession::default() };
        let first = sessions.start(&user_id, on("PHONE")).await.unwrap();
        let other = sessions.start(&user_id, on("LAPTOP")).await.unwrap();
        assert!(server.is_good(&first.tokens.access_token).await);
        let second = sessions.start(&user_id, on("PHONE")).await.unwrap();
        assert!(!server.is_good(&first.tokens.access_token).await);
        assert!(server.is_good(&second.tokens.access_token).await);
        assert!(server.is_good(&other.tokens.access_token).await);

        sessions.end_all(&user_id, Some("LAPTOP".to_owned())).await.unwrap();
        assert!(!server.is_good(&second.tokens.access_token).await);
        assert!(server.is_good(&other.tokens.access_token).await);
        sessions.end_all(&user_id, None).await.unwrap();
        assert!(!server.is_good(&other.tokens.access_token).await);

        for bad in ["a\0b".to_owned(), "x".repeat(513)] {
            let refused = sessions.start(&user_id, on(&bad)).await;
            assert!(matches!(refused, Err(SessionError::InvalidDeviceId)));
        }
    }
}

#[tokio::test]
async fn where_a_device_was_seen_is_written_in_batches() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let session = server.user("alice").await;
        let seen = Seen { ip: Some("::ffff:192.0.2.1".parse().unwrap()), user_agent: Some("a\0gent") };
        server.accounts.tokens.check(&session.tokens.access_token, seen).await.unwrap();
        let device = || async {
            let devices = &server.accounts.devices;
            devices.get(&session.user_id, &session.device_id).await.unwrap().unwrap()
        };
        // Not written, and known all the same.
        assert_eq!(device().await.last_seen_ip.as_deref(), Some("192.0.2.1"));
        server.accounts.tokens.flush_last_seen().await.unwrap();
        let stored = device().await;
        assert_eq!(stored.last_seen_ts, Some(super::START));
        assert_eq!(stored.last_seen_user_agent.as_deref(), Some("agent"));
    }
}

#[tokio::test]
async fn login_and_openid_tokens() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let user_id = server.user("alice").await.user_id;
        let accounts = &server.accounts;
        let (token, timeout) = accounts.sessions.issue_login_token(&user_id).await.unwrap();
        assert_eq!(accounts.logins.by_token(&token).await.unwrap(), user_id);
        assert!(accounts.logins.by_token(&token).await.is_err());
        let (token, _) = accounts.sessions.issue_login_token(&user_id).await.unwrap();
        server.pass(timeout);
        assert!(accounts.logins.by_token(&token).await.is_err());

        let (token, lifetime) = accounts.sessions.issue_openid_token(&user_id).await.unwrap();
        assert_eq!(accounts.sessions.openid_user(&token).await.unwrap(), Some(user_id));
        server.pass(lifetime);
        assert_eq!(accounts.sessions.openid_user(&token).await.unwrap(), None);
    }
}
