//! Profiles of this server's users who share a room with the user (MSC4429, MSC4262).

use std::collections::{BTreeMap, BTreeSet};

use plexus_protocol::id::UserId;
use plexus_store::repo::profiles::{self, ChangePlace, ProfileField};
use plexus_store::{DbError, Tx};

use super::context::Context;
use super::profile_fields::ProfileFields;
use super::user_changes::UserChanges;
use crate::notifier::MaybeChanged;

/// The most changes of profiles that are read by one query.
const CHANGES_PER_QUERY: usize = 2_000;
/// The number of users of one query.
const USERS_PER_QUERY: usize = 500;

/// How a profile changed for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProfileUpdate {
    /// The fields that the client may not have, by name, with their JSON values; `None`: there is no such field.
    Fields(BTreeMap<String, Option<String>>),
    /// The user does not share a room any more.
    Left,
}

/// How profiles changed for a client.
pub type ProfileUpdates = BTreeMap<UserId, ProfileUpdate>;

/// Returns the fields that changed since the token, those of users who have come to share a room since, and the users
/// who share none any more; everything without a token.
pub(crate) async fn changed(context: &Context<'_>, met: &UserChanges) -> Result<ProfileUpdates, DbError> {
    let mut updates = ProfileUpdates::new();
    if context.request.profiles == ProfileFields::None {
        return Ok(updates);
    }
    if context.request.since.is_none() {
        add_current(context, all_sharing(context).await?, &mut updates).await?;
        return Ok(updates);
    }
    add_changed(context, &mut updates).await?;
    let own_server = context.parts.rooms.server_name().as_str();
    let local = |users: &BTreeSet<UserId>| -> BTreeSet<UserId> {
        users.iter().filter(|user| user.server_name() == own_server).cloned().collect()
    };
    let mut new = local(&met.keys_needed);
    new.extend(local(&met.presence_needed));
    add_current(context, sharing(context, new).await?, &mut updates).await?;
    let left = local(&met.left);
    let still_sharing = sharing(context, left.clone()).await?;
    updates.extend(left.difference(&still_sharing).map(|user| (user.clone(), ProfileUpdate::Left)));
    Ok(updates)
}

/// Adds the fields that changed since the token, of users who share a room.
async fn add_changed(context: &Context<'_>, updates: &mut ProfileUpdates) -> Result<(), DbError> {
    let (since, upto) = (context.since_position(), context.now.position);
    if context.parts.notifier.index().profiles_changed(since) == MaybeChanged::Known(false) {
        return Ok(());
    }
    let mut next = Some(ChangePlace::after(since));
    while let Some(after) = next {
        let fields = context.request.profiles.clone();
        let read =
            move |tx: &mut Tx<'_>| profiles::changed(tx, fields.names().as_deref(), &after, upto, CHANGES_PER_QUERY);
        let (changed, last) = context.parts.db.read(read).await?;
        let users = changed.iter().filter_map(|row| UserId::try_from(row.user_id.as_str()).ok()).collect();
        let sharing = sharing(context, users).await?;
        add(changed.into_iter().filter(|row| sharing.contains(row.user_id.as_str())), updates);
        next = last;
    }
    Ok(())
}

/// Adds the fields of users that the client follows.
pub(crate) async fn add_current(
    context: &Context<'_>,
    users: BTreeSet<UserId>,
    updates: &mut ProfileUpdates,
) -> Result<(), DbError> {
    let users: Vec<UserId> = users.into_iter().collect();
    for users in users.chunks(USERS_PER_QUERY) {
        let (users, fields) = (users.to_vec(), context.request.profiles.clone());
        let read = move |tx: &mut Tx<'_>| {
            let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
            profiles::of_users(tx, &users, fields.names().as_deref())
        };
        let found: Vec<ProfileField> = context.parts.db.read(read).await?;
        add(found.into_iter(), updates);
    }
    Ok(())
}

fn add(rows: impl Iterator<Item = ProfileField>, updates: &mut ProfileUpdates) {
    for ProfileField { user_id, field, value } in rows {
        let Ok(user) = UserId::try_from(user_id) else { continue };
        let update = updates.entry(user).or_insert_with(|| ProfileUpdate::Fields(BTreeMap::new()));
        if let ProfileUpdate::Fields(fields) = update {
            fields.insert(field, value);
        }
    }
}

/// Returns the users among these who share a room with the user, or are the user.
async fn sharing(context: &Context<'_>, users: BTreeSet<UserId>) -> Result<BTreeSet<UserId>, DbError> {
    let is_asked_for = users.contains(&context.request.user);
    let mut sharing = context.parts.rooms.memberships().sharing(&context.memberships, users).await?;
    sharing.extend(is_asked_for.then(|| context.request.user.clone()));
    Ok(sharing)
}

/// Returns the users of this server who share a room with the user, and the user.
async fn all_sharing(context: &Context<'_>) -> Result<BTreeSet<UserId>, DbError> {
    let mut users = BTreeSet::from([context.request.user.clone()]);
    for room in context.memberships.joined() {
        if let Some(room) = context.parts.rooms.get_readable_nid(room).await? {
            users.extend(room.view().local_joined.iter().cloned());
        }
    }
    Ok(users)
}
