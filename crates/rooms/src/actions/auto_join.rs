//! The rooms that new users find themselves in (`auto_join_rooms`).

use std::sync::Arc;

use plexus_protocol::id::{RoomAlias, UserId};
use plexus_protocol::join_rule::JoinRule;
use plexus_protocol::json::Object;
use plexus_protocol::membership::Membership;
use plexus_protocol::rules::RoomVersion;
use plexus_store::{DbError, repo};

use crate::actions::create::{CreateError, NewRoom, Preset, RoomCreator, RoomDefaults};
use crate::actions::membership::{MembershipChange, MembershipChanger, MembershipError};
use crate::model::limits::Authority;
use crate::model::room::Room;
use crate::model::rooms::Rooms;
use crate::write::writer::RoomWriter;

/// Which rooms, and how those are made that do not exist.
#[derive(Clone, Debug)]
pub struct AutoJoinSettings {
    /// The rooms.
    pub aliases: Vec<RoomAlias>,
    /// Whether guests join them, too.
    pub guests: bool,
    /// Whether the server's first user makes those that do not exist.
    pub create: bool,
    /// Whether rooms made so are open to other servers.
    pub federated: bool,
    /// How open they are.
    pub preset: Preset,
    /// Their version.
    pub version: RoomVersion,
    /// What they begin with.
    pub defaults: RoomDefaults,
    /// The local user who creates and invites; without one the first user creates, and nobody invites.
    pub host: Option<UserId>,
    /// Whether invites carry the invited user's profile.
    pub invite_profiles: bool,
}

/// Why a new user did not come into a room.
#[derive(Debug, thiserror::Error)]
enum AutoJoinError {
    #[error("there is no such room")]
    NoRoom,
    #[error("it needs an invite, and auto_join_mxid_localpart is not set")]
    NoHost,
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error(transparent)]
    Membership(#[from] MembershipError),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Takes new users into rooms.
pub struct AutoJoin {
    rooms: Arc<Rooms>,
    creator: RoomCreator,
    members: Arc<MembershipChanger>,
    settings: AutoJoinSettings,
}

impl AutoJoin {
    /// As configured.
    #[must_use]
    pub fn new(writer: &Arc<RoomWriter>, members: Arc<MembershipChanger>, settings: AutoJoinSettings) -> Self {
        let creator = RoomCreator::new(Arc::clone(writer));
        Self { creator, rooms: Arc::clone(writer.rooms()), members, settings }
    }

    /// Joins a user who has just been registered. A room that cannot be joined is logged, and keeps nobody from
    /// registering.
    pub async fn welcome(&self, user: &UserId, guest: bool) {
        if guest && !self.settings.guests {
            return;
        }
        for alias in &self.settings.aliases {
            if let Err(error) = self.enter(user, guest, alias).await {
                tracing::warn!(%user, %alias, %error, "a new user could not be joined to a room of auto_join_rooms");
            }
        }
    }

    async fn enter(&self, user: &UserId, guest: bool, alias: &RoomAlias) -> Result<(), AutoJoinError> {
        let room = match self.find(alias).await? {
            Some(room) => room,
            None if self.creates(user, alias).await? => self.create(user, alias).await?,
            None => return Err(AutoJoinError::NoRoom),
        };
        let view = room.view();
        let known = view.state.membership(user.as_str());
        if known == Some(Membership::Join) {
            return Ok(());
        }
        if view.join_rule != JoinRule::Public && known != Some(Membership::Invite) {
            let host = self.settings.host.as_ref().ok_or(AutoJoinError::NoHost)?;
            self.members.invite(change(&room, host, user)).await?;
        }
        self.members.join(change(&room, user, user), guest).await?;
        Ok(())
    }

    async fn find(&self, alias: &RoomAlias) -> Result<Option<Arc<Room>>, DbError> {
        let text = alias.as_str().to_owned();
        match self.rooms.db.read(move |tx| repo::aliases::get(tx, &text)).await? {
            Some(found) => self.rooms.get_nid(found.room_nid).await,
            None => Ok(None),
        }
    }

    /// Whether the user is the first, and the room would be this server's. Bots and support users do not count.
    async fn creates(&self, user: &UserId, alias: &RoomAlias) -> Result<bool, DbError> {
        if !self.settings.create || alias.server_name() != self.rooms.server_name().as_str() {
            return Ok(false);
        }
        let user = user.clone();
        self.rooms.db.read(move |tx| repo::users::is_only_person(tx, user.as_str())).await
    }

    async fn create(&self, user: &UserId, alias: &RoomAlias) -> Result<Arc<Room>, CreateError> {
        let settings = &self.settings;
        let host = settings.host.as_ref().unwrap_or(user);
        let mut creation_content = Object::new();
        if !settings.federated {
            creation_content.insert("m.federate", false);
        }
        let invited = settings.preset != Preset::PublicChat && host != user;
        let new = NewRoom {
            room_id: None,
            creator: host.clone(),
            version: settings.version,
            preset: settings.preset,
            published: false,
            alias: Some(alias.clone()),
            name: None,
            topic: None,
            creation_content,
            power_levels: settings.defaults.power_levels.clone(),
            initial_state: Vec::new(),
            // With the room, so that `trusted_private_chat` gives the first user the host's power.
            invite: if invited { vec![user.clone()] } else { Vec::new() },
            is_direct: false,
            encrypted: settings.defaults.encrypted,
            invite_profiles: settings.invite_profiles,
            authority: Authority::Server,
        };
        self.creator.create(new).await
    }
}

fn change(room: &Room, sender: &UserId, target: &UserId) -> MembershipChange {
    MembershipChange {
        room_id: room.id.clone(),
        sender: sender.clone(),
        target: target.clone(),
        reason: None,
        content: Object::new(),
        via: Vec::new(),
        authority: Authority::Server,
    }
}
