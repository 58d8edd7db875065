//! A user's settings that every sync needs: ignored users, accepted invites and push rules.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use plexus_protocol::event::Pdu;
use plexus_protocol::id::UserId;
use plexus_protocol::ignored_users::{IGNORED_USERS_TYPE, ignored_users};
use plexus_protocol::invite_permission::{InviteDecision, InvitePermissions};
use plexus_protocol::push_rules::{
    CompiledRuleset, RuleKind, Ruleset, UserRules, add_encrypted_event_rule, default_ruleset_with_legacy_mentions,
    thread_subscription_rules,
};
use plexus_rooms::model::invite_permissions::{INVITE_PERMISSION_TYPES, invite_permissions};
use plexus_store::repo::account_data::AccountData;
use plexus_store::{Database, DbError, Position, readable, repo};
use quick_cache::sync::Cache;

use crate::notifier::{MaybeChanged, Notifier};

/// The most users' settings in memory, and the most sets of push rules.
const CACHE_CAPACITY: usize = 20_000;

/// The account data among the settings.
const TYPES: [&str; 3] = [IGNORED_USERS_TYPE, INVITE_PERMISSION_TYPES[0], INVITE_PERMISSION_TYPES[1]];

/// A user's settings at some position.
#[derive(Debug)]
pub struct UserSettings {
    /// `m.ignored_user_list`
    pub ignored: HashSet<String>,
    /// Which invites the user accepts.
    pub invites: InvitePermissions,
    /// Shared by all users who have equal rules.
    pub rules: Arc<SharedRules>,
    /// Everything the user wrote at or before this is in here.
    read_at: Position,
}

impl UserSettings {
    /// Whether the user learns of invites by `sender`.
    #[must_use]
    pub fn shows_invite_by(&self, sender: &UserId) -> bool {
        !self.ignored.contains(sender.as_str()) && self.invites.decide(sender) == InviteDecision::Allow
    }

    /// Whether the user learns of all invites, whoever sends them.
    #[must_use]
    pub fn shows_all_invites(&self) -> bool {
        self.ignored.is_empty() && self.invites == InvitePermissions::default()
    }

    /// Whether the user sees an event, as far as its sender is concerned: the state that ignored users set is shown
    /// (<https://spec.matrix.org/v1.19/client-server-api/#ignoring-users>).
    #[must_use]
    pub fn shows_event(&self, pdu: &Pdu) -> bool {
        pdu.state_key().is_some() || !self.ignored.contains(pdu.sender().as_str())
    }
}

/// The predefined rules, which depend on the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct PredefinedRules {
    /// Whether there are rules about subscriptions to threads (`msc4306_enabled`).
    pub thread_subscriptions: bool,
    /// Whether there is a rule that notifies of all encrypted events (`msc4028_push_encrypted_events`).
    pub encrypted_events: bool,
}

impl PredefinedRules {
    /// Returns the predefined rules of a user.
    #[must_use]
    pub fn of(self, user: &UserId) -> Ruleset {
        let mut rules = default_ruleset_with_legacy_mentions(user);
        if self.thread_subscriptions {
            rules.postcontent = thread_subscription_rules();
        }
        if self.encrypted_events {
            add_encrypted_event_rule(&mut rules);
        }
        rules
    }

    /// Whether users may have rules of a kind.
    #[must_use]
    pub fn has_kind(self, kind: RuleKind) -> bool {
        kind != RuleKind::Postcontent || self.thread_subscriptions
    }
}

/// The features that settings depend on.
#[derive(Debug, Clone, Copy, Default)]
pub struct SettingsFeatures {
    /// Whether users can filter invites by their sender.
    pub invite_filtering: bool,
    /// The predefined push rules.
    pub rules: PredefinedRules,
    /// Whether nobody is notified of anything, and nothing counts as unread.
    pub no_notifications: bool,
}

/// A set of push rules ready for evaluation, identified by a number.
#[derive(Debug)]
pub struct SharedRules {
    /// Distinguishes this set from others in caches.
    pub id: u64,
    /// The rules.
    pub compiled: CompiledRuleset,
}

/// Reads settings, and keeps them until they change. Owned by this process, which follows the commits.
pub struct SettingsCache {
    db: Database,
    notifier: Arc<Notifier>,
    features: SettingsFeatures,
    users: Cache<UserId, Arc<UserSettings>>,
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    next_id: u64,
    rules: HashMap<CompiledRuleset, Arc<SharedRules>>,
}

/// A user's settings as stored.
struct Stored {
    rules: Option<String>,
    /// The account data of the types [`TYPES`].
    account_data: Vec<AccountData>,
}

impl SettingsCache {
    /// Creates an empty cache.
    #[must_use]
    pub fn new(db: Database, notifier: Arc<Notifier>, features: SettingsFeatures) -> Self {
        Self { db, notifier, features, users: Cache::new(CACHE_CAPACITY), pool: Mutex::default() }
    }

    /// Returns the predefined push rules.
    #[must_use]
    pub fn predefined_rules(&self) -> PredefinedRules {
        self.features.rules
    }

    /// Whether events can notify users.
    pub(crate) fn has_notifications(&self) -> bool {
        !self.features.no_notifications
    }

    /// Returns a user's settings. Read from the database when they are not in memory or have changed.
    pub async fn get(&self, user: &UserId) -> Result<Arc<UserSettings>, DbError> {
        if let Some(settings) = self.users.get(user) {
            let changed = self.notifier.index().account_data_changed(user, settings.read_at);
            if changed == MaybeChanged::Known(false) {
                return Ok(settings);
            }
        }
        let read_at = self.db.committed();
        let key = user.to_string();
        let SettingsFeatures { invite_filtering, rules: predefined, .. } = self.features;
        let stored = self
            .db
            .read(move |tx| {
                Ok::<_, DbError>(Stored {
                    rules: repo::push_rules::get(tx, &key)?.map(|(rules, _)| rules),
                    account_data: repo::account_data::global_of_types(tx, &key, &TYPES)?,
                })
            })
            .await?;
        let ruleset = readable_or_default(user, stored.rules.as_deref(), predefined);
        let ignored = stored.account_data.iter().find(|data| data.event_type == IGNORED_USERS_TYPE);
        let settings = Arc::new(UserSettings {
            ignored: ignored.map(|data| ignored_users(&data.content)).unwrap_or_default(),
            invites: invite_permissions(&stored.account_data, invite_filtering),
            rules: self.share(CompiledRuleset::new(&ruleset, user)),
            read_at,
        });
        self.users.insert(user.clone(), Arc::clone(&settings));
        Ok(settings)
    }

    fn share(&self, compiled: CompiledRuleset) -> Arc<SharedRules> {
        let mut pool = self.pool.lock();
        if let Some(rules) = pool.rules.get(&compiled) {
            return Arc::clone(rules);
        }
        if pool.rules.len() > CACHE_CAPACITY {
            pool.rules.retain(|_, rules| Arc::strong_count(rules) > 1);
        }
        pool.next_id += 1;
        let rules = Arc::new(SharedRules { id: pool.next_id, compiled: compiled.clone() });
        pool.rules.insert(compiled, Arc::clone(&rules));
        rules
    }
}

/// Returns a user's complete push rules, from what is stored of them; the predefined ones alone, with a line in the
/// log, when that cannot be read.
pub fn readable_or_default(user: &UserId, stored: Option<&str>, predefined: PredefinedRules) -> Ruleset {
    let own = readable(parse_rules(user, stored)).unwrap_or_default();
    let mut rules = own.merge(predefined.of(user));
    for kind in RuleKind::ALL.into_iter().filter(|kind| !predefined.has_kind(*kind)) {
        // The user's own ones, from when users could have them.
        rules.rules_mut(kind).clear();
    }
    rules
}

/// Returns a user's own part of the push rules, from what is stored.
pub fn parse_rules(user: &UserId, stored: Option<&str>) -> Result<UserRules, DbError> {
    let Some(stored) = stored else { return Ok(UserRules::default()) };
    serde_json::from_str(stored).map_err(|error| DbError::bad_data(format!("push_rules.changes of {user}"), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_a_kind_that_is_turned_off_are_not_in_force() {
        let alice: UserId = "@alice:x".parse().unwrap();
        let stored =
            r#"{"postcontent":[{"rule_id":"mute","default":false,"enabled":true,"conditions":[],"actions":[]}]}"#;
        for thread_subscriptions in [true, false] {
            let predefined = PredefinedRules { thread_subscriptions, ..PredefinedRules::default() };
            let rules = readable_or_default(&alice, Some(stored), predefined);
            let has_rule = rules.postcontent.iter().any(|rule| rule.rule_id == "mute");
            assert_eq!((has_rule, rules.postcontent.is_empty()), (thread_subscriptions, !thread_subscriptions));
        }
    }
}
