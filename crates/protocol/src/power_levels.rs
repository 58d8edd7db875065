//! Power levels ([`m.room.power_levels`](https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels)), and the
//! creators of room version 12.

use std::{fmt, sync::Arc};

use crate::{
    event::Pdu,
    id::UserId,
    json::{MAX_SAFE_INTEGER, Object, Value},
    rules::RoomVersionRules,
};

#[cfg(test)]
mod tests;

/// The power level of a user, or the one that an action needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PowerLevel {
    /// An ordinary level.
    Level(i64),
    /// Above every level: a creator of a room of version 12 or later.
    Infinite,
}

impl From<i64> for PowerLevel {
    fn from(level: i64) -> Self {
        Self::Level(level)
    }
}

impl PartialEq<i64> for PowerLevel {
    fn eq(&self, level: &i64) -> bool {
        *self == Self::Level(*level)
    }
}

impl fmt::Display for PowerLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Level(level) => level.fmt(f),
            Self::Infinite => f.write_str("infinite"),
        }
    }
}

/// The seven levels that are direct members of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LevelField {
    /// `users_default`
    UsersDefault,
    /// `events_default`
    EventsDefault,
    /// `state_default`
    StateDefault,
    /// `ban`
    Ban,
    /// `redact`
    Redact,
    /// `kick`
    Kick,
    /// `invite`
    Invite,
}

impl LevelField {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::UsersDefault,
        Self::EventsDefault,
        Self::StateDefault,
        Self::Ban,
        Self::Redact,
        Self::Kick,
        Self::Invite,
    ];

    /// The member's name in the content.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UsersDefault => "users_default",
            Self::EventsDefault => "events_default",
            Self::StateDefault => "state_default",
            Self::Ban => "ban",
            Self::Redact => "redact",
            Self::Kick => "kick",
            Self::Invite => "invite",
        }
    }

    /// The level if the member is absent.
    pub const fn default_level(self) -> i64 {
        match self {
            Self::UsersDefault | Self::EventsDefault | Self::Invite => 0,
            Self::StateDefault | Self::Ban | Self::Redact | Self::Kick => 50,
        }
    }
}

/// The level needed for a kind of notification that has none.
const NOTIFICATION_DEFAULT: i64 = 50;

/// The creator's level in a room without power levels, before room version 12.
const CREATOR_LEVEL: i64 = 100;

/// The parsed power levels of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerLevels {
    fields: [i64; LevelField::ALL.len()],
    /// Sorted by user id.
    users: Vec<(Box<str>, i64)>,
    events: Vec<(Box<str>, i64)>,
    notifications: Vec<(Box<str>, i64)>,
    /// Above all levels; empty before room version 12.
    privileged: Arc<[UserId]>,
}

impl PowerLevels {
    /// Parses the levels of a room with these creators (see [`creators`]). `content` is the content of the
    /// `m.room.power_levels` event, `None` when there is none. Values that are not levels in this room version count as
    /// absent.
    pub fn new(rules: &RoomVersionRules, creators: &[UserId], content: Option<&Object>) -> Self {
        let field = |field: LevelField| {
            content.and_then(|content| level(rules, content.get(field.as_str())?)).unwrap_or(field.default_level())
        };
        let map = |key: &str| -> Vec<(Box<str>, i64)> {
            let entries = content.and_then(|content| content.get_object(key));
            let levels = entries.into_iter().flat_map(Object::iter);
            levels.filter_map(|(name, value)| Some((name.into(), level(rules, value)?))).collect()
        };
        let mut users = map("users");
        if content.is_none() && !rules.auth.privileged_creators {
            users = creators.iter().map(|creator| (creator.as_str().into(), CREATOR_LEVEL)).collect();
            users.sort_unstable();
        }
        let privileged = if rules.auth.privileged_creators { creators } else { &[] };
        Self {
            fields: LevelField::ALL.map(field),
            users,
            events: map("events"),
            notifications: map("notifications"),
            privileged: privileged.into(),
        }
    }

    /// Reads the levels from a room's create event and power levels event.
    pub fn of_room(create: &Pdu, power_levels: Option<&Pdu>) -> Self {
        let rules = create.room_version().rules();
        Self::new(rules, &creators(create), power_levels.map(Pdu::content))
    }

    /// Returns the power level of a user.
    pub fn user(&self, user: &UserId) -> PowerLevel {
        self.user_by_str(user.as_str())
    }

    /// Like [`PowerLevels::user`], for a user id that is not parsed.
    pub fn user_by_str(&self, user: &str) -> PowerLevel {
        if self.privileged.iter().any(|creator| creator.as_str() == user) {
            return PowerLevel::Infinite;
        }
        PowerLevel::Level(find(&self.users, user).unwrap_or(self.field(LevelField::UsersDefault)))
    }

    /// Iterates over users with a level of their own, in order of user id; creators of room version 12 are not
    /// included.
    pub fn users(&self) -> impl Iterator<Item = (&str, i64)> {
        self.users.iter().map(|(user, level)| (&**user, *level))
    }

    /// Returns the users above all levels (room version 12 and later).
    pub fn privileged_creators(&self) -> &[UserId] {
        &self.privileged
    }

    /// Returns the level needed to send an event of this type. Not for `m.room.member`, which has its own rules.
    pub fn event(&self, event_type: &str, is_state: bool) -> PowerLevel {
        let default = if is_state { LevelField::StateDefault } else { LevelField::EventsDefault };
        PowerLevel::Level(find(&self.events, event_type).unwrap_or(self.field(default)))
    }

    /// Iterates over event types with a level of their own, in order of type.
    pub fn events(&self) -> impl Iterator<Item = (&str, i64)> {
        self.events.iter().map(|(event_type, level)| (&**event_type, *level))
    }

    /// Returns the level needed to invite.
    pub fn invite(&self) -> PowerLevel {
        PowerLevel::Level(self.field(LevelField::Invite))
    }

    /// Returns the level needed to kick.
    pub fn kick(&self) -> PowerLevel {
        PowerLevel::Level(self.field(LevelField::Kick))
    }

    /// Returns the level needed to ban.
    pub fn ban(&self) -> PowerLevel {
        PowerLevel::Level(self.field(LevelField::Ban))
    }

    /// Returns the level needed to redact events of others.
    pub fn redact(&self) -> PowerLevel {
        PowerLevel::Level(self.field(LevelField::Redact))
    }

    /// Returns the level of users without a level of their own.
    pub fn users_default(&self) -> PowerLevel {
        PowerLevel::Level(self.field(LevelField::UsersDefault))
    }

    /// Returns the level needed for state events whose type has no level.
    pub fn state_default(&self) -> PowerLevel {
        PowerLevel::Level(self.field(LevelField::StateDefault))
    }

    /// Returns the level needed for message events whose type has no level.
    pub fn events_default(&self) -> PowerLevel {
        PowerLevel::Level(self.field(LevelField::EventsDefault))
    }

    /// Returns the level needed to notify the whole room (`notifications.room`).
    pub fn notifications_room(&self) -> PowerLevel {
        self.notification("room")
    }

    /// Returns the level needed to trigger a kind of notification.
    pub fn notification(&self, key: &str) -> PowerLevel {
        PowerLevel::Level(find(&self.notifications, key).unwrap_or(NOTIFICATION_DEFAULT))
    }

    /// Whether a user of this server may redact an event of this sender: their own always, others' with the redact
    /// level. Whether the user may send `m.room.redaction` at all is a matter of the authorization rules.
    pub fn can_redact(&self, user: &UserId, sender: &UserId) -> bool {
        user == sender || self.user(user) >= self.redact()
    }

    /// Whether a received redaction takes effect: its sender has the redact level, or is on the same server as the
    /// sender of the event ([Handling redactions](https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions)).
    pub fn redaction_takes_effect(&self, redaction_sender: &UserId, event_sender: &UserId) -> bool {
        self.user(redaction_sender) >= self.redact() || redaction_sender.server_name() == event_sender.server_name()
    }

    fn field(&self, field: LevelField) -> i64 {
        let [users_default, events_default, state_default, ban, redact, kick, invite] = self.fields;
        match field {
            LevelField::UsersDefault => users_default,
            LevelField::EventsDefault => events_default,
            LevelField::StateDefault => state_default,
            LevelField::Ban => ban,
            LevelField::Redact => redact,
            LevelField::Kick => kick,
            LevelField::Invite => invite,
        }
    }
}

fn find(sorted: &[(Box<str>, i64)], key: &str) -> Option<i64> {
    let at = sorted.binary_search_by(|(name, _)| (**name).cmp(key)).ok()?;
    sorted.get(at).map(|(_, level)| *level)
}

/// Returns the creators of a room: `content.creator` up to room version 10, the sender of the create event from 11 on,
/// and from 12 on `additional_creators` too. Malformed ids are ignored.
pub fn creators(create: &Pdu) -> Vec<UserId> {
    let auth = &create.room_version().rules().auth;
    if !auth.creator_is_sender {
        return create.content().get_str("creator").and_then(|id| id.parse().ok()).into_iter().collect();
    }
    let mut creators = vec![create.sender().clone()];
    if auth.privileged_creators {
        let additional = create.content().get_array("additional_creators").unwrap_or_default();
        for creator in additional.iter().filter_map(|id| id.as_str()?.parse().ok()) {
            if !creators.contains(&creator) {
                creators.push(creator);
            }
        }
    }
    creators
}

/// The levels of a room read in place, for a single authorization check.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LevelsView<'a> {
    pub(crate) rules: &'a RoomVersionRules,
    pub(crate) create: &'a Pdu,
    pub(crate) content: Option<&'a Object>,
}

impl LevelsView<'_> {
    pub(crate) fn user(&self, user: &str) -> PowerLevel {
        if self.rules.auth.privileged_creators && is_creator(self.create, user) {
            return PowerLevel::Infinite;
        }
        let Some(content) = self.content else {
            return PowerLevel::Level(if is_creator(self.create, user) { CREATOR_LEVEL } else { 0 });
        };
        let own = content.get_object("users").and_then(|users| level(self.rules, users.get(user)?));
        own.map_or_else(|| self.field(LevelField::UsersDefault), PowerLevel::Level)
    }

    pub(crate) fn event(&self, event_type: &str, is_state: bool) -> PowerLevel {
        let events = self.content.and_then(|content| content.get_object("events"));
        let own = events.and_then(|events| level(self.rules, events.get(event_type)?));
        let default = if is_state { LevelField::StateDefault } else { LevelField::EventsDefault };
        own.map_or_else(|| self.field(default), PowerLevel::Level)
    }

    pub(crate) fn field(&self, field: LevelField) -> PowerLevel {
        let own = self.content.and_then(|content| level(self.rules, content.get(field.as_str())?));
        PowerLevel::Level(own.unwrap_or(field.default_level()))
    }
}

/// Whether the user is one of the [`creators`].
pub(crate) fn is_creator(create: &Pdu, user: &str) -> bool {
    let auth = &create.room_version().rules().auth;
    if !auth.creator_is_sender {
        return create.content().get_str("creator") == Some(user);
    }
    let additional = || create.content().get_array("additional_creators").unwrap_or_default();
    create.sender().as_str() == user
        || (auth.privileged_creators && additional().iter().any(|id| id.as_str() == Some(user)))
}

/// Returns the content of an `m.room.power_levels` event with every level as the integer that it means under `rules`,
/// as room versions 10 and later require. Values that are not levels there had no effect and are left out.
#[must_use]
pub fn with_integer_levels(rules: &RoomVersionRules, content: &Object) -> Object {
    let integer = |value: &Value| Some(level(rules, value)?.clamp(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER));
    let mut integers = Object::new();
    for (key, value) in content.iter() {
        if LevelField::ALL.iter().any(|field| field.as_str() == key) {
            if let Some(level) = integer(value) {
                integers.insert(key, level);
            }
        } else if matches!(key, "events" | "notifications" | "users") {
            let entries = value.as_object().into_iter().flat_map(Object::iter);
            let levels: Object = entries.filter_map(|(name, value)| Some((name, integer(value)?))).collect();
            integers.insert(key, levels);
        } else {
            integers.insert(key, value.clone());
        }
    }
    integers
}

/// Returns the level that a value means in this room version; `None` when it is not a level.
pub(crate) fn level(rules: &RoomVersionRules, value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) if number.is_integer() || !rules.auth.integer_power_levels => {
            number.as_i64().or_else(|| truncate(number.as_f64()))
        }
        Value::String(text) if !rules.auth.integer_power_levels => level_text(text),
        _ => None,
    }
}

/// "The value is truncated at the decimal point"; a value out of range becomes the nearest level.
fn truncate(float: f64) -> Option<i64> {
    // A conversion with `as` saturates, as intended.
    float.is_finite().then_some(float as i64)
}

/// "A single base 10 integer" with leading zeroes, one sign and surrounding whitespace ([Power levels as
/// strings](https://spec.matrix.org/v1.19/rooms/v1/#mroompower_levels-events-accept-values-as-strings)).
fn level_text(text: &str) -> Option<i64> {
    let trimmed = text.trim();
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // All digits, so it can only be out of range, and the nearest level is meant.
    let out_of_range = if trimmed.starts_with('-') { i64::MIN } else { i64::MAX };
    Some(trimmed.parse().unwrap_or(out_of_range))
}
