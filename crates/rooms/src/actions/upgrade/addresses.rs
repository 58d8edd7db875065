//! The aliases of a replaced room, and its publication in the room directory.

use std::sync::Arc;

use plexus_protocol::id::{RoomAlias, UserId};
use plexus_protocol::json::{Object, Value};
use plexus_store::{DbError, repo};

use crate::model::room::Room;
use crate::model::rooms::Rooms;
use crate::write::append;
use crate::write::draft::Draft;
use crate::write::writer::RoomWriter;

/// Points this server's aliases of the old room to the new one, and publishes the new one instead of the old.
pub(super) async fn move_all(rooms: &Rooms, old: &Room, new: &Room) -> Result<(), DbError> {
    let (from, to) = (old.nid, new.nid);
    let moved = rooms.db.write(move |tx| {
        repo::aliases::move_all(tx, from, to)?;
        if repo::rooms::is_published(tx, from)? {
            repo::rooms::set_published(tx, from, false)?;
            repo::rooms::set_published(tx, to, true)?;
        }
        Ok(())
    });
    moved.await
}

/// Moves this server's aliases from the old room's `m.room.canonical_alias` to the new room's. Aliases of other servers
/// still point to the old room and stay there, as in Synapse. An event that the sender may not set is not changed.
pub(super) async fn move_canonical(writer: &RoomWriter, old: &Arc<Room>, new: &Arc<Room>, sender: &UserId) {
    let view = old.view();
    let Some(event) = view.event_in_memory("m.room.canonical_alias", "") else { return };
    let (stays, moves) = split(event.content(), writer.server_name().as_str());
    if moves.is_empty() {
        return;
    }
    for (room, content) in [(old, stays), (new, moves)] {
        if let Err(error) =
            append::append(writer, room, &Draft::state(sender, "m.room.canonical_alias", "", content)).await
        {
            tracing::warn!(room = %room.id, "the canonical alias could not be moved in a room upgrade: {error}");
        }
    }
}

/// Splits the content of `m.room.canonical_alias` into one without the aliases of `server`, and one with only these.
fn split(content: &Object, server: &str) -> (Object, Object) {
    let is_own = |alias: &str| RoomAlias::try_from(alias).is_ok_and(|alias| alias.server_name() == server);
    let (mut stays, mut moves) = (content.clone(), Object::new());
    if let Some(alias) = content.get_str("alias").filter(|alias| is_own(alias)) {
        moves.insert("alias", alias);
        stays.remove("alias");
    }
    let alternatives = content.get_array("alt_aliases").unwrap_or_default();
    let (own, others): (Vec<Value>, Vec<Value>) =
        alternatives.iter().cloned().partition(|alias| alias.as_str().is_some_and(is_own));
    if !own.is_empty() {
        moves.insert("alt_aliases", own);
        if others.is_empty() {
            stays.remove("alt_aliases")
        } else {
            stays.insert("alt_aliases", others)
        };
    }
    (stays, moves)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_of_other_servers_stay() {
        let parts = |content: &str| {
            let (stays, moves) = split(&Object::parse(content).unwrap(), "own.example");
            (stays.to_json(), moves.to_json())
        };
        let all_own = r##"{"alias":"#a:own.example","alt_aliases":["#b:own.example"]}"##;
        assert_eq!(parts(all_own), ("{}".to_owned(), all_own.to_owned()));
        let mixed = r##"{"alias":"#a:own.example","alt_aliases":["#b:other.example","#c:own.example",5],"x":1}"##;
        let stays = r##"{"alt_aliases":["#b:other.example",5],"x":1}"##.to_owned();
        let moves = r##"{"alias":"#a:own.example","alt_aliases":["#c:own.example"]}"##.to_owned();
        assert_eq!(parts(mixed), (stays, moves));
        let others = r##"{"alias":"#a:other.example","alt_aliases":["#b:other.example"]}"##;
        assert_eq!(parts(others), (others.to_owned(), "{}".to_owned()));
    }
}
