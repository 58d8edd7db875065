//! Device list updates for servers that begin to share a room with a local user: from now on they get every change, and
//! what they may know from earlier is out of date (server-server API,
//! https://spec.matrix.org/v1.19/server-server-api/#device-management).

use std::collections::{BTreeMap, BTreeSet};

use plexus_protocol::id::UserId;
use plexus_store::repo::device_lists::{self, DeviceChange};
use plexus_store::{DbError, RoomNid};

use super::FederationOut;
use super::device_updates::update_content;
use super::ephemeral::Ephemeral;
use crate::sync::is_encrypted;

/// The most devices of a user that are sent. The first update names none before it, which makes the server ask for all.
const MAX_DEVICES: u32 = 50;
/// The most local users of a room whose devices are sent to a server that comes in. In larger rooms it asks for those
/// that it needs.
const MAX_USERS: usize = 100;

impl FederationOut {
    /// Sends the devices of local users who joined rooms (`own`), and of those who were in a room that users of other
    /// servers joined (`others`), to the servers that shared no room with them before.
    pub(super) async fn introduce(
        &self,
        own: BTreeSet<(RoomNid, UserId)>,
        others: BTreeSet<(RoomNid, UserId)>,
    ) -> Result<(), DbError> {
        for (room, user) in &own {
            let Some(entered) = self.parts.rooms.get_readable_nid(*room).await? else { continue };
            let servers: BTreeSet<String> = entered.view().servers.names().map(str::to_owned).collect();
            self.introduce_to(user, *room, &servers).await?;
        }
        let mut by_room: BTreeMap<RoomNid, BTreeMap<String, u64>> = BTreeMap::new();
        for (room, user) in others {
            *by_room.entry(room).or_default().entry(user.server_name().to_owned()).or_default() += 1;
        }
        for (room, came) in by_room {
            self.introduce_members(room, came, &own).await?;
        }
        Ok(())
    }

    /// Sends the devices of an encrypted room's local users, without those in `own`, to the servers that have come in.
    /// `came` counts the users of each server who joined.
    async fn introduce_members(
        &self,
        nid: RoomNid,
        came: BTreeMap<String, u64>,
        own: &BTreeSet<(RoomNid, UserId)>,
    ) -> Result<(), DbError> {
        let Some(room) = self.parts.rooms.get_readable_nid(nid).await? else { return Ok(()) };
        let view = room.view();
        if !is_encrypted(&room) || view.local_joined.len() > MAX_USERS {
            return Ok(());
        }
        let new = came.into_iter().filter(|(server, users)| view.servers.joined(server) <= *users);
        let servers: BTreeSet<String> = new.map(|(server, _)| server).collect();
        if servers.is_empty() {
            return Ok(());
        }
        for user in view.local_joined.iter().filter(|user| !own.contains(&(nid, (*user).clone()))) {
            self.introduce_to(user, nid, &servers).await?;
        }
        Ok(())
    }

    /// Sends a user's devices to those of the servers that share no other room with the user.
    async fn introduce_to(&self, user: &UserId, room: RoomNid, servers: &BTreeSet<String>) -> Result<(), DbError> {
        let own = self.parts.rooms.server_name().as_str();
        if servers.iter().all(|server| server == own) {
            return Ok(());
        }
        let key = user.to_string();
        let read = move |tx: &mut plexus_store::Tx<'_>| device_lists::changes_of_user(tx, &key, MAX_DEVICES);
        let mut changes: Vec<DeviceChange> = self.parts.db.read(read).await?;
        if changes.is_empty() {
            return Ok(());
        }
        let known = self.servers_sharing_beside(user, Some(room)).await?;
        let new: Vec<&str> = servers.difference(&known).map(String::as_str).filter(|server| *server != own).collect();
        if new.is_empty() {
            return Ok(());
        }
        let Some(list) = self.parts.device_keys.device_list(user, self.parts.tell_device_names).await? else {
            return Ok(());
        };
        changes.reverse();
        let mut previous = None;
        for change in changes {
            let Some(keys) = list.devices.get(&change.device_id) else { continue };
            let content = update_content(user, &change, Some(keys), previous);
            previous = Some(change.position);
            let key = format!("{user} {}", change.device_id);
            self.give(new.iter().copied(), &Ephemeral::Device { key: key.into(), content: content.into() });
        }
        Ok(())
    }
}
