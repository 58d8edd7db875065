//! Servers, and the network between them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use plexus_base::{Background, Clock, Random};
use plexus_federation::inbox::Inbox;
use plexus_federation::{BackfillOutcome, PduReceiver, PduReceiverParts, RemoteMembershipChanger};
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::{EventId, RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_rooms::timeline::{self, Direction};
use plexus_rooms::{
    EventSender, MembershipChange, MembershipChanger, MembershipError, NewEvent, PeerError, Room, RoomCreator,
    RoomWriter, Rooms, RoomsOptions,
};
use plexus_store::Database;
use plexus_testkit::TestPlace;

use super::wire::{Wire, raw};
use crate::fixture::{change, message, user};
use crate::follower::Follower;

/// The most events of a transaction.
const PDUS: usize = 50;

/// A server's rooms, and the database under them.
pub struct Server {
    pub name: ServerName,
    pub db: Database,
    pub rooms: Arc<Rooms>,
    pub creator: RoomCreator,
    sender: EventSender,
    members: MembershipChanger,
    pub receiver: Arc<PduReceiver>,
    pub inbox: Arc<Inbox>,
    pub key: Arc<SigningKey>,
    /// Another process, which only reads the server's database.
    follower: Follower,
    _database: plexus_testkit::TestDatabase,
}

/// A message on its way.
struct Parcel {
    to: usize,
    from: usize,
    pdu: String,
}

/// The servers, which reach each other unless they are cut off.
pub struct Network {
    servers: OnceLock<Vec<Arc<Server>>>,
    way: Mutex<Way>,
    pub faults: Faults,
}

/// What goes wrong, besides what is lost.
#[derive(Default)]
pub struct Faults {
    /// Whether keys never come.
    pub keys_hang: AtomicBool,
    /// How often keys have been asked for that never come.
    pub hanging: AtomicUsize,
    /// Whether joins omit member events.
    pub omits_members: AtomicBool,
    /// How many requests for a room's state panic.
    pub state_panics: AtomicUsize,
}

#[derive(Default)]
struct Way {
    parcels: Vec<Parcel>,
    /// Servers that nobody reaches, and that reach nobody.
    cut: HashSet<usize>,
    sent: u64,
    /// Servers that were out of the room for a while: what happened meanwhile they need not have.
    absent: HashSet<ServerName>,
    /// What each server has sent from its timeline: up to this position.
    upto: HashMap<(usize, RoomId), i64>,
}

type Done = Result<(), Box<dyn std::error::Error>>;

impl Network {
    pub fn new(servers: usize, clock: &Clock) -> Arc<Self> {
        Self::of((0..servers).map(|_| TestPlace::sqlite()).collect(), clock)
    }

    /// One server for each database.
    pub fn of(places: Vec<TestPlace>, clock: &Clock) -> Arc<Self> {
        let network = Arc::new(Self { servers: OnceLock::new(), way: Mutex::default(), faults: Faults::default() });
        let place = |(at, place)| Arc::new(Server::new(at, place, clock, &network));
        let made = places.into_iter().enumerate().map(place).collect();
        assert!(network.servers.set(made).is_ok());
        network
    }

    /// Compares what follows each server's log with the server.
    pub async fn assert_followed(&self, room: &RoomId) {
        let users: Vec<UserId> =
            self.servers().iter().flat_map(|server| (0..2).map(|at| user(&server.user(at)))).collect();
        for server in self.servers() {
            server.follower.assert_agrees(&server.rooms, room, &users).await;
        }
    }

    pub fn servers(&self) -> &[Arc<Server>] {
        self.servers.get().expect("set at once")
    }

    /// Nothing is on its way, nobody cut off.
    pub fn begin(&self) {
        let mut way = self.way.lock();
        way.parcels.clear();
        way.cut.clear();
        way.absent.clear();
    }

    /// Whether a server was out of the room for a while.
    pub fn was_absent(&self, server: &Server) -> bool {
        self.way.lock().absent.contains(&server.name)
    }

    pub fn cut(&self, random: &Random) {
        let server = random.below(self.servers().len() as u64) as usize;
        self.way.lock().cut.insert(server);
    }

    pub fn heal(&self) {
        self.way.lock().cut.clear();
    }

    pub fn reaches(&self, from: &ServerName, to: &ServerName) -> Result<Arc<Server>, PeerError> {
        let at = |name: &ServerName| self.servers().iter().position(|server| server.name == *name);
        let way = self.way.lock();
        match (at(from), at(to)) {
            (Some(from), Some(to)) if !way.cut.contains(&from) && !way.cut.contains(&to) => {
                Ok(Arc::clone(&self.servers()[to]))
            }
            _ => Err(PeerError::timeout(to)),
        }
    }

    /// Puts what servers have newly said on its way.
    pub async fn collect(&self, room: &RoomId) {
        for (from, server) in self.servers().iter().enumerate() {
            let Some(there) = server.rooms.get(room).await.unwrap() else { continue };
            let after = self.way.lock().upto.get(&(from, room.clone())).copied().unwrap_or(0);
            let events = timeline::range(&there, after, i64::MAX, 10_000, Direction::Forward).await.unwrap();
            let mut way = self.way.lock();
            if there.view().local_joined.is_empty() {
                way.absent.insert(server.name.clone());
            }
            for event in events {
                way.upto.insert((from, room.clone()), event.position);
                // As the server that let a user in passes their join on, everybody passes on what came from nobody else
                // here.
                if event.pdu.sender().server_name() != server.name.as_str() {
                    continue;
                }
                for to in (0..self.servers().len()).filter(|to| *to != from) {
                    way.parcels.push(Parcel { from, to, pdu: event.pdu.json().to_owned() });
                }
            }
        }
    }

    /// Delivers, loses or repeats some of what is on its way, in any order.
    pub async fn deliver_some(&self, random: &Random, room: &RoomId) {
        self.collect(room).await;
        for _ in 0..1 + random.below(4) {
            let parcel = {
                let mut way = self.way.lock();
                if way.parcels.is_empty() {
                    return;
                }
                let at = random.below(way.parcels.len() as u64) as usize;
                way.parcels.swap_remove(at)
            };
            // What is lost is sent again, sooner or later; what arrived may be sent again too.
            match random.below(8) {
                0 => self.way.lock().parcels.push(parcel),
                1 => {
                    self.deliver(std::slice::from_ref(&parcel)).await;
                    self.way.lock().parcels.push(parcel);
                }
                _ if !self.deliver(std::slice::from_ref(&parcel)).await => self.way.lock().parcels.push(parcel),
                _ => {}
            }
        }
    }

    /// Delivers everything, in order, as much at a time as fits into a transaction.
    pub async fn deliver_all(&self, room: &RoomId) {
        self.collect(room).await;
        loop {
            let mut parcels = std::mem::take(&mut self.way.lock().parcels);
            if parcels.is_empty() {
                return;
            }
            parcels.sort_by_key(|parcel| (parcel.from, parcel.to));
            for of_one in parcels.chunk_by(|one, next| (one.from, one.to) == (next.from, next.to)) {
                for transaction in of_one.chunks(PDUS) {
                    self.deliver(transaction).await;
                }
            }
            self.collect(room).await;
        }
    }

    /// Delivers what goes from one server to another in one transaction. Whether it has arrived.
    async fn deliver(&self, parcels: &[Parcel]) -> bool {
        let (from, to) = (&self.servers()[parcels[0].from], &self.servers()[parcels[0].to]);
        if self.reaches(&from.name, &to.name).is_err() {
            return false;
        }
        let txn = {
            let mut way = self.way.lock();
            way.sent += 1;
            way.sent.to_string()
        };
        let pdus = parcels.iter().map(|parcel| raw(parcel.pdu.clone())).collect();
        to.inbox.receive(&from.name, &txn, pdus, async { Ok(()) }).await.unwrap();
        to.inbox.drained().await;
        true
    }
}

impl Server {
    fn new(at: usize, place: TestPlace, clock: &Clock, network: &Arc<Network>) -> Self {
        let database = place.open();
        let name = ServerName::try_from(format!("server{at}")).unwrap();
        let key = Arc::new(SigningKey::generate(&[at as u8 + 1; 32], "sim"));
        let wire = Arc::new(Wire::new(name.clone(), Arc::clone(network)));
        let (random, background) = (Random::seeded(at as u64), Background::default());
        let writer = RoomWriter::start(RoomsOptions {
            db: database.db(),
            clock: clock.clone(),
            random: random.clone(),
            background: background.clone(),
            server_name: name.clone(),
            signing_key: Arc::clone(&key),
            policy_servers: Some(Arc::<Wire>::clone(&wire)),
            own_policy: None,
            policy_hooks: None,
            remote_aliases: Some(Arc::<Wire>::clone(&wire)),
            cache_bytes: 16 << 20,
            stripped_state_types: plexus_rooms::stripped::default_types().collect(),
            limits: plexus_rooms::MembershipLimits::none(clock),
            sender_rules: plexus_rooms::SenderRules::default(),
            invite_filtering: false,
            forget_on_leave: false,
            sticky_events: true,
            expiring_messages: false,
            accepted_invites: None,
        });
        let receiver = Arc::new(PduReceiver::new(PduReceiverParts {
            writer: Arc::clone(&writer),
            peers: wire,
            db: database.db(),
            clock: clock.clone(),
            random,
            background,
            signing_key: Arc::clone(&key),
        }));
        Self {
            follower: Follower::of(database.place(), &name, clock),
            name,
            db: database.db(),
            creator: RoomCreator::new(Arc::clone(&writer)),
            sender: EventSender::new(Arc::clone(&writer)),
            members: MembershipChanger::new(Arc::clone(&writer), false)
                .federating(Arc::new(RemoteMembershipChanger::new(Arc::clone(&receiver)))),
            inbox: Inbox::new(Arc::clone(&receiver)),
            receiver,
            rooms: Arc::clone(writer.rooms()),
            key,
            _database: database,
        }
    }

    pub fn user(&self, number: usize) -> String {
        format!("@user{number}:{}", self.name)
    }

    pub async fn join(&self, room: &RoomId, user: &str, via: &Server) -> Result<(), MembershipError> {
        let joining = MembershipChange { via: vec![via.name.clone()], ..change(room, user, user) };
        self.members.join(joining, false).await.map(|_| ())
    }

    /// Fetches what was before; whether there may be more.
    pub async fn page_back(&self, room: &Arc<Room>) -> bool {
        self.receiver.backfill(room).await.unwrap() == BackfillOutcome::Added
    }

    /// Fetches what is missing from the newest gap of the timeline; whether there may be more.
    pub async fn fill_gap(&self, room: &Arc<Room>) -> bool {
        match room.view().gaps.first_open(i64::MIN, i64::MAX, Direction::Backward) {
            Some(gap) => self.receiver.fill_gap(room, gap.gap_nid).await.unwrap() == BackfillOutcome::Added,
            None => false,
        }
    }

    pub async fn join_here(&self, room: &Room, user: &str) -> Done {
        self.members.join(change(&room.id, user, user), false).await?;
        Ok(())
    }

    pub async fn leave(&self, room: &Room, user: &str) -> Done {
        self.members.leave(change(&room.id, user, user)).await?;
        Ok(())
    }

    pub async fn kick(&self, room: &Room, by: &str, user: &str) -> Done {
        self.members.kick(change(&room.id, by, user)).await?;
        Ok(())
    }

    pub async fn ban(&self, room: &Room, by: &str, user: &str) -> Done {
        self.members.ban(change(&room.id, by, user)).await?;
        Ok(())
    }

    pub async fn unban(&self, room: &Room, by: &str, user: &str) -> Done {
        self.members.unban(change(&room.id, by, user)).await?;
        Ok(())
    }

    pub async fn say(&self, room: &Room, by: &str, text: &str) -> Done {
        self.sender.send(message(&room.id, by, text)).await?;
        Ok(())
    }

    pub async fn set(&self, room: &Room, by: &str, event_type: &str, state_key: &str, content: &str) -> Done {
        let event = NewEvent {
            event_type: event_type.into(),
            state_key: Some(state_key.into()),
            content: Object::parse(content)?,
            ..message(&room.id, by, "")
        };
        self.sender.send(event).await?;
        Ok(())
    }

    pub async fn redact(&self, room: &Room, by: &str, target: &EventId) -> Done {
        let event = NewEvent {
            event_type: "m.room.redaction".into(),
            content: Object::new(),
            redacts: Some(target.clone()),
            ..message(&room.id, by, "")
        };
        self.sender.send(event).await?;
        Ok(())
    }

    /// Gives a user another power level.
    pub async fn change_levels(&self, room: &Room, by: &str, user: &str, level: u64) -> Done {
        let levels = timeline::state_event_at(room, i64::MAX, "m.room.power_levels", "").await?.ok_or("no levels")?;
        let mut content = levels.pdu.content().clone();
        let mut users = content.get_object("users").cloned().unwrap_or_default();
        users.insert(user, level);
        content.insert("users", users);
        self.set(room, by, "m.room.power_levels", "", &content.to_json()).await
    }
}
