//! Which application services get the events of a room and of users.
//!
//! A room's members decide as they were at the event, also when it is delivered long after. Its aliases, of which there
//! is no history, decide as they are.

mod past;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use plexus_base::{AppServices, Registrations};
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::membership::Membership;
use plexus_rooms::{Room, Rooms};
use plexus_store::repo::memberships::RoomMembership;
use plexus_store::{Change, CommitListener, Database, DbError, Position, RoomNid, Tx, repo};

use past::PastServices;

/// The most rooms whose services are remembered; then they are found again.
const MAX_ROOMS: usize = 20_000;
/// The most rooms whose earlier services are remembered; then they are found again.
const MAX_PAST_ROOMS: usize = 1_000;
/// How many members are looked at before other work gets its turn.
const MEMBERS_PER_STEP: usize = 1_000;

/// Finds the services that get something. Owned by the process that delivers: it follows the commits.
pub(super) struct Interest {
    db: Database,
    server_name: ServerName,
    rooms: Arc<Rooms>,
    app_services: Arc<AppServices>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The registrations whose numbers the services have.
    registrations: Arc<Registrations>,
    rooms: HashMap<RoomNid, RoomServices>,
    past: HashMap<RoomNid, Arc<PastServices>>,
    /// How often a room was forgotten, or a membership of a service's user has changed.
    changes: u64,
    /// How often a room was forgotten.
    forgotten: u64,
}

/// The services with users among the members of a room.
#[derive(Default)]
struct RoomServices {
    services: BTreeSet<usize>,
    accuracy: Accuracy,
    /// If exact: they are the services for events at or after this position.
    from: Position,
}

/// The services with users among the present members of a room.
struct PresentServices {
    services: BTreeSet<usize>,
    /// They are the services for events at or after this position.
    from: Position,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Accuracy {
    /// There may be others.
    #[default]
    Unknown,
    /// There are no others, but users of some of these may have left.
    AtMost,
    Exact,
}

impl CommitListener for Interest {
    fn apply(&self, changes: &[Change]) {
        let Some(registrations) = self.app_services.current() else { return };
        for change in changes {
            match change {
                Change::Membership { user, membership, .. } if self.is_local(user) => {
                    let services = registrations.of_user(user.as_str());
                    if !services.is_empty() {
                        self.known.lock().membership(&registrations, membership, services);
                    }
                }
                Change::OlderMemberships { room, .. } => self.known.lock().forget(*room),
                Change::Missed { .. } => self.known.lock().forget_all(),
                _ => {}
            }
        }
    }
}

impl Known {
    /// Forgets the rooms if their services have other numbers.
    fn require(&mut self, registrations: &Arc<Registrations>) {
        if !Arc::ptr_eq(&self.registrations, registrations) {
            self.registrations = Arc::clone(registrations);
            self.forget_all();
        }
    }

    fn forget(&mut self, room: RoomNid) {
        self.changes += 1;
        self.forgotten += 1;
        self.rooms.remove(&room);
        self.past.remove(&room);
    }

    fn forget_all(&mut self) {
        self.changes += 1;
        self.forgotten += 1;
        self.rooms.clear();
        self.past.clear();
    }

    fn membership(&mut self, registrations: &Arc<Registrations>, membership: &RoomMembership, services: Vec<usize>) {
        self.require(registrations);
        self.changes += 1;
        let Some(room) = self.rooms.get_mut(&membership.room) else { return };
        if membership.kind != Membership::Join {
            if room.accuracy == Accuracy::Exact {
                room.accuracy = Accuracy::AtMost;
            }
        } else if services.iter().any(|service| !room.services.contains(service)) {
            room.services.extend(services);
            room.from = membership.position;
        }
    }

    fn present(&self, room: RoomNid) -> Option<PresentServices> {
        let found = self.rooms.get(&room).filter(|found| found.accuracy == Accuracy::Exact)?;
        Some(PresentServices { services: found.services.clone(), from: found.from })
    }
}

impl Interest {
    pub(super) fn new(db: Database, rooms: Arc<Rooms>, app_services: Arc<AppServices>) -> Self {
        let server_name = rooms.server_name().clone();
        Self { db, server_name, rooms, app_services, known: Mutex::default() }
    }

    fn is_local(&self, user: &UserId) -> bool {
        user.server_name() == self.server_name.as_str()
    }

    /// Returns the numbers of the services that get everything of a room now: by its id, its aliases or its members.
    pub(super) async fn of_room(
        &self,
        registrations: &Arc<Registrations>,
        room: &Room,
    ) -> Result<BTreeSet<usize>, DbError> {
        let mut services = self.of_members(registrations, room).await.services;
        services.extend(self.of_names(registrations, room).await?);
        Ok(services)
    }

    /// Returns the numbers of the services that get everything of a room by its id or its aliases.
    pub(super) async fn of_names(
        &self,
        registrations: &Registrations,
        room: &Room,
    ) -> Result<BTreeSet<usize>, DbError> {
        let mut services: BTreeSet<usize> = registrations.of_room(room.id.as_str()).into_iter().collect();
        if registrations.claims_aliases() {
            let nid = room.nid;
            let aliases = self.db.read::<_, DbError, _>(move |tx: &mut Tx<'_>| repo::aliases::of_room(tx, nid)).await?;
            services.extend(aliases.iter().flat_map(|alias| registrations.of_alias(alias)));
        }
        Ok(services)
    }

    /// Returns the numbers of the services with users among the members that a room had at a position.
    pub(super) async fn of_members_at(
        &self,
        registrations: &Arc<Registrations>,
        room: &Room,
        position: Position,
    ) -> Result<BTreeSet<usize>, DbError> {
        let present = self.of_members(registrations, room).await;
        if position >= present.from {
            return Ok(present.services);
        }
        let forgotten = {
            let mut known = self.known.lock();
            known.require(registrations);
            let past = known.past.get(&room.nid);
            if let Some(services) = past.and_then(|past| past.at(position)) {
                return Ok(services);
            }
            known.forgotten
        };
        let past = self.read_past(registrations, room, position).await?;
        let services = past.at(position).unwrap_or_default();
        let mut known = self.known.lock();
        if Arc::ptr_eq(&known.registrations, registrations) && known.forgotten == forgotten && past.is_small() {
            if known.past.len() >= MAX_PAST_ROOMS {
                known.past.clear();
            }
            known.past.insert(room.nid, Arc::new(past));
        }
        Ok(services)
    }

    /// Returns the numbers of the services that get what concerns a user: the user's, and those of the user's rooms.
    pub(super) async fn of_user(
        &self,
        registrations: &Arc<Registrations>,
        user: &UserId,
    ) -> Result<BTreeSet<usize>, DbError> {
        let mut services: BTreeSet<usize> = registrations.of_user(user.as_str()).into_iter().collect();
        let rooms: Vec<RoomNid> = self.rooms.memberships().of(user).await?.joined().collect();
        for room in rooms {
            if services.len() == registrations.all().len() {
                break;
            }
            if let Some(room) = self.rooms.get_readable_nid(room).await? {
                services.extend(self.of_room(registrations, &room).await?);
            }
        }
        Ok(services)
    }

    /// Returns the services with users among the members of this server.
    async fn of_members(&self, registrations: &Arc<Registrations>, room: &Room) -> PresentServices {
        let (at_most, changes) = {
            let mut known = self.known.lock();
            known.require(registrations);
            if let Some(present) = known.present(room.nid) {
                return present;
            }
            if known.rooms.len() >= MAX_ROOMS {
                known.forget_all();
            }
            let changes = known.changes;
            let found = known.rooms.entry(room.nid).or_default();
            ((found.accuracy == Accuracy::AtMost).then_some(found.services.len()), changes)
        };
        let view = room.view();
        let from = view.changed_at();
        let services = services_of(registrations, view.local_joined.iter(), at_most).await;
        let mut known = self.known.lock();
        if Arc::ptr_eq(&known.registrations, registrations)
            && known.changes == changes
            && let Some(found) = known.rooms.get_mut(&room.nid)
        {
            *found = RoomServices { services: services.clone(), accuracy: Accuracy::Exact, from };
        }
        PresentServices { services, from }
    }
}

/// Returns the services that have one of the users; they are at most so many.
async fn services_of(
    registrations: &Registrations,
    users: impl Iterator<Item = &UserId>,
    at_most: Option<usize>,
) -> BTreeSet<usize> {
    let mut services = BTreeSet::new();
    for (at, user) in users.enumerate() {
        if at_most == Some(services.len()) {
            break;
        }
        services.extend(registrations.of_user(user.as_str()));
        if at % MEMBERS_PER_STEP == MEMBERS_PER_STEP - 1 {
            tokio::task::yield_now().await;
        }
    }
    services
}
