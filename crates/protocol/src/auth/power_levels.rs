//! [Rule 10](https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules): `m.room.power_levels`.

use super::{AuthRejection, RoomState};
use crate::{
    event::Pdu,
    id::UserId,
    json::{Object, Value},
    power_levels::{LevelField, PowerLevel, is_creator, level},
    rules::RoomVersionRules,
};

pub(super) fn check(room: &RoomState<'_>, event: &Pdu, sender_level: PowerLevel) -> Result<(), AuthRejection> {
    let (rules, new) = (room.rules, event.content());
    if rules.auth.integer_power_levels {
        check_integers(rules, new)?;
    }
    check_users(room, new)?;
    // 10.5. No previous power levels.
    let Some(current) = room.power_levels.map(Pdu::content) else {
        return Ok(());
    };
    let change = Change { rules, current, new, sender: event.sender().as_str(), sender_level };
    // 10.6. The seven levels.
    for field in LevelField::ALL {
        let name = field.as_str();
        change.check_entry(name, current.get(name), new.get(name), Limit::UpToOwn)?;
    }
    // 10.7 and 10.8. Events and notifications.
    change.check_map("events")?;
    if rules.auth.check_notifications_levels {
        change.check_map("notifications")?;
    }
    // 10.9 and 10.10. Users.
    change.check_map("users")
}

/// Rules 10.1 and 10.2.
fn check_integers(rules: &RoomVersionRules, content: &Object) -> Result<(), AuthRejection> {
    for field in LevelField::ALL {
        if content.get(field.as_str()).is_some_and(|value| level(rules, value).is_none()) {
            return Err(AuthRejection::InvalidPowerLevel(field.as_str().to_owned()));
        }
    }
    for name in ["events", "notifications"] {
        let Some(value) = content.get(name) else {
            continue;
        };
        let valid = |map: &Object| map.values().all(|value| level(rules, value).is_some());
        if !value.as_object().is_some_and(valid) {
            return Err(AuthRejection::InvalidPowerLevel(name.to_owned()));
        }
    }
    Ok(())
}

/// Rules 10.3 and 10.4.
fn check_users(room: &RoomState<'_>, content: &Object) -> Result<(), AuthRejection> {
    let Some(users) = content.get("users") else {
        return Ok(());
    };
    let users = users.as_object().ok_or_else(|| AuthRejection::InvalidPowerLevel("users".to_owned()))?;
    for (user, value) in users.iter() {
        if user.parse::<UserId>().is_err() {
            return Err(AuthRejection::InvalidPowerLevelsUser(user.to_owned()));
        }
        if level(room.rules, value).is_none() {
            return Err(AuthRejection::InvalidPowerLevel(user.to_owned()));
        }
        if room.rules.auth.privileged_creators && is_creator(room.create, user) {
            return Err(AuthRejection::CreatorInPowerLevels(user.to_owned()));
        }
    }
    Ok(())
}

/// How high the current value of an entry may be for the sender to change it.
#[derive(Clone, Copy)]
enum Limit {
    UpToOwn,
    BelowOwn,
}

struct Change<'a> {
    rules: &'a RoomVersionRules,
    current: &'a Object,
    new: &'a Object,
    sender: &'a str,
    sender_level: PowerLevel,
}

impl Change<'_> {
    /// Compares the entries of a map from names to levels.
    fn check_map(&self, name: &str) -> Result<(), AuthRejection> {
        let (current, new) = (self.current.get_object(name), self.new.get_object(name));
        let limit = |entry: &str| match name {
            // "Other than the sender's own entry".
            "users" if entry != self.sender => Limit::BelowOwn,
            _ => Limit::UpToOwn,
        };
        for (entry, value) in current.into_iter().flat_map(Object::iter) {
            self.check_entry(entry, Some(value), new.and_then(|new| new.get(entry)), limit(entry))?;
        }
        for (entry, value) in new.into_iter().flat_map(Object::iter) {
            if !current.is_some_and(|current| current.contains_key(entry)) {
                self.check_entry(entry, None, Some(value), limit(entry))?;
            }
        }
        Ok(())
    }

    /// Checks an entry that was added, changed or removed: neither its old nor its new value may be above the sender.
    /// An absent entry has no value to compare; its default does not count.
    fn check_entry(
        &self,
        name: &str,
        current: Option<&Value>,
        new: Option<&Value>,
        limit: Limit,
    ) -> Result<(), AuthRejection> {
        let parse = |value: Option<&Value>| match value.map(|value| level(self.rules, value)) {
            None => Ok(None),
            Some(Some(level)) => Ok(Some(PowerLevel::Level(level))),
            Some(None) => Err(AuthRejection::InvalidPowerLevel(name.to_owned())),
        };
        let (current, new) = (parse(current)?, parse(new)?);
        if current == new {
            return Ok(());
        }
        let current_too_high = current.is_some_and(|current| match limit {
            Limit::UpToOwn => current > self.sender_level,
            Limit::BelowOwn => current >= self.sender_level,
        });
        if current_too_high || new.is_some_and(|new| new > self.sender_level) {
            return Err(AuthRejection::PowerLevelChangeNotAllowed(name.to_owned()));
        }
        Ok(())
    }
}
