//! Account data (MSC3959).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use plexus_protocol::id::RoomId;
use plexus_store::repo::account_data::AccountData as Row;
use plexus_store::{DbError, Position, RoomNid, Tx, repo};

use super::{AccountDataUpdate, ExtensionReader};
use crate::delta::AccountData;
use crate::notifier::MaybeChanged;
use crate::sliding::connection::{Progress, SentRoom};
use crate::sliding::connections::StateChange;
use crate::sliding::rooms::RoomUpdates;
use crate::{push_rules, settings};

/// Account data that was written since the request's position.
#[derive(Default)]
struct Written {
    global: Vec<AccountData>,
    /// By room id.
    rooms: HashMap<String, Vec<AccountData>>,
}

/// Reads the account data that the client does not have, global and of rooms, and notes up to where it has that of
/// other rooms.
pub(super) async fn account_data(
    reader: &ExtensionReader<'_>,
    wanted: &BTreeSet<RoomNid>,
    rooms: &mut RoomUpdates,
) -> Result<AccountDataUpdate, DbError> {
    let from = reader.from.map(|from| from.position);
    let written = match from {
        Some(from) => written_since(reader, from).await?,
        None => Written::default(),
    };
    let mut update = AccountDataUpdate::default();
    if rooms.state.has_account_data && from.is_some() {
        update.global = written.global;
    } else {
        // A client that has left this out meanwhile may have what was deleted.
        update.global = all_global(reader, from.map(|_| 0)).await?;
        rooms.state.has_account_data = true;
        rooms.changed_by(StateChange::Durable);
    }
    let mut missing: BTreeMap<Option<Position>, Vec<(RoomNid, RoomId)>> = BTreeMap::new();
    let mut written_rooms = written.rooms;
    for nid in wanted {
        let (Some(sent), Some(id)) = (rooms.state.room(*nid), reader.id(*nid)) else { continue };
        match from.and_then(|from| sent.account_data.since(from)) {
            Some(_) if sent.account_data == Progress::Live => {
                update.rooms.extend(written_rooms.remove(id.as_str()).map(|data| (id, data)));
            }
            since => missing.entry(since).or_default().push((*nid, id)),
        }
    }
    for (since, of_rooms) in missing {
        let ids = of_rooms.iter().map(|(_, id)| id.to_string()).collect();
        for (nid, id) in of_rooms {
            written_rooms.remove(id.as_str());
            if let Some(sent) = rooms.state.room(nid).cloned() {
                rooms.set(SentRoom { account_data: Progress::Live, ..sent });
            }
        }
        for row in in_rooms(reader, ids, since).await? {
            let data = AccountData { event_type: row.event_type, content: row.content };
            if let Ok(id) = RoomId::try_from(row.room_id) {
                update.rooms.entry(id).or_default().push(data);
            }
        }
    }
    if let Some(from) = from {
        mark_unsent(reader, &written_rooms, from, rooms).await?;
    }
    Ok(update)
}

/// Notes up to where the client has account data, where more was written and the client does not ask for it.
pub(super) async fn leave_out_account_data(
    reader: &ExtensionReader<'_>,
    rooms: &mut RoomUpdates,
) -> Result<(), DbError> {
    let Some(from) = reader.from.map(|from| from.position) else { return Ok(()) };
    let written = written_since(reader, from).await?;
    if rooms.state.has_account_data && !written.global.is_empty() {
        rooms.state.has_account_data = false;
        rooms.changed_by(StateChange::Durable);
    }
    mark_unsent(reader, &written.rooms, from, rooms).await
}

/// Returns all global account data; see [`repo::account_data::changed`] for what was deleted.
async fn all_global(reader: &ExtensionReader<'_>, since: Option<Position>) -> Result<Vec<AccountData>, DbError> {
    let (user, upto) = (reader.context.request.user.to_string(), reader.context.now.position);
    let read = move |tx: &mut Tx<'_>| {
        let rules = repo::push_rules::get(tx, &user)?;
        Ok::<_, DbError>((repo::account_data::changed_in_rooms(tx, &user, &[""], since, upto)?, rules))
    };
    let (rows, rules) = reader.context.parts.db.read(read).await?;
    let mut global = vec![push_rules(reader, rules.as_ref().map(|(rules, _)| rules.as_str()))?];
    global.extend(rows.into_iter().map(|row| AccountData { event_type: row.event_type, content: row.content }));
    Ok(global)
}

async fn written_since(reader: &ExtensionReader<'_>, from: Position) -> Result<Written, DbError> {
    let (user, upto) = (&reader.context.request.user, reader.context.now.position);
    let mut written = Written::default();
    let index = reader.context.parts.notifier.index();
    if index.account_data_changed(user, from) == MaybeChanged::Known(false) {
        return Ok(written);
    }
    let key = user.to_string();
    let read = move |tx: &mut Tx<'_>| {
        let rules = repo::push_rules::get(tx, &key)?;
        Ok::<_, DbError>((repo::account_data::changed(tx, &key, Some(from), upto)?, rules))
    };
    let (rows, rules) = reader.context.parts.db.read(read).await?;
    if let Some((rules, _)) = rules.filter(|(_, position)| *position > from && *position <= upto) {
        written.global.push(push_rules(reader, Some(&rules))?);
    }
    for row in rows {
        let data = AccountData { event_type: row.event_type, content: row.content };
        if row.room_id.is_empty() {
            written.global.push(data);
        } else {
            written.rooms.entry(row.room_id).or_default().push(data);
        }
    }
    Ok(written)
}

fn push_rules(reader: &ExtensionReader<'_>, stored: Option<&str>) -> Result<AccountData, DbError> {
    let predefined = reader.context.parts.settings.predefined_rules();
    let rules = settings::readable_or_default(&reader.context.request.user, stored, predefined);
    Ok(AccountData { event_type: "m.push_rules".to_owned(), content: push_rules::content(&rules)? })
}

async fn in_rooms(
    reader: &ExtensionReader<'_>,
    ids: Vec<String>,
    since: Option<Position>,
) -> Result<Vec<Row>, DbError> {
    let (user, upto) = (reader.context.request.user.to_string(), reader.context.now.position);
    let read = move |tx: &mut Tx<'_>| {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        repo::account_data::changed_in_rooms(tx, &user, &ids, since, upto)
    };
    reader.context.parts.db.read(read).await
}

/// Notes of the rooms with account data that is not sent up to where the client has it.
async fn mark_unsent(
    reader: &ExtensionReader<'_>,
    unsent: &HashMap<String, Vec<AccountData>>,
    from: Position,
    rooms: &mut RoomUpdates,
) -> Result<(), DbError> {
    for id in unsent.keys().filter_map(|id| RoomId::try_from(id.as_str()).ok()) {
        let Some(room) = reader.context.parts.rooms.get_readable(&id).await? else { continue };
        let sent = rooms.state.room(room.nid).filter(|sent| sent.account_data == Progress::Live).cloned();
        if let Some(sent) = sent {
            rooms.set(SentRoom { account_data: Progress::Upto(from), ..sent });
        }
    }
    Ok(())
}
