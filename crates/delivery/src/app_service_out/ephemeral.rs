//! Passes on to the outbox what is not in the log: writes the ephemeral events for typing, receipts and presence, and
//! notes whose keys changed.

use std::sync::Arc;

use plexus_base::{AppService, AppServices, Clock, Registrations};
use plexus_protocol::id::UserId;
use plexus_protocol::json::write_string;
use plexus_rooms::Rooms;
use plexus_store::repo::receipts::Receipt;
use plexus_store::{Database, DbError, Position, RoomNid, Tx, repo};
use plexus_sync::presence::{self, Presence};
use plexus_sync::receipts::{self, Receipts};
use plexus_sync::typing::{self, Typing};

use super::DATABASE_RETRY_AFTER;
use super::changes::{OtherChanges, ServiceChanges};
use super::content::ServiceId;
use super::extras::Ephemeral;
use super::interest::Interest;
use super::log::recipients;
use super::services::Services;
use crate::outbox::Outbox;

/// Passes on to the outbox what is not in the log.
pub(super) struct EphemeralSender {
    pub(super) db: Database,
    pub(super) clock: Clock,
    pub(super) rooms: Arc<Rooms>,
    pub(super) app_services: Arc<AppServices>,
    pub(super) typing: Arc<Typing>,
    pub(super) receipts: Arc<Receipts>,
    pub(super) presence: Arc<Presence>,
    pub(super) interest: Arc<Interest>,
    pub(super) changes: Arc<ServiceChanges>,
    pub(super) outbox: Arc<Outbox<Services>>,
    /// Whether services get the numbers of their users' keys.
    pub(super) sends_keys: bool,
}

impl EphemeralSender {
    /// Passes changes on, without end.
    pub(super) async fn run(&self) {
        loop {
            let mut changes = self.changes.take_other().await;
            while let Err(error) = self.pass_on(&mut changes).await {
                tracing::warn!("ephemeral events for application services wait: {error}");
                self.clock.sleep(DATABASE_RETRY_AFTER).await;
            }
            self.outbox.wake();
        }
    }

    /// Passes changes on, and removes those that were.
    async fn pass_on(&self, changes: &mut OtherChanges) -> Result<(), DbError> {
        // A receipt does not come before its event.
        self.outbox.distribute().await?;
        let Some(registrations) = self.app_services.current() else { return Ok(()) };
        while let Some(user) = changes.keys.pop_first() {
            self.add_keys(&registrations, user);
        }
        if !registrations.all().iter().any(|service| service.gets_ephemeral()) {
            *changes = OtherChanges::default();
            return Ok(());
        }
        while let Some(room) = changes.typing.pop_first() {
            self.send_typing(&registrations, room).await?;
        }
        for (room, position) in std::mem::take(&mut changes.receipts) {
            self.send_receipts(&registrations, room, position).await?;
        }
        while let Some(user) = changes.presence.pop_first() {
            self.send_presence(&registrations, user).await?;
        }
        Ok(())
    }

    fn add_keys(&self, registrations: &Registrations, user: UserId) {
        let wants = |service: &AppService| service.msc3202 && self.sends_keys;
        let services = recipients(registrations, registrations.of_user(user.as_str()), wants);
        self.outbox.add_ephemeral(services, |extras| extras.push_key_user(user.clone()));
    }

    async fn in_room(
        &self,
        registrations: &Arc<Registrations>,
        room: RoomNid,
    ) -> Result<Option<(String, Vec<ServiceId>)>, DbError> {
        let Some(room) = self.rooms.get_readable_nid(room).await? else { return Ok(None) };
        let services = self.interest.of_room(registrations, &room).await?;
        let services = recipients(registrations, services, AppService::gets_ephemeral);
        Ok((!services.is_empty()).then(|| (room.id.to_string(), services)))
    }

    async fn send_typing(&self, registrations: &Arc<Registrations>, room: RoomNid) -> Result<(), DbError> {
        let Some((room_id, services)) = self.in_room(registrations, room).await? else { return Ok(()) };
        let event = typing::event(&self.typing.users(room));
        self.add(services, &format!("typing {room_id}"), &in_room(&room_id, &event));
        Ok(())
    }

    async fn send_receipts(
        &self,
        registrations: &Arc<Registrations>,
        room: RoomNid,
        position: Position,
    ) -> Result<(), DbError> {
        let Some((room_id, services)) = self.in_room(registrations, room).await? else { return Ok(()) };
        for receipt in self.receipts_at(room, position).await? {
            let user = receipt.user.as_str();
            let services = if receipt.is_private() {
                recipients(registrations, registrations.of_user(user), AppService::gets_ephemeral)
            } else {
                services.clone()
            };
            let Some(event) = receipts::event([&*receipt]) else { continue };
            let key = format!("receipt {room_id} {user} {} {}", receipt.receipt_type, receipt.thread_id);
            self.add(services, &key, &in_room(&room_id, &event));
        }
        Ok(())
    }

    async fn receipts_at(&self, room: RoomNid, position: Position) -> Result<Vec<Arc<Receipt>>, DbError> {
        if let Some(receipts) = self.receipts.in_memory(room, position - 1, position) {
            return Ok(receipts);
        }
        let read = move |tx: &mut Tx<'_>| repo::receipts::in_rooms(tx, &[room], position - 1, position);
        let stored: Vec<Receipt> = self.db.read(read).await?;
        Ok(stored.into_iter().map(Arc::new).collect())
    }

    async fn send_presence(&self, registrations: &Arc<Registrations>, user: UserId) -> Result<(), DbError> {
        let Some(view) = self.presence.view(&user) else { return Ok(()) };
        let services = self.interest.of_user(registrations, &user).await?;
        let services = recipients(registrations, services, AppService::gets_ephemeral);
        let event = presence::event(&user, &view, self.clock.now_ms());
        self.add(services, &format!("presence {user}"), &event);
        Ok(())
    }

    fn add(&self, services: Vec<ServiceId>, key: &str, json: &str) {
        let event = Ephemeral { key: key.into(), json: json.into() };
        self.outbox.add_ephemeral(services, |extras| extras.push_ephemeral(event.clone()));
    }
}

/// Returns an event with the room that it is of.
fn in_room(room_id: &str, event: &str) -> String {
    let mut out = "{\"room_id\":".to_owned();
    write_string(room_id, &mut out);
    out.push(',');
    out.push_str(event.strip_prefix('{').unwrap_or(event));
    out
}
