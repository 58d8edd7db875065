//! `m.device_list_update` and `m.signing_key_update` of tracked users.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_store::repo::remote_devices::{self as repo, RemoteList};
use plexus_store::{DbError, Tx};
use serde::Deserialize;

use super::received::{self, MAX_DEVICES, MAX_LIST_BYTES};
use super::{RemoteDevices, announce};

/// `m.device_list_update`: one device changed, appeared or vanished.
#[derive(Debug, Clone, Deserialize)]
pub struct DeviceUpdate {
    /// The user whose devices changed.
    pub user_id: UserId,
    device_id: String,
    stream_id: i64,
    #[serde(default)]
    prev_id: Vec<i64>,
    #[serde(default)]
    deleted: bool,
    device_display_name: Option<String>,
    keys: Option<Object>,
}

/// `m.signing_key_update`: cross-signing keys changed.
#[derive(Debug, Clone, Deserialize)]
pub struct SigningKeyUpdate {
    /// The user whose devices changed.
    pub user_id: UserId,
    master_key: Option<Object>,
    self_signing_key: Option<Object>,
}

/// The effect of an update on a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// It was applied before.
    None,
    /// The list is up to date as of the update.
    Next,
    /// Updates between the stored list and this one are missing, or there is no list: it has to be queried.
    Gap,
}

impl RemoteDevices {
    /// Applies an update of a user's devices. Returns `false` when no room is shared with the user. `announced` are the
    /// users that `pass_on` has announced for the same transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn update(&self, update: DeviceUpdate, announced: &mut HashSet<UserId>) -> Result<bool, DbError> {
        let Some(is_new) = self.is_tracked(&update.user_id).await? else {
            return self.pass_on(update.user_id, announced).await;
        };
        let now = self.parts.clock.now_ms();
        let effect = self.parts.db.write(move |tx| apply(tx, &update, now)).await?;
        self.outdated_if(effect == Effect::Gap, is_new);
        Ok(true)
    }

    /// Applies an update of a user's cross-signing keys, as [`Self::update`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn update_signing_keys(
        &self,
        update: SigningKeyUpdate,
        announced: &mut HashSet<UserId>,
    ) -> Result<bool, DbError> {
        let Some(is_new) = self.is_tracked(&update.user_id).await? else {
            return self.pass_on(update.user_id, announced).await;
        };
        let now = self.parts.clock.now_ms();
        let effect = self.parts.db.write(move |tx| apply_signing_keys(tx, &update, now)).await?;
        self.outdated_if(effect == Effect::Gap, is_new);
        Ok(true)
    }

    /// Announces that the devices of a user who is not tracked changed. The devices themselves are not stored: clients
    /// that want them query them, and get them as they are after the whole transaction. So a user is announced once a
    /// transaction, because it wakes everybody in the user's rooms.
    async fn pass_on(&self, user: UserId, announced: &mut HashSet<UserId>) -> Result<bool, DbError> {
        if announced.contains(&user) {
            return Ok(true);
        }
        if !self.shares_room(&user).await? {
            return Ok(false);
        }
        if !self.announcements.begin(&user, self.parts.clock.monotonic()) {
            announced.insert(user);
            return Ok(true);
        }
        let changed = user.clone();
        let written: Result<(), DbError> = self.parts.db.write(move |tx| announce(tx, &changed)).await;
        written?;
        announced.insert(user);
        Ok(true)
    }

    /// Whether a user is tracked, or is to be from now on (true).
    async fn is_tracked(&self, user: &UserId) -> Result<Option<bool>, DbError> {
        let key = user.to_string();
        let list = self.parts.db.read(move |tx| repo::list(tx, &key)).await?;
        match list {
            Some(_) => Ok(Some(false)),
            None if self.has_capacity() && self.is_in_encrypted_room(user).await? => Ok(Some(true)),
            None => Ok(None),
        }
    }

    fn outdated_if(&self, outdated: bool, is_new: bool) {
        if is_new {
            self.tracked.fetch_add(1, Ordering::Relaxed);
        }
        if outdated {
            self.outdated.notify_one();
        }
    }
}

fn apply(tx: &mut Tx<'_>, update: &DeviceUpdate, now: u64) -> Result<Effect, DbError> {
    let user = update.user_id.as_str();
    let effect = effect(repo::list(tx, user)?.as_ref(), update);
    match effect {
        Effect::None => {}
        // Clients learn of it with the response to the query.
        Effect::Gap => repo::outdate(tx, user, now)?,
        Effect::Next => {
            set_device(tx, update)?;
            repo::advance(tx, user, update.stream_id)?;
            announce(tx, &update.user_id)?;
        }
    }
    Ok(effect)
}

fn effect(list: Option<&RemoteList>, update: &DeviceUpdate) -> Effect {
    let Some(known) = list.filter(|list| list.ask_ts.is_none()).and_then(|list| list.stream_id) else {
        return Effect::Gap;
    };
    // Synapse answers `GET /user/devices` with a number that counts the changes of all its users: the list is as of
    // there, and the update before the next one may have a smaller number. A server that lost its memory counts from
    // the beginning again: what only looks old is not passed over.
    if update.stream_id == known {
        Effect::None
    } else if update.stream_id > known && !update.prev_id.is_empty() && update.prev_id.iter().all(|id| *id <= known) {
        Effect::Next
    } else {
        Effect::Gap
    }
}

fn set_device(tx: &mut Tx<'_>, update: &DeviceUpdate) -> Result<(), DbError> {
    let (user, device) = (&update.user_id, update.device_id.as_str());
    let keys = update.keys.clone().filter(|_| !update.deleted).and_then(|mut keys| {
        received::name(&mut keys, update.device_display_name.clone());
        received::device(user, device, &keys)
    });
    // A device without keys is nobody's business.
    let Some(keys) = keys else { return repo::delete_device(tx, user.as_str(), device) };
    let (others, bytes) = repo::size_without(tx, user.as_str(), device)?;
    if others >= MAX_DEVICES as u64 || bytes + keys.len() as u64 > MAX_LIST_BYTES as u64 {
        tracing::info!("device {device} of {user} is one too many: it is not stored");
        return Ok(());
    }
    repo::set_device(tx, user.as_str(), device, &keys)
}

fn apply_signing_keys(tx: &mut Tx<'_>, update: &SigningKeyUpdate, now: u64) -> Result<Effect, DbError> {
    let user = update.user_id.as_str();
    if repo::list(tx, user)?.is_none_or(|list| list.ask_ts.is_some()) {
        repo::outdate(tx, user, now)?;
        return Ok(Effect::Gap);
    }
    let key = |key: &Option<Object>| key.as_ref().and_then(|key| received::cross_signing_key(&update.user_id, key));
    let (master, self_signing) = (key(&update.master_key), key(&update.self_signing_key));
    repo::set_cross_signing(tx, user, master.as_deref(), self_signing.as_deref())?;
    announce(tx, &update.user_id)?;
    Ok(Effect::Next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(stream_id: i64, prev_id: &[i64]) -> DeviceUpdate {
        DeviceUpdate {
            user_id: UserId::try_from("@a:x").unwrap(),
            device_id: "D".to_owned(),
            stream_id,
            prev_id: prev_id.to_vec(),
            deleted: false,
            device_display_name: None,
            keys: None,
        }
    }

    fn list(stream_id: Option<i64>, ask_ts: Option<u64>) -> RemoteList {
        let (user_id, revision) = ("@a:x".to_owned(), 0);
        RemoteList { user_id, stream_id, master_key: None, self_signing_key: None, revision, ask_ts, failures: 0 }
    }

    #[test]
    fn an_update_is_applied_only_after_the_one_before() {
        let good = list(Some(5), None);
        assert_eq!(effect(Some(&good), &update(7, &[5])), Effect::Next);
        assert_eq!(effect(Some(&good), &update(7, &[4])), Effect::Next);
        assert_eq!(effect(Some(&good), &update(5, &[3])), Effect::None);
        assert_eq!(effect(Some(&good), &update(7, &[6])), Effect::Gap);
        assert_eq!(effect(Some(&good), &update(7, &[5, 6])), Effect::Gap);
        assert_eq!(effect(Some(&good), &update(7, &[])), Effect::Gap);
        assert_eq!(effect(Some(&good), &update(3, &[5])), Effect::Gap);
        assert_eq!(effect(Some(&list(Some(5), Some(1))), &update(7, &[5])), Effect::Gap);
        assert_eq!(effect(Some(&list(None, None)), &update(7, &[5])), Effect::Gap);
        assert_eq!(effect(None, &update(7, &[])), Effect::Gap);
    }
}
