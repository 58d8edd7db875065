//! Profiles of local users, and the copies of them in member events.

use std::sync::Arc;

use plexus_base::config::PolicyCallback;
use plexus_protocol::id::UserId;
use plexus_protocol::json::{Object, Value};
use plexus_store::{DbError, RoomNid, repo};
use tokio::task::JoinSet;

use crate::model::profile_cache::Fields;
use crate::model::rooms::Rooms;
use crate::write::append;
use crate::write::draft::Draft;
use crate::write::error::SendError;
use crate::write::writer::RoomWriter;

/// The maximum number of rooms that a profile is changed in at the same time.
const MAX_CONCURRENT_ROOMS: usize = 32;
/// The maximum size of a profile, in bytes of JSON (<https://spec.matrix.org/v1.19/client-server-api/#profiles>).
const MAX_PROFILE_BYTES: usize = 65_536;

/// Returns the content of a member event: `membership`, and the name and avatar of `shown`.
///
/// # Errors
/// When the database fails.
pub async fn member_content(rooms: &Rooms, membership: &str, shown: Option<&UserId>) -> Result<Object, DbError> {
    let mut content = Object::from([("membership", membership)]);
    let Some(user) = shown else { return Ok(content) };
    for (field, value) in rooms.profiles.of(user.as_str()).await?.iter() {
        if is_in_member_events(field)
            && let Ok(value @ Value::String(_)) = Value::parse(value)
        {
            content.insert(field.as_str(), value);
        }
    }
    Ok(content)
}

/// Whether member events contain a field of the profile.
pub fn is_in_member_events(field: &str) -> bool {
    field == "displayname" || field == "avatar_url"
}

/// Where a name or avatar changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileScope {
    /// In the profile, and in the rooms that the user is joined to.
    WithRooms,
    /// In the profile only.
    ProfileOnly,
}

/// A profile was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The value of a field has more than this many characters.
    #[error("the field is too long (max {0})")]
    FieldTooLong(usize),
    /// The profile would be larger than 64 KiB.
    #[error("the profile would be too large")]
    TooLarge,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Reads and changes profiles of local users.
pub struct Profiles {
    rooms: Arc<Rooms>,
    writer: Arc<RoomWriter>,
}

impl Profiles {
    /// Creates the service.
    #[must_use]
    pub fn new(writer: Arc<RoomWriter>) -> Self {
        Self { rooms: Arc::clone(writer.rooms()), writer }
    }

    /// Returns the fields of a local user, name and JSON value; `None` if there is no such account.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(&self, user: &UserId) -> Result<Option<Fields>, DbError> {
        let key = user.clone();
        let account = self.rooms.db.read(move |tx| repo::users::get(tx, key.as_str())).await?;
        match account {
            Some(account) if !account.deactivated => self.rooms.profiles.of(user.as_str()).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Sets or removes a field. Within its scope, a name or avatar is also changed in the rooms that the user is joined
    /// to; rooms that do not allow it keep the old one.
    ///
    /// # Errors
    /// See [`ProfileError`].
    pub async fn set(
        &self,
        user: &UserId,
        field: &str,
        value: Option<Value>,
        scope: ProfileScope,
    ) -> Result<(), ProfileError> {
        let text = value.as_ref().and_then(Value::as_str).unwrap_or_default();
        if let Some(longest) = repo::profiles::longest(field).filter(|longest| text.chars().count() > *longest) {
            return Err(ProfileError::FieldTooLong(longest));
        }
        let (key, name, json) = (user.clone(), field.to_owned(), value.as_ref().map(Value::to_json));
        let changed = self
            .rooms
            .db
            .write(move |tx| {
                let fields = repo::profiles::all(tx, key.as_str())?;
                let before = fields.iter().find(|(other, _)| *other == name).map(|(_, value)| value);
                if before == json.as_ref() {
                    return Ok(false);
                }
                let others: usize =
                    fields.iter().filter(|(other, _)| *other != name).map(|(k, v)| k.len() + v.len() + 4).sum();
                match &json {
                    Some(json) if others + name.len() + json.len() + 4 > MAX_PROFILE_BYTES => {
                        return Err(ProfileError::TooLarge);
                    }
                    Some(json) => repo::profiles::set(tx, key.as_str(), &name, json)?,
                    None => repo::profiles::delete(tx, key.as_str(), &name)?,
                }
                Ok(true)
            })
            .await?;
        if changed && is_in_member_events(field) && scope == ProfileScope::WithRooms {
            let (writer, user, field) = (Arc::clone(&self.writer), user.clone(), field.to_owned());
            // A task of its own, so that a dropped request does not leave half of the rooms unchanged.
            let background = self.writer.background.clone();
            let updated = background
                .spawn("profile change in rooms", async move { update_rooms(writer, user, field, value).await });
            updated.await.unwrap_or(Err(DbError::Closed))?;
        }
        if changed && is_in_member_events(field) {
            self.notify_hooks(user).await?;
        }
        Ok(())
    }
}

impl Profiles {
    /// Tells the policy hooks of the user's new profile.
    async fn notify_hooks(&self, user: &UserId) -> Result<(), DbError> {
        let hooks = self.writer.policy_hooks.as_ref().filter(|hooks| hooks.asks(PolicyCallback::OnProfileUpdate));
        let Some(hooks) = hooks else { return Ok(()) };
        let fields = self.rooms.profiles.of(user.as_str()).await?;
        let text = |name: &str| {
            let (_, json) = fields.iter().find(|(field, _)| *field == name)?;
            Value::parse(json).ok()?.as_str().map(str::to_owned)
        };
        hooks.on_profile_update(user, text("displayname").as_deref(), text("avatar_url").as_deref());
        Ok(())
    }
}

/// Changes the field in the user's member events.
async fn update_rooms(
    writer: Arc<RoomWriter>,
    user: UserId,
    field: String,
    value: Option<Value>,
) -> Result<(), DbError> {
    let joined: Vec<RoomNid> = writer.rooms.memberships().of(&user).await?.joined().collect();
    let mut running = JoinSet::new();
    for room in joined {
        if running.len() >= MAX_CONCURRENT_ROOMS {
            running.join_next().await;
        }
        let (writer, user, field, value) = (Arc::clone(&writer), user.clone(), field.clone(), value.clone());
        running.spawn(async move {
            if let Err(error) = update_room(&writer, room, &user, &field, value).await {
                tracing::warn!(%user, room, "the profile could not be changed in a room: {error}");
            }
        });
    }
    while running.join_next().await.is_some() {}
    Ok(())
}

async fn update_room(
    writer: &RoomWriter,
    room: RoomNid,
    user: &UserId,
    field: &str,
    value: Option<Value>,
) -> Result<(), SendError> {
    let Some(room) = writer.rooms.get_nid(room).await? else { return Ok(()) };
    let view = room.view();
    let Some(entry) = view.state.get("m.room.member", user.as_str()) else { return Ok(()) };
    let mut content = room.state_event(entry).await?.pdu.content().clone();
    if content.get_str("membership") != Some("join") {
        return Ok(());
    }
    // The user is joined already, and no other server signs this event.
    content.remove("join_authorised_via_users_server");
    content.remove("reason");
    match value {
        Some(value) => content.insert(field, value),
        None => content.remove(field),
    };
    append::append(writer, &room, &Draft::state(user, "m.room.member", user.as_str(), content)).await?;
    Ok(())
}
