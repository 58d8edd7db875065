//! Server notices: messages of the server to its users
//! (<https://spec.matrix.org/v1.19/client-server-api/#server-notices>). Each user has a room for them, which a reserved
//! user creates when there is something to say; a user who has left it is invited to another.

use std::sync::Arc;

use plexus_base::KeyedLocks;
use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::json::{Object, Value};
use plexus_protocol::membership::Membership;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::{
    Authority, CreateError, EventSender, InitialState, MembershipChange, MembershipChanger, MembershipError, NewEvent,
    NewRoom, Preset, Room, RoomCreator, Rooms, SendError, Sent, Transaction, is_notices_room_of,
};
use plexus_store::repo::{memberships, users};
use plexus_store::{Database, DbError};
use plexus_sync::tags;

/// The tag by which clients recognise the room.
const TAG: &str = "m.server_notice";
/// The power level of users in the room, as in Synapse: they cannot write, and read what the server says.
const USERS_POWER_LEVEL: i64 = -10;
/// How many users' rooms are looked for or created at the same time.
const MAX_CONCURRENT_USERS: usize = 64;
/// The most rooms among which that of a user is looked for. The sending user is in few others.
const MAX_SHARED_ROOMS: u32 = 100;

/// `server_notices` of the configuration.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are named as their options")]
pub struct ServerNoticeSettings {
    /// The user who sends them, who has no account.
    pub user: UserId,
    pub display_name: Option<String>,
    pub avatar_url: Option<String>,
    pub room_name: Option<String>,
    pub room_avatar_url: Option<String>,
    pub room_topic: Option<String>,
    pub auto_join: bool,
    /// The version of new rooms.
    pub version: RoomVersion,
    /// Replaces members of the `m.room.power_levels` content of new rooms.
    pub power_levels: Object,
}

/// What [`ServerNotices`] uses of the room engine.
#[expect(missing_docs, reason = "a field has the name of its type")]
pub struct NoticeRoomServices {
    pub rooms: Arc<Rooms>,
    pub creator: Arc<RoomCreator>,
    pub members: Arc<MembershipChanger>,
    pub sender: Arc<EventSender>,
}

/// A notice to one user.
#[derive(Clone, Debug)]
pub struct Notice {
    /// A user of this server.
    pub user: UserId,
    /// The `type` of the event.
    pub event_type: String,
    /// The state key; `Some` makes it a state event.
    pub state_key: Option<String>,
    /// The content.
    pub content: Object,
    /// A repeated transaction sends nothing, and returns the same event.
    pub transaction: Option<Transaction>,
}

/// Why a notice was not sent.
#[derive(Debug, thiserror::Error)]
pub enum NoticeError {
    /// There is no such account on this server.
    #[error("User not found")]
    UnknownUser,
    /// The room could not be created.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The user could not be invited or joined, or the name of the sending user not be changed.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The room does not take the event.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Sends server notices.
pub struct ServerNotices {
    db: Database,
    services: NoticeRoomServices,
    settings: ServerNoticeSettings,
    /// Held while the room of a user is looked for, so that two notices do not create two. Owned by this process.
    locks: KeyedLocks,
}

impl ServerNotices {
    /// Creates the service.
    #[must_use]
    pub fn new(db: Database, services: NoticeRoomServices, settings: ServerNoticeSettings) -> Self {
        Self { db, services, settings, locks: KeyedLocks::new(MAX_CONCURRENT_USERS) }
    }

    /// Sends a notice. Returns once it is durable.
    ///
    /// # Errors
    /// See [`NoticeError`].
    pub async fn send(&self, notice: Notice) -> Result<Sent, NoticeError> {
        let Notice { user, event_type, state_key, content, transaction } = notice;
        let room = self.prepare_room(&user).await?;
        let event = NewEvent {
            room_id: room.id.clone(),
            sender: self.settings.user.clone(),
            event_type,
            state_key,
            content,
            redacts: None,
            origin_server_ts: None,
            sticky_duration_ms: None,
            transaction,
        };
        tracing::info!(%user, "sending a server notice");
        Ok(self.services.sender.send(event).await?)
    }

    /// Returns the room in which the user gets notices, if there is one that the user has not left.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn room_of(&self, user: &UserId) -> Result<Option<Arc<Room>>, DbError> {
        let (user, sender) = (user.clone(), self.settings.user.clone());
        let shared = self.db.read(move |tx| memberships::shared_rooms(tx, &user, &sender, MAX_SHARED_ROOMS)).await?;
        for room in shared {
            let room = self.services.rooms.get_nid(room).await?;
            let found = room.filter(|room| is_notices_room_of(room, &self.settings.user));
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Returns the user's room, which is created if there is none, with its name, avatar and topic of the
    /// configuration. The user is invited to it.
    async fn prepare_room(&self, user: &UserId) -> Result<Arc<Room>, NoticeError> {
        let _lock = self.locks.lock(user.as_str()).await;
        let id = user.clone();
        let account = self.db.read(move |tx| users::get(tx, id.as_str())).await?;
        let account = account.filter(|account| !account.deactivated).ok_or(NoticeError::UnknownUser)?;
        let room = if let Some(room) = self.room_of(user).await? {
            // The notice matters more.
            if let Err(error) = self.update(&room).await {
                tracing::warn!(room = %room.id, "a room for server notices keeps its name, topic or avatar: {error}");
            }
            room
        } else {
            let room = self.services.creator.create(self.new_room(user)).await?;
            // The user may have no space left for tags.
            if let Err(error) = tags::set(&self.db, user, &room, TAG.to_owned(), serde_json::Map::new()).await {
                tracing::warn!(%user, room = %room.id, "a room for server notices is not tagged: {error}");
            }
            room
        };
        let membership = || room.view().state.membership(user.as_str());
        if !matches!(membership(), Some(Membership::Join | Membership::Invite)) {
            self.services.members.invite(self.change(&room.id, &self.settings.user, user)).await?;
        }
        if self.settings.auto_join && membership() != Some(Membership::Join) {
            self.services.members.join(self.change(&room.id, user, user), account.is_guest).await?;
        }
        Ok(room)
    }

    fn new_room(&self, user: &UserId) -> NewRoom {
        let settings = &self.settings;
        let mut power_levels = settings.power_levels.clone();
        power_levels.insert("users_default", USERS_POWER_LEVEL);
        let filled = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let avatar = filled(&settings.room_avatar_url).map(|url| InitialState {
            event_type: "m.room.avatar".to_owned(),
            state_key: String::new(),
            content: Object::from([("url", url)]),
        });
        NewRoom {
            room_id: None,
            creator: settings.user.clone(),
            version: settings.version,
            preset: Preset::PrivateChat,
            published: false,
            alias: None,
            name: filled(&settings.room_name),
            topic: filled(&settings.room_topic),
            creation_content: Object::new(),
            power_levels,
            initial_state: avatar.into_iter().collect(),
            // In one commit with the room: without the invite the room would not be found again.
            invite: vec![user.clone()],
            is_direct: false,
            // Nobody could share keys with a user without devices.
            encrypted: false,
            invite_profiles: false,
            creator_profile: self.profile(),
            authority: Authority::Server,
        }
    }

    /// Returns the name and avatar of the sending user.
    fn profile(&self) -> Object {
        let mut profile = Object::new();
        let fields = [("displayname", &self.settings.display_name), ("avatar_url", &self.settings.avatar_url)];
        for (field, value) in fields {
            if let Some(value) = value {
                profile.insert(field, value.as_str());
            }
        }
        profile
    }

    /// Gives a room the name, avatar and topic of the configuration, and the sending user those in it.
    async fn update(&self, room: &Arc<Room>) -> Result<(), NoticeError> {
        let settings = &self.settings;
        let sender = settings.user.as_str();
        let shown = self.current(room, "m.room.member", sender).await?;
        let fields = [("displayname", &settings.display_name), ("avatar_url", &settings.avatar_url)];
        if fields.iter().any(|(field, value)| shown.get_str(field) != value.as_deref()) {
            let mut change = self.change(&room.id, &settings.user, &settings.user);
            for (field, value) in fields {
                change.content.insert(field, value.as_deref().map_or(Value::Null, Value::from));
            }
            self.services.members.join(change, false).await?;
        }
        let info = [
            ("m.room.name", "name", &settings.room_name),
            ("m.room.avatar", "url", &settings.room_avatar_url),
            ("m.room.topic", "topic", &settings.room_topic),
        ];
        for (event_type, field, value) in info {
            let value = value.as_deref().unwrap_or_default();
            if self.current(room, event_type, "").await?.get_str(field).unwrap_or_default() == value {
                continue;
            }
            let event = NewEvent {
                room_id: room.id.clone(),
                sender: settings.user.clone(),
                event_type: event_type.to_owned(),
                state_key: Some(String::new()),
                content: Object::from([(field, value)]),
                redacts: None,
                origin_server_ts: None,
                sticky_duration_ms: None,
                transaction: None,
            };
            self.services.sender.send(event).await?;
        }
        Ok(())
    }

    /// Returns the content of the room's state event, which is empty if there is none.
    async fn current(&self, room: &Arc<Room>, event_type: &str, state_key: &str) -> Result<Object, DbError> {
        let view = room.view();
        let Some(entry) = view.state.get(event_type, state_key) else { return Ok(Object::new()) };
        let event = room.readable_state_event(entry).await?;
        Ok(event.map(|event| event.pdu.content().clone()).unwrap_or_default())
    }

    fn change(&self, room_id: &RoomId, sender: &UserId, target: &UserId) -> MembershipChange {
        MembershipChange {
            room_id: room_id.clone(),
            sender: sender.clone(),
            target: target.clone(),
            reason: None,
            content: Object::new(),
            via: Vec::new(),
            transaction: None,
            origin_server_ts: None,
            authority: Authority::Server,
        }
    }
}
