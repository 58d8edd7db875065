//! The server-default rules ([Predefined Rules](https://spec.matrix.org/v1.19/client-server-api/#predefined-rules))
//! with Synapse's actions, which say explicitly that a rule does not highlight: clients' settings recognise a rule's
//! setting by it.

use super::model::{Action, Condition, KnownCondition, PushRule, Ruleset, Scalar};
use crate::id::UserId;

/// The id of the rule that precedes all others, including the user's own.
pub(super) const MASTER: &str = ".m.rule.master";

/// The rules that older versions of the specification had for mentions in the body. They do not apply to an event with
/// `m.mentions` (client-server API 1.7 to 1.16, "Predefined Rules").
pub(super) const LEGACY_MENTION_RULES: [&str; 3] =
    [".m.rule.contains_display_name", ".m.rule.contains_user_name", ".m.rule.roomnotif"];

/// Returns the server-default rules of a user, without the user's own.
pub fn default_ruleset(user: &UserId) -> Ruleset {
    Ruleset {
        override_: override_rules(user),
        content: Vec::new(),
        postcontent: Vec::new(),
        room: Vec::new(),
        sender: Vec::new(),
        underride: underride_rules(),
    }
}

/// Returns [`default_ruleset`] with four more rules of Synapse: the three for mentions in the body that version 1.17
/// removed, for users who write to clients without `m.mentions`, and one for video conferences.
pub fn default_ruleset_with_legacy_mentions(user: &UserId) -> Ruleset {
    let mut rules = default_ruleset(user);
    let [display_name, user_name, room] = LEGACY_MENTION_RULES;
    let mention = vec![Action::NOTIFY, Action::highlight(), Action::sound("default")];
    insert_after(
        &mut rules.override_,
        ".m.rule.is_user_mention",
        rule(display_name, vec![known(KnownCondition::ContainsDisplayName)], mention.clone()),
    );
    insert_after(
        &mut rules.override_,
        ".m.rule.is_room_mention",
        rule(
            room,
            vec![notification_permission("room"), event_match("content.body", "@room")],
            vec![Action::NOTIFY, Action::highlight()],
        ),
    );
    rules.content.push(PushRule {
        conditions: None,
        pattern: Some(user.localpart().to_owned()),
        ..rule(user_name, Vec::new(), mention)
    });
    rules.underride.push(rule(
        ".im.vector.jitsi",
        vec![
            event_match("type", "im.vector.modular.widgets"),
            event_match("content.type", "jitsi"),
            event_match("state_key", "*"),
        ],
        vec![Action::NOTIFY, Action::no_highlight()],
    ));
    rules
}

/// Returns the predefined rules of kind [`RuleKind::Postcontent`](super::RuleKind::Postcontent). The events of a thread
/// notify those who have subscribed to it, and others only if an override or content rule matches, as for mentions
/// ([MSC4306](https://github.com/matrix-org/matrix-spec-proposals/pull/4306)).
pub fn thread_subscription_rules() -> Vec<PushRule> {
    let condition = |subscribed| vec![known(KnownCondition::ThreadSubscription { subscribed })];
    vec![
        rule(".io.element.msc4306.rule.unsubscribed_thread", condition(false), Vec::new()),
        rule(
            ".io.element.msc4306.rule.subscribed_thread",
            condition(true),
            vec![Action::NOTIFY, Action::sound("default")],
        ),
    ]
}

/// Adds the predefined rule that notifies of all encrypted events, except where another rule mutes them: only apps can
/// tell what they mean ([MSC4028](https://github.com/matrix-org/matrix-spec-proposals/pull/4028)).
pub fn add_encrypted_event_rule(rules: &mut Ruleset) {
    let encrypted = rule(
        ".org.matrix.msc4028.encrypted_event",
        vec![event_match("type", "m.room.encrypted")],
        vec![Action::NOTIFY],
    );
    insert_after(&mut rules.override_, MASTER, encrypted);
}

fn insert_after(rules: &mut Vec<PushRule>, after: &str, rule: PushRule) {
    let position = rules.iter().position(|r| r.rule_id == after).map_or(rules.len(), |at| at + 1);
    rules.insert(position, rule);
}

fn override_rules(user: &UserId) -> Vec<PushRule> {
    let me = || user.as_str().to_owned();
    vec![
        PushRule { enabled: false, ..rule(MASTER, Vec::new(), Vec::new()) },
        rule(".m.rule.suppress_notices", vec![event_match("content.msgtype", "m.notice")], vec![]),
        rule(
            ".m.rule.invite_for_me",
            vec![
                event_match("type", "m.room.member"),
                event_match("content.membership", "invite"),
                event_match("state_key", user.as_str()),
            ],
            vec![Action::NOTIFY, Action::no_highlight(), Action::sound("default")],
        ),
        rule(".m.rule.member_event", vec![event_match("type", "m.room.member")], vec![]),
        rule(
            ".m.rule.is_user_mention",
            vec![known(KnownCondition::EventPropertyContains {
                key: r"content.m\.mentions.user_ids".to_owned(),
                value: Scalar::String(me()),
            })],
            vec![Action::NOTIFY, Action::highlight(), Action::sound("default")],
        ),
        rule(
            ".m.rule.is_room_mention",
            vec![property_is(r"content.m\.mentions.room", Scalar::Bool(true)), notification_permission("room")],
            vec![Action::NOTIFY, Action::highlight()],
        ),
        rule(
            ".m.rule.tombstone",
            vec![event_match("type", "m.room.tombstone"), event_match("state_key", "")],
            vec![Action::NOTIFY, Action::highlight()],
        ),
        rule(".m.rule.reaction", vec![event_match("type", "m.reaction")], vec![]),
        rule(
            ".m.rule.room.server_acl",
            vec![event_match("type", "m.room.server_acl"), event_match("state_key", "")],
            vec![],
        ),
        rule(
            ".m.rule.suppress_edits",
            vec![property_is(r"content.m\.relates_to.rel_type", Scalar::String("m.replace".to_owned()))],
            vec![],
        ),
    ]
}

fn underride_rules() -> Vec<PushRule> {
    let quietly = || vec![Action::NOTIFY, Action::no_highlight()];
    let two_members = || known(KnownCondition::RoomMemberCount { is: "2".to_owned() });
    vec![
        rule(
            ".m.rule.call",
            vec![event_match("type", "m.call.invite")],
            vec![Action::NOTIFY, Action::sound("ring"), Action::no_highlight()],
        ),
        rule(
            ".m.rule.encrypted_room_one_to_one",
            vec![event_match("type", "m.room.encrypted"), two_members()],
            vec![Action::NOTIFY, Action::sound("default"), Action::no_highlight()],
        ),
        rule(
            ".m.rule.room_one_to_one",
            vec![event_match("type", "m.room.message"), two_members()],
            vec![Action::NOTIFY, Action::sound("default"), Action::no_highlight()],
        ),
        rule(".m.rule.message", vec![event_match("type", "m.room.message")], quietly()),
        rule(".m.rule.encrypted", vec![event_match("type", "m.room.encrypted")], quietly()),
    ]
}

fn rule(id: &str, conditions: Vec<Condition>, actions: Vec<Action>) -> PushRule {
    PushRule {
        rule_id: id.to_owned(),
        default: true,
        enabled: true,
        conditions: Some(conditions),
        pattern: None,
        actions,
    }
}

fn known(condition: KnownCondition) -> Condition {
    Condition::Known(condition)
}

fn event_match(key: &str, pattern: &str) -> Condition {
    known(KnownCondition::EventMatch { key: key.to_owned(), pattern: pattern.to_owned() })
}

fn property_is(key: &str, value: Scalar) -> Condition {
    known(KnownCondition::EventPropertyIs { key: key.to_owned(), value })
}

fn notification_permission(key: &str) -> Condition {
    known(KnownCondition::SenderNotificationPermission { key: key.to_owned() })
}
