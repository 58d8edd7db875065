//! The user directory: users by the words of their names and ids.

use std::collections::{BTreeMap, HashMap};

use plexus_protocol::id::UserId;
use plexus_protocol::json::Value;
use sha2::{Digest as _, Sha256};

use super::events::unpacked;
use super::user_ids;
use crate::db::ToSql;
use crate::words::words;
use crate::{Any, DbError, RoomNid, Tx, UserNid, first};

/// Takes the place of a room: the profile of a local user on this server.
pub const OWN_PROFILE: RoomNid = 0;
/// How many words that begin with a searched prefix are considered, so that a search for one letter is bounded (as in
/// Synapse).
const MAX_CANDIDATES: u32 = 10_000;

/// A user as shown in search results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub user_id: String,
    /// Whether it is a user of this server.
    pub is_local: bool,
    /// JSON string.
    pub display_name: Option<String>,
    /// JSON string.
    pub avatar_url: Option<String>,
}

impl Profile {
    fn nid(&self) -> i64 {
        let mut hash = Sha256::new();
        for text in [Some(&self.user_id), self.display_name.as_ref(), self.avatar_url.as_ref()] {
            hash.update(text.map_or("", String::as_str));
            // Occurs in no JSON and no user id.
            hash.update([0xFF]);
        }
        let hash: [u8; 32] = hash.finalize().into();
        let first = hash.first_chunk().copied().unwrap_or_default();
        i64::from_be_bytes(first) & i64::MAX
    }

    /// Returns the words by which the user is found.
    fn words(&self) -> Vec<String> {
        let name = self.display_name.as_deref().and_then(|json| Value::parse(json).ok());
        let mut all = name.as_ref().and_then(Value::as_str).map(words).unwrap_or_default();
        all.extend(words(&self.user_id));
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Sets the profiles of users in a room, or ([`OWN_PROFILE`]) on this server; `None` for users who are not in the room.
/// Each user at most once.
pub fn set(tx: &mut Tx<'_>, room: RoomNid, users: &[(UserNid, Option<Profile>)]) -> Result<(), DbError> {
    let nids: Vec<UserNid> = users.iter().map(|(user, _)| *user).collect();
    let known: HashMap<UserNid, i64> = tx
        .query(
            "SELECT user_nid, profile_nid FROM user_directory_sources WHERE room_nid = $1 AND user_nid = ANY($2)",
            &[&room, &Any(&nids)],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .into_iter()
        .collect();
    let mut new: BTreeMap<i64, (UserNid, &Profile)> = BTreeMap::new();
    let (mut sources, mut gone, mut replaced) = (Vec::new(), Vec::new(), Vec::new());
    for (user, profile) in users {
        let (before, now) = (known.get(user).copied(), profile.as_ref().map(Profile::nid));
        if before == now {
            continue;
        }
        replaced.extend(before);
        match (profile, now) {
            (Some(profile), Some(nid)) => {
                new.insert(nid, (*user, profile));
                sources.push((*user, nid));
            }
            _ => gone.push(*user),
        }
    }
    insert_profiles(tx, &new)?;
    tx.insert_many_later(
        "INSERT INTO user_directory_sources (room_nid, user_nid, profile_nid) VALUES ($1, $2, $3)
         ON CONFLICT (room_nid, user_nid) DO UPDATE SET profile_nid = excluded.profile_nid",
        sources.iter().map(|(user, nid)| [room.to_param(), user.to_param(), nid.to_param()]),
    )?;
    tx.insert_many_later(
        "DELETE FROM user_directory_sources WHERE room_nid = $1 AND user_nid = $2",
        gone.iter().map(|user| [room.to_param(), user.to_param()]),
    )?;
    delete_unused(tx, &replaced)
}

fn insert_profiles(tx: &mut Tx<'_>, new: &BTreeMap<i64, (UserNid, &Profile)>) -> Result<(), DbError> {
    tx.insert_many_later(
        "INSERT INTO user_directory_profiles (profile_nid, user_nid, is_local, display_name, avatar_url)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (profile_nid) DO NOTHING",
        new.iter().map(|(nid, (user, profile))| {
            [
                nid.to_param(),
                user.to_param(),
                profile.is_local.to_param(),
                profile.display_name.to_param(),
                profile.avatar_url.to_param(),
            ]
        }),
    )?;
    let words: Vec<(i64, Vec<u8>)> = new
        .iter()
        .flat_map(|(nid, (_, profile))| profile.words().into_iter().map(|word| (*nid, word.into_bytes())))
        .collect();
    tx.insert_many_later(
        "INSERT INTO user_directory_words (profile_nid, word) VALUES ($1, $2)
         ON CONFLICT (profile_nid, word) DO NOTHING",
        words.iter().map(|(nid, word)| [nid.to_param(), word.to_param()]),
    )?;
    Ok(())
}

/// Deletes profiles that no user has anywhere.
fn delete_unused(tx: &mut Tx<'_>, profiles: &[i64]) -> Result<(), DbError> {
    let each = || profiles.iter().map(|profile| [profile.to_param()]);
    tx.insert_many_later(
        "DELETE FROM user_directory_words WHERE profile_nid = $1 AND NOT EXISTS
         (SELECT 1 FROM user_directory_sources s WHERE s.profile_nid = user_directory_words.profile_nid)",
        each(),
    )?;
    tx.insert_many_later(
        "DELETE FROM user_directory_profiles WHERE profile_nid = $1 AND NOT EXISTS
         (SELECT 1 FROM user_directory_sources s WHERE s.profile_nid = user_directory_profiles.profile_nid)",
        each(),
    )?;
    Ok(())
}

/// Indexes a local user, by the account and profile in this transaction. Guests, deactivated and support users, and
/// those of application services, are not indexed.
pub fn index_local(tx: &mut Tx<'_>, user_id: &str) -> Result<(), DbError> {
    let account = tx.query_opt(
        "SELECT u.is_guest, u.deactivated, u.appservice_id IS NOT NULL, u.user_type, n.value, a.value FROM users u
         LEFT JOIN profile_fields n ON n.user_id = u.user_id AND n.field = 'displayname'
         LEFT JOIN profile_fields a ON a.user_id = u.user_id AND a.field = 'avatar_url'
         WHERE u.user_id = $1",
        &[&user_id],
        |row| {
            let hidden = row.get::<bool>(0)? || row.get::<bool>(1)? || row.get::<bool>(2)?;
            let user_type: Option<String> = row.get(3)?;
            Ok((hidden || user_type.as_deref() == Some("support"), row.get(4)?, row.get(5)?))
        },
    )?;
    let Some((is_hidden, display_name, avatar_url)) = account else { return Ok(()) };
    let Ok(id) = UserId::try_from(user_id) else { return Ok(()) };
    let profile = Profile { user_id: user_id.to_owned(), is_local: true, display_name, avatar_url };
    let nid = user_ids::nid(tx, &id)?;
    set(tx, OWN_PROFILE, &[(nid, (!is_hidden).then_some(profile))])
}

/// Sets whether all users find the members of a room.
pub fn set_open(tx: &mut Tx<'_>, room: RoomNid, is_open: bool) -> Result<(), DbError> {
    tx.execute_later("DELETE FROM user_directory_old_rooms WHERE room_nid = $1", &[&room])?;
    if is_open {
        tx.execute_later(
            "INSERT INTO user_directory_open_rooms (room_nid) VALUES ($1) ON CONFLICT (room_nid) DO NOTHING",
            &[&room],
        )?;
    } else {
        tx.execute_later("DELETE FROM user_directory_open_rooms WHERE room_nid = $1", &[&room])?;
    }
    Ok(())
}

/// Returns some rooms that are older than the user directory.
pub fn old_rooms(tx: &mut Tx<'_>, limit: u32) -> Result<Vec<RoomNid>, DbError> {
    tx.query("SELECT room_nid FROM user_directory_old_rooms ORDER BY room_nid LIMIT $1", &[&limit], first)
}

/// Like [`set_open`] for one of [`old_rooms`], unless that has been called for it since.
pub fn set_open_if_old(tx: &mut Tx<'_>, room: RoomNid, is_open: bool) -> Result<(), DbError> {
    let is_old = tx.query_opt("SELECT 1 FROM user_directory_old_rooms WHERE room_nid = $1", &[&room], first::<i64>)?;
    match is_old {
        Some(_) => set_open(tx, room, is_open),
        None => Ok(()),
    }
}

/// Indexes some users who are older than the user directory; returns how many.
pub fn index_old_users(tx: &mut Tx<'_>, limit: u32) -> Result<usize, DbError> {
    let users: Vec<String> =
        tx.query("SELECT user_id FROM user_directory_old_users ORDER BY user_id LIMIT $1", &[&limit], first)?;
    for user in &users {
        index_local(tx, user)?;
        tx.execute_later("DELETE FROM user_directory_old_users WHERE user_id = $1", &[user])?;
    }
    Ok(users.len())
}

/// A membership that has not been indexed yet.
#[derive(Debug)]
pub struct StaleMembership {
    pub room_nid: RoomNid,
    pub user_nid: UserNid,
    pub user_id: String,
    /// The member event of a user who is joined, unless it has been redacted or cannot be read.
    pub join: Option<String>,
    pub is_joined: bool,
}

/// Returns some memberships that have not been indexed yet, those of a room together.
pub fn stale(tx: &mut Tx<'_>, limit: u32) -> Result<Vec<StaleMembership>, DbError> {
    tx.query(
        "SELECT m.room_nid, m.user_nid, u.user_id, m.membership,
             CASE WHEN m.membership = 1 AND e.redacted_by IS NULL THEN e.json END
         FROM memberships m JOIN user_ids u ON u.user_nid = m.user_nid LEFT JOIN events e ON e.event_nid = m.event_nid
         WHERE m.directory_stale = 1 ORDER BY m.room_nid, m.user_nid LIMIT $1",
        &[&limit],
        |row| {
            let is_joined = row.get::<i64>(3)? == 1;
            Ok(StaleMembership {
                room_nid: row.get(0)?,
                user_nid: row.get(1)?,
                user_id: row.get(2)?,
                join: unpacked(row, 4)?.ok(),
                is_joined,
            })
        },
    )
}

/// Marks memberships as indexed.
pub fn mark_indexed(tx: &mut Tx<'_>, memberships: &[StaleMembership]) -> Result<(), DbError> {
    tx.insert_many_later(
        "UPDATE memberships SET directory_stale = 0 WHERE user_nid = $1 AND room_nid = $2",
        memberships.iter().map(|membership| [membership.user_nid.to_param(), membership.room_nid.to_param()]),
    )?;
    Ok(())
}

/// The searching user and the users to search.
#[derive(Debug, Clone)]
pub struct Scope {
    pub searcher: String,
    /// All local users, and not only users in open rooms and users who share a room with the searcher.
    pub all: bool,
    /// Only local users.
    pub local_only: bool,
    /// Also users that an administrator has locked.
    pub locked: bool,
}

/// Returns the profiles that contain the rarest of `words` (only as a whole word, not as a prefix, when there are many)
/// and that the searcher may see: profiles in open rooms, in the searcher's rooms, of local users in such rooms, or of
/// all local users. In an open room searchers find themselves too, unless all users are searched.
pub fn candidates(tx: &mut Tx<'_>, words: &[String], scope: &Scope) -> Result<Vec<Profile>, DbError> {
    let mut rarest: Option<(i64, Vec<u8>, Vec<u8>)> = None;
    for word in words {
        let (from, to) = prefixed(word);
        let count: i64 = tx.query_one(
            "SELECT COUNT(*) FROM
             (SELECT 1 FROM user_directory_words WHERE word >= $1 AND word < $2 LIMIT $3) AS beginning_so",
            &[&from, &to, &MAX_CANDIDATES],
            first,
        )?;
        if rarest.as_ref().is_none_or(|(fewest, ..)| count < *fewest) {
            rarest = Some((count, from, to));
        }
    }
    let Some((_, from, to)) = rarest else { return Ok(Vec::new()) };
    let searcher = user_ids::find(tx, &scope.searcher)?.unwrap_or(-1);
    tx.query(
        "SELECT u.user_id, p.is_local, p.display_name, p.avatar_url
         FROM (SELECT DISTINCT w.profile_nid FROM
                 (SELECT profile_nid FROM user_directory_words WHERE word >= $1 AND word < $2
                  ORDER BY word LIMIT $3) AS w) AS m
         JOIN user_directory_profiles p ON p.profile_nid = m.profile_nid
         JOIN user_ids u ON u.user_nid = p.user_nid
         LEFT JOIN users l ON l.user_id = u.user_id
         WHERE ($5 = 0 OR p.is_local = 1) AND ($6 = 1 OR l.locked IS NULL OR l.locked = 0) AND (
             ($7 = 1 AND p.is_local = 1 AND p.user_nid <> $4)
             OR (($7 = 0 OR p.is_local = 0) AND EXISTS (SELECT 1 FROM user_directory_sources s \
             WHERE s.profile_nid = p.profile_nid AND (
                 EXISTS (SELECT 1 FROM user_directory_open_rooms o WHERE o.room_nid = s.room_nid)
                 OR EXISTS (SELECT 1 FROM memberships own
                     WHERE own.user_nid = $4 AND own.room_nid = s.room_nid AND own.membership = 1)
                 OR (s.room_nid = 0 AND EXISTS (SELECT 1 FROM memberships theirs
                     WHERE theirs.user_nid = p.user_nid AND theirs.membership = 1 AND (
                         EXISTS (SELECT 1 FROM user_directory_open_rooms o WHERE o.room_nid = theirs.room_nid)
                         OR (p.user_nid <> $4 AND EXISTS (SELECT 1 FROM memberships own
                             WHERE own.user_nid = $4 AND own.room_nid = theirs.room_nid
                                 AND own.membership = 1)))))))))",
        &[&from, &to, &MAX_CANDIDATES, &searcher, &scope.local_only, &scope.locked, &scope.all],
        |row| {
            Ok(Profile {
                user_id: row.get(0)?,
                is_local: row.get(1)?,
                display_name: row.get(2)?,
                avatar_url: row.get(3)?,
            })
        },
    )
}

/// Returns the range of the words with a prefix.
fn prefixed(word: &str) -> (Vec<u8>, Vec<u8>) {
    let from = word.as_bytes().to_vec();
    let mut to = from.clone();
    // Occurs in no UTF-8.
    to.push(0xFF);
    (from, to)
}
