//! Why an event is not authorized.

use thiserror::Error;

use crate::{id::EventId, power_levels::PowerLevel};

/// The rule an event fails.
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
    #[error("the room does not federate")]
    NotFederated,
    /// The event has to be a state event.
    #[error("the event has no state key")]
    MissingStateKey,
    /// The state key is not the sender's server.
    #[error("the aliases are of another server")]
    AliasesOfOtherServer,
    /// The state key is not a user id.
    #[error("the state key is not a user id")]
    InvalidTarget,

    /// No `membership`, or none that the room version knows.
    #[error("missing or unknown membership")]
    UnknownMembership,
    /// Joins and knocks are for oneself only.
    #[error("the membership is of another user")]
    MembershipOfOtherUser,
    /// The user who would join, or be invited, is banned.
    #[error("the user is banned")]
    Banned,
    /// The join rule lets in only those who are invited or in the room.
    #[error("the user is not invited")]
    NotInvited,
    /// The join rule lets nobody in.
    #[error("the join rule lets nobody in")]
    JoinRuleClosed,
    /// A restricted join that names nobody who authorises it.
    #[error("nobody authorises the restricted join")]
    NoAuthorisingUser,
    /// The authorising user is not in the room.
    #[error("the authorising user is not joined")]
    AuthorisingUserNotJoined,
    /// The authorising user may not invite.
    #[error("the authorising user may not invite")]
    AuthorisingUserMayNotInvite,
    /// Only members may send this.
    #[error("the sender is not joined")]
    SenderNotJoined,
    /// Whoever is to be invited is joined or banned.
    #[error("the invited user is already joined or is banned")]
    TargetJoinedOrBanned,
    /// Leaving needs a membership to leave.
    #[error("the user has nothing to leave")]
    NothingToLeave,
    /// The target is as powerful as the sender, or more.
    #[error("the target's power level {target} is not below the sender's {sender}")]
    TargetTooPowerful {
        /// Of the sender.
        sender: PowerLevel,
        /// Of the target.
        target: PowerLevel,
    },
    /// The join rule does not let anybody knock.
    #[error("the join rule does not allow knocking")]
    KnockingNotAllowed,
    /// Joined, invited or banned users cannot knock.
    #[error("the user's membership does not allow knocking")]
    CannotKnock,

    /// `signed` of the third-party invite is missing, or lacks `mxid` or `token`.
    #[error("the third-party invite is malformed")]
    InvalidThirdPartyInvite,
    /// `mxid` is not the state key.
    #[error("the third-party invite is for another user")]
    ThirdPartyInviteForOtherUser,
    /// The room state has no invite of this token.
    #[error("the third-party invite is unknown")]
    UnknownThirdPartyInvite,
    /// The invite of this token was sent by somebody else.
    #[error("the third-party invite was sent by another user")]
    ThirdPartyInviteOfOtherUser,
    /// No signature matches one of the invite's public keys.
    #[error("the third-party invite is not signed by its identity server")]
    ThirdPartyInviteNotSigned,

    /// The sender's power level does not suffice.
    #[error("power level {has} is below the {needs} needed")]
    InsufficientPower {
        /// Of the sender.
        has: PowerLevel,
        /// What the event needs.
        needs: PowerLevel,
    },
    /// State keys that are user ids belong to that user.
    #[error("the state key is another user's id")]
    StateKeyOfOtherUser,
    /// The redacted event is of another server, and the sender's level does not suffice.
    #[error("the redacted event is of another server")]
    RedactionOfOtherServer,

    /// A power level is not one in this room version, or what should hold levels is not an object.
    #[error("{0} is not a power level")]
    InvalidPowerLevel(String),
    /// A key of `users` is not a user id.
    #[error("{0:?} in the power levels is not a user id")]
    InvalidPowerLevelsUser(String),
    /// Creators stand above all levels, and in no list (room version 12 and later).
    #[error("the power levels name the creator {0}")]
    CreatorInPowerLevels(String),
    /// A changed level is, or was, above the sender's.
    #[error("the sender may not change the power level of {0}")]
    PowerLevelChangeNotAllowed(String),
}
