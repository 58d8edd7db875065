//! Deletes the lists of users who share no encrypted room with a local user any more.

use std::sync::atomic::Ordering;
use std::time::Duration;

use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_store::repo::remote_devices as repo;
use plexus_store::{DbError, RoomNid};

use super::RemoteDevices;
use super::departed::Departed;

/// The most users that are looked at in one step.
const MAX_USERS_PER_STEP: usize = 500;
/// How long to wait when the database fails.
const DATABASE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Deletes the lists of users who are not tracked any more.
pub(super) struct Cleanup<'d>(&'d RemoteDevices);

impl<'d> Cleanup<'d> {
    pub(super) fn new(devices: &'d RemoteDevices) -> Self {
        Self(devices)
    }

    /// Deletes the lists of users who share no encrypted room any more, because their servers do not send their
    /// changes; without end.
    pub(super) async fn run(&self) {
        // The last run may have ended between a leave and this.
        let mut departed = Departed::Anybody;
        loop {
            while let Err(error) = self.delete_departed(&departed).await {
                tracing::warn!("devices of users who left are kept for now: {error}");
                self.0.parts.clock.sleep(DATABASE_RETRY_AFTER).await;
            }
            departed = self.0.departed.take().await;
        }
    }

    async fn delete_departed(&self, departed: &Departed) -> Result<(), DbError> {
        match departed {
            Departed::Anybody => self.delete_all_untracked().await,
            Departed::These(these) => {
                let own = self.0.parts.rooms.server_name().as_str();
                let (local, remote): (Vec<_>, Vec<_>) = these.iter().partition(|(_, user)| user.server_name() == own);
                let remote: Vec<UserId> = remote.into_iter().map(|(_, user)| user.clone()).collect();
                self.delete_untracked(&remote).await?;
                let mut rooms: Vec<RoomNid> = local.into_iter().map(|(room, _)| *room).collect();
                rooms.dedup();
                for room in rooms {
                    self.delete_members(room).await?;
                }
                Ok(())
            }
        }
    }

    async fn delete_all_untracked(&self) -> Result<(), DbError> {
        let mut after = String::new();
        loop {
            let from = after.clone();
            let users = self.0.parts.db.read(move |tx| repo::users_after(tx, &from, MAX_USERS_PER_STEP as u32)).await?;
            let Some(last) = users.last() else { return Ok(()) };
            after.clone_from(last);
            let users: Vec<UserId> = users.into_iter().filter_map(|user| user.try_into().ok()).collect();
            self.delete_untracked(&users).await?;
        }
    }

    /// Deletes the lists of the members of a room that the last local user left.
    async fn delete_members(&self, room: RoomNid) -> Result<(), DbError> {
        let Some(room) = self.0.parts.rooms.get_readable_nid(room).await? else { return Ok(()) };
        let view = room.view();
        if !view.local_joined.is_empty() || !view.is_encrypted() {
            return Ok(());
        }
        let members = view.state.of_type("m.room.member");
        let joined = members.filter(|entry| entry.membership == Some(Membership::Join));
        let joined: Vec<UserId> = joined.filter_map(|entry| UserId::try_from(&*entry.state_key).ok()).collect();
        self.delete_untracked(&joined).await
    }

    /// Deletes the lists of those of the users who share no encrypted room.
    async fn delete_untracked(&self, users: &[UserId]) -> Result<(), DbError> {
        for users in users.chunks(MAX_USERS_PER_STEP) {
            let ids: Vec<String> = users.iter().map(UserId::to_string).collect();
            let lists = self.0.parts.db.read(move |tx| {
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                repo::lists(tx, &ids)
            });
            let mut gone = Vec::new();
            for list in lists.await? {
                let Ok(user) = UserId::try_from(list.user_id) else { continue };
                if !self.0.is_in_encrypted_room(&user).await? {
                    gone.push(user);
                }
            }
            if gone.is_empty() {
                continue;
            }
            let deletion = self.0.parts.db.write(move |tx| {
                let gone: Vec<&str> = gone.iter().map(UserId::as_str).collect();
                repo::forget(tx, &gone)
            });
            let deleted: Result<u64, DbError> = deletion.await;
            self.0.tracked.fetch_sub(deleted?, Ordering::Relaxed);
        }
        Ok(())
    }
}
