//! The users whose devices changed.

use std::collections::BTreeSet;

use plexus_protocol::id::UserId;
use plexus_store::{DbError, Tx, repo};

use super::context::Context;
use super::user_changes::UserChanges;
use crate::notifier::MaybeChanged;

/// `device_lists`
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DeviceListDelta {
    /// The users whose devices the client has to query again.
    pub changed: BTreeSet<UserId>,
    /// The users who share no room with the user any more.
    pub left: BTreeSet<UserId>,
}

impl DeviceListDelta {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.left.is_empty()
    }
}

/// Returns the users whose devices changed, and those who share no room with the user any more. There are none without
/// a token: the client queries all. The specification speaks of encrypted rooms; as in Synapse all rooms count, because
/// some clients rely on it.
pub(crate) async fn changed(context: &Context<'_>, users: &UserChanges) -> Result<DeviceListDelta, DbError> {
    if context.request.since.is_none() {
        return Ok(DeviceListDelta::default());
    }
    let me = &context.request.user;
    let (own, others): (BTreeSet<_>, BTreeSet<_>) =
        changed_users(context).await?.into_iter().partition(|user| user == me);
    let memberships = context.parts.rooms.memberships();
    let mut changed = memberships.sharing(&context.memberships, others).await?;
    changed.extend(own);
    changed.extend(users.keys_needed.iter().cloned());
    let mut left: BTreeSet<UserId> = users.left.iter().filter(|user| *user != me).cloned().collect();
    let still_shared = memberships.sharing(&context.memberships, left.iter().cloned()).await?;
    left.retain(|user| !still_shared.contains(user));
    Ok(DeviceListDelta { changed, left })
}

/// Returns all users whose devices changed, and those whose keys the user signed.
async fn changed_users(context: &Context<'_>) -> Result<Vec<UserId>, DbError> {
    let (since, upto) = (context.since_position(), context.now.position);
    let me = &context.request.user;
    let in_memory = context.parts.notifier.index().device_lists(me, since, upto);
    if let MaybeChanged::Known(users) = &in_memory
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
    let stored: Vec<String> = context.parts.db.read(read).await?;
    let mut users: Vec<UserId> = stored.into_iter().filter_map(|user| user.try_into().ok()).collect();
    if let MaybeChanged::Known(more) = in_memory {
        users.extend(more);
    }
    Ok(users)
}
