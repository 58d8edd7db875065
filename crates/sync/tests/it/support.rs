//! Rooms and sync over an empty database, and users who sync.

use std::sync::Arc;
use std::time::Duration;

use plexus_base::{Background, Clock, LongPoll, Random, Shutdown};
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::{EventId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::{
    EventSender, InitialState, MembershipChange, MembershipChanger, NewEvent, NewRoom, Preset, Room, RoomCreator,
    RoomWriter, Rooms, RoomsOptions, Transaction, stripped,
};
use plexus_store::repo::account_data::{self, Scope};
use plexus_store::{Database, DbError, repo};
use plexus_sync::delta::{DeltaRequest, ProfileFields, RoomDeltas, RoomSink, SyncDelta};
use plexus_sync::ephemeral::EphemeralSerial;
use plexus_sync::{
    DeltaParts, Filter, NewReceipt, Notifier, Presence, PresenceSettings, PresenceState, ReceiptType, Receipts,
    SettingsCache, SettingsFeatures, SyncEngine, SyncOptions, SyncParts, SyncRequest, ToDevice, Typing, UnreadCounts,
};
use serde_json::{Value, json};

pub const ALICE: &str = "@alice:localhost";
pub const BOB: &str = "@bob:localhost";
pub const CAROL: &str = "@carol:localhost";
pub const DEVICE: &str = "DEVICE";

const START_MS: u64 = 1_700_000_000_000;

/// A homeserver without its API.
pub struct Server {
    pub db: Database,
    pub clock: Clock,
    pub rooms: Arc<Rooms>,
    pub sender: EventSender,
    pub members: MembershipChanger,
    pub creator: RoomCreator,
    pub notifier: Arc<Notifier>,
    pub typing: Arc<Typing>,
    pub presence: Arc<Presence>,
    pub receipts: Arc<Receipts>,
    pub to_device: ToDevice,
    pub engine: Arc<SyncEngine>,
}

impl Server {
    pub fn new(db: Database) -> Self {
        Self::with_options(db, SyncOptions::default())
    }

    pub fn with_options(db: Database, options: SyncOptions) -> Self {
        Self::at(db, options, START_MS)
    }

    /// The same database, a minute later, with nothing in memory.
    pub fn restarted(&self) -> Self {
        Self::at(self.db.clone(), SyncOptions::default(), self.clock.now_ms() + 60_000)
    }

    fn at(db: Database, options: SyncOptions, now_ms: u64) -> Self {
        let clock = Clock::manual(now_ms);
        let server_name: ServerName = "localhost".parse().expect("a server name");
        let writer = RoomWriter::start(RoomsOptions {
            db: db.clone(),
            clock: clock.clone(),
            random: Random::system(),
            background: Background::default(),
            server_name: server_name.clone(),
            signing_key: Arc::new(SigningKey::generate(&[7; 32], "test")),
            policy_servers: None,
            own_policy: None,
            policy_hooks: None,
            remote_aliases: None,
            cache_bytes: 64 << 20,
            stripped_state_types: stripped::default_types().collect(),
            limits: plexus_rooms::MembershipLimits::none(&clock),
            sender_rules: plexus_rooms::SenderRules::default(),
            invite_filtering: false,
            forget_on_leave: false,
            sticky_events: true,
            expiring_messages: false,
            accepted_invites: None,
        });
        let rooms = Arc::clone(writer.rooms());
        let serial = Arc::new(EphemeralSerial::new(clock.now_ms()));
        let notifier = Arc::new(Notifier::new(Arc::clone(&rooms), db.committed(), Background::default()));
        db.add_listener(&notifier);
        let settings = Arc::new(SettingsCache::new(db.clone(), Arc::clone(&notifier), SettingsFeatures::default()));
        let unread = Arc::new(UnreadCounts::new(db.clone(), Arc::clone(&settings), Background::default()));
        let receipts = Arc::new(Receipts::new(db.clone(), clock.clone(), Arc::clone(&unread)));
        let typing = Arc::new(Typing::new(clock.clone(), Arc::clone(&serial), Arc::clone(&notifier)));
        let presence = Arc::new(Presence::new(
            PresenceSettings::default(),
            clock.clone(),
            db.clone(),
            Arc::clone(&serial),
            Arc::clone(&notifier),
        ));
        let engine = SyncEngine::new(SyncParts {
            deltas: DeltaParts {
                db: db.clone(),
                clock: clock.clone(),
                rooms: Arc::clone(&rooms),
                notifier: Arc::clone(&notifier),
                typing: Arc::clone(&typing),
                presence: Arc::clone(&presence),
                receipts: Arc::clone(&receipts),
                unread,
                settings,
                options,
            },
            serial,
            shutdown: Shutdown::default(),
        });
        Self {
            sender: EventSender::new(Arc::clone(&writer)),
            members: MembershipChanger::new(Arc::clone(&writer), true),
            creator: RoomCreator::new(Arc::clone(&writer)),
            to_device: ToDevice::new(db.clone(), clock.clone(), server_name),
            engine: Arc::new(engine),
            db,
            clock,
            rooms,
            notifier,
            typing,
            presence,
            receipts,
        }
    }

    pub async fn room(&self, creator: &str) -> Arc<Room> {
        self.creator.create(new_room(creator)).await.expect("a room")
    }

    /// A room of Alice's with Bob and Carol in it.
    pub async fn shared_room(&self) -> Arc<Room> {
        let room = self.room(ALICE).await;
        self.join(&room, BOB).await;
        self.join(&room, CAROL).await;
        room
    }

    pub async fn encrypted_room(&self, creator: &str) -> Arc<Room> {
        let content = Object::from([("algorithm", "m.megolm.v1.aes-sha2")]);
        let encryption = InitialState { event_type: "m.room.encryption".into(), state_key: String::new(), content };
        let new = NewRoom { initial_state: vec![encryption], ..new_room(creator) };
        self.creator.create(new).await.expect("a room")
    }

    pub async fn send(&self, room: &Room, sender: &str, body: &str) -> EventId {
        self.send_content(room, sender, json!({"msgtype": "m.text", "body": body})).await
    }

    pub async fn send_content(&self, room: &Room, sender: &str, content: Value) -> EventId {
        self.sender.send(message(room, sender, content)).await.expect("sent").event_id
    }

    pub async fn send_from_device(&self, room: &Room, sender: &str, device: &str, txn_id: &str) -> EventId {
        let transaction = Some(Transaction { device_id: device.into(), txn_id: txn_id.into() });
        let content = json!({"msgtype": "m.text", "body": "from a device"});
        let event = NewEvent { transaction, ..message(room, sender, content) };
        self.sender.send(event).await.expect("sent").event_id
    }

    pub async fn set(&self, room: &Room, sender: &str, event_type: &str, content: Value) -> EventId {
        let event = NewEvent {
            event_type: event_type.into(),
            state_key: Some(String::new()),
            ..message(room, sender, content)
        };
        self.sender.send(event).await.expect("sent").event_id
    }

    pub async fn join(&self, room: &Room, user: &str) {
        self.members.join(change(room, user, user), false).await.expect("joined");
    }

    pub async fn leave(&self, room: &Room, user: &str) {
        self.members.leave(change(room, user, user)).await.expect("left");
    }

    pub async fn invite(&self, room: &Room, by: &str, user: &str) {
        self.members.invite(change(room, by, user)).await.expect("invited");
    }

    pub async fn read(&self, room: &Room, reader: &str, event_id: &EventId, thread: Option<&str>) {
        self.receipt(room, reader, event_id, thread, ReceiptType::Read).await;
    }

    pub async fn receipt(
        &self,
        room: &Room,
        reader: &str,
        event_id: &EventId,
        thread: Option<&str>,
        kind: ReceiptType,
    ) {
        let receipt =
            NewReceipt { user: user(reader), kind, event_id: event_id.clone(), thread: thread.map(str::to_owned) };
        self.receipts.record(room, receipt).await.expect("recorded");
    }

    pub async fn account_data(&self, owner: &str, event_type: &'static str, content: Value) {
        let (owner, content) = (user(owner), content.to_string());
        self.db
            .write(move |tx| account_data::set(tx, &owner, Scope::default(), event_type, &content))
            .await
            .map(drop)
            .map_err(|error: DbError| error)
            .expect("written");
    }

    pub async fn device(&self, owner: &'static str, device: &'static str) {
        self.db
            .write(move |tx| repo::devices::create(tx, owner, device, None, START_MS))
            .await
            .map(drop)
            .map_err(|error: DbError| error)
            .expect("written");
    }

    /// A user's device that has not synced yet.
    pub fn client<'s>(&'s self, name: &str) -> Client<'s> {
        Client { server: self, request: request(name), since: None }
    }
}

/// A device that syncs, and remembers its token.
pub struct Client<'s> {
    server: &'s Server,
    pub request: SyncRequest,
    pub since: Option<String>,
}

impl Client<'_> {
    pub fn filter(mut self, filter: Value) -> Self {
        self.request.filter = Arc::new(Filter::parse(&filter.to_string()).expect("a filter"));
        self
    }

    pub fn device(mut self, device: &str) -> Self {
        self.request.device = Some(device.to_owned());
        self
    }

    /// Returns the next sync's response, without waiting for changes.
    pub async fn sync(&mut self) -> Value {
        let body = self.answer(Duration::ZERO).await;
        self.since = body["next_batch"].as_str().map(str::to_owned);
        body
    }

    /// Returns a response, and does not move on to its token.
    pub async fn answer(&self, timeout: Duration) -> Value {
        let body = self.server.engine.sync(self.next_request(timeout)).await.expect("an answer");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error} in {body}"))
    }

    /// What the next sync's response is made of.
    pub async fn delta(&self) -> SyncDelta {
        self.delta_to(RoomDeltas::default()).await
    }

    /// What the next sync's response is made of, with the rooms in `rooms`.
    pub async fn delta_to<R: RoomSink>(&self, rooms: R) -> SyncDelta<R> {
        let SyncRequest { user, device, since, filter, full_state, state_after, .. } =
            self.next_request(Duration::ZERO);
        let request = DeltaRequest {
            user,
            device,
            since,
            filter,
            full_state,
            state_after,
            profiles: ProfileFields::None,
            sticky: true,
        };
        let engine = &self.server.engine;
        engine.deltas().read(&request, engine.now(), rooms).await.expect("a delta")
    }

    pub fn next_request(&self, timeout: Duration) -> SyncRequest {
        let since = self.since.as_ref().map(|since| since.parse().expect("a token"));
        SyncRequest { since, timeout, ..self.request.clone() }
    }
}

pub fn request(name: &str) -> SyncRequest {
    SyncRequest {
        user: user(name),
        device: Some(DEVICE.to_owned()),
        since: None,
        filter: Arc::default(),
        full_state: false,
        timeout: Duration::ZERO,
        set_presence: PresenceState::Offline,
        state_after: false,
        long_poll: LongPoll::default(),
    }
}

pub fn user(id: &str) -> UserId {
    id.parse().expect("a user id")
}

fn new_room(creator: &str) -> NewRoom {
    NewRoom {
        room_id: None,
        creator: user(creator),
        version: RoomVersion::V12,
        preset: Preset::PublicChat,
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

fn message(room: &Room, sender: &str, content: Value) -> NewEvent {
    NewEvent {
        room_id: room.id.clone(),
        sender: user(sender),
        event_type: "m.room.message".into(),
        state_key: None,
        content: Object::parse(&content.to_string()).expect("an object"),
        redacts: None,
        origin_server_ts: None,
        sticky_duration_ms: None,
        transaction: None,
    }
}

pub fn change(room: &Room, sender: &str, target: &str) -> MembershipChange {
    MembershipChange {
        room_id: room.id.clone(),
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

/// Returns the section of a room in a response; null if it has none.
pub fn section<'a>(answer: &'a Value, kind: &str, room: &Room) -> &'a Value {
    &answer["rooms"][kind][room.id.as_str()]
}

/// Returns the joined room in a response.
pub fn joined<'a>(answer: &'a Value, room: &Room) -> &'a Value {
    section(answer, "join", room)
}

/// The bodies of the messages in a timeline, in order.
pub fn bodies(room: &Value) -> Vec<&str> {
    events(&room["timeline"]).iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

/// The events of a section.
pub fn events(section: &Value) -> &[Value] {
    section["events"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The first event of a type in a section.
pub fn event<'a>(section: &'a Value, event_type: &str) -> Option<&'a Value> {
    events(section).iter().find(|event| event["type"] == event_type)
}

/// The users of the member events in a section, in order of their ids.
pub fn members(section: &Value) -> Vec<&str> {
    let members = events(section).iter().filter(|event| event["type"] == "m.room.member");
    let mut users: Vec<&str> = members.filter_map(|event| event["state_key"].as_str()).collect();
    users.sort_unstable();
    users
}

/// The test on every database, each with a runtime of its own.
pub fn run<F: Future<Output = ()>>(test: impl Fn(Database) -> F) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    for database in plexus_testkit::databases() {
        eprintln!("on {:?}", database.backend());
        runtime.block_on(test(database.db()));
    }
}
