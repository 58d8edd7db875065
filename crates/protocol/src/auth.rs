//! The authorization rules (room versions 1 to 12, "Authorisation rules").
//!
//! [`check_state_independent`] looks at an event and the auth events it names, once, when it is received. [`check`]
//! looks at an event and a room state, and is asked for each state the event has to pass (Server-Server API, "Checks
//! performed on receipt of a PDU"). Signatures are checked before either, by `event::sign`: also that of the server
//! which authorises a restricted join.
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

/// Looks up the state event of a type and state key.
pub type StateLookup<'a> = dyn Fn(&str, &str) -> Option<Pdu> + 'a;

/// Checks an event against a room state. `state` is asked for few keys only, those of the auth events selection among
/// them and no others but `m.room.create`.
///
/// # Errors
/// The rule that rejects the event.
pub fn check(rules: &RoomVersionRules, event: &Pdu, state: &StateLookup<'_>) -> Result<(), AuthRejection> {
    // 1. If type is `m.room.create`.
    if event.event_type() == "m.room.create" {
        return create::check(rules, event);
    }
    let create = state("m.room.create", "").ok_or(AuthRejection::NoCreateEvent)?;
    // 4. Room that does not federate.
    if create.content().get_bool("m.federate") == Some(false)
        && create.sender().server_name() != event.sender().server_name()
    {
        return Err(AuthRejection::NotFederated);
    }
    // 4 of versions 1 to 5: aliases belong to their server, whoever is in the room.
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

/// Rule 11 of versions 1 and 2: by level, or within one server.
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

/// What the rules read of the room.
struct RoomState<'a> {
    rules: &'a RoomVersionRules,
    create: &'a Pdu,
    power_levels: Option<&'a Pdu>,
    levels: LevelsView<'a>,
    state: &'a StateLookup<'a>,
}

impl RoomState<'_> {
    /// The membership of a user; `None` when there is no event, or it says nothing known.
    fn membership(&self, user: &str) -> Option<Membership> {
        Membership::of(&(self.state)("m.room.member", user)?)
    }
}
