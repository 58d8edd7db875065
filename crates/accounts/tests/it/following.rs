//! Another process, which only follows the log, knows which tokens are good.

use std::sync::Arc;

use plexus_accounts::{NewSession, Seen, TokenChecker, TokenError};
use plexus_base::Clock;
use plexus_store::repo::users;
use plexus_store::{Database, repo};

use super::{START, server};

#[tokio::test]
async fn tokens_that_end_elsewhere_are_not_accepted_any_more() {
    for db in plexus_testkit::databases() {
        let server = server(&db, |_| ());
        let here = server.user("alice").await;
        let there = server.accounts.sessions.start(&here.user_id, NewSession::default()).await.unwrap();
        let other = server.user("bob").await;
        let follower = Database::open_follower(db.place().options()).unwrap();
        let checker = TokenChecker::new(follower.clone(), Clock::manual(START), Arc::default(), false);
        let check = async |token: &str| checker.check(token, Seen::default()).await;
        let [here_token, there_token, other_token] =
            [&here, &there, &other].map(|session| session.tokens.access_token.as_str());
        for token in [here_token, there_token, other_token] {
            assert!(check(token).await.is_ok());
        }

        let requester = server.requester(here_token).await;
        server.accounts.sessions.end(&requester).await.unwrap();
        // Late, until it follows.
        assert!(check(here_token).await.is_ok());
        plexus_store::follow(&follower).await.unwrap();
        assert!(matches!(check(here_token).await, Err(TokenError::Unknown)));
        assert!(check(there_token).await.is_ok());

        let sessions = &server.accounts.sessions;
        sessions.change_user(&here.user_id, |tx, id| users::set_locked(tx, id, true)).await.unwrap();
        plexus_store::follow(&follower).await.unwrap();
        assert!(matches!(check(there_token).await, Err(TokenError::Locked(_))));

        // What it has missed is gone from the log: nothing that it holds counts any more.
        server.accounts.sessions.end_all(&other.user_id, None).await.unwrap();
        let upto = db.committed();
        db.write(move |tx| repo::other_changes::trim(tx, upto)).await.unwrap();
        assert!(check(other_token).await.is_ok());
        plexus_store::follow(&follower).await.unwrap();
        assert!(matches!(check(other_token).await, Err(TokenError::Unknown)));
    }
}
