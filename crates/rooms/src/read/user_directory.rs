//! The user directory: a search for users by name
//! (<https://spec.matrix.org/v1.19/client-server-api/#user-directory>).
//!
//! Users of this server are indexed in the transaction that changes their account or profile. Users of other servers
//! are indexed by their names in rooms, in the background and a few at a time, so that a room with thousands of members
//! does not block other writers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, future, stream};
use plexus_base::config::PolicyCallback;
use plexus_net::PolicyHooks;
use plexus_net::policy_hooks::UserProfile;
use plexus_protocol::id::UserId;
use plexus_protocol::json::{Object, Value};
use plexus_store::repo::profiles::longest;
use plexus_store::repo::user_directory::{self, Profile, Scope, StaleMembership};
use plexus_store::words::words;
use plexus_store::{DbError, RoomNid, Tx};
use tokio::sync::Semaphore;

use crate::model::rooms::Rooms;

/// The number of memberships, or users, that one transaction indexes: some milliseconds of the writer's time.
const MEMBERSHIPS_PER_TRANSACTION: u32 = 100;
/// The time for which changes are collected, so that one transaction indexes many. Searches end it early.
const INDEXING_DELAY: Duration = Duration::from_secs(1);
/// The maximum number of concurrent searches: one for a frequent word may read ten thousand users and all their rooms.
const CONCURRENT_SEARCHES: usize = 2;
/// The number of rooms, older than the directory, that are read at a time.
const ROOMS_PER_READ: u32 = 50;
/// The maximum time that a search waits until the changes before it are indexed.
const MAX_INDEX_WAIT: Duration = Duration::from_secs(1);
/// The time after which indexing is tried again when the database has failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// The number of found users that hooks are asked about at the same time.
const MAX_ASKED_AT_ONCE: usize = 8;
/// The maximum number of words of a search, as in Synapse.
const MAX_WORDS: usize = 10;

/// The options of a search.
#[derive(Debug, Clone)]
pub struct UserSearch {
    /// The users that may be found.
    pub scope: Scope,
    /// Whether users of this server are preferred among equally good matches and somewhat worse ones.
    pub prefer_local: bool,
    /// The maximum number of users.
    pub limit: usize,
}

/// A user who was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundUser {
    /// The user.
    pub user_id: String,
    /// The display name that the searcher may see.
    pub display_name: Option<String>,
    /// The avatar that the searcher may see.
    pub avatar_url: Option<String>,
}

/// The user directory. A server has one.
pub struct UserDirectory {
    rooms: Arc<Rooms>,
    policy_hooks: Option<Arc<PolicyHooks>>,
    searches: Semaphore,
}

impl UserDirectory {
    /// Creates the directory of the users in these rooms. `policy_hooks` are asked who is found.
    #[must_use]
    pub fn new(rooms: Arc<Rooms>, policy_hooks: Option<Arc<PolicyHooks>>) -> Self {
        Self { rooms, policy_hooks, searches: Semaphore::new(CONCURRENT_SEARCHES) }
    }

    /// Indexes changes. Does not return until the database is closed.
    pub async fn run(self: Arc<Self>) {
        let progress = &self.rooms.memory.directory;
        let mut changes = progress.changes();
        let mut has_old = true;
        loop {
            let seen = *changes.borrow_and_update();
            let indexed = async {
                if has_old {
                    self.index_old().await?;
                }
                self.index_stale().await
            };
            match indexed.await {
                Ok(()) => {
                    has_old = false;
                    progress.record_indexed(seen);
                    if changes.changed().await.is_err() {
                        return;
                    }
                    tokio::select! {
                        () = self.rooms.clock.sleep(INDEXING_DELAY) => {}
                        () = progress.requested() => {}
                    }
                }
                Err(DbError::Closed) => return,
                Err(error) => {
                    tracing::warn!("users are missing in the user directory: {error}");
                    self.rooms.clock.sleep(RETRY_INTERVAL).await;
                }
            }
        }
    }

    /// Indexes users and rooms that are older than the directory.
    async fn index_old(&self) -> Result<(), DbError> {
        while self.rooms.db.write(|tx| user_directory::index_old_users(tx, MEMBERSHIPS_PER_TRANSACTION)).await? > 0 {}
        while self.index_old_rooms().await? {}
        Ok(())
    }

    /// Indexes the memberships that have changed.
    async fn index_stale(&self) -> Result<(), DbError> {
        loop {
            let server = self.rooms.server_name.clone();
            let indexed: usize =
                self.rooms.db.write::<_, DbError, _>(move |tx| index_some(tx, server.as_str())).await?;
            if indexed < MEMBERSHIPS_PER_TRANSACTION as usize {
                return Ok(());
            }
        }
    }

    /// Sets whether rooms are open, for some rooms that are older than the directory. Returns whether there were any.
    async fn index_old_rooms(&self) -> Result<bool, DbError> {
        let old: Vec<RoomNid> = self.rooms.db.read(|tx| user_directory::old_rooms(tx, ROOMS_PER_READ)).await?;
        for nid in &old {
            let room = self.rooms.get_readable_nid(*nid).await?;
            let (nid, is_open) = (*nid, room.is_some_and(|room| room.view().shows_members_to_all()));
            // A commit that has changed the room since has set it, too.
            self.rooms.db.write(move |tx| user_directory::set_open_if_old(tx, nid, is_open)).await?;
        }
        Ok(!old.is_empty())
    }

    /// Returns the users who match all words of `term`, best matches first, and whether there are more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn search(
        &self,
        searcher: &UserId,
        term: &str,
        search: UserSearch,
    ) -> Result<(Vec<FoundUser>, bool), DbError> {
        let mut wanted = words(term);
        wanted.truncate(MAX_WORDS);
        if wanted.is_empty() || search.limit == 0 {
            return Ok((Vec::new(), false));
        }
        self.rooms.memory.directory.catch_up(&self.rooms.clock, MAX_INDEX_WAIT).await;
        let permit = self.searches.acquire().await.map_err(|_| DbError::Closed)?;
        let found = self.rooms.db.read(move |tx| {
            let candidates = user_directory::candidates(tx, &wanted, &search.scope)?;
            Ok::<_, DbError>(best(candidates, &wanted, &search))
        });
        let (found, is_limited) = found.await?;
        drop(permit);
        Ok((self.permitted(searcher, found).await, is_limited))
    }

    /// Returns the users that policy hooks let the searcher find.
    async fn permitted(&self, searcher: &UserId, found: Vec<FoundUser>) -> Vec<FoundUser> {
        let hooks = self.policy_hooks.as_ref().filter(|hooks| hooks.asks(PolicyCallback::CheckUsernameForSpam));
        let Some(hooks) = hooks else { return found };
        let asked = stream::iter(found).map(async |user| {
            let (display_name, avatar_url) = (user.display_name.as_deref(), user.avatar_url.as_deref());
            let profile = UserProfile { user_id: &user.user_id, display_name, avatar_url };
            let is_permitted = hooks.check_username_for_spam(profile, searcher).await;
            is_permitted.then_some(user)
        });
        asked.buffered(MAX_ASKED_AT_ONCE).filter_map(future::ready).collect().await
    }
}

/// Indexes some memberships. Returns how many.
fn index_some(tx: &mut Tx<'_>, server: &str) -> Result<usize, DbError> {
    let stale = user_directory::stale(tx, MEMBERSHIPS_PER_TRANSACTION)?;
    for of_room in stale.chunk_by(|one, other| one.room_nid == other.room_nid) {
        let remote = of_room.iter().filter(|membership| server_of(&membership.user_id) != server);
        let users: Vec<_> = remote.map(|membership| (membership.user_nid, profile(membership))).collect();
        if let (Some(first), false) = (of_room.first(), users.is_empty()) {
            user_directory::set(tx, first.room_nid, &users)?;
        }
    }
    user_directory::mark_indexed(tx, &stale)?;
    Ok(stale.len())
}

fn server_of(user_id: &str) -> &str {
    user_id.split_once(':').map_or("", |(_, server)| server)
}

/// Returns a member's profile in the room; `None` for users who are not joined.
fn profile(membership: &StaleMembership) -> Option<Profile> {
    if !membership.is_joined {
        return None;
    }
    let event = membership.join.as_deref().and_then(|json| Object::parse(json).ok());
    let content = event.as_ref().and_then(|event| event.get_object("content"));
    let text = |field: &str| {
        let text = content.and_then(|content| content.get_str(field))?;
        let fits = longest(field).is_none_or(|longest| text.chars().count() <= longest);
        (fits && !text.is_empty()).then(|| Value::from(text).to_json())
    };
    Some(Profile {
        user_id: membership.user_id.clone(),
        is_local: false,
        display_name: text("displayname"),
        avatar_url: text("avatar_url"),
    })
}

/// Returns the candidates that match all words, best matches first and each user once, and whether there are more.
fn best(candidates: Vec<Profile>, wanted: &[String], search: &UserSearch) -> (Vec<FoundUser>, bool) {
    let mut matches: Vec<(Rank, FoundUser)> = candidates
        .into_iter()
        .filter_map(|profile| {
            let is_preferred = search.prefer_local && profile.is_local;
            let found = found(profile);
            Some((rank(&found, wanted, is_preferred)?, found))
        })
        .collect();
    matches
        .sort_by(|(one, user), (other, other_user)| other.cmp(one).then_with(|| user.user_id.cmp(&other_user.user_id)));
    let mut seen = HashSet::new();
    matches.retain(|(_, user)| seen.insert(user.user_id.clone()));
    let is_limited = matches.len() > search.limit;
    (matches.into_iter().take(search.limit).map(|(_, user)| user).collect(), is_limited)
}

fn found(profile: Profile) -> FoundUser {
    let text = |json: Option<String>| {
        let value = Value::parse(&json?).ok()?;
        value.as_str().map(str::to_owned)
    };
    FoundUser {
        display_name: text(profile.display_name),
        avatar_url: text(profile.avatar_url),
        user_id: profile.user_id,
    }
}

/// How well a user matches. Greater is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    score: u32,
    has_display_name: bool,
    has_avatar: bool,
    /// A name with fewer other words matches better.
    fewer_words: std::cmp::Reverse<usize>,
}

/// Returns the rank of a user; `None` if a word does not match. Whole words count more than beginnings, and the name
/// more than the server name.
fn rank(user: &FoundUser, wanted: &[String], is_preferred: bool) -> Option<Rank> {
    let localpart =
        UserId::try_from(user.user_id.as_str()).map_or_else(|_| String::new(), |id| id.localpart().to_owned());
    let mut name = words(user.display_name.as_deref().unwrap_or_default());
    name.extend(words(&localpart));
    let server = words(server_of(&user.user_id));
    let has = |words: &[String], wanted: &str, is_whole: bool| {
        words.iter().any(|word| if is_whole { word == wanted } else { word.starts_with(wanted) })
    };
    let mut score = 0;
    for word in wanted {
        score += match () {
            () if has(&name, word, true) => 40,
            () if has(&name, word, false) => 10,
            () if has(&server, word, true) => 4,
            () if has(&server, word, false) => 1,
            () => return None,
        };
    }
    Some(Rank {
        score: if is_preferred { score * 2 } else { score },
        has_display_name: user.display_name.is_some(),
        has_avatar: user.avatar_url.is_some(),
        fewer_words: std::cmp::Reverse(name.len()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_count_more_than_beginnings_and_names_more_than_servers() {
        let user = FoundUser {
            user_id: "@carol:example.org".to_owned(),
            display_name: Some("Anna Maria".to_owned()),
            avatar_url: None,
        };
        let score = |wanted: &[&str], is_preferred| {
            let wanted: Vec<String> = wanted.iter().map(|word| (*word).to_owned()).collect();
            rank(&user, &wanted, is_preferred).map(|rank| rank.score)
        };
        for (wanted, expected) in [
            (&["anna"][..], Some(40)),
            (&["carol"], Some(40)),
            (&["ann"], Some(10)),
            (&["example"], Some(4)),
            (&["exam"], Some(1)),
            (&["anna", "example"], Some(44)),
            (&["anna", "bob"], None),
        ] {
            assert_eq!(score(wanted, false), expected, "{wanted:?}");
            assert_eq!(score(wanted, true), expected.map(|score| 2 * score), "{wanted:?}");
        }
    }
}
