//! Room tags: the account data `m.tag` of a room, changed one tag at a time.

use plexus_protocol::id::UserId;
use plexus_rooms::Room;
use plexus_store::repo::account_data::{self, Scope};
use plexus_store::repo::bounds::{self, BoundError};
use plexus_store::{Database, DbError, Tx};
use serde_json::{Map, Value};

const TAG: &str = "m.tag";
const TAGS: &str = "tags";
/// The longest tag, in bytes (client-server API, "Room Tagging").
const MAX_TAG_BYTES: usize = 255;
/// The most tags that a user may give one room.
const MAX_TAGS: usize = 100;

/// Returns the tags that a user gave a room: tag to its content.
pub async fn get(db: &Database, user: &UserId, room_id: &str) -> Result<Map<String, Value>, DbError> {
    let (user, room_id) = (user.clone(), room_id.to_owned());
    db.read(move |tx| read(tx, &user, &room_id)).await
}

/// Tags a room; `info` is usually `{"order": 0.5}`.
pub async fn set(
    db: &Database,
    user: &UserId,
    room: &Room,
    tag: String,
    info: Map<String, Value>,
) -> Result<(), BoundError> {
    bounds::require(tag.len() <= MAX_TAG_BYTES, "The tag is longer than 255 bytes")?;
    change(db, user, room, move |tags| _ = tags.insert(tag, Value::Object(info))).await
}

/// Removes a tag from a room, if it is there.
pub async fn remove(db: &Database, user: &UserId, room: &Room, tag: String) -> Result<(), BoundError> {
    change(db, user, room, move |tags| _ = tags.remove(&tag)).await
}

async fn change(
    db: &Database,
    user: &UserId,
    room: &Room,
    change: impl FnOnce(&mut Map<String, Value>) + Send + 'static,
) -> Result<(), BoundError> {
    let (user, room_id, nid) = (user.clone(), room.id.clone(), room.nid);
    db.write(move |tx| {
        let mut tags = read(tx, &user, room_id.as_str())?;
        let before = tags.len();
        change(&mut tags);
        bounds::require(tags.len() <= MAX_TAGS.max(before), "The room has too many tags")?;
        let content = Value::Object(Map::from_iter([(TAGS.to_owned(), Value::Object(tags))])).to_string();
        let scope = Scope { room_id: room_id.as_str(), room: Some(nid) };
        account_data::put(tx, &user, scope, TAG, &content)?;
        Ok(())
    })
    .await
}

/// Content that a client wrote in another shape has no tags.
fn read(tx: &mut Tx<'_>, user: &UserId, room_id: &str) -> Result<Map<String, Value>, DbError> {
    let content = account_data::get(tx, user.as_str(), room_id, TAG)?;
    let content = content.and_then(|content| serde_json::from_str::<Map<String, Value>>(&content).ok());
    match content.and_then(|mut content| content.remove(TAGS)) {
        Some(Value::Object(tags)) => Ok(tags),
        _ => Ok(Map::new()),
    }
}
