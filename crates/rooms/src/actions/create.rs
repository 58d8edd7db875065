//! Creates rooms: all events of a new room are built in memory and committed together
//! (<https://spec.matrix.org/v1.19/client-server-api/#creation>).

mod content;
mod defaults;
mod policy;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use plexus_protocol::id::{RoomAlias, RoomId, UserId};
use plexus_protocol::json::{Object, Value};
use plexus_protocol::rules::RoomVersion;
use plexus_store::DbError;

use crate::actions::member_content::checked_content;
use crate::actions::profile;
use crate::actions::send::aliases_of;
use crate::model::head::Head;
use crate::model::limits::{Authority, LimitError};
use crate::model::room::Room;
use crate::model::room_view::RoomView;
use crate::model::rooms::Rooms;
use crate::write::build::{self, Built};
use crate::write::draft::Draft;
use crate::write::error::{PersistError, SendError};
use crate::write::pending::{Append, Creation, PendingEvent};
use crate::write::writer::RoomWriter;

pub use content::default_power_levels;
pub use defaults::RoomDefaults;

/// The maximum number of room ids that are tried.
const MAX_ATTEMPTS: usize = 8;
/// The number of letters of a room id, before room version 12.
const ROOM_ID_LENGTH: usize = 18;

/// The preset of a new room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// By invitation; history is shared; guests may join.
    PrivateChat,
    /// As a private chat, and invited users get the creator's power level.
    TrustedPrivateChat,
    /// Everybody except guests may join.
    PublicChat,
}

/// A state event of `initial_state`.
#[derive(Clone, Debug)]
pub struct InitialState {
    /// The `type`.
    pub event_type: String,
    /// The state key, empty for most.
    pub state_key: String,
    /// The content.
    pub content: Object,
}

/// A room to be created.
#[derive(Clone, Debug)]
pub struct NewRoom {
    /// Its id, from `RoomCreator::new_room_id`, when that has to be known before the room exists. Ignored from room
    /// version 12 on.
    pub room_id: Option<RoomId>,
    /// A local user.
    pub creator: UserId,
    /// The room's version.
    pub version: RoomVersion,
    /// What join rule, history visibility, guest access and power levels begin with.
    pub preset: Preset,
    /// Whether the room goes into the room directory.
    pub published: bool,
    /// An alias on this server.
    pub alias: Option<RoomAlias>,
    /// `m.room.name`
    pub name: Option<String>,
    /// `m.room.topic`
    pub topic: Option<String>,
    /// More content for `m.room.create`.
    pub creation_content: Object,
    /// Replaces members of the `m.room.power_levels` content.
    pub power_levels: Object,
    /// Further state events, in this order.
    pub initial_state: Vec<InitialState>,
    /// The users to invite. Users of other servers get the power level of the preset here; the caller invites them once
    /// the room exists.
    pub invite: Vec<UserId>,
    /// Whether the invites contain `is_direct`.
    pub is_direct: bool,
    /// Whether the room is encrypted unless `initial_state` says so itself.
    pub encrypted: bool,
    /// Whether invites carry the invited user's profile.
    pub invite_profiles: bool,
    /// The name and avatar that the creator has in the room, in place of those of the profile.
    pub creator_profile: Object,
    /// Which limits on invites apply.
    pub authority: Authority,
}

/// Why a room was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// An event of the new room is not allowed: its power levels or initial state contradict themselves.
    #[error("The new room cannot have this {event_type}: {error}")]
    InvalidState {
        /// The event's type.
        event_type: String,
        /// Why.
        error: SendError,
    },
    /// The alias exists.
    #[error("The room alias is already taken")]
    AliasTaken,
    /// This server does not let anybody invite so many, or anybody at all.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// Another user has just replaced the room that was to be replaced.
    #[error("An upgrade for this room is currently in progress")]
    UpgradeInProgress,
    /// The events of the room could not be sent.
    #[error(transparent)]
    Other(SendError),
}

impl From<DbError> for CreateError {
    fn from(error: DbError) -> Self {
        Self::Other(error.into())
    }
}

/// Creates rooms.
pub struct RoomCreator {
    rooms: Arc<Rooms>,
    writer: Arc<RoomWriter>,
}

impl RoomCreator {
    /// Creates a creator of rooms.
    #[must_use]
    pub fn new(writer: Arc<RoomWriter>) -> Self {
        Self { rooms: Arc::clone(writer.rooms()), writer }
    }

    pub(crate) fn writer(&self) -> &Arc<RoomWriter> {
        &self.writer
    }

    /// Creates a room. Returns once it is durable. All users of `invite` are counted, but only local ones are invited.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub async fn create(&self, new: NewRoom) -> Result<Arc<Room>, CreateError> {
        check_initial_state(&new)?;
        self.writer.sender_rules.check_invites(&new.invite)?;
        self.writer.invite_permissions.check(new.authority, &new.creator, &new.invite).await??;
        let counted = self.writer.limits.invites_to_new_room(new.authority, &new.creator, &new.invite)?;
        policy::require_permitted(&self.writer, &new).await?;
        for _ in 0..MAX_ATTEMPTS {
            let (room, append) = self.build(&new).await?;
            policy::require_invites_permitted(&self.writer, &new, &room.id).await?;
            let permit = self.writer.persister.reserve().await.map_err(|error| CreateError::Other(error.into()))?;
            match permit.send(append).await {
                Ok(Ok(_)) => {
                    counted.succeeded();
                    // Another request may have loaded the room as soon as it was committed.
                    return Ok(self.rooms.get_nid(room.nid).await.ok().flatten().unwrap_or(room));
                }
                // A room with this id exists.
                Ok(Err(PersistError::Stale)) => {}
                Ok(Err(PersistError::AliasTaken)) => return Err(CreateError::AliasTaken),
                Ok(Err(error)) => return Err(CreateError::Other(error.into())),
                Err(_) => return Err(DbError::Closed.into()),
            }
        }
        Err(CreateError::Other(SendError::Contended))
    }

    /// Builds the room and all its events, without committing them.
    async fn build(&self, new: &NewRoom) -> Result<(Arc<Room>, Append), CreateError> {
        let version = new.version;
        let mut room_id = match &new.room_id {
            _ if version.rules().create_event_is_room_id => None,
            Some(room_id) => Some(room_id.clone()),
            None => Some(self.new_room_id()?),
        };
        let mut head = Head::of(&RoomView::empty(version), 0);
        let mut events: Vec<PendingEvent> = Vec::new();
        for draft in self.drafts(new).await? {
            let built = build::build(&self.writer, room_id.as_ref(), version, &head, &draft).await.map_err(
                |error| match error {
                    SendError::Db(error) => CreateError::Other(error.into()),
                    error => CreateError::InvalidState { event_type: draft.event_type.clone(), error },
                },
            )?;
            if let Built::Event(pending, next) = built {
                room_id.get_or_insert_with(|| pending.pdu.room_id().clone());
                events.push(*pending);
                head = next;
            }
        }
        let Some(room_id) = room_id else { return Err(CreateError::Other(SendError::UnknownRoom)) };
        let nid = self.writer.nids.take(1).await?;
        let view = RoomView::empty(version);
        let room =
            Arc::new(self.rooms.new_room((nid, room_id, version), (0, self.rooms.memory.events.redactions()), view));
        *room.head.lock().await = head;
        let creation =
            Creation { alias: new.alias.as_ref().map(|it| it.as_str().to_owned()), published: new.published };
        let append = Append { room: Arc::clone(&room), epoch: 0, events, creation: Some(creation), entered: None };
        Ok((room, append))
    }

    /// Returns a time, in ms, at which no other room was created: since room version 12 the id is a hash of the create
    /// event, and rooms of a user may differ only in their time.
    fn creation_time(&self) -> u64 {
        let now = self.rooms.clock.now_ms();
        let last = self
            .writer
            .last_creation
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
        now.max(last.unwrap_or(0) + 1)
    }

    /// Returns the id of a new room, before room version 12.
    pub fn new_room_id(&self) -> Result<RoomId, CreateError> {
        let name = self.writer.random.alphanumeric(ROOM_ID_LENGTH);
        RoomId::try_from(format!("!{name}:{}", self.rooms.server_name))
            .map_err(|error| DbError::bad_data("server_name", error).into())
    }

    /// Returns the events, in the order of the specification.
    async fn drafts(&self, new: &NewRoom) -> Result<Vec<Draft>, CreateError> {
        let state = |event_type: &str, content: Object| Draft::state(&new.creator, event_type, "", content);
        let create = state("m.room.create", content::create(new));
        let mut drafts = vec![Draft { origin_server_ts: Some(self.creation_time()), ..create }];
        let own = profile::member_content(&self.rooms, "join", Some(&new.creator)).await?;
        let own = checked_content(own, &new.creator_profile, true).map_err(CreateError::Other)?;
        drafts.push(Draft::state(&new.creator, "m.room.member", new.creator.as_str(), own.clone()));
        drafts.push(state("m.room.power_levels", content::power_levels(new)));
        if let Some(alias) = &new.alias {
            drafts.push(state("m.room.canonical_alias", Object::from([("alias", alias.as_str())])));
        }
        let given = |event_type: &str| {
            new.initial_state.iter().any(|it| it.event_type == event_type && it.state_key.is_empty())
        };
        for (event_type, content) in content::preset(new) {
            if !given(event_type) {
                drafts.push(state(event_type, content));
            }
        }
        if new.encrypted && !given("m.room.encryption") {
            drafts.push(state("m.room.encryption", Object::from([("algorithm", "m.megolm.v1.aes-sha2")])));
        }
        for it in &new.initial_state {
            let content = match &*it.event_type {
                "m.room.member" => initial_member(new, it, &own).map_err(CreateError::Other)?,
                _ => it.content.clone(),
            };
            drafts.push(Draft::state(&new.creator, &it.event_type, &it.state_key, content));
        }
        if let Some(name) = &new.name {
            drafts.push(state("m.room.name", Object::from([("name", name.as_str())])));
        }
        if let Some(topic) = &new.topic {
            drafts.push(state("m.room.topic", content::topic(topic)));
        }
        let own = self.rooms.server_name.as_str();
        for invited in new.invite.iter().filter(|invited| invited.server_name() == own) {
            let shown = new.invite_profiles.then_some(invited);
            let mut content = profile::member_content(&self.rooms, "invite", shown).await?;
            if new.is_direct {
                content.insert("is_direct", Value::Bool(true));
            }
            drafts.push(Draft::state(&new.creator, "m.room.member", invited.as_str(), content));
        }
        Ok(drafts)
    }
}

/// Checks `initial_state`, beyond the room's authorization rules.
fn check_initial_state(new: &NewRoom) -> Result<(), CreateError> {
    let alias = new.alias.as_ref().map(RoomAlias::as_str);
    for it in &new.initial_state {
        let refused = match (&*it.event_type, &*it.state_key) {
            // No other alias can point to the room yet.
            ("m.room.canonical_alias", "") => {
                let other = aliases_of(&it.content).into_iter().find(|named| Some(named.as_str()) != alias);
                other.map(SendError::AliasNotOfRoom)
            }
            ("m.room.member", _) => initial_member(new, it, &Object::new()).err(),
            _ => None,
        };
        if let Some(error) = refused {
            return Err(CreateError::InvalidState { event_type: it.event_type.clone(), error });
        }
    }
    Ok(())
}

/// Returns the content of a member event of `initial_state`: the creator's join with another name or avatar, or a ban.
/// Other users are invited by `invite`, where invites are counted, and join themselves.
fn initial_member(new: &NewRoom, event: &InitialState, own: &Object) -> Result<Object, SendError> {
    let is_own = event.state_key == new.creator.as_str();
    match event.content.get_str("membership") {
        Some("join") if is_own => checked_content(own.clone(), &event.content, true),
        Some("ban") if !is_own => checked_content(Object::from([("membership", "ban")]), &event.content, false),
        _ => Err(SendError::Membership),
    }
}
