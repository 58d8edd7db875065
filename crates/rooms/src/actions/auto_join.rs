//! Joins new users to the rooms of `auto_join_rooms`.

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

/// The rooms that new users join, and how missing ones are created.
#[derive(Clone, Debug)]
pub struct AutoJoinSettings {
    /// The aliases of the rooms.
    pub aliases: Vec<RoomAlias>,
    /// Whether guests join them.
    pub guests: bool,
    /// Whether missing rooms are created when the server's first user is registered.
    pub create: bool,
    /// Whether users of other servers may join created rooms.
    pub federated: bool,
    /// The preset of created rooms.
    pub preset: Preset,
    /// The version of created rooms.
    pub version: RoomVersion,
    /// The defaults of created rooms.
    pub defaults: RoomDefaults,
    /// The local user that creates rooms and invites users. If `None`, the first user creates rooms, and nobody is
    /// invited.
    pub host: Option<UserId>,
    /// Whether invites carry the invited user's profile.
    pub invite_profiles: bool,
}

/// A new user could not be joined to a room.
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

/// Joins new users to rooms.
pub struct AutoJoin {
    rooms: Arc<Rooms>,
    creator: RoomCreator,
    members: Arc<MembershipChanger>,
    settings: AutoJoinSettings,
}

impl AutoJoin {
    /// Creates the service.
    #[must_use]
    pub fn new(writer: &Arc<RoomWriter>, members: Arc<MembershipChanger>, settings: AutoJoinSettings) -> Self {
        let creator = RoomCreator::new(Arc::clone(writer));
        Self { creator, rooms: Arc::clone(writer.rooms()), members, settings }
    }

    /// Joins a user who has just been registered. Failures are logged, and do not prevent the registration.
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

    /// Whether a missing room is created: the user is the first, and the alias is of this server. Bots and support
    /// users do not count.
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
            // Invited with the creation, so that `trusted_private_chat` gives the first user the host's power level.
            invite: if invited { vec![user.clone()] } else { Vec::new() },
            is_direct: false,
            encrypted: settings.defaults.encrypted,
            invite_profiles: settings.invite_profiles,
            creator_profile: Object::new(),
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
        transaction: None,
        origin_server_ts: None,
        authority: Authority::Server,
    }
}
