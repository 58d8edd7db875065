//! An engine that only follows the log of a database that another one writes to: as another process would.

use std::collections::{BTreeMap, BTreeSet};

use plexus_base::Clock;
use plexus_protocol::id::{EventId, RoomId, ServerName, UserId};
use plexus_protocol::power_levels::PowerLevels;
use plexus_rooms::model::graph_tip::Tip;
use plexus_rooms::model::rooms::RoomsParts;
use plexus_rooms::{RoomMembership, RoomView, Rooms};
use plexus_store::{Database, Position};
use plexus_testkit::TestPlace;

/// Rooms that follow a database.
pub struct Follower {
    pub db: Database,
    pub rooms: Rooms,
    server_name: ServerName,
    clock: Clock,
}

impl Follower {
    /// Follows the database at this place from now on.
    pub fn of(place: &TestPlace, server_name: &ServerName, clock: &Clock) -> Self {
        let db = Database::open_follower(place.options()).unwrap();
        let rooms = rooms(&db, server_name, clock);
        Self { db, rooms, server_name: server_name.clone(), clock: clock.clone() }
    }

    /// Follows, and compares what memory says of a room and of users with the writer's memory, and that with the
    /// database.
    pub async fn assert_agrees(&self, writer: &Rooms, room: &RoomId, users: &[UserId]) {
        plexus_store::follow(&self.db).await.unwrap();
        assert_same("followed", &self.rooms, writer, room, users).await;
        assert_same("read", &self.fresh(), writer, room, users).await;
        for user in users {
            let profile = writer.profiles().of(user.as_str()).await.unwrap();
            assert_eq!(self.rooms.profiles().of(user.as_str()).await.unwrap(), profile);
            let is_erased = writer.erased_users().contains(user.as_str());
            assert_eq!(self.rooms.erased_users().contains(user.as_str()), is_erased);
        }
    }

    /// Follows, and compares what memory says of a room and of users with the database.
    pub async fn assert_up_to_date(&self, room: &RoomId, users: &[UserId]) {
        plexus_store::follow(&self.db).await.unwrap();
        assert_same("followed", &self.rooms, &self.fresh(), room, users).await;
    }

    /// An engine that has nothing in memory.
    fn fresh(&self) -> Rooms {
        rooms(&self.db, &self.server_name, &self.clock)
    }
}

/// Compares what two engines say of a room and of users.
async fn assert_same(what: &str, one: &Rooms, other: &Rooms, room: &RoomId, users: &[UserId]) {
    match (one.get(room).await.unwrap(), other.get(room).await.unwrap()) {
        (Some(one), Some(other)) => {
            assert_eq!(one.version, other.version);
            let (one, other) = (one.view(), other.view());
            assert_eq!(Seen::of(&one), Seen::of(&other), "{what}");
            let after = one.recent_after.max(other.recent_after);
            assert_eq!(recent(&one, after), recent(&other, after), "recent events, {what}");
        }
        (one, other) => assert_eq!(one.is_some(), other.is_some(), "{what}"),
    }
    for user in users {
        assert_eq!(memberships(one, user).await, memberships(other, user).await, "{user}, {what}");
    }
}

fn rooms(db: &Database, server_name: &ServerName, clock: &Clock) -> Rooms {
    Rooms::new(RoomsParts {
        db: db.clone(),
        clock: clock.clone(),
        server_name: server_name.clone(),
        cache_bytes: 16 << 20,
        stripped_state_types: Vec::new(),
        forget_on_leave: false,
        sticky_events: true,
        expiring_messages: false,
        accepted_invites: None,
    })
}

/// What a view says, without how far back its events reach.
#[derive(Debug, PartialEq)]
struct Seen {
    position: Position,
    tip: Tip,
    state: BTreeMap<(String, String), (i64, Option<&'static str>)>,
    power_levels: PowerLevels,
    settings: String,
    local_joined: Vec<UserId>,
    servers: BTreeSet<String>,
    counts: (u64, u64),
    gaps: String,
    visible_from: (Option<Position>, Option<Position>),
}

impl Seen {
    fn of(view: &RoomView) -> Self {
        let entries = view.state.iter();
        Self {
            position: view.position,
            tip: view.tip.clone(),
            state: entries
                .map(|entry| {
                    let key = (entry.event_type.to_string(), entry.state_key.to_string());
                    (key, (entry.nid, entry.membership.map(|kind| kind.as_str())))
                })
                .collect(),
            power_levels: PowerLevels::clone(&view.power_levels),
            settings: format!("{:?} {:?} {}", view.join_rule, view.history_visibility, view.guests_can_join),
            local_joined: view.local_joined.iter().cloned().collect(),
            servers: view.servers.names().map(str::to_owned).collect(),
            counts: (view.joined_count, view.invited_count),
            gaps: format!("{:?}", view.gaps),
            visible_from: (view.visible_from(true), view.visible_from(false)),
        }
    }
}

/// The events of a view after a position, as clients see them.
fn recent(view: &RoomView, after: Position) -> Vec<(Position, String, Option<EventId>, Option<String>)> {
    let events = view.recent.iter().filter(|event| event.position > after);
    events
        .map(|event| {
            let because = event.redacted_because.as_ref().map(|because| because.pdu.event_id().clone());
            let replaced = event.replaced.as_ref().map(|replaced| replaced.content_json.to_string());
            (event.position, event.pdu.json().to_owned(), because, replaced)
        })
        .collect()
}

async fn memberships(rooms: &Rooms, user: &UserId) -> Vec<RoomMembership> {
    rooms.memberships().of(user).await.unwrap().iter().copied().collect()
}
