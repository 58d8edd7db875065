//! Events and messages for other servers, and the servers' progress.

use plexus_protocol::id::ServerName;

use super::to_device::prefix_within;
use crate::db::ToSql;
use crate::{Change, DbError, EventNid, Position, RoomNid, Row, Tx, first};

/// An event that this server sends to other servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub position: Position,
    pub room_nid: RoomNid,
    pub event_nid: EventNid,
    /// The server that asked this one to pass it on.
    pub handed_by: Option<String>,
    /// Servers that the event concerns and that are not in the room after it, separated by spaces.
    pub also_to: Option<String>,
    /// The only server that gets it, because it came into the room later.
    pub only_to: Option<String>,
}

impl Outgoing {
    /// Iterates over the servers that the event concerns and that are not in the room after it.
    pub fn also_to(&self) -> impl Iterator<Item = &str> {
        self.also_to.as_deref().unwrap_or_default().split_ascii_whitespace()
    }
}

fn outgoing(row: &Row<'_>) -> Result<Outgoing, DbError> {
    Ok(Outgoing {
        position: row.get(0)?,
        room_nid: row.get(1)?,
        event_nid: row.get(2)?,
        handed_by: row.get(3)?,
        also_to: row.get(4)?,
        only_to: row.get(5)?,
    })
}

/// Adds events.
pub fn add(tx: &mut Tx<'_>, rows: &[Outgoing]) -> Result<(), DbError> {
    if rows.is_empty() {
        return Ok(());
    }
    tx.insert_many_later(
        "INSERT INTO outgoing_events (position, room_nid, event_nid, handed_by, also_to, only_to)
         VALUES ($1, $2, $3, $4, $5, $6)",
        rows.iter().map(|row| {
            [
                row.position.to_param(),
                row.room_nid.to_param(),
                row.event_nid.to_param(),
                row.handed_by.to_param(),
                row.also_to.to_param(),
                row.only_to.to_param(),
            ]
        }),
    )?;
    Ok(())
}

/// Returns the events with `after < position <= upto`, the oldest `limit`, oldest first.
pub fn after(tx: &mut Tx<'_>, after: Position, upto: Position, limit: u64) -> Result<Vec<Outgoing>, DbError> {
    tx.query(
        "SELECT position, room_nid, event_nid, handed_by, also_to, only_to FROM outgoing_events
         WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3",
        &[&after, &upto, &limit],
        outgoing,
    )
}

/// Returns for each room the newest event with `after < position <= upto`, and of that range all events that concern
/// servers which are not in the room, that are for one server only, or that are sticky; in order of position.
pub fn newest_of_rooms(tx: &mut Tx<'_>, after: Position, upto: Position) -> Result<Vec<Outgoing>, DbError> {
    tx.query(
        "SELECT position, room_nid, event_nid, handed_by, also_to, only_to FROM outgoing_events o
         WHERE position > $1 AND position <= $2
             AND (also_to IS NOT NULL OR only_to IS NOT NULL
                 OR EXISTS (SELECT 1 FROM sticky_events s WHERE s.event_nid = o.event_nid)
                 OR NOT EXISTS (SELECT 1 FROM outgoing_events later
                     WHERE later.room_nid = o.room_nid AND later.position > o.position AND later.position <= $2
                         AND later.only_to IS NULL))
         ORDER BY position",
        &[&after, &upto],
        outgoing,
    )
}

/// Deletes events at or before `upto`, which all servers have.
pub fn forget(tx: &mut Tx<'_>, upto: Position) -> Result<u64, DbError> {
    tx.execute("DELETE FROM outgoing_events WHERE position <= $1", &[&upto])
}

/// Deletes the events at or before `upto` except for the newest `kept`, the newest of each room and sticky ones: a
/// server that is further behind gets no more.
pub fn thin_out(tx: &mut Tx<'_>, upto: Position, kept: u64) -> Result<u64, DbError> {
    // Events are counted, not positions: the positions that a gap in a timeline reserves have no events.
    tx.execute(
        "DELETE FROM outgoing_events WHERE also_to IS NULL
             AND position <= (SELECT position FROM outgoing_events WHERE position <= $1
                 ORDER BY position DESC LIMIT 1 OFFSET $2)
             AND EXISTS (SELECT 1 FROM outgoing_events later
                 WHERE later.room_nid = outgoing_events.room_nid AND later.position > outgoing_events.position
                     AND later.only_to IS NULL)
             AND NOT EXISTS (SELECT 1 FROM sticky_events s WHERE s.event_nid = outgoing_events.event_nid)",
        &[&upto, &kept],
    )
}

/// Returns the position up to which every server without a cursor has everything.
pub fn position(tx: &mut Tx<'_>) -> Result<Position, DbError> {
    tx.query_one("SELECT position FROM federation_position WHERE id = 1", &[], first)
}

/// Returns the servers that are behind, with their cursors.
pub fn cursors(tx: &mut Tx<'_>) -> Result<Vec<(String, Position)>, DbError> {
    tx.query("SELECT server_name, position FROM federation_cursors", &[], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Stores the progress: `position` of the servers without a cursor, `behind` of those with one; servers in `caught_up`
/// lose theirs.
pub fn set_progress(
    tx: &mut Tx<'_>,
    position: Position,
    behind: &[(ServerName, Position)],
    caught_up: &[ServerName],
) -> Result<(), DbError> {
    tx.execute_later("UPDATE federation_position SET position = $1 WHERE id = 1", &[&position])?;
    if !behind.is_empty() {
        tx.insert_many_later(
            "INSERT INTO federation_cursors (server_name, position) VALUES ($1, $2)
             ON CONFLICT (server_name) DO UPDATE SET position = excluded.position",
            behind.iter().map(|(server, position)| [server.as_str().to_param(), position.to_param()]),
        )?;
    }
    if !caught_up.is_empty() {
        tx.insert_many_later(
            "DELETE FROM federation_cursors WHERE server_name = $1",
            caught_up.iter().map(|server| [server.as_str().to_param()]),
        )?;
    }
    Ok(())
}

/// A to-device message for another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToDevice {
    pub position: Position,
    /// The content of the `m.direct_to_device` EDU; `None` if the row does not contain text.
    pub content: Option<String>,
}

/// Queues a message for the devices of a server. Its content may contain its position.
pub fn add_to_device(
    tx: &mut Tx<'_>,
    server: &str,
    now_ms: u64,
    content: impl FnOnce(Position) -> String,
) -> Result<(), DbError> {
    let position = tx.next_position()?;
    let content = content(position);
    tx.announce(Change::FederationToDevice { server: server.to_owned(), position });
    tx.execute_later(
        "INSERT INTO federation_to_device (server_name, position, content, queued_ts) VALUES ($1, $2, $3, $4)",
        &[&server, &position, &content, &now_ms],
    )?;
    Ok(())
}

/// When messages to other servers are given up, Unix ms.
#[derive(Debug, Clone, Copy)]
pub struct GiveUpBefore {
    /// Messages that were queued before this for names that are [no server's](super::destinations::is_server), as far
    /// as is known.
    pub unknown_servers: u64,
    /// Messages that were queued before this for any server.
    pub all: u64,
}

/// Deletes the messages that servers have not accepted for long. Returns how many.
pub fn give_up_to_device(tx: &mut Tx<'_>, before: GiveUpBefore, now_ms: u64) -> Result<u64, DbError> {
    tx.execute("UPDATE federation_to_device SET queued_ts = $1 WHERE queued_ts = 0", &[&now_ms])?;
    let mut deleted = tx.execute("DELETE FROM federation_to_device WHERE queued_ts < $1", &[&before.all])?;
    for server in servers_with_messages_before(tx, before.unknown_servers)? {
        if !super::destinations::is_server(tx, &server)? {
            deleted += tx.execute(
                "DELETE FROM federation_to_device WHERE server_name = $1 AND queued_ts < $2",
                &[&server, &before.unknown_servers],
            )?;
        }
    }
    Ok(deleted)
}

/// Returns the servers whose oldest message was queued before `ts` (Unix ms). Goes from one server to the next in the
/// primary key, without reading all messages.
fn servers_with_messages_before(tx: &mut Tx<'_>, ts: u64) -> Result<Vec<String>, DbError> {
    tx.query(
        "WITH RECURSIVE servers (name) AS (
             SELECT MIN(server_name) FROM federation_to_device
             UNION ALL
             SELECT (SELECT MIN(server_name) FROM federation_to_device WHERE server_name > name) FROM servers
             WHERE name IS NOT NULL)
         SELECT name FROM servers WHERE name IS NOT NULL AND $1 > (SELECT queued_ts FROM federation_to_device
             WHERE server_name = name ORDER BY position LIMIT 1)",
        &[&ts],
        first,
    )
}

/// Returns the oldest messages for a server, at most `limit` of them and at most `max_bytes` together, but at least
/// one; and whether there are more.
pub fn to_device(tx: &mut Tx<'_>, server: &str, limit: u64, max_bytes: u64) -> Result<(Vec<ToDevice>, bool), DbError> {
    let sizes: Vec<(Position, u64)> = tx.query(
        "SELECT position, CAST(OCTET_LENGTH(content) AS BIGINT) FROM federation_to_device WHERE server_name = $1
         ORDER BY position LIMIT $2",
        &[&server, &limit.saturating_add(1)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let Some((upto, more)) = prefix_within(&sizes, limit, max_bytes) else { return Ok((Vec::new(), false)) };
    let messages = tx.query(
        "SELECT position, content FROM federation_to_device WHERE server_name = $1 AND position <= $2
         ORDER BY position",
        &[&server, &upto],
        |row| Ok(ToDevice { position: row.get(0)?, content: row.get(1).ok() }),
    )?;
    Ok((messages, more))
}

/// Deletes the messages at or before `upto`, which the server has acknowledged.
pub fn delete_to_device(tx: &mut Tx<'_>, server: &str, upto: Position) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM federation_to_device WHERE server_name = $1 AND position <= $2", &[&server, &upto])?;
    Ok(())
}

/// Deletes one message.
pub fn delete_one_to_device(tx: &mut Tx<'_>, server: &str, position: Position) -> Result<(), DbError> {
    tx.execute_later(
        "DELETE FROM federation_to_device WHERE server_name = $1 AND position = $2",
        &[&server, &position],
    )?;
    Ok(())
}

/// Returns the servers with queued messages.
pub fn to_device_servers(tx: &mut Tx<'_>) -> Result<Vec<String>, DbError> {
    tx.query("SELECT DISTINCT server_name FROM federation_to_device", &[], first)
}
