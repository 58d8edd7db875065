//! The authorization rules
//! ([Authorisation rules](https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules) of each room version).
//!
//! [`check_state_independent`] checks an event against the auth events it names, once, on receipt. [`check`] checks it
//! against one room state and is called for each state that the event has to pass ([Checks performed on receipt of a
//! PDU](https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu)). Signatures are checked
//! before either, by `event::sign`, including the signature of the server that authorises a restricted join.
//!
//! Rule numbers in comments are those of room version 12, or of the last version that has the rule.

mod auth_events;
mod create;
mod member;
mod power_levels;
mod rejection;
mod third_party_invite;

use crate::{
    event::Pdu,
    membership::Membership,
    power_levels::{LevelField, LevelsView, PowerLevel},
    rules::RoomVersionRules,
};

pub use self::{
    auth_events::{AuthEvent, check_state_independent},
    rejection::AuthRejection,
    third_party_invite::{InviteKey, keys_that_signed},
};

/// Returns the state event of a type and state key.
pub type StateLookup<'a> = dyn Fn(&str, &str) -> Option<Pdu> + 'a;

/// Checks an event against a room state. `state` is called only for the keys of the auth events selection and for
/// `m.room.create`.
///
/// # Errors
/// The rule that rejects the event.
pub fn check(rules: &RoomVersionRules, event: &Pdu, state: &StateLookup<'_>) -> Result<(), AuthRejection> {
    // 1. If type is `m.room.create`.
    if event.event_type() == "m.room.create" {
        return create::check(rules, event);
    }
    let create = state("m.room.create", "").ok_or(AuthRejection::NoCreateEvent)?;
    // 4. The room does not federate.
    if create.content().get_bool("m.federate") == Some(false)
        && create.sender().server_name() != event.sender().server_name()
    {
        return Err(AuthRejection::NotFederated);
    }
    // 4 of versions 1 to 5: aliases belong to their server, whether or not the sender is in the room.
    if rules.auth.special_case_aliases && event.event_type() == "m.room.aliases" {
        let key = event.state_key().ok_or(AuthRejection::MissingStateKey)?;
        return if key == event.sender().server_name() { Ok(()) } else { Err(AuthRejection::AliasesOfOtherServer) };
    }
    let power_levels = state("m.room.power_levels", "");
    let room = RoomState {
        rules,
        levels: LevelsView { rules, create: &create, content: power_levels.as_ref().map(Pdu::content) },
        create: &create,
        power_levels: power_levels.as_ref(),
        state,
    };
    // 5. If type is `m.room.member`.
    if event.event_type() == "m.room.member" {
        return member::check(&room, event);
    }
    check_event_of_member(&room, event)
}

/// Rules 6 to 11.
fn check_event_of_member(room: &RoomState<'_>, event: &Pdu) -> Result<(), AuthRejection> {
    // 6. The sender has to be in the room.
    if room.membership(event.sender().as_str()) != Some(Membership::Join) {
        return Err(AuthRejection::SenderNotJoined);
    }
    let sender_level = room.levels.user(event.sender().as_str());
    // 7. If type is `m.room.third_party_invite`.
    if event.event_type() == "m.room.third_party_invite" {
        return require(sender_level, room.levels.field(LevelField::Invite));
    }
    // 8. Required power level.
    require(sender_level, room.levels.event(event.event_type(), event.state_key().is_some()))?;
    // 9. State keys that are user ids belong to that user.
    if event.state_key().is_some_and(|key| key.starts_with('@') && key != event.sender().as_str()) {
        return Err(AuthRejection::StateKeyOfOtherUser);
    }
    match event.event_type() {
        // 10. If type is `m.room.power_levels`.
        "m.room.power_levels" => power_levels::check(room, event, sender_level),
        // 11 of versions 1 and 2.
        "m.room.redaction" if room.rules.auth.check_redaction => check_redaction(room, event, sender_level),
        // 11. Otherwise, allow.
        _ => Ok(()),
    }
}

/// Rule 11 of [versions 1](https://spec.matrix.org/v1.19/rooms/v1/#authorisation-rules) and 2: the sender has the
/// redact level, or the event is of the sender's server.
fn check_redaction(room: &RoomState<'_>, event: &Pdu, sender_level: PowerLevel) -> Result<(), AuthRejection> {
    if sender_level >= room.levels.field(LevelField::Redact) {
        return Ok(());
    }
    let own_server = event.event_id().server_name();
    let same_server = event.redacts().is_some_and(|redacts| redacts.server_name() == own_server);
    if own_server.is_some() && same_server { Ok(()) } else { Err(AuthRejection::RedactionOfOtherServer) }
}

fn require(has: PowerLevel, needs: PowerLevel) -> Result<(), AuthRejection> {
    if has >= needs { Ok(()) } else { Err(AuthRejection::InsufficientPower { has, needs }) }
}

/// The parts of the room state that the rules read.
struct RoomState<'a> {
    rules: &'a RoomVersionRules,
    create: &'a Pdu,
    power_levels: Option<&'a Pdu>,
    levels: LevelsView<'a>,
    state: &'a StateLookup<'a>,
}

impl RoomState<'_> {
    /// Returns the membership of a user, `None` without a member event or with an unknown membership.
    fn membership(&self, user: &str) -> Option<Membership> {
        Membership::of(&(self.state)("m.room.member", user)?)
    }
}
