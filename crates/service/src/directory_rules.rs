//! `alias_creation_rules` and `room_list_publication_rules`: the first rule that matches decides.

use plexus_base::config::{Config, DirectoryAction, DirectoryRule};
use plexus_protocol::id::UserId;
use plexus_sync::filter::glob_matches;

/// A list of rules, and the decision where no list is configured.
#[derive(Clone, Copy)]
pub struct DirectoryRules<'a> {
    rules: Option<&'a [DirectoryRule]>,
    default: bool,
}

impl<'a> DirectoryRules<'a> {
    /// The rules on creating aliases; without any, everybody may.
    #[must_use]
    pub fn alias_creation(config: &'a Config) -> Self {
        Self { rules: config.rooms.alias_creation_rules.as_deref(), default: true }
    }

    /// The rules on publishing rooms in the room directory; without any, nobody may.
    #[must_use]
    pub fn publication(config: &'a Config) -> Self {
        Self { rules: config.rooms.room_list_publication_rules.as_deref(), default: false }
    }

    /// Whether the first matching rule allows it; without a matching rule it is forbidden. A rule matches a room with
    /// several aliases when its pattern matches one of them, and a room without any only when the pattern is `*`.
    #[must_use]
    pub fn allow(self, user: &UserId, aliases: &[&str], room_id: &str) -> bool {
        let Some(rules) = self.rules else { return self.default };
        let matching = rules.iter().find(|rule| {
            glob_matches(&rule.user_id, user.as_str())
                && glob_matches(&rule.room_id, room_id)
                && (rule.alias == "*" || aliases.iter().any(|alias| glob_matches(&rule.alias, alias)))
        });
        matching.is_some_and(|rule| rule.action == DirectoryAction::Allow)
    }
}
