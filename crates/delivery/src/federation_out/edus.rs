//! Passes changes on to the outbox: tells it to read the log, and builds the ephemeral EDUs for typing, receipts and
//! presence.

use std::sync::Arc;
use std::time::Duration;

use plexus_base::Clock;
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::ObjectWriter;
use plexus_store::repo::receipts::Receipt;
use plexus_store::{Database, DbError, Position, RoomNid, Tx, repo};
use plexus_sync::presence::Presence;
use plexus_sync::receipts::Receipts;

use super::changes::{Changes, OutgoingChanges};
use super::ephemeral::{Ephemeral, OutgoingReceipt};
use super::other_servers::{OtherServers, add_ephemeral};
use super::receipt_throttle::ReceiptThrottle;
use super::shared_rooms::SharedRooms;
use crate::outbox::Outbox;

/// How long to wait when the database fails.
pub(super) const DATABASE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Passes changes on to the outbox.
pub(super) struct EduSender {
    pub db: Database,
    pub clock: Clock,
    pub shared_rooms: SharedRooms,
    pub presence: Arc<Presence>,
    pub receipts: Arc<Receipts>,
    pub changes: Arc<OutgoingChanges>,
    pub outbox: Arc<Outbox<OtherServers>>,
    /// The receipts of a room that are sent in a second, counted by servers.
    pub receipts_per_second: u32,
}

impl EduSender {
    /// Passes changes on, without end; first what the last run of the program did not get to.
    pub(super) async fn run(&self) {
        let mut throttle = ReceiptThrottle::new(self.receipts_per_second);
        let mut changes = Changes { log: true, ..Changes::default() };
        loop {
            while let Err(error) = self.pass_on(&mut changes, &mut throttle).await {
                tracing::warn!("changes for other servers wait: {error}");
                self.clock.sleep(DATABASE_RETRY_AFTER).await;
            }
            self.send_receipts(&mut throttle);
            self.outbox.wake();
            let wait = throttle.wait(self.clock.monotonic());
            tokio::select! {
                more = self.changes.take() => changes = more,
                () = async { self.clock.sleep(wait.unwrap_or_default()).await }, if wait.is_some() => {}
            }
        }
    }

    /// Passes changes on, and removes those that were.
    async fn pass_on(&self, changes: &mut Changes, throttle: &mut ReceiptThrottle) -> Result<(), DbError> {
        if changes.log {
            self.outbox.distribute().await?;
            changes.log = false;
        }
        let servers = std::mem::take(&mut changes.to_device);
        let servers = servers.into_iter().filter_map(|server| ServerName::try_from(server).ok());
        self.outbox.add_extras(servers, |extras| extras.to_device = true);
        for ((room, user), typing) in std::mem::take(&mut changes.typing) {
            self.send_typing(room, &user, typing);
        }
        for (room, position) in std::mem::take(&mut changes.receipts) {
            for receipt in self.receipts_at(room, position).await? {
                self.throttle_receipt(&receipt, throttle).await?;
            }
        }
        for user in std::mem::take(&mut changes.presence) {
            self.send_presence(&user).await?;
        }
        Ok(())
    }

    fn send_typing(&self, room: RoomNid, user: &UserId, typing: bool) {
        // A room in which somebody types is in memory.
        let Some(room) = self.shared_rooms.rooms.loaded(room) else { return };
        if self.shared_rooms.local_user(user.as_str()).is_none() {
            return;
        }
        let mut content = String::new();
        let mut members = ObjectWriter::open(&mut content);
        members.string("room_id", room.id.as_str());
        members.raw("typing", if typing { "true" } else { "false" });
        members.string("user_id", user.as_str());
        members.close();
        let key = format!("{} {user}", room.id);
        let edu = Ephemeral::Typing { key: key.into(), content: content.into() };
        add_ephemeral(&self.outbox, room.view().servers.names(), &edu);
    }

    async fn receipts_at(&self, room: RoomNid, position: Position) -> Result<Vec<Arc<Receipt>>, DbError> {
        if let Some(receipts) = self.receipts.in_memory(room, position - 1, position) {
            return Ok(receipts);
        }
        let read = move |tx: &mut Tx<'_>| repo::receipts::in_rooms(tx, &[room], position - 1, position);
        let stored: Vec<Receipt> = self.db.read(read).await?;
        Ok(stored.into_iter().map(Arc::new).collect())
    }

    async fn throttle_receipt(&self, receipt: &Receipt, throttle: &mut ReceiptThrottle) -> Result<(), DbError> {
        let public = !receipt.is_private();
        if !public || self.shared_rooms.local_user(receipt.user.as_str()).is_none() {
            return Ok(());
        }
        if let Some(room) = self.shared_rooms.rooms.get_readable_nid(receipt.room).await? {
            let outgoing = OutgoingReceipt {
                room: room.id.to_string(),
                user: receipt.user.to_string(),
                event: receipt.event_id.clone(),
                thread: receipt.thread_id.clone(),
                ts: receipt.ts,
            };
            throttle.add(receipt.room, Arc::new(outgoing));
        }
        Ok(())
    }

    fn send_receipts(&self, throttle: &mut ReceiptThrottle) {
        let loaded = |room| self.shared_rooms.rooms.loaded(room);
        let servers = |room| loaded(room).map_or(0, |room| room.view().servers.len());
        for (room, receipts) in throttle.due(self.clock.monotonic(), servers) {
            let Some(room) = loaded(room) else { continue };
            for receipt in receipts {
                add_ephemeral(&self.outbox, room.view().servers.names(), &Ephemeral::Receipt(receipt));
            }
        }
    }

    async fn send_presence(&self, user: &UserId) -> Result<(), DbError> {
        if self.shared_rooms.local_user(user.as_str()).is_none() {
            return Ok(());
        }
        let Some(view) = self.presence.view(user) else { return Ok(()) };
        let servers = self.shared_rooms.servers(user).await?;
        if servers.is_empty() {
            return Ok(());
        }
        let mut content = String::new();
        let mut members = ObjectWriter::open(&mut content);
        view.write(&mut members, self.clock.now_ms());
        members.string("user_id", user.as_str());
        members.close();
        let edu = Ephemeral::Presence { user: user.as_str().into(), content: content.into() };
        add_ephemeral(&self.outbox, servers.iter().map(String::as_str), &edu);
        Ok(())
    }
}
