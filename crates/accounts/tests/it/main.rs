//! The accounts crate on every database this machine has.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test panics where it fails")]

mod devices;
mod following;
mod login;
mod registration;
mod tokens;
mod uia;

use std::sync::Arc;
use std::time::Duration;

use plexus_accounts::{Accounts, AccountsParts, NewAccount, NewSession, Session, Settings};
use plexus_base::{Clock, Random};
use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_store::Database;

const START: u64 = 1_700_000_000_000;

struct Server {
    accounts: Accounts,
    clock: Clock,
    db: Database,
}

/// The services of `example.org` on an empty database.
fn server(db: &Database, change: impl FnOnce(&mut Settings)) -> Server {
    let mut settings = Settings::new("example.org".parse().unwrap());
    change(&mut settings);
    let clock = Clock::manual(START);
    let accounts = Accounts::new(AccountsParts {
        db: db.clone(),
        clock: clock.clone(),
        random: Random::seeded(7),
        settings,
        app_services: Arc::default(),
    });
    Server { accounts, clock, db: db.clone() }
}

impl Server {
    /// Registers a user with the password "secret of <name>" and logs in.
    async fn user(&self, name: &str) -> Session {
        let account = NewAccount {
            username: Some(name.to_owned()),
            password: Some(format!("secret of {name}")),
            session: Some(NewSession::default()),
            ..NewAccount::default()
        };
        self.accounts.registrar.register(account).await.unwrap().session.unwrap()
    }

    async fn requester(&self, token: &str) -> plexus_accounts::Requester {
        let seen = plexus_accounts::Seen::default();
        self.accounts.tokens.check(token, seen).await.unwrap().as_ref().clone()
    }

    async fn is_good(&self, token: &str) -> bool {
        self.accounts.tokens.check(token, plexus_accounts::Seen::default()).await.is_ok()
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

/// A user's profile.
async fn fields(db: &Database, user_id: &str) -> Vec<(String, String)> {
    let user_id = user_id.to_owned();
    db.read(move |tx| plexus_store::repo::profiles::all(tx, &user_id)).await.unwrap()
}

fn user_id(id: &str) -> UserId {
    id.parse().unwrap()
}

fn object(json: &str) -> Object {
    Object::parse(json).unwrap()
}
