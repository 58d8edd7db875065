//! What concerns the device and encryption: messages to it, its keys, and whose devices changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_protocol::json::{NotPortable, Object};
use plexus_rooms::UserRooms;
use plexus_store::repo::to_device::{Most, Waiting};
use plexus_store::{Database, DbError, Position, Tx, repo};
use quick_cache::sync::Cache;

use super::build::Build;
use super::{SyncEngine, SyncRequest};
use crate::json::{Members, push_array, push_str};
use crate::notifier::{ChangeIndex, Known};

/// The most messages to a device in one answer, in number and in bytes: a phone has to read the answer at once. The
/// others come with the next one.
const MOST_MESSAGES: Most = Most { messages: 100, bytes: 1024 * 1024 };
/// How many devices' key counts are kept.
const KEPT: usize = 50_000;

/// `device_one_time_keys_count` and `device_unused_fallback_key_types` of each device, as JSON members.
pub(super) struct KeyCounts(Cache<(UserId, String), Arc<Counted>>);

struct Counted {
    read_at: Position,
    one_time: String,
    unused_fallback: String,
}

/// Messages to the device.
#[derive(Default)]
pub(super) struct Messages {
    pub events: Vec<String>,
    /// Set when there are more: the last one that is told now.
    pub told_to: Option<Position>,
}

/// With whom the user has come together, and who has left rooms.
#[derive(Default)]
pub(super) struct Encounters {
    /// Whose keys the client has to ask for: users who joined, knocked or were invited, and those in a room that has
    /// become encrypted.
    pub joined: BTreeSet<UserId>,
    pub left: BTreeSet<UserId>,
    /// Whose presence the user has not been told.
    pub met: BTreeSet<UserId>,
}

/// `device_lists`
#[derive(Default)]
pub(super) struct DeviceLists {
    pub changed: BTreeSet<UserId>,
    pub left: BTreeSet<UserId>,
}

impl Default for KeyCounts {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

impl KeyCounts {
    /// Appends both members to an object.
    pub async fn write(
        &self,
        out: &mut Members<'_>,
        db: &Database,
        index: &ChangeIndex,
        request: &SyncRequest,
    ) -> Result<(), DbError> {
        let Some(device) = &request.device else { return Ok(()) };
        let key = (request.user.clone(), device.clone());
        let counted = match self.0.get(&key) {
            Some(counted) if index.device_keys_changed(&key.0, &key.1, counted.read_at) == Known::Yes(false) => counted,
            _ => {
                let counted = Arc::new(count(db, &key).await?);
                self.0.insert(key, Arc::clone(&counted));
                counted
            }
        };
        out.raw("device_one_time_keys_count", &counted.one_time);
        out.raw("device_unused_fallback_key_types", &counted.unused_fallback);
        Ok(())
    }
}

async fn count(db: &Database, (user, device): &(UserId, String)) -> Result<Counted, DbError> {
    let read_at = db.committed();
    let (user, device) = (user.to_string(), device.clone());
    let read = move |tx: &mut Tx<'_>| {
        let counts = repo::one_time_keys::counts(tx, &user, &device)?;
        Ok::<_, DbError>((counts, repo::one_time_keys::unused_fallback_types(tx, &user, &device)?))
    };
    let (mut counts, types): (BTreeMap<String, u64>, Vec<String>) = db.read(read).await?;
    // Clients take a missing count for an unchanged one.
    counts.entry("signed_curve25519".to_owned()).or_insert(0);
    let (mut one_time, mut unused_fallback) = (String::new(), String::new());
    let mut members = Members::open(&mut one_time);
    counts.iter().for_each(|(algorithm, count)| members.number(algorithm, count));
    members.close();
    push_strings(&mut unused_fallback, types.iter().map(String::as_str));
    Ok(Counted { read_at, one_time, unused_fallback })
}

/// Appends an array of strings.
pub(super) fn push_strings<'s>(out: &mut String, strings: impl IntoIterator<Item = &'s str>) {
    let quoted: Vec<String> = strings
        .into_iter()
        .map(|text| {
            let mut quoted = String::new();
            push_str(&mut quoted, text);
            quoted
        })
        .collect();
    push_array(out, quoted.iter().map(String::as_str));
}

/// Whether clients can read a message. One that was stored before messages were checked would spoil the whole answer;
/// it is deleted with those around it.
fn is_readable(user: &UserId, message: &Waiting) -> bool {
    let checked = Object::parse(&message.message).map_err(NotPortable::from);
    let checked = checked.and_then(|event| event.get_object("content").map_or(Ok(()), Object::check_readable));
    if let Err(error) = &checked {
        tracing::warn!("message {} to a device of {user} is left out: {error}", message.position);
    }
    checked.is_ok()
}

impl SyncEngine {
    /// Deletes the messages to the device that the client, by its token, says it has.
    pub(super) async fn acknowledge(&self, request: &SyncRequest, upto: Position) -> Result<(), DbError> {
        let (db, index) = (&self.parts.db, self.parts.notifier.index());
        let Some(device) = &request.device else { return Ok(()) };
        let upto = upto.min(db.committed());
        if !index.to_device_uncleared(&request.user, device, upto) {
            return Ok(());
        }
        let (user, id) = (request.user.to_string(), device.clone());
        let (key, device_id) = (user.clone(), id.clone());
        let span = db.read(move |tx| repo::to_device::span(tx, &key, &device_id)).await?;
        if span.is_some_and(|(oldest, _)| oldest <= upto) {
            db.write(move |tx| repo::to_device::acknowledge(tx, &user, &id, upto)).await?;
        }
        index.to_device_cleared(&request.user, device, upto);
        Ok(())
    }
}

impl Build<'_> {
    /// Messages to the device that it has not acknowledged.
    pub async fn messages(&self) -> Result<Messages, DbError> {
        let Some(device) = &self.request.device else { return Ok(Messages::default()) };
        let (user, upto) = (&self.request.user, self.now.position);
        let since = self.request.since.map_or(0, |since| since.to_device_position());
        let index = self.parts().notifier.index();
        if index.to_device_changed(user, device, since) == Known::Yes(false) {
            return Ok(Messages::default());
        }
        let (key, device) = (user.to_string(), device.clone());
        let read = move |tx: &mut Tx<'_>| repo::to_device::waiting(tx, &key, &device, (since, upto), MOST_MESSAGES);
        let (mut waiting, more): (Vec<Waiting>, bool) = self.parts().db.read(read).await?;
        let told_to = waiting.last().filter(|_| more).map(|last| last.position);
        waiting.retain(|message| is_readable(user, message));
        Ok(Messages { events: waiting.into_iter().map(|message| message.message).collect(), told_to })
    }

    /// Whose devices changed, and who is no longer of interest. An initial sync lists none: the client asks for all. The
    /// specification speaks of encrypted rooms. As in Synapse all rooms count: some clients rely on it.
    pub async fn device_lists(&self, encounters: &Encounters) -> Result<DeviceLists, DbError> {
        if self.request.since.is_none() {
            return Ok(DeviceLists::default());
        }
        let me = &self.request.user;
        let (own, others): (BTreeSet<_>, BTreeSet<_>) =
            self.changed_devices().await?.into_iter().partition(|user| user == me);
        let memberships = self.parts().rooms.memberships();
        let mut changed = memberships.sharing(&self.memberships, others).await?;
        changed.extend(own);
        changed.extend(encounters.joined.iter().cloned());
        let mut left: BTreeSet<UserId> = encounters.left.iter().filter(|user| *user != me).cloned().collect();
        let kept = memberships.sharing(&self.memberships, left.iter().cloned()).await?;
        left.retain(|user| !kept.contains(user));
        Ok(DeviceLists { changed, left })
    }

    /// Everybody whose devices changed, and those whose keys the user signed.
    async fn changed_devices(&self) -> Result<Vec<UserId>, DbError> {
        let (since, upto) = (self.since_position(), self.now.position);
        let me = &self.request.user;
        let known = self.parts().notifier.index().device_lists(me, since, upto);
        if let Known::Yes(users) = &known
            && !users.contains(me)
        {
            return Ok(users.clone());
        }
        let key = me.to_string();
        let read = move |tx: &mut Tx<'_>| {
            let mut users = repo::device_lists::changed_users(tx, since, upto)?;
            users.extend(repo::device_lists::signed_by(tx, &key, since, upto)?);
            Ok::<_, DbError>(users)
        };
        let stored: Vec<String> = self.parts().db.read(read).await?;
        let mut users: Vec<UserId> = stored.into_iter().filter_map(|user| user.try_into().ok()).collect();
        if let Known::Yes(more) = known {
            users.extend(more);
        }
        Ok(users)
    }

    /// The rooms of a user.
    pub async fn rooms_of(&self, user: &UserId) -> Result<UserRooms, DbError> {
        self.parts().rooms.memberships().of(user).await
    }
}
