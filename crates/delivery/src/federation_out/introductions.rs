//! Device list updates for servers that begin to share a room with a local user: from now on they get every change, and
//! what they may know from earlier is out of date (server-server API,
//! https://spec.matrix.org/v1.19/server-server-api/#device-management).

use std::collections::{BTreeMap, BTreeSet};

use plexus_protocol::id::UserId;
use plexus_rooms::Room;
use plexus_store::repo::device_lists::{self, DeviceChange};
use plexus_store::{DbError, RoomNid};

use super::FederationOut;
use super::device_updates::update_content;
use super::ephemeral::Ephemeral;
use super::mailbox::Joins;
use super::tell::PAUSE;

/// The most devices of a user that are sent. The first update names none before it, which makes the server ask for all.
const MAX_DEVICES: u32 = 50;
/// The most local users of a room whose devices are sent to a server that comes in. In larger rooms it asks for those
/// that it needs.
const MAX_USERS: usize = 100;

impl FederationOut {
    /// Sends the devices of local users who joined rooms, and of those who were in a room that users of other servers
    /// joined, to the servers that shared no room with them before; without end. Anybody can cause much of this work,
    /// so no events wait for it.
    pub(super) async fn introduce(&self) {
        let mailbox = &self.mailbox;
        let mut last = RoomNid::MIN;
        loop {
            let (room, joins) = mailbox.take_joins(last).await;
            last = room;
            if let Err(error) = self.introduce_in(room, &joins).await {
                tracing::warn!("what servers that came into a room are to know of devices waits: {error}");
                mailbox.put_joins_back(room, joins);
                self.parts.clock.sleep(PAUSE).await;
            }
            self.ready.notify_one();
        }
    }

    async fn introduce_in(&self, room: RoomNid, joins: &Joins) -> Result<(), DbError> {
        let Some(entered) = self.parts.rooms.get_readable_nid(room).await? else { return Ok(()) };
        // Before more users can join: they would make the servers look like ones that have been there.
        self.introduce_members(&entered, joins).await?;
        if !joins.own.is_empty() {
            let servers: BTreeSet<String> = entered.view().servers.names().map(str::to_owned).collect();
            for user in &joins.own {
                self.introduce_to(user, room, &servers).await?;
            }
        }
        Ok(())
    }

    /// Sends the devices of an encrypted room's local users, without those who joined now, to the servers of which no
    /// other user was in the room.
    async fn introduce_members(&self, room: &Room, joins: &Joins) -> Result<(), DbError> {
        let mut came: BTreeMap<&str, u64> = BTreeMap::new();
        for user in &joins.others {
            *came.entry(user.server_name()).or_default() += 1;
        }
        let view = room.view();
        if !room.view().is_encrypted() || view.local_joined.len() > MAX_USERS {
            return Ok(());
        }
        let new = came.into_iter().filter(|(server, users)| (1..=*users).contains(&view.servers.joined(server)));
        let servers: BTreeSet<String> = new.map(|(server, _)| server.to_owned()).collect();
        if servers.is_empty() {
            return Ok(());
        }
        for user in view.local_joined.iter().filter(|user| !joins.own.contains(*user)) {
            self.introduce_to(user, room.nid, &servers).await?;
        }
        Ok(())
    }

    /// Sends a user's devices to those of the servers that share no other room with the user, if they can be read.
    async fn introduce_to(&self, user: &UserId, room: RoomNid, servers: &BTreeSet<String>) -> Result<(), DbError> {
        match self.send_devices(user, room, servers).await {
            Err(error) if error.is_bad_data() => {
                tracing::warn!("servers that came into a room are not sent the devices of {user}: {error}");
                Ok(())
            }
            sent => sent,
        }
    }

    async fn send_devices(&self, user: &UserId, room: RoomNid, servers: &BTreeSet<String>) -> Result<(), DbError> {
        // Where all is in memory nothing else waits; deliveries run in the same task.
        tokio::task::yield_now().await;
        let own = self.parts.rooms.server_name().as_str();
        let mut new: Vec<&str> = servers.iter().map(String::as_str).filter(|server| *server != own).collect();
        if new.is_empty() {
            return Ok(());
        }
        let key = user.to_string();
        let read = move |tx: &mut plexus_store::Tx<'_>| device_lists::changes_of_user(tx, &key, MAX_DEVICES);
        let mut changes: Vec<DeviceChange> = self.parts.db.read(read).await?;
        if changes.is_empty() {
            return Ok(());
        }
        let rooms = self.parts.rooms.memberships().of(user).await?;
        for other in rooms.joined().filter(|other| *other != room) {
            if let Some(other) = self.parts.rooms.get_readable_nid(other).await? {
                let view = other.view();
                new.retain(|server| !view.servers.contains(server));
            }
            if new.is_empty() {
                return Ok(());
            }
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
