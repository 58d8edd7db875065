//! Who is followed: users who share an encrypted room with a local one.

use std::sync::atomic::Ordering;
use std::time::Duration;

use plexus_protocol::id::UserId;
use plexus_protocol::membership::Membership;
use plexus_rooms::RoomView;
use plexus_store::repo::remote_devices as repo;
use plexus_store::{DbError, RoomNid};

use super::RemoteDevices;
use super::departed::Departed;

/// How many users are looked at in one step.
const STEP: usize = 500;
/// How long to wait when the database fails.
const PAUSE: Duration = Duration::from_secs(1);

impl RemoteDevices {
    /// Whether a user is in an encrypted room that local users are in.
    pub(super) async fn is_met(&self, user: &UserId) -> Result<bool, DbError> {
        self.is_in_room(user, RoomView::is_encrypted).await
    }

    /// Whether a user is in any room that local users are in.
    pub(super) async fn shares_room(&self, user: &UserId) -> Result<bool, DbError> {
        self.is_in_room(user, |_| true).await
    }

    async fn is_in_room(&self, user: &UserId, counts: impl Fn(&RoomView) -> bool) -> Result<bool, DbError> {
        let rooms = &self.parts.rooms;
        for room in rooms.memberships().of(user).await?.joined() {
            let Some(room) = rooms.get_readable_nid(room).await? else { continue };
            let view = room.view();
            if !view.local_joined.is_empty() && counts(&view) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forgets users with whom no encrypted room is shared any more: their servers tell nothing more about them.
    pub(super) async fn forget_strangers(&self) {
        // The last run may have ended between a leave and this.
        let mut departed = Departed::Anybody;
        loop {
            while let Err(error) = self.forget_departed(&departed).await {
                tracing::warn!("devices of users who are gone are kept for now: {error}");
                self.parts.clock.sleep(PAUSE).await;
            }
            departed = self.departed.take().await;
        }
    }

    async fn forget_departed(&self, departed: &Departed) -> Result<(), DbError> {
        match departed {
            Departed::Anybody => self.forget_all_strangers().await,
            Departed::These(these) => {
                let own = self.parts.rooms.server_name().as_str();
                let (ours, theirs): (Vec<_>, Vec<_>) = these.iter().partition(|(_, user)| user.server_name() == own);
                let theirs: Vec<UserId> = theirs.into_iter().map(|(_, user)| user.clone()).collect();
                self.forget_those(&theirs).await?;
                let mut rooms: Vec<RoomNid> = ours.into_iter().map(|(room, _)| *room).collect();
                rooms.dedup();
                for room in rooms {
                    self.forget_members(room).await?;
                }
                Ok(())
            }
        }
    }

    async fn forget_all_strangers(&self) -> Result<(), DbError> {
        let mut after = String::new();
        loop {
            let from = after.clone();
            let users = self.parts.db.read(move |tx| repo::users_after(tx, &from, STEP as u32)).await?;
            let Some(last) = users.last() else { return Ok(()) };
            after.clone_from(last);
            let users: Vec<UserId> = users.into_iter().filter_map(|user| user.try_into().ok()).collect();
            self.forget_those(&users).await?;
        }
    }

    /// Of a room that the last local user left, the members that are met nowhere else.
    async fn forget_members(&self, room: RoomNid) -> Result<(), DbError> {
        let Some(room) = self.parts.rooms.get_readable_nid(room).await? else { return Ok(()) };
        let view = room.view();
        if !view.local_joined.is_empty() || !view.is_encrypted() {
            return Ok(());
        }
        let members = view.state.of_type("m.room.member");
        let joined = members.filter(|entry| entry.membership == Some(Membership::Join));
        let joined: Vec<UserId> = joined.filter_map(|entry| UserId::try_from(&*entry.state_key).ok()).collect();
        self.forget_those(&joined).await
    }

    /// Forgets those of the users that are followed and not met any more.
    async fn forget_those(&self, users: &[UserId]) -> Result<(), DbError> {
        for users in users.chunks(STEP) {
            let ids: Vec<String> = users.iter().map(UserId::to_string).collect();
            let lists = self.parts.db.read(move |tx| {
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                repo::lists(tx, &ids)
            });
            let mut gone = Vec::new();
            for list in lists.await? {
                let Ok(user) = UserId::try_from(list.user_id) else { continue };
                if !self.is_met(&user).await? {
                    gone.push(user);
                }
            }
            if gone.is_empty() {
                continue;
            }
            let forget = self.parts.db.write(move |tx| {
                let gone: Vec<&str> = gone.iter().map(UserId::as_str).collect();
                repo::forget(tx, &gone)
            });
            let forgotten: Result<u64, DbError> = forget.await;
            self.followed.fetch_sub(forgotten?, Ordering::Relaxed);
        }
        Ok(())
    }
}
