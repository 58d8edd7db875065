//! End-to-end encryption keys on every database this machine has.

#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

mod device_keys;
mod key_backup;

use plexus_e2ee::{CrossSigning, DeviceKeys};
use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_store::repo::devices;
use plexus_store::repo::users;
use plexus_store::{Database, DbError, Tx};
use plexus_testkit::account;

const START: u64 = 1_700_000_000_000;

/// The keys of users of `example.org`.
struct Server {
    keys: DeviceKeys,
    cross_signing: CrossSigning,
    db: Database,
}

/// A user with a device.
struct Session {
    user_id: UserId,
    device_id: String,
}

impl Server {
    fn new(db: &Database) -> Self {
        let keys = DeviceKeys::new(db.clone(), "example.org".parse().unwrap());
        Self { keys, cross_signing: CrossSigning::new(db.clone()), db: db.clone() }
    }

    async fn user(&self, name: &str) -> Session {
        let session =
            Session { user_id: user_id(&format!("@{name}:example.org")), device_id: format!("DEVICE_{name}") };
        let (user, device) = (session.user_id.clone(), session.device_id.clone());
        let create = move |tx: &mut Tx| {
            users::insert(tx, &account(user.as_str()))?;
            devices::create(tx, user.as_str(), &device, None, START)
        };
        self.db.write::<_, DbError, _>(create).await.unwrap();
        session
    }
}

fn user_id(id: &str) -> UserId {
    id.parse().unwrap()
}

fn object(json: &str) -> Object {
    Object::parse(json).unwrap()
}
