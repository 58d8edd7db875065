//! Profiles of local users, and the copies of them in member events.

use std::sync::Arc;

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

/// How many rooms are told of a changed profile at once.
const AT_ONCE: usize = 32;
/// The largest profile, in bytes of JSON (client-server API, "Profiles").
const MAX_PROFILE: usize = 65_536;

/// The content of a member event: `membership`, and of `shown` the name and avatar.
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

pub fn is_in_member_events(field: &str) -> bool {
    field == "displayname" || field == "avatar_url"
}

/// Why a profile was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The text of a field is longer than this many characters.
    #[error("the field is too long (max {0})")]
    FieldTooLong(usize),
    /// The profile would be larger than 64 KiB.
    #[error("the profile would be too large")]
    TooLarge,
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Reads and changes profiles of local users.
pub struct Profiles {
    rooms: Arc<Rooms>,
    writer: Arc<RoomWriter>,
}

impl Profiles {
    /// The profiles whose copies are in these rooms.
    #[must_use]
    pub fn new(writer: Arc<RoomWriter>) -> Self {
        Self { rooms: Arc::clone(writer.rooms()), writer }
    }

    /// All fields of a local user, name and JSON value; `None` unless there is such an account.
    pub async fn find(&self, user: &UserId) -> Result<Option<Fields>, DbError> {
        let key = user.clone();
        let account = self.rooms.db.read(move |tx| repo::users::get(tx, key.as_str())).await?;
        match account {
            Some(account) if !account.deactivated => self.rooms.profiles.of(user.as_str()).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Sets a field, or removes it. Name and avatar are also changed in the rooms the user is joined to; rooms that do
    /// not allow it keep the old ones.
    pub async fn set(&self, user: &UserId, field: &str, value: Option<Value>) -> Result<(), ProfileError> {
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
                    Some(json) if others + name.len() + json.len() + 4 > MAX_PROFILE => {
                        return Err(ProfileError::TooLarge);
                    }
                    Some(json) => repo::profiles::set(tx, key.as_str(), &name, json)?,
                    None => repo::profiles::delete(tx, key.as_str(), &name)?,
                }
                Ok(true)
            })
            .await?;
        if changed && is_in_member_events(field) {
            let (writer, user, field) = (Arc::clone(&self.writer), user.clone(), field.to_owned());
            // A task of its own: a request that is dropped half way must not leave half the rooms behind.
            let background = self.writer.background.clone();
            let pushed = background.spawn("profile in rooms", async move { push(writer, user, field, value).await });
            pushed.await.unwrap_or(Err(DbError::Closed))?;
        }
        Ok(())
    }
}

/// Changes the field in the user's member events.
async fn push(writer: Arc<RoomWriter>, user: UserId, field: String, value: Option<Value>) -> Result<(), DbError> {
    let joined: Vec<RoomNid> = writer.rooms.memberships().of(&user).await?.joined().collect();
    let mut running = JoinSet::new();
    for room in joined {
        if running.len() >= AT_ONCE {
            running.join_next().await;
        }
        let (writer, user, field, value) = (Arc::clone(&writer), user.clone(), field.clone(), value.clone());
        running.spawn(async move {
            if let Err(error) = push_to(&writer, room, &user, &field, value).await {
                tracing::warn!(%user, room, "profile not changed in a room: {error}");
            }
        });
    }
    while running.join_next().await.is_some() {}
    Ok(())
}

async fn push_to(
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
    // Nobody has to let the user in again, and the signature would not be of this event.
    content.remove("join_authorised_via_users_server");
    content.remove("reason");
    match value {
        Some(value) => content.insert(field, value),
        None => content.remove(field),
    };
    append::append(writer, &room, &Draft::state(user, "m.room.member", user.as_str(), content)).await?;
    Ok(())
}
