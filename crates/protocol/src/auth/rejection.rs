//! Why an event is not authorized.

use thiserror::Error;

use crate::{id::EventId, power_levels::PowerLevel};

/// The rule an event fails. The texts speak to the event's sender, who reads them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthRejection {
    /// Longer than 255 bytes, though not than 255 characters (client-server API, "Size limits").
    #[error("{0} of the event is longer than 255 bytes")]
    FieldTooLong(&'static str),
    /// A create event has to be the first.
    #[error("the create event has previous events")]
    CreateHasPrevEvents,
    /// Until room version 11 the room id is of the creator's server.
    #[error("the room id is not of the sender's server")]
    CreateRoomIdOfOtherServer,
    /// From room version 12 on the create event cannot know its room id.
    #[error("the create event has a room id")]
    CreateHasRoomId,
    /// `content.room_version` is none that is known.
    #[error("unknown room version")]
    UnknownRoomVersion,
    /// Until room version 10 `content.creator` is required.
    #[error("the create event names no creator")]
    MissingCreator,
    /// `additional_creators` is not an array of user ids.
    #[error("additional_creators is not a list of user ids")]
    InvalidAdditionalCreators,

    /// From room version 12 on: there is no accepted create event of this id.
    #[error("the room id is not that of an accepted create event")]
    UnknownRoom,
    /// An auth event could not be looked up.
    #[error("auth event {0} is unknown")]
    UnknownAuthEvent(EventId),
    /// Two auth events of one type and state key.
    #[error("auth event {0} has the type and state key of another")]
    DuplicateAuthEvent(EventId),
    /// Not chosen by the auth events selection.
    #[error("auth event {0} is none that authorizes this event")]
    UnexpectedAuthEvent(EventId),
    /// Was itself rejected.
    #[error("auth event {0} was rejected")]
    RejectedAuthEvent(EventId),
    /// Is of another room.
    #[error("auth event {0} is of another room")]
    AuthEventOfOtherRoom(EventId),
    /// Until room version 11 the create event has to be among the auth events.
    #[error("the create event is not among the auth events")]
    AuthEventsWithoutCreate,

    /// The state has no create event.
    #[error("the room has no create event")]
    NoCreateEvent,
    /// `m.federate` is false, and the sender is of another server than the creator.
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

    /// No `membership`, or none that the room version knows.
    #[error("The membership is missing or unknown")]
    UnknownMembership,
    /// Joins and knocks are for oneself only.
    #[error("Nobody can join or knock for another user")]
    MembershipOfOtherUser,
    /// The user who would join is banned.
    #[error("You are banned from this room")]
    Banned,
    /// The join rule lets in only those who are invited or in the room.
    #[error("You are not invited to this room")]
    NotInvited,
    /// The join rule lets nobody in.
    #[error("You are not allowed to join this room")]
    JoinRuleClosed,
    /// A restricted join that names nobody who authorises it.
    #[error("The join does not name a member of the room who lets you in")]
    NoAuthorisingUser,
    /// The authorising user is not in the room.
    #[error("The member who would let you in is not in the room")]
    AuthorisingUserNotJoined,
    /// The authorising user may not invite.
    #[error("The member who would let you in may not invite")]
    AuthorisingUserMayNotInvite,
    /// Only members may send this.
    #[error("You are not in this room")]
    SenderNotJoined,
    /// Whoever is to be invited is joined or banned.
    #[error("The user is already in the room, or is banned from it")]
    TargetJoinedOrBanned,
    /// Leaving needs a membership to leave.
    #[error("You are not in this room and not invited to it")]
    NothingToLeave,
    /// The target is as powerful as the sender, or more.
    #[error("You cannot do this to a user whose power level ({target}) is not below yours ({sender})")]
    TargetTooPowerful {
        /// Of the sender.
        sender: PowerLevel,
        /// Of the target.
        target: PowerLevel,
    },
    /// The join rule does not let anybody knock.
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
    /// The room state has no invite of this token.
    #[error("The room has no such third-party invite")]
    UnknownThirdPartyInvite,
    /// The invite of this token was sent by somebody else.
    #[error("The third-party invite was sent by another user")]
    ThirdPartyInviteOfOtherUser,
    /// No signature matches one of the invite's public keys.
    #[error("The third-party invite is not signed by its identity server")]
    ThirdPartyInviteNotSigned,

    /// The sender's power level does not suffice.
    #[error("You do not have permission to do this: it needs power level {needs}, and yours is {has}")]
    InsufficientPower {
        /// Of the sender.
        has: PowerLevel,
        /// What the event needs.
        needs: PowerLevel,
    },
    /// State keys that are user ids belong to that user.
    #[error("You cannot set state under the ID of another user")]
    StateKeyOfOtherUser,
    /// The redacted event is of another server, and the sender's level does not suffice.
    #[error("You do not have permission to redact events of other servers")]
    RedactionOfOtherServer,

    /// A power level is not one in this room version, or what should hold levels is not an object.
    #[error("{0} is not a valid power level")]
    InvalidPowerLevel(String),
    /// A key of `users` is not a user id.
    #[error("{0:?} in the power levels is not a user ID")]
    InvalidPowerLevelsUser(String),
    /// Creators stand above all levels, and in no list (room version 12 and later).
    #[error("{0} created the room and must not be in the list of users with power levels")]
    CreatorInPowerLevels(String),
    /// A changed level is, or was, above the sender's.
    #[error("You cannot change the power level of {0}: it is or would be above your own")]
    PowerLevelChangeNotAllowed(String),
}
