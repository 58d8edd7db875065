//! The log: the changes after a position, read back from the tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use plexus_protocol::id::UserId;

use super::{erasure, other_changes, receipts, sticky_events};
use crate::change::{HandedOver, RoomMembership};
use crate::{Any, Change, DbError, Position, RoomNid, Row, Tx, first, readable};

/// A part of the log.
#[derive(Debug)]
pub struct LogPage {
    /// The changes, in the order of their positions.
    pub changes: Vec<Change>,
    /// They are all those at or before this position.
    pub upto: Position,
}

/// Reads the changes after a position: those with about `limit` events, or all.
///
/// Several changes of the same thing may be one. When some of them may have been deleted already, there is
/// [`Change::Missed`] in place of all.
///
/// # Errors
/// When the database fails.
pub fn changes_after(tx: &mut Tx<'_>, after: Position, limit: u32) -> Result<LogPage, DbError> {
    let clock: Position = tx.query_one("SELECT position FROM clock WHERE id = 1", &[], first)?;
    if other_changes::is_trimmed_after(tx, after)? {
        return missed(tx, clock);
    }
    let next: Option<Position> = tx.query_opt(
        "SELECT position FROM events WHERE position > $1 ORDER BY position LIMIT 1 OFFSET $2",
        &[&after, &limit],
        first,
    )?;
    let mut page = Page { after, upto: next.unwrap_or(clock), changes: Vec::new(), rooms: BTreeMap::new() };
    page.events(tx)?;
    page.memberships(tx)?;
    page.account_data(tx)?;
    page.devices(tx)?;
    page.others(tx)?;
    let receipts = receipts::between(tx, page.after, page.upto)?;
    page.changes.extend(receipts.into_iter().map(|receipt| Change::Receipt(Arc::new(receipt))));
    let sticky = sticky_events::between(tx, page.after, page.upto)?;
    page.changes.extend(sticky.into_iter().map(Change::Sticky));
    page.rooms(tx)?;
    let Page { mut changes, upto, .. } = page;
    changes.sort_by_key(Change::position);
    Ok(LogPage { changes, upto })
}

/// Everything may have changed. All erased users and sticky events are in memory, so they are announced again.
fn missed(tx: &mut Tx<'_>, position: Position) -> Result<LogPage, DbError> {
    let erased = erasure::all(tx)?.into_iter().map(|user| Change::Erased { user, position });
    let sticky = sticky_events::all(tx)?.into_iter().map(Change::Sticky);
    let changes = std::iter::once(Change::Missed { position }).chain(erased).chain(sticky).collect();
    Ok(LogPage { changes, upto: position })
}

/// A page of the log while it is read.
struct Page {
    after: Position,
    upto: Position,
    changes: Vec<Change>,
    /// The newest change of each room, and whether events may have been redacted.
    rooms: BTreeMap<RoomNid, (Position, bool)>,
}

impl Page {
    /// Adds what `read` makes of each row; rows that cannot be read are left out. The statement's parameters are the
    /// page's bounds.
    fn add(
        &mut self,
        tx: &mut Tx<'_>,
        sql: &'static str,
        read: impl Fn(&Row<'_>) -> Result<Change, DbError>,
    ) -> Result<(), DbError> {
        let Self { after, upto, changes, .. } = self;
        tx.for_each(sql, &[after, upto], |row| {
            changes.extend(readable(read(row)));
            Ok(())
        })
    }

    fn room(&mut self, room: RoomNid, position: Position, redacts: bool) {
        let newest = self.rooms.entry(room).or_default();
        *newest = (newest.0.max(position), newest.1 | redacts);
    }

    fn events(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let rows = tx.query(
            "SELECT e.room_nid, e.position, o.position, e.redacted_by, t.event_type
             FROM events e JOIN event_types t ON t.type_nid = e.type_nid
                 LEFT JOIN outgoing_events o ON o.position = e.position
             WHERE e.position > $1 AND e.position <= $2",
            &[&self.after, &self.upto],
            |row| {
                let (outgoing, redacted_by): (Option<Position>, Option<i64>) = (row.get(2)?, row.get(3)?);
                let is_redaction = row.get::<Vec<u8>>(4)? == b"m.room.redaction";
                Ok((row.get(0)?, row.get(1)?, outgoing.is_some(), is_redaction || redacted_by.is_some()))
            },
        )?;
        for (room, position, outgoing, redacts) in rows {
            self.room(room, position, redacts);
            self.changes.push(Change::Event { room, position, outgoing });
        }
        self.add(
            tx,
            "SELECT position FROM outgoing_events WHERE position > $1 AND position <= $2 AND only_to IS NOT NULL",
            |row| Ok(Change::OutgoingToNewServer { position: row.get(0)? }),
        )?;
        self.completed_rooms(tx)
    }

    /// Rooms of whose state the rest has become known.
    fn completed_rooms(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let rooms: Vec<(RoomNid, Option<Position>, Option<Position>)> = tx.query(
            "SELECT room_nid, visible_position, full_position FROM partial_joins
             WHERE (visible_position > $1 AND visible_position <= $2) OR (full_position > $1 AND full_position <= $2)",
            &[&self.after, &self.upto],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let within = self.after..self.upto;
        for (room, shown, full) in rooms {
            let positions = shown.into_iter().chain(full).filter(|at| within.contains(&(at - 1)));
            let Some(position) = positions.max() else { continue };
            self.room(room, position, false);
            self.changes.push(Change::OlderMemberships { room, position, object: HandedOver::default() });
            self.changes.push(Change::Event { room, position, outgoing: false });
        }
        Ok(())
    }

    fn memberships(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let read = |row: &Row<'_>| {
            let user = row.get_with(0, |user: String| UserId::try_from(user))?;
            let (room, kind, event_nid) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let membership = RoomMembership { room, kind, event_nid, position: row.get(4)?, forgotten: row.get(5)? };
            Ok((user, membership))
        };
        let rows = tx.query(
            "SELECT u.user_id, m.room_nid, m.membership, m.event_nid, m.position, m.forgotten
             FROM memberships m JOIN user_ids u ON u.user_nid = m.user_nid
             WHERE m.position > $1 AND m.position <= $2",
            &[&self.after, &self.upto],
            |row| Ok(readable(read(row))),
        )?;
        for (user, membership) in rows.into_iter().flatten() {
            self.room(membership.room, membership.position, false);
            self.changes.push(Change::Membership { user, membership, was_joined: false });
        }
        Ok(())
    }

    fn account_data(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let read = |row: &Row<'_>| {
            let user = row.get_with(0, |user: String| UserId::try_from(user))?;
            Ok(Change::AccountData { user, room: row.get(1)?, position: row.get(2)? })
        };
        self.add(
            tx,
            "SELECT a.user_id, r.room_nid, a.position FROM account_data a LEFT JOIN rooms r ON r.room_id = a.room_id
             WHERE a.position > $1 AND a.position <= $2",
            read,
        )?;
        self.add(tx, "SELECT user_id, NULL, position FROM push_rules WHERE position > $1 AND position <= $2", read)?;
        self.add(
            tx,
            "SELECT user_id, NULL, position FROM thread_subscriptions WHERE position > $1 AND position <= $2",
            read,
        )
    }

    fn devices(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        self.add(
            tx,
            "SELECT user_id, device_id, position FROM to_device_messages WHERE position > $1 AND position <= $2",
            |row| {
                let user = row.get_with(0, |user: String| UserId::try_from(user))?;
                Ok(Change::ToDevice { user, device: row.get(1)?, position: row.get(2)? })
            },
        )?;
        self.add(
            tx,
            "SELECT server_name, position FROM federation_to_device WHERE position > $1 AND position <= $2",
            |row| Ok(Change::FederationToDevice { server: row.get(0)?, position: row.get(1)? }),
        )?;
        let read = |row: &Row<'_>, private| {
            let user = row.get_with(0, |user: String| UserId::try_from(user))?;
            Ok(Change::DeviceList { user, private, position: row.get(1)? })
        };
        self.add(
            tx,
            "SELECT user_id, position FROM device_list_changes WHERE position > $1 AND position <= $2",
            |row| read(row, false),
        )?;
        self.add(
            tx,
            "SELECT user_id, position FROM user_signature_changes WHERE position > $1 AND position <= $2",
            |row| read(row, true),
        )
    }

    fn others(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        for change in other_changes::between(tx, self.after, self.upto)? {
            match change {
                Change::Room { room, position, redacts, .. } => self.room(room, position, redacts),
                Change::Tokens { hashes: more, position } => match self.changes.last_mut() {
                    Some(Change::Tokens { hashes, position: same }) if *same == position => hashes.extend(more),
                    _ => self.changes.push(Change::Tokens { hashes: more, position }),
                },
                change => self.changes.push(change),
            }
        }
        Ok(())
    }

    /// Adds the rooms that changed, each once.
    fn rooms(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        let changed: Vec<RoomNid> = self.rooms.keys().copied().collect();
        if changed.is_empty() {
            return Ok(());
        }
        let Self { changes, rooms, .. } = self;
        tx.for_each("SELECT room_nid, revision FROM rooms WHERE room_nid = ANY($1)", &[&Any(&changed)], |row| {
            let (room, revision) = (row.get(0)?, row.get(1)?);
            let (position, redacts) = rooms.remove(&room).unwrap_or_default();
            changes.push(Change::Room { room, revision, position, redacts, object: HandedOver::default() });
            Ok(())
        })?;
        // What is left was deleted: after any revision.
        changes.extend(std::mem::take(rooms).into_iter().map(|(room, (position, redacts))| Change::Room {
            room,
            revision: i64::MAX,
            position,
            redacts,
            object: HandedOver::default(),
        }));
        Ok(())
    }
}
