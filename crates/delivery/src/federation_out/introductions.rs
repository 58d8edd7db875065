//! Device list updates for servers that begin to share a room with a local user: from now on they get every change, and
//! what they may know from earlier is out of date
//! (<https://spec.matrix.org/v1.19/server-server-api/#device-management>).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plexus_base::Clock;
use plexus_protocol::id::UserId;
use plexus_rooms::{Room, Rooms};
use plexus_store::repo::device_lists::{self, DeviceChange};
use plexus_store::{Database, DbError, RoomNid};

use super::changes::{OutgoingChanges, RoomJoins};
use super::device_updates::{DeviceUpdates, update_content};
use super::edus::DATABASE_RETRY_AFTER;
use super::ephemeral::Ephemeral;
use super::other_servers::{OtherServers, add_ephemeral};
use super::shared_rooms::SharedRooms;
use crate::outbox::Outbox;

/// The most devices of a user that are sent. The first update names none before it, which makes the server ask for all.
const MAX_DEVICES: u32 = 50;
/// The most local users of a room whose devices are sent to a server that comes in. In larger rooms the server asks for
/// those that it needs.
const MAX_USERS: usize = 100;

/// Sends the devices of local users to servers that begin to share a room with them.
pub(super) struct DeviceIntroductions {
    pub db: Database,
    pub clock: Clock,
    pub shared_rooms: SharedRooms,
    pub device_updates: Arc<DeviceUpdates>,
    pub changes: Arc<OutgoingChanges>,
    pub outbox: Arc<Outbox<OtherServers>>,
}

impl DeviceIntroductions {
    /// Sends the devices of local users to the servers with which they begin to share a room, without end: those of
    /// users who joined a room, and of users in a room that users of other servers joined. Any user can cause much of
    /// this work, so that events do not wait for it.
    pub(super) async fn run(&self) {
        let mut last = RoomNid::MIN;
        loop {
            let (room, joins) = self.changes.take_joins(last).await;
            last = room;
            if let Err(error) = self.introduce_in(room, &joins).await {
                tracing::warn!("devices for servers that came into a room wait: {error}");
                self.changes.put_joins_back(room, joins);
                self.clock.sleep(DATABASE_RETRY_AFTER).await;
            }
            self.outbox.wake();
        }
    }

    async fn introduce_in(&self, room: RoomNid, joins: &RoomJoins) -> Result<(), DbError> {
        let Some(entered) = self.rooms().get_readable_nid(room).await? else { return Ok(()) };
        // Before more users can join: they would make the servers look like ones that have been there.
        self.introduce_members(&entered, joins).await?;
        if !joins.local.is_empty() {
            let servers: BTreeSet<String> = entered.view().servers.names().map(str::to_owned).collect();
            for user in &joins.local {
                self.introduce_to(user, room, &servers).await?;
            }
        }
        Ok(())
    }

    /// Sends the devices of an encrypted room's local users, without those who joined now, to the servers of which no
    /// other user was in the room.
    async fn introduce_members(&self, room: &Room, joins: &RoomJoins) -> Result<(), DbError> {
        let mut joined: BTreeMap<&str, u64> = BTreeMap::new();
        for user in &joins.remote {
            *joined.entry(user.server_name()).or_default() += 1;
        }
        let view = room.view();
        if !view.is_encrypted() || view.local_joined.len() > MAX_USERS {
            return Ok(());
        }
        let new = joined.into_iter().filter(|(server, users)| (1..=*users).contains(&view.servers.joined(server)));
        let servers: BTreeSet<String> = new.map(|(server, _)| server.to_owned()).collect();
        if servers.is_empty() {
            return Ok(());
        }
        for user in view.local_joined.iter().filter(|user| !joins.local.contains(*user)) {
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
        // Where everything is in memory nothing else here waits; deliveries run in the same task.
        tokio::task::yield_now().await;
        let own = self.rooms().server_name().as_str();
        let mut new: Vec<&str> = servers.iter().map(String::as_str).filter(|server| *server != own).collect();
        if new.is_empty() {
            return Ok(());
        }
        let key = user.to_string();
        let read = move |tx: &mut plexus_store::Tx<'_>| device_lists::changes_of_user(tx, &key, MAX_DEVICES);
        let mut changes: Vec<DeviceChange> = self.db.read(read).await?;
        if changes.is_empty() {
            return Ok(());
        }
        let rooms = self.rooms().memberships().of(user).await?;
        for other in rooms.joined().filter(|other| *other != room) {
            if let Some(other) = self.rooms().get_readable_nid(other).await? {
                let view = other.view();
                new.retain(|server| !view.servers.contains(server));
            }
            if new.is_empty() {
                return Ok(());
            }
        }
        let Some(list) = self.device_updates.device_list(user).await? else { return Ok(()) };
        changes.reverse();
        let mut previous = None;
        for change in changes {
            let Some(keys) = list.devices.get(&change.device_id) else { continue };
            let content = update_content(user, &change, Some(keys), previous);
            previous = Some(change.position);
            let key = format!("{user} {}", change.device_id);
            let edu = Ephemeral::Device { key: key.into(), content: content.into() };
            add_ephemeral(&self.outbox, new.iter().copied(), &edu);
        }
        Ok(())
    }

    fn rooms(&self) -> &Rooms {
        &self.shared_rooms.rooms
    }
}
