//! `alias_creation_rules` and `room_list_publication_rules`: the first rule that fits decides.

use plexus_base::config::{Config, DirectoryAction, DirectoryRule};
use plexus_delivery::filter::glob_matches;
use plexus_protocol::id::UserId;

/// The rules about aliases: everybody may create them when there are none.
pub(crate) fn may_create_alias(config: &Config) -> Rules<'_> {
    Rules { rules: config.rooms.alias_creation_rules.as_deref(), without: true }
}

/// The rules about the room directory: nobody may publish when there are none.
pub(crate) fn may_publish(config: &Config) -> Rules<'_> {
    Rules { rules: config.rooms.room_list_publication_rules.as_deref(), without: false }
}

/// A list of rules, and what holds without one.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    rules: Option<&'a [DirectoryRule]>,
    without: bool,
}

/// Whether the first fitting rule allows it. A rule fits a room with several aliases when its glob fits one of them, and a
/// room without any when it asks for none (`*`). No rule that fits means no.
pub(crate) fn allows(rules: Rules<'_>, user: &UserId, aliases: &[&str], room_id: &str) -> bool {
    let Some(list) = rules.rules else { return rules.without };
    list.iter()
        .find(|rule| {
            glob_matches(&rule.user_id, user.as_str())
                && glob_matches(&rule.room_id, room_id)
                && (rule.alias == "*" || aliases.iter().any(|alias| glob_matches(&rule.alias, alias)))
        })
        .is_some_and(|rule| rule.action == DirectoryAction::Allow)
}
