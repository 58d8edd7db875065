//! Copies the settings of this server and its users from a replaced room to the room that replaced it, which any server
//! may have created
//! (<https://spec.matrix.org/v1.19/client-server-api/#room-upgrades>, "Server behaviour").

use std::sync::Arc;

use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::membership::Membership;
use plexus_protocol::push_rules::UserRules;
use plexus_store::repo;
use plexus_store::repo::account_data::{self, Scope};
use plexus_store::repo::bounds::BoundError;
use plexus_store::{DbError, Tx};
use serde_json::{Map, Value};

use super::addresses;
use crate::model::room::Room;
use crate::model::rooms::Rooms;

const TAG: &str = "m.tag";
const TAGS: &str = "tags";
const DIRECT: &str = "m.direct";
/// Users with this many push rules of their own get no copies: the default of `push_rules.limits.rule_count`.
const MAX_PUSH_RULES: usize = 10_000;

/// Whether the user, who is about to join, has never been in the room.
pub fn is_first_join(room: &Room, user: &UserId) -> bool {
    let membership = room.view().state.membership(user.as_str());
    !matches!(membership, Some(Membership::Join | Membership::Leave))
}

/// Copies tags, push rules and `m.direct` of the replaced room for a user who has joined for the first time. Failures
/// are logged.
pub async fn joined(rooms: &Rooms, room: &Room, user: &UserId) {
    let copied = match predecessor(rooms, room).await {
        Ok(None) => return,
        Ok(Some(old)) => copy_settings(rooms, &old, room, user).await,
        Err(error) => Err(error),
    };
    if let Err(error) = copied {
        tracing::warn!(%user, room = %room.id, "settings for the upgraded room could not be copied: {error}");
    }
}

/// Moves this server's aliases and publication of the replaced room to a room that this server has just joined.
/// Failures are logged.
pub async fn entered(rooms: &Rooms, room: &Room) {
    let moved = match predecessor(rooms, room).await {
        Ok(None) => return,
        Ok(Some(old)) => addresses::move_all(rooms, &old, room).await,
        Err(error) => Err(error),
    };
    if let Err(error) = moved {
        tracing::warn!(room = %room.id, "the upgraded room's aliases could not be moved: {error}");
    }
}

/// Returns the room that this one has replaced. Both rooms have to name each other: anybody can create a room with any
/// predecessor.
///
/// # Errors
/// When the database fails.
pub async fn predecessor(rooms: &Rooms, room: &Room) -> Result<Option<Arc<Room>>, DbError> {
    let view = room.view();
    let create = view.event_in_memory("m.room.create", "");
    let id = create.and_then(|create| create.content().get_object("predecessor")?.get_str("room_id")?.try_into().ok());
    let Some(id): Option<RoomId> = id.filter(|id| *id != room.id) else { return Ok(None) };
    let Some(old) = rooms.get_readable(&id).await? else { return Ok(None) };
    let view = old.view();
    let Some(entry) = view.state.get("m.room.tombstone", "") else { return Ok(None) };
    let tombstone = old.readable_state_event(entry).await?;
    let names_it =
        tombstone.is_some_and(|event| event.pdu.content().get_str("replacement_room") == Some(room.id.as_str()));
    Ok(names_it.then_some(old))
}

async fn copy_settings(rooms: &Rooms, old: &Room, new: &Room, user: &UserId) -> Result<(), DbError> {
    let (user, from, to) = (user.clone(), old.id.clone(), new.id.clone());
    let scope_room = new.nid;
    let copy = rooms.db.write(move |tx| {
        let scope = Scope { room_id: to.as_str(), room: Some(scope_room) };
        let tags = account_data::get(tx, user.as_str(), from.as_str(), TAG)?;
        let own_tags = account_data::get(tx, user.as_str(), to.as_str(), TAG)?;
        if let Some(tags) = tags.and_then(|tags| with_tags(&tags, own_tags.as_deref())) {
            put(tx, &user, scope, TAG, &tags)?;
        }
        let direct = account_data::get(tx, user.as_str(), "", DIRECT)?;
        if let Some(direct) = direct.and_then(|direct| with_direct(&direct, &from, &to)) {
            put(tx, &user, Scope::default(), DIRECT, &direct)?;
        }
        copy_push_rules(tx, &user, &from, &to)
    });
    copy.await
}

/// Stores account data, unless it exceeds a limit.
fn put(tx: &mut Tx<'_>, user: &UserId, scope: Scope<'_>, event_type: &str, content: &str) -> Result<(), DbError> {
    match account_data::put(tx, user, scope, event_type, content) {
        Ok(_) => Ok(()),
        Err(BoundError::Db(error)) => Err(error),
        Err(error @ BoundError::TooLarge(_)) => {
            tracing::info!(%user, "{event_type} is not copied in a room upgrade: {error}");
            Ok(())
        }
    }
}

fn copy_push_rules(tx: &mut Tx<'_>, user: &UserId, from: &RoomId, to: &RoomId) -> Result<(), DbError> {
    let Some((stored, _)) = repo::push_rules::get(tx, user.as_str())? else { return Ok(()) };
    let bad = |error| DbError::bad_data(format!("push_rules.changes of {user}"), error);
    let mut rules: UserRules = serde_json::from_str(&stored).map_err(bad)?;
    if rules.own_rules().iter().count() < MAX_PUSH_RULES && rules.copy_for_room(from.as_str(), to.as_str()) {
        repo::push_rules::set(tx, user, &serde_json::to_string(&rules).map_err(bad)?)?;
    }
    Ok(())
}

/// Returns the content of `m.tag` with the tags of another room added; `None` if that adds nothing.
fn with_tags(others: &str, own: Option<&str>) -> Option<String> {
    let tags = |content: &str| match serde_json::from_str::<Map<String, Value>>(content).ok()?.remove(TAGS)? {
        Value::Object(tags) => Some(tags),
        _ => None,
    };
    let mut all = own.and_then(tags).unwrap_or_default();
    let before = all.len();
    for (tag, info) in tags(others)? {
        all.entry(tag).or_insert(info);
    }
    (all.len() > before).then(|| Value::from(Map::from_iter([(TAGS.to_owned(), Value::Object(all))])).to_string())
}

/// Returns the content of `m.direct` with the room `to` added wherever the room `from` is; `None` if that adds nothing.
fn with_direct(content: &str, from: &RoomId, to: &RoomId) -> Option<String> {
    let mut content: Map<String, Value> = serde_json::from_str(content).ok()?;
    let mut changed = false;
    for rooms in content.values_mut().filter_map(Value::as_array_mut) {
        let has = |room: &RoomId| rooms.iter().any(|it| it.as_str() == Some(room.as_str()));
        if has(from) && !has(to) {
            rooms.push(to.as_str().into());
            changed = true;
        }
    }
    changed.then(|| Value::Object(content).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_added_to_those_there_are() {
        let old = r#"{"tags":{"m.favourite":{"order":0.5},"u.x":{}}}"#;
        assert_eq!(with_tags(old, None).as_deref(), Some(old));
        let own = r#"{"tags":{"m.favourite":{"order":1}}}"#;
        let both = r#"{"tags":{"m.favourite":{"order":1},"u.x":{}}}"#;
        assert_eq!(with_tags(old, Some(own)).as_deref(), Some(both));
        assert_eq!(with_tags(own, Some(both)), None);
        assert_eq!(with_tags(r#"{"tags":[]}"#, None), None);
    }

    #[test]
    fn a_direct_room_stays_direct() {
        let room = |id: &str| RoomId::try_from(id).unwrap();
        let (from, to) = (room("!a:x"), room("!b:x"));
        let content = r#"{"@u:x":["!a:x","!c:x"],"@v:x":["!c:x"],"odd":5}"#;
        let copied = r#"{"@u:x":["!a:x","!c:x","!b:x"],"@v:x":["!c:x"],"odd":5}"#;
        assert_eq!(with_direct(content, &from, &to).as_deref(), Some(copied));
        assert_eq!(with_direct(copied, &from, &to), None);
    }
}
