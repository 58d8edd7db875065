//! A registry of rooms over an empty database, and rooms to play with.

use std::sync::Arc;

use plexus_base::{Background, Clock, Random};
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::{
    EventSender, MembershipChange, MembershipChanger, NewEvent, NewRoom, Preset, Room, RoomCreator, RoomWriter, Rooms,
    RoomsOptions, SendError, Sent, Transaction, stripped,
};
use plexus_store::Database;

pub struct Fixture {
    pub db: Database,
    pub rooms: Arc<Rooms>,
    pub writer: Arc<RoomWriter>,
    pub clock: Clock,
    pub sender: EventSender,
    pub members: MembershipChanger,
    pub creator: RoomCreator,
}

pub const START_MS: u64 = 1_700_000_000_000;

impl Fixture {
    pub fn new(db: Database) -> Self {
        Self::with_cache(db, 64 << 20)
    }

    pub fn with_cache(db: Database, cache_bytes: usize) -> Self {
        let clock = Clock::manual(START_MS);
        let writer = RoomWriter::start(RoomsOptions {
            db: db.clone(),
            clock: clock.clone(),
            random: Random::system(),
            background: Background::default(),
            server_name: ServerName::try_from("localhost").unwrap(),
            signing_key: Arc::new(SigningKey::generate(&[7; 32], "test")),
            policy_servers: None,
            own_policy: None,
            policy_hooks: None,
            remote_aliases: None,
            cache_bytes,
            stripped_state_types: stripped::default_types().collect(),
            limits: plexus_rooms::MembershipLimits::none(&clock),
            sender_rules: plexus_rooms::SenderRules::default(),
            invite_filtering: false,
            forget_on_leave: false,
            sticky_events: true,
            expiring_messages: false,
            accepted_invites: None,
        });
        Self {
            db,
            clock,
            sender: EventSender::new(Arc::clone(&writer)),
            members: MembershipChanger::new(Arc::clone(&writer), true),
            creator: RoomCreator::new(Arc::clone(&writer)),
            rooms: Arc::clone(writer.rooms()),
            writer,
        }
    }

    pub async fn room(&self, creator: &str, version: RoomVersion, preset: Preset) -> Arc<Room> {
        self.creator.create(new_room(creator, version, preset)).await.unwrap()
    }

    pub async fn send(&self, room: &Room, sender: &str, body: &str) -> Result<Sent, SendError> {
        self.sender.send(message(&room.id, sender, body)).await
    }

    pub async fn set(&self, room: &Room, sender: &str, event_type: &str, content: &str) -> Result<Sent, SendError> {
        let content = Object::parse(content).unwrap();
        let event = NewEvent {
            event_type: event_type.into(),
            state_key: Some(String::new()),
            content,
            ..message(&room.id, sender, "")
        };
        self.sender.send(event).await
    }

    pub async fn join(&self, room: &Room, user_id: &str) -> Sent {
        self.members.join(change(&room.id, user_id, user_id), false).await.unwrap()
    }

    pub async fn leave(&self, room: &Room, user_id: &str) -> Sent {
        self.members.leave(change(&room.id, user_id, user_id)).await.unwrap()
    }

    pub async fn invite(&self, room: &Room, by: &str, user_id: &str) -> Sent {
        self.members.invite(change(&room.id, by, user_id)).await.unwrap()
    }
}

pub fn user(id: &str) -> UserId {
    UserId::try_from(id).unwrap()
}

pub fn new_room(creator: &str, version: RoomVersion, preset: Preset) -> NewRoom {
    NewRoom {
        room_id: None,
        creator: user(creator),
        version,
        preset,
        published: false,
        alias: None,
        name: Some("A room".into()),
        topic: None,
        creation_content: Object::new(),
        power_levels: Object::new(),
        initial_state: Vec::new(),
        invite: Vec::new(),
        is_direct: false,
        encrypted: false,
        invite_profiles: true,
        creator_profile: Object::new(),
        authority: plexus_rooms::Authority::User,
    }
}

pub fn message(room: &RoomId, sender: &str, body: &str) -> NewEvent {
    NewEvent {
        room_id: room.clone(),
        sender: user(sender),
        event_type: "m.room.message".into(),
        state_key: None,
        content: Object::from([("body", body), ("msgtype", "m.text")]),
        redacts: None,
        origin_server_ts: None,
        sticky_duration_ms: None,
        transaction: None,
    }
}

pub fn transaction(device: &str, txn: &str) -> Option<Transaction> {
    Some(Transaction { device_id: device.into(), txn_id: txn.into() })
}

pub fn change(room: &RoomId, sender: &str, target: &str) -> MembershipChange {
    MembershipChange {
        room_id: room.clone(),
        sender: user(sender),
        target: user(target),
        reason: None,
        content: Object::new(),
        via: Vec::new(),
        transaction: None,
        origin_server_ts: None,
        authority: plexus_rooms::Authority::User,
    }
}

/// A runtime for one test over one database.
pub fn run<F: Future<Output = ()>>(test: impl Fn(Database) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for database in plexus_testkit::databases() {
        eprintln!("on {:?}", database.backend());
        runtime.block_on(test(database.db()));
    }
}
