//! What an engine sees that only follows the log, beside one that writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use plexus_protocol::event::build::PduBuilder;
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::{EventId, RoomId, ServerName};
use plexus_protocol::json::{Object, Value};
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::actions::profile::Profiles;
use plexus_rooms::upgrade::{self, Upgrade};
use plexus_rooms::write::out_of_band;
use plexus_rooms::{NewEvent, Preset, ProfileScope, Room, RoomCreator};
use plexus_store::repo::log::{LogPage, changes_after};
use plexus_store::{Change, CommitListener, HandedOver, Position, RoomNid, repo};
use plexus_testkit::{TestDatabase, account};

use crate::fixture::{Fixture, change, message, new_room, user};
use crate::follower::Follower;

const ALICE: &str = "@alice:localhost";
const BOB: &str = "@bob:localhost";
const CAROL: &str = "@carol:elsewhere";

/// An engine that writes, and one that follows it.
struct Engines {
    writer: Fixture,
    follower: Follower,
    room: Arc<Room>,
    database: TestDatabase,
}

impl Engines {
    async fn new(database: TestDatabase) -> Self {
        let writer = Fixture::new(database.db());
        let follower = Follower::of(database.place(), writer.rooms.server_name(), &writer.clock);
        let room = writer.room(ALICE, RoomVersion::V11, Preset::PublicChat).await;
        Self { writer, follower, room, database }
    }

    async fn assert_agree(&self) {
        let users = [ALICE, BOB, CAROL].map(user);
        self.follower.assert_agrees(&self.writer.rooms, &self.room.id, &users).await;
    }

    /// The changes after a position, as another process reads them.
    async fn log(&self, after: Position) -> LogPage {
        self.follower.db.read(move |tx| changes_after(tx, after, 10_000)).await.unwrap()
    }

    async fn redact(&self, target: &EventId) {
        let event = NewEvent {
            event_type: "m.room.redaction".into(),
            content: Object::new(),
            redacts: Some(target.clone()),
            ..message(&self.room.id, ALICE, "")
        };
        self.writer.sender.send(event).await.unwrap();
    }

    /// A bit of everything.
    async fn act(&self, number: usize) {
        let Self { writer, room, .. } = self;
        match number % 6 {
            0 => _ = writer.send(room, ALICE, "hello").await.unwrap(),
            1 => _ = writer.join(room, BOB).await,
            2 => _ = writer.set(room, ALICE, "m.room.topic", &format!(r#"{{"topic":"{number}"}}"#)).await.unwrap(),
            3 => {
                let said = writer.send(room, BOB, "regretted").await.unwrap().event_id;
                self.redact(&said).await;
            }
            4 => _ = writer.leave(room, BOB).await,
            _ => {
                let name = writer.set(room, ALICE, "m.room.name", r#"{"name":"a secret"}"#).await.unwrap().event_id;
                self.redact(&name).await;
            }
        }
    }
}

/// Runs a test over each database.
fn run<F: Future<Output = ()>>(test: impl Fn(Engines) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for database in plexus_testkit::databases() {
        eprintln!("on {:?}", database.backend());
        runtime.block_on(async { test(Engines::new(database).await).await });
    }
}

#[test]
fn a_follower_sees_what_the_writer_sees() {
    run(|engines| async move {
        engines.assert_agree().await;
        for number in 0..24 {
            engines.act(number).await;
            engines.assert_agree().await;
        }
    });
}

#[test]
fn a_follower_sees_what_has_no_event() {
    run(|engines| async move {
        let Engines { writer, follower, room, database } = &engines;
        writer.join(room, BOB).await;
        engines.assert_agree().await;

        // A profile, and who is erased.
        let profiles = Profiles::new(Arc::clone(&writer.writer));
        profiles.set(&user(BOB), "displayname", Some(Value::from("Bob")), ProfileScope::WithRooms).await.unwrap();
        engines.assert_agree().await;
        assert_eq!(follower.rooms.profiles().of(BOB).await.unwrap().len(), 1);
        database.db().write(|tx| repo::erasure::mark(tx, BOB)).await.unwrap();
        engines.assert_agree().await;
        assert!(follower.rooms.erased_users().contains(BOB));

        // A room that is forgotten, and one that is replaced.
        writer.leave(room, BOB).await;
        engines.assert_agree().await;
        writer.members.forget(&room.id, &user(BOB)).await.unwrap();
        engines.assert_agree().await;
        let forgotten = follower.rooms.memberships().of(&user(BOB)).await.unwrap().get(room.nid).unwrap().forgotten;
        assert!(forgotten);
        let upgrade = Upgrade {
            room: Arc::clone(room),
            sender: user(ALICE),
            version: RoomVersion::V12,
            additional_creators: Vec::new(),
        };
        let creator = Arc::new(RoomCreator::new(Arc::clone(&writer.writer)));
        let new = upgrade::upgrade(&creator, upgrade).await.unwrap();
        engines.assert_agree().await;
        follower.assert_agrees(&writer.rooms, &new.id, &[user(ALICE)]).await;
    });
}

#[test]
fn a_follower_sees_rooms_that_this_server_is_not_in() {
    run(|engines| async move {
        let Engines { writer, follower, .. } = &engines;
        let room = RoomId::try_from("!elsewhere:elsewhere").unwrap();
        // Whoever invited named the wrong version at first.
        out_of_band::known_or_new(&writer.writer, &room, RoomVersion::V1).await.unwrap();
        follower.assert_agrees(&writer.rooms, &room, &[]).await;
        let known = out_of_band::known_or_new(&writer.writer, &room, RoomVersion::V11).await.unwrap();
        assert_eq!(known.version, RoomVersion::V11);
        follower.assert_agrees(&writer.rooms, &room, &[]).await;

        for membership in ["invite", "leave"] {
            let builder = PduBuilder {
                room_id: Some(room.clone()),
                state_key: Some(BOB.to_owned()),
                sender: user(CAROL),
                event_type: "m.room.member".to_owned(),
                content: Object::from([("membership", membership)]),
                unsigned: None,
                redacts: None,
                prev_events: Vec::new(),
                auth_events: Vec::new(),
                depth: 5,
                origin_server_ts: 1,
            };
            let key = SigningKey::generate(&[9; 32], "test");
            let pdu = builder.build(RoomVersion::V11, &key, &ServerName::try_from("elsewhere").unwrap()).unwrap();
            out_of_band::set_membership(&writer.writer, &known, &pdu).await.unwrap();
            follower.assert_agrees(&writer.rooms, &room, &[user(BOB)]).await;
        }
    });
}

#[test]
fn changes_that_come_twice_or_late_do_no_harm() {
    run(|engines| async move {
        let mut pages = Vec::new();
        for number in 0..24 {
            let before = engines.follower.db.committed();
            engines.act(number).await;
            pages.push(engines.log(before).await);
            if number % 5 == 0 {
                engines.assert_agree().await;
                // All that there was before, again.
                for LogPage { changes, upto } in pages.drain(..) {
                    engines.follower.db.apply(changes, upto);
                }
                engines.assert_agree().await;
            }
        }
        engines.assert_agree().await;
    });
}

#[test]
fn a_follower_that_has_missed_too_much_reads_everything_again() {
    run(|engines| async move {
        let Engines { writer, follower, room, database } = &engines;
        writer.join(room, BOB).await;
        engines.assert_agree().await;
        database
            .db()
            .write(|tx| {
                repo::users::insert(tx, &account(BOB))?;
                repo::erasure::mark(tx, BOB)
            })
            .await
            .unwrap();
        let profiles = Profiles::new(Arc::clone(&writer.writer));
        profiles.set(&user(BOB), "displayname", Some(Value::from("Bob")), ProfileScope::WithRooms).await.unwrap();
        writer.leave(room, BOB).await;
        writer.members.forget(&room.id, &user(BOB)).await.unwrap();
        let upto = database.db().committed();
        database.db().write(move |tx| repo::other_changes::trim(tx, upto)).await.unwrap();
        let missed = engines.log(follower.db.committed()).await;
        assert_eq!(missed.changes.first(), Some(&Change::Missed { position: upto }));
        engines.assert_agree().await;
        assert!(follower.rooms.erased_users().contains(BOB));
        // From there on it goes on as before.
        engines.act(0).await;
        assert!(!engines.log(upto).await.changes.contains(&Change::Missed { position: upto }));
        engines.assert_agree().await;
    });
}

#[test]
fn the_log_says_whether_events_were_redacted() {
    run(|engines| async move {
        let Engines { writer, room, database, .. } = &engines;
        for redacts in [false, true] {
            let before = database.committed();
            let nid = room.nid;
            let db = database.db();
            let touch = db.write(move |tx| {
                let revision = repo::rooms::by_nid(tx, nid)?.unwrap().revision;
                repo::rooms::touch(tx, nid, revision, redacts, HandedOver::default())
            });
            touch.await.unwrap();
            let page = engines.log(before).await;
            let said: Vec<bool> = page
                .changes
                .iter()
                .map(|change| matches!(change, Change::Room { room, redacts: true, .. } if *room == nid))
                .collect();
            assert_eq!(said, [redacts]);
            engines.assert_agree().await;
        }
        writer.send(room, ALICE, "hello").await.unwrap();
        engines.assert_agree().await;
    });
}

#[test]
fn a_writer_that_has_missed_changes_goes_on() {
    run(|engines| async move {
        let Engines { writer, room, database, .. } = &engines;
        for number in 0..6 {
            let position = database.committed();
            database.db().apply(vec![Change::Missed { position }], position);
            engines.act(number).await;
            engines.assert_agree().await;
        }
        writer.send(room, ALICE, "hello").await.unwrap();
        engines.assert_agree().await;
    });
}

/// Keeps what is announced.
#[derive(Default)]
struct Announced(Mutex<Vec<Change>>);

impl CommitListener for Announced {
    fn apply(&self, changes: &[Change]) {
        self.0.lock().extend_from_slice(changes);
    }
}

/// The last change of each thing, as text, without what the log does not tell.
fn last_of_each(changes: Vec<Change>) -> BTreeMap<String, String> {
    let mut rooms: BTreeMap<RoomNid, (i64, bool)> = BTreeMap::new();
    let mut last = BTreeMap::new();
    for change in changes {
        match change {
            Change::Room { room, revision, redacts, .. } => {
                let newest = rooms.entry(room).or_default();
                *newest = (revision.max(newest.0), newest.1 | redacts);
            }
            Change::Membership { user, membership, .. } => {
                last.insert(format!("membership of {user} in {}", membership.room), format!("{membership:?}"));
            }
            change => _ = last.insert(format!("{change:?}"), String::new()),
        }
    }
    last.extend(rooms.into_iter().map(|(room, newest)| (format!("room {room}"), format!("{newest:?}"))));
    last
}

#[test]
fn the_log_says_what_was_announced() {
    run(|engines| async move {
        let Engines { writer, room, database, .. } = &engines;
        let announced = Arc::<Announced>::default();
        database.add_listener(&announced);
        let before = database.committed();
        for number in 0..12 {
            engines.act(number).await;
        }
        writer.members.forget(&room.id, &user(BOB)).await.unwrap();
        writer.members.invite(change(&room.id, ALICE, BOB)).await.unwrap();
        writer.creator.create(new_room(ALICE, RoomVersion::V6, Preset::PrivateChat)).await.unwrap();
        database.db().write(|tx| repo::profiles::set(tx, ALICE, "displayname", r#""Alice""#)).await.unwrap();
        database.db().write(|tx| repo::profiles::delete(tx, ALICE, "displayname")).await.unwrap();
        database.db().write(|tx| repo::erasure::mark(tx, BOB)).await.unwrap();
        let tokens = vec![[1; 32], [2; 32]];
        database.db().write(move |tx| repo::other_changes::record_tokens(tx, tokens)).await.unwrap();
        database
            .db()
            .write(|tx| {
                repo::account_data::set(tx, &user(ALICE), Default::default(), "m.type", "{}")?;
                repo::device_lists::record(tx, &user(ALICE), "DEVICE")?;
                repo::device_lists::record_signature(tx, &user(ALICE), &user(BOB))?;
                repo::one_time_keys::announce_change(tx, &user(ALICE), "DEVICE")
            })
            .await
            .unwrap();
        let page = engines.log(before).await;
        assert_eq!(page.upto, database.committed());
        assert!(page.changes.is_sorted_by_key(Change::position));
        let announced = std::mem::take(&mut *announced.0.lock());
        assert_eq!(last_of_each(page.changes), last_of_each(announced));
    });
}
