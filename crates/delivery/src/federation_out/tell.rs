//! Listens for news and gives them to whom they are for.

use std::sync::Arc;
use std::time::Duration;

use plexus_protocol::id::{ServerName, UserId};
use plexus_store::repo::receipts::Receipt;
use plexus_store::{DbError, Position, RoomNid, Tx, repo};

use super::FederationOut;
use super::ephemeral::{Ephemeral, MAX_PIECE_BYTES, OutgoingReceipt};
use super::mailbox::News;
use super::pace::Pace;
use plexus_sync::json::Members;

/// How long to wait when the database fails.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

impl FederationOut {
    /// Takes in news, without end; first what the last run did not get to.
    pub(super) async fn listen(&self) {
        let mut pace = Pace::new(self.parts.receipts_per_second);
        let mut news = News { log: true, ..News::default() };
        loop {
            while let Err(error) = self.spread(&mut news, &mut pace).await {
                tracing::warn!("what other servers are to know waits: {error}");
                self.parts.clock.sleep(PAUSE).await;
            }
            self.tell_receipts(&mut pace);
            self.ready.notify_one();
            let wait = pace.wait(self.parts.clock.monotonic());
            tokio::select! {
                more = self.mailbox.take() => news = more,
                () = async { self.parts.clock.sleep(wait.unwrap_or_default()).await }, if wait.is_some() => {}
            }
        }
    }

    /// Gives news to whom they are for. What is done is taken out.
    async fn spread(&self, news: &mut News, pace: &mut Pace) -> Result<(), DbError> {
        if news.log {
            self.distribute().await?;
            news.log = false;
        }
        for server in std::mem::take(&mut news.to_device) {
            if let Ok(server) = ServerName::try_from(server)
                && self.is_other(&server)
            {
                self.state.lock().book.messages(server);
            }
        }
        for ((room, user), typing) in std::mem::take(&mut news.typing) {
            self.tell_typing(room, &user, typing);
        }
        for (room, position) in std::mem::take(&mut news.receipts) {
            for receipt in self.receipts_at(room, position).await? {
                self.pace_receipt(&receipt, pace).await?;
            }
        }
        for user in std::mem::take(&mut news.presence) {
            self.tell_presence(&user).await?;
        }
        Ok(())
    }

    fn tell_typing(&self, room: RoomNid, user: &UserId, typing: bool) {
        // Who types is in the room, which is therefore in memory.
        let Some(room) = self.parts.rooms.loaded(room) else { return };
        if self.local_user(user.as_str()).is_none() {
            return;
        }
        let mut content = String::new();
        let mut members = Members::open(&mut content);
        members.text("room_id", room.id.as_str());
        members.raw("typing", if typing { "true" } else { "false" });
        members.text("user_id", user.as_str());
        members.close();
        let key = format!("{} {user}", room.id);
        let edu = Ephemeral::Typing { key: key.into(), content: content.into() };
        self.give(room.view().servers.names(), &edu);
    }

    async fn receipts_at(&self, room: RoomNid, position: Position) -> Result<Vec<Arc<Receipt>>, DbError> {
        if let Some(receipts) = self.parts.receipts.in_memory(room, position - 1, position) {
            return Ok(receipts);
        }
        let read = move |tx: &mut Tx<'_>| repo::receipts::in_rooms(tx, &[room], position - 1, position);
        let stored: Vec<Receipt> = self.parts.db.read(read).await?;
        Ok(stored.into_iter().map(Arc::new).collect())
    }

    async fn pace_receipt(&self, receipt: &Receipt, pace: &mut Pace) -> Result<(), DbError> {
        let public = receipt.receipt_type != repo::receipts::PRIVATE;
        if !public || self.local_user(receipt.user.as_str()).is_none() {
            return Ok(());
        }
        if let Some(room) = self.parts.rooms.get_readable_nid(receipt.room).await? {
            let outgoing = OutgoingReceipt {
                room: room.id.to_string(),
                user: receipt.user.to_string(),
                event: receipt.event_id.clone(),
                thread: receipt.thread_id.clone(),
                ts: receipt.ts,
            };
            pace.add(receipt.room, Arc::new(outgoing));
        }
        Ok(())
    }

    fn tell_receipts(&self, pace: &mut Pace) {
        let loaded = |room| self.parts.rooms.loaded(room);
        let servers = |room| loaded(room).map_or(0, |room| room.view().servers.len());
        for (room, receipts) in pace.due(self.parts.clock.monotonic(), servers) {
            let Some(room) = loaded(room) else { continue };
            for receipt in receipts {
                self.give(room.view().servers.names(), &Ephemeral::Receipt(receipt));
            }
        }
    }

    async fn tell_presence(&self, user: &UserId) -> Result<(), DbError> {
        if self.local_user(user.as_str()).is_none() {
            return Ok(());
        }
        let Some(view) = self.parts.presence.view(user) else { return Ok(()) };
        let servers = self.servers_sharing(user).await?;
        if servers.is_empty() {
            return Ok(());
        }
        let mut content = String::new();
        let mut members = Members::open(&mut content);
        view.write(&mut members, self.parts.clock.now_ms());
        members.text("user_id", user.as_str());
        members.close();
        let edu = Ephemeral::Presence { user: user.as_str().into(), content: content.into() };
        self.give(servers.iter().map(String::as_str), &edu);
        Ok(())
    }

    pub(super) fn give<'s>(&self, servers: impl Iterator<Item = &'s str>, edu: &Ephemeral) {
        if edu.bytes() > MAX_PIECE_BYTES {
            let (kind, bytes, subject) = (edu.edu_type(), edu.bytes(), edu.subject());
            tracing::warn!("other servers are not sent an {kind} of {bytes} bytes: {subject}");
            return;
        }
        let servers: Vec<ServerName> =
            servers.filter_map(|name| name.try_into().ok()).filter(|server| self.is_other(server)).collect();
        let mut state = self.state.lock();
        for server in servers {
            if self.parts.transport.backing_off_until(&server).is_none() {
                state.book.ephemeral(server, edu.clone());
            }
        }
    }
}
