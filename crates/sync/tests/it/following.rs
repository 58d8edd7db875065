//! Clients of another process, which only follows the log, get the same as those of the one that writes.

use plexus_store::{Database, repo};
use plexus_testkit::databases;
use serde_json::{Value, json};

use crate::support::{ALICE, BOB, CAROL, Client, DEVICE, Server, user};

/// The same device at both processes.
struct Device<'s> {
    writer: Client<'s>,
    follower: Client<'s>,
}

impl<'s> Device<'s> {
    fn new(servers: &'s [Server; 2], user: &str) -> Self {
        let [writer, follower] = servers;
        Self { writer: writer.client(user), follower: follower.client(user) }
    }

    /// Both answers, which are the same.
    async fn sync(&mut self) -> Value {
        let written = self.writer.sync().await;
        assert_eq!(self.follower.sync().await, written);
        written
    }
}

#[test]
fn both_processes_give_the_same() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    for database in databases() {
        eprintln!("on {:?}", database.backend());
        runtime.block_on(async {
            let servers = [
                Server::new(database.db()),
                Server::new(Database::open_follower(database.place().options()).expect("it opens")),
            ];
            let [writer, follower] = &servers;
            let room = writer.shared_room().await;
            writer.device(BOB, DEVICE).await;
            plexus_store::follow(&follower.db).await.expect("it follows");
            let mut devices = [ALICE, BOB, CAROL].map(|name| Device::new(&servers, name));
            for device in &mut devices {
                device.sync().await;
            }
            for number in 0..12 {
                let said = writer.send(&room, ALICE, "hello").await;
                match number % 6 {
                    0 => writer.read(&room, BOB, &said, None).await,
                    1 => writer.account_data(BOB, "m.type", json!({ "number": number })).await,
                    2 => writer.leave(&room, CAROL).await,
                    3 => writer.invite(&room, ALICE, CAROL).await,
                    4 => writer.join(&room, CAROL).await,
                    _ => {
                        let write = |tx: &mut plexus_store::Tx<'_>| {
                            repo::one_time_keys::announce_change(tx, &user(BOB), DEVICE)?;
                            repo::device_lists::record(tx, &user(BOB), DEVICE)
                        };
                        writer.db.write(write).await.expect("written");
                    }
                }
                plexus_store::follow(&follower.db).await.expect("it follows");
                let mut said = false;
                for device in &mut devices {
                    said |= !device.sync().await["rooms"].is_null();
                }
                assert!(said, "{number}");
            }
        });
    }
}
