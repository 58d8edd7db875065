//! Closing accounts.

use plexus_protocol::id::UserId;
use plexus_store::repo::{
    account_data, delayed_events, device_keys, device_lists, erasure, key_backup, profiles, pushers,
    thread_subscriptions, users,
};
use plexus_store::{Database, DbError};

use crate::sessions::Sessions;

/// Closes accounts. Leaving the rooms is the room engine's part: [`Deactivation::unfinished`] lists the users who still
/// have to, also after a restart, and [`Deactivation::left_rooms`] ends it.
#[derive(Clone)]
pub struct Deactivation {
    db: Database,
    sessions: Sessions,
}

impl Deactivation {
    /// Creates the service. `sessions` ends the account's sessions.
    #[must_use]
    pub fn new(db: Database, sessions: Sessions) -> Self {
        Self { db, sessions }
    }

    /// Deactivates an account: nobody can log in to it any more; its sessions, devices, keys, backups, account data and
    /// third-party identifiers are deleted. With `erase` the profile is deleted too, and users who were not in a room
    /// when the user's events were sent there see redacted copies of them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deactivate(&self, user_id: &UserId, erase: bool) -> Result<(), DbError> {
        let (sessions, user_id) = (self.sessions.clone(), user_id.clone());
        self.db
            .write(move |tx| {
                users::deactivate(tx, user_id.as_str())?;
                sessions.end_all_in(tx, &user_id, None)?;
                if !device_keys::cross_signing_of_users(tx, &[user_id.as_str()])?.is_empty() {
                    device_keys::delete_cross_signing(tx, user_id.as_str())?;
                    device_lists::record(tx, &user_id, device_lists::CROSS_SIGNING)?;
                }
                if erase {
                    profiles::erase(tx, user_id.as_str())?;
                    erasure::mark(tx, user_id.as_str())?;
                }
                account_data::delete_all(tx, user_id.as_str())?;
                thread_subscriptions::delete_all(tx, user_id.as_str())?;
                pushers::delete_all(tx, &user_id)?;
                delayed_events::delete_all(tx, user_id.as_str())?;
                key_backup::delete_all(tx, user_id.as_str())
            })
            .await
    }

    /// Returns the deactivated users who have not left their rooms yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unfinished(&self) -> Result<Vec<UserId>, DbError> {
        let users: Vec<String> = self.db.read::<_, DbError, _>(users::with_rooms_to_leave).await?;
        users
            .into_iter()
            .map(|id| UserId::try_from(id).map_err(|error| DbError::bad_data("users_to_part.user_id", error)))
            .collect()
    }

    /// Records that a deactivated user has left all rooms; without effect while the user is in a room, invited to one
    /// or knocking on one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn left_rooms(&self, user_id: &UserId) -> Result<(), DbError> {
        let user_id = user_id.clone();
        self.db.write(move |tx| users::set_left_rooms(tx, user_id.as_str())).await
    }
}
