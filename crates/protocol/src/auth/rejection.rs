//! Why the authorization rules reject an event.

use thiserror::Error;

use crate::{id::EventId, power_levels::PowerLevel};

/// The rule that an event breaks. Rules that clients can break have messages addressed to the sender.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthRejection {
    /// A field has more than 255 bytes, though not more than 255 characters
    /// ([Size limits](https://spec.matrix.org/v1.19/client-server-api/#size-limits)).
    #[error("{0} of the event is longer than 255 bytes")]
    FieldTooLong(&'static str),
    /// The create event has to be the first event.
    #[error("the create event has previous events")]
    CreateHasPrevEvents,
    /// In room versions 1 to 11 the room id has the domain of the creator's server.
    #[error("the domain of the room id is not the sender's server")]
    CreateRoomIdOfOtherServer,
    /// In room version 12 and later the create event has no room id.
    #[error("the create event has a room id")]
    CreateHasRoomId,
    /// `content.room_version` is not a known version.
    #[error("unknown room version")]
    UnknownRoomVersion,
    /// In room versions 1 to 10 `content.creator` is required.
    #[error("the create event names no creator")]
    MissingCreator,
    /// `additional_creators` is not an array of user ids.
    #[error("additional_creators is not a list of user ids")]
    InvalidAdditionalCreators,

    /// In room version 12 and later: no create event with this id was accepted.
    #[error("the room id is not that of an accepted create event")]
    UnknownRoom,
    /// An auth event was not found.
    #[error("auth event {0} is unknown")]
    UnknownAuthEvent(EventId),
    /// Two auth events of one type and state key.
    #[error("auth event {0} has the type and state key of another")]
    DuplicateAuthEvent(EventId),
    /// The auth events selection does not choose this event.
    #[error("auth event {0} does not authorize this event")]
    UnexpectedAuthEvent(EventId),
    /// The auth event was itself rejected.
    #[error("auth event {0} was rejected")]
    RejectedAuthEvent(EventId),
    /// The auth event belongs to another room.
    #[error("auth event {0} is of another room")]
    AuthEventOfOtherRoom(EventId),
    /// In room versions 1 to 11 the create event has to be among the auth events.
    #[error("the create event is not among the auth events")]
    AuthEventsWithoutCreate,

    /// The state has no create event.
    #[error("the room has no create event")]
    NoCreateEvent,
    /// `m.federate` is false and the sender is not on the creator's server.
    #[error("This room is only for users of the server it was created on")]
    NotFederated,
    /// The event has to be a state event.
    #[error("the event has no state key")]
    MissingStateKey,
    /// The state key is not the sender's server.
    #[error("Aliases can only be set for your own server")]
    AliasesOfOtherServer,
    /// The state key is not a user id.
    #[error("The state key must be a user ID")]
    InvalidTarget,

    /// `membership` is missing or not one that the room version knows.
    #[error("The membership is missing or unknown")]
    UnknownMembership,
    /// Users join and knock only for themselves.
    #[error("Nobody can join or knock for another user")]
    MembershipOfOtherUser,
    /// The user who would join is banned.
    #[error("You are banned from this room")]
    Banned,
    /// The join rule admits only users who are invited or already in the room.
    #[error("You are not invited to this room")]
    NotInvited,
    /// The join rule admits nobody.
    #[error("You are not allowed to join this room")]
    JoinRuleClosed,
    /// A restricted join that names no user who authorises it.
    #[error("The join does not name a member of the room who lets you in")]
    NoAuthorisingUser,
    /// The authorising user is not in the room.
    #[error("The member who would let you in is not in the room")]
    AuthorisingUserNotJoined,
    /// The authorising user may not invite.
    #[error("The member who would let you in may not invite")]
    AuthorisingUserMayNotInvite,
    /// Only members may send this event.
    #[error("You are not in this room")]
    SenderNotJoined,
    /// The invited user is joined or banned.
    #[error("The user is already in the room, or is banned from it")]
    TargetJoinedOrBanned,
    /// Only users who are joined, invited or knocking can leave.
    #[error("You are not in this room and not invited to it")]
    NothingToLeave,
    /// The target has at least the sender's power level.
    #[error("You cannot do this to a user whose power level ({target}) is not below yours ({sender})")]
    TargetTooPowerful {
        /// The sender's power level.
        sender: PowerLevel,
        /// The target's power level.
        target: PowerLevel,
    },
    /// The join rule does not allow knocking.
    #[error("You cannot knock on this room: it does not take requests to join")]
    KnockingNotAllowed,
    /// Joined, invited or banned users cannot knock.
    #[error("You cannot knock on a room that you are in, invited to or banned from")]
    CannotKnock,

    /// `signed` of the third-party invite is missing, or lacks `mxid` or `token`.
    #[error("The third-party invite is malformed")]
    InvalidThirdPartyInvite,
    /// `mxid` is not the state key.
    #[error("The third-party invite is for another user")]
    ThirdPartyInviteForOtherUser,
    /// The room state has no third-party invite with this token.
    #[error("The room has no such third-party invite")]
    UnknownThirdPartyInvite,
    /// The third-party invite with this token was sent by another user.
    #[error("The third-party invite was sent by another user")]
    ThirdPartyInviteOfOtherUser,
    /// No signature matches one of the invite's public keys.
    #[error("The third-party invite is not signed by its identity server")]
    ThirdPartyInviteNotSigned,

    /// The sender's power level is too low.
    #[error("You do not have permission to do this: it needs power level {needs}, and yours is {has}")]
    InsufficientPower {
        /// The sender's power level.
        has: PowerLevel,
        /// The level that the event needs.
        needs: PowerLevel,
    },
    /// State keys that are user ids belong to that user.
    #[error("You cannot set state under the ID of another user")]
    StateKeyOfOtherUser,
    /// The redacted event is from another server, and the sender's level is too low.
    #[error("You do not have permission to redact events of other servers")]
    RedactionOfOtherServer,

    /// The value is not a power level in this room version, or is not an object where levels are expected.
    #[error("{0} is not a valid power level")]
    InvalidPowerLevel(String),
    /// A key of `users` is not a user id.
    #[error("{0:?} in the power levels is not a user ID")]
    InvalidPowerLevelsUser(String),
    /// In room version 12 and later creators are above all levels and must not be listed.
    #[error("{0} created the room and must not be in the list of users with power levels")]
    CreatorInPowerLevels(String),
    /// The old or the new level is above the sender's.
    #[error("You cannot change the power level of {0}: it is or would be above your own")]
    PowerLevelChangeNotAllowed(String),
}
